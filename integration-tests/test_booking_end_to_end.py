"""A booking through every step: the event, the decision's row, the booking and its allocations, and
what the reader answers, all agree. All five request types."""

import hashlib
import json
import math
import time

import pytest

from berthtest.check import check_farm, millis
from berthtest.farm import create, rfc3339, share
from berthtest.wait import wait_until

HOUR = 3600


@pytest.fixture(name="running")
def fixture_running(farm):
    """A farm with a worker, a reader and three machines."""
    farm.start_worker()
    farm.start_reader()
    farm.register("gpu-01", "gpu-02", "gpu-03", gpus=8, memory_gib=64)
    return farm


def tomorrow():
    return int(time.time()) // HOUR * HOUR + 24 * HOUR


def rows_of(farm, booking):
    """(machine, start, end, gpus, memory, live) of each of its rows; times in seconds."""
    return [(row["name"], row["start_ms"] // 1000, row["end_ms"] // 1000, row["gpus"],
             row["memory_gib"], row["live"]) for row in farm.allocation_rows(booking)]


def assert_shown_everywhere(farm, event):
    """The booking of the event is the row's and the reader's."""
    booking = event.booking
    row = farm.row("SELECT * FROM booking WHERE id = %s", booking["id"])
    assert (row["client"], row["user_name"], row["state"], row["version"]) == \
        (booking["client"], booking["user"], booking["state"], booking["version"])
    assert (row["start_ms"], row["end_ms"]) == (millis(booking["start"]), millis(booking["end"]))
    assert farm.get_json(f"/v1/bookings/{booking['id']}") == booking
    decision = farm.decision_row(event.position)
    assert decision["event"] == event.value
    answer = farm.get(f"/v1/decisions/{decision['client']}/{decision['request_id']}")
    assert answer.status_code == 200 and answer.content == event.value


def test_booking_through_every_step(running):
    farm, start = running, tomorrow()
    request = create(start, start + 2 * HOUR, share("gpu-01", 4, 32))
    token = farm.sign(farm.batch_1, request, sub="älice", jti="first-booking")
    position = farm.publish(token, key="gpu-01")
    event = farm.events.decision(position)

    assert event.accepted and event.partition == position[0]
    assert event.id == f"{position[0]}-{event.sequence}"
    assert event.json["source"] == f"berth://{farm.name}/requests/{position[0]}"
    assert event.data["request"] == {
        "id": "first-booking", "client": "batch-1", "user": "älice", "type": "booking.create",
        "partition": position[0], "offset": position[1]}
    number = event.sequence * 4096 + event.partition
    assert event.json["subject"] == f"booking/{number}"
    assert event.message.key == f"booking/{number}".encode()
    assert event.booking == {
        "id": number, "version": 1, "client": "batch-1", "user": "älice", "state": "booked",
        "start": rfc3339(start), "end": rfc3339(start + 2 * HOUR),
        "allocations": [share("gpu-01", 4, 32)]}

    decision = farm.decision_row(position)
    assert decision["message_sha256"] == hashlib.sha256(token.encode()).digest()
    assert (decision["seq"], decision["client"], decision["request_id"], decision["outcome"]) == \
        (event.sequence, "batch-1", "first-booking", "accepted")
    assert rows_of(farm, number) == [("gpu-01", start, start + 2 * HOUR, 4, 32, 1)]
    assert_shown_everywhere(farm, event)
    machine = farm.row("SELECT * FROM machine WHERE name = 'gpu-01'")
    assert machine["version"] == 2
    assert farm.get_json("/v1/machines/gpu-01")["version"] == 2
    check_farm(farm)


def test_rejection_through_every_step(running):
    farm, start = running, tomorrow()
    farm.accept(farm.batch_1, create(start, start + HOUR, share("gpu-01", 5, 8)))
    event = farm.decide(farm.batch_2, create(start, start + 2 * HOUR, share("gpu-01", 4, 8)))
    assert event.reason == "insufficient_capacity"
    assert "subject" not in event.json and event.message.key is None
    assert event.data["machine"] == "gpu-01"
    assert event.data["free"] == {"gpus": 3, "memory_gib": 56}
    assert event.data["next_available"] == rfc3339(start + HOUR)
    decision = farm.decision_row(event.position)
    assert (decision["outcome"], decision["reason"]) == ("rejected", "insufficient_capacity")
    assert farm.get(f"/v1/decisions/batch-2/{decision['request_id']}").content == event.value
    assert len(farm.rows("SELECT id FROM booking")) == 1
    # The hint was true.
    farm.accept(farm.batch_2, create(start + HOUR, start + 2 * HOUR, share("gpu-01", 4, 8)))
    check_farm(farm)


def test_several_machines_are_all_or_nothing(running):
    farm, start = running, tomorrow()
    farm.accept(farm.batch_1, create(start, start + HOUR, share("gpu-02", 8, 8)))
    wanted = [share("gpu-03", 1, 8), share("gpu-01", 2, 16), share("gpu-02", 1, 8)]
    event = farm.decide(farm.batch_2, create(start, start + HOUR, *wanted))
    assert event.reason == "insufficient_capacity" and event.data["machine"] == "gpu-02"
    assert {row["name"]: row["version"] for row in farm.rows("SELECT name, version FROM machine")} \
        == {"gpu-01": 1, "gpu-02": 2, "gpu-03": 1}
    event = farm.accept(farm.batch_2, create(start + HOUR, start + 2 * HOUR, *wanted))
    # In the order of the machines' ids, whatever the request's.
    assert sorted(item["machine"] for item in event.booking["allocations"]) == \
        ["gpu-01", "gpu-02", "gpu-03"]
    assert len(farm.allocation_rows(event.booking["id"])) == 3
    assert sorted(farm.get_json(f"/v1/bookings/{event.booking['id']}")["allocations"],
                  key=str) == sorted(event.booking["allocations"], key=str)
    check_farm(farm)


def test_amend_and_cancel_a_booking_to_come(running):
    farm, start = running, tomorrow()
    first = farm.accept(farm.batch_1, create(start, start + HOUR, share("gpu-01", 4, 8)))
    number = first.booking["id"]
    amended = farm.accept(farm.batch_1, {
        "type": "booking.amend", "booking": number, "start": rfc3339(start + HOUR),
        "end": rfc3339(start + 3 * HOUR), "allocations": [share("gpu-02", 2, 4)]})
    assert amended.partition == number % 4096  # the one that made it
    assert amended.booking["version"] == 2
    assert amended.booking["allocations"] == [share("gpu-02", 2, 4)]
    assert rows_of(farm, number) == [
        ("gpu-01", start, start + HOUR, 4, 8, 0),
        ("gpu-02", start + HOUR, start + 3 * HOUR, 2, 4, 1)]
    assert_shown_everywhere(farm, amended)
    # Somebody else's booking is not to be touched, an admin may touch any.
    event = farm.decide(farm.batch_2, {"type": "booking.cancel", "booking": number})
    assert event.reason == "forbidden"
    cancelled = farm.accept(farm.ops, {"type": "booking.cancel", "booking": number})
    assert (cancelled.booking["state"], cancelled.booking["version"]) == ("cancelled", 3)
    assert cancelled.booking["allocations"] == []
    assert all(row[5] == 0 for row in rows_of(farm, number))
    assert_shown_everywhere(farm, cancelled)
    event = farm.decide(farm.batch_1, {"type": "booking.cancel", "booking": number})
    assert event.reason == "booking_over"
    check_farm(farm)


def test_amend_a_running_booking_keeps_its_past(running):
    farm = running
    # No start: it begins now, rounded up to the second.
    first = farm.accept(farm.batch_1, {"type": "booking.create", "duration_s": 2 * HOUR,
                                       "allocations": [share("gpu-01", 2, 8),
                                                       share("gpu-02", 1, 8)]})
    number, start = first.booking["id"], millis(first.booking["start"]) // 1000
    assert start == math.ceil(millis(first.json["time"]) / 1000)
    assert millis(first.booking["end"]) // 1000 == start + 2 * HOUR
    wait_until(lambda: time.time() > start + 1, "the booking has begun")

    event = farm.decide(farm.batch_1, {"type": "booking.amend", "booking": number,
                                       "start": rfc3339(start + HOUR)})
    assert event.reason == "start_in_past"
    amended = farm.accept(farm.batch_1, {"type": "booking.amend", "booking": number,
                                         "end": rfc3339(start + HOUR),
                                         "allocations": [share("gpu-01", 6, 8)]})
    cut = math.ceil(millis(amended.json["time"]) / 1000)
    assert rows_of(farm, number) == [
        ("gpu-01", start, cut, 2, 8, 1), ("gpu-01", cut, start + HOUR, 6, 8, 1),
        ("gpu-02", start, cut, 1, 8, 1)]
    assert amended.booking["allocations"] == [share("gpu-01", 6, 8)]
    assert_shown_everywhere(farm, amended)

    # Early release: what is left is free for others at once.
    wait_until(lambda: time.time() > cut, "the amended part has begun")
    released = farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": number})
    end = math.ceil(millis(released.json["time"]) / 1000)
    assert (released.booking["state"], released.booking["end"]) == ("released", rfc3339(end))
    assert released.booking["allocations"] == [share("gpu-01", 6, 8)]
    assert rows_of(farm, number) == [
        ("gpu-01", start, cut, 2, 8, 1), ("gpu-01", cut, end, 6, 8, 1),
        ("gpu-02", start, cut, 1, 8, 1)]
    assert_shown_everywhere(farm, released)
    farm.accept(farm.batch_2, create(end, end + HOUR, share("gpu-01", 8, 64)))
    check_farm(farm)


def test_update_displaces_bookings(running):
    farm, start = running, tomorrow()
    older = farm.accept(farm.batch_1, create(start, start + HOUR, share("gpu-01", 3, 8)))
    newer = farm.accept(farm.batch_2, create(start, start + HOUR, share("gpu-01", 3, 8),
                                             share("gpu-02", 1, 1)))
    lower, higher = sorted((older, newer), key=lambda event: event.booking["id"])
    shrink = {"type": "machine.update", "machine": "gpu-01", "gpus": 4}
    event = farm.decide(farm.ops, shrink)
    assert event.reason == "capacity_in_use" and event.message.key == b"machine/gpu-01"
    assert farm.decide(farm.batch_1, {**shrink, "displace": True}).reason == "forbidden"
    event = farm.accept(farm.ops, {**shrink, "displace": True})
    assert event.data["displaced"] == [{
        "id": higher.booking["id"], "version": 2, "client": higher.booking["client"],
        "state": "cancelled", "end": rfc3339(start + HOUR)}]
    assert event.data["machine"]["gpus"] == 4
    assert farm.get_json("/v1/machines/gpu-01") == event.data["machine"]
    gone = farm.get_json(f"/v1/bookings/{higher.booking['id']}")
    assert (gone["state"], gone["version"], gone["allocations"]) == ("cancelled", 2, [])
    assert farm.get_json(f"/v1/bookings/{lower.booking['id']}") == lower.booking
    # A machine that drains keeps what it has and takes no more.
    farm.accept(farm.ops, {"type": "machine.update", "machine": "gpu-01", "state": "draining"})
    event = farm.decide(farm.batch_1, create(start + HOUR, start + 2 * HOUR, share("gpu-01", 1, 1)))
    assert event.reason == "machine_not_up"
    event = farm.accept(farm.ops, {"type": "machine.update", "machine": "gpu-01",
                                   "state": "retired", "displace": True})
    assert [item["id"] for item in event.data["displaced"]] == [lower.booking["id"]]
    check_farm(farm)


def test_machines_and_their_labels(running):
    farm = running
    labels = {"gpu": "h100", "rack": "b-07", "note": "größer"}
    event = farm.accept(farm.ops, {"type": "machine.register", "machine": "Gpu-01", "gpus": 0,
                                   "memory_gib": 16, "labels": labels, "id": 17})
    # Upper and lower case are two names.
    assert event.data["machine"] == {"id": 17, "version": 1, "name": "Gpu-01", "gpus": 0,
                                     "memory_gib": 16, "labels": labels, "state": "up"}
    assert json.loads(farm.row("SELECT labels FROM machine WHERE id = 17")["labels"]) == labels
    event = farm.decide(farm.ops, {"type": "machine.register", "machine": "other", "gpus": 1,
                                   "memory_gib": 1, "id": 17})
    assert event.reason == "machine_exists" and event.data["machine"] == "Gpu-01"
    event = farm.decide(farm.ops, {"type": "machine.register", "machine": "gpu-01", "gpus": 1,
                                   "memory_gib": 1})
    assert event.reason == "machine_exists"
    event = farm.accept(farm.ops, {"type": "machine.register", "machine": "chosen", "gpus": 1,
                                   "memory_gib": 1})
    assert event.data["machine"]["id"] == event.sequence * 4096 + event.partition
    check_farm(farm)


def test_a_late_request_is_decided_at_its_append_time(farm):
    """Nobody decides for a while; the request's time is when the broker took it."""
    begin = time.time()
    position = farm.send(farm.ops, {"type": "machine.register", "machine": "gpu-01", "gpus": 8,
                                    "memory_gib": 64})
    created = farm.send(farm.batch_1, {"type": "booking.create", "duration_s": HOUR,
                                       "allocations": [share("gpu-01")]})
    appended = time.time()
    wait_until(lambda: time.time() > appended + 1.5, "the request is late")
    farm.start_worker()
    assert farm.events.decision(position).accepted
    event = farm.events.decision(created)
    assert begin - 1 <= millis(event.json["time"]) / 1000 <= appended + 0.5
    assert millis(event.booking["start"]) / 1000 <= appended + 1
    check_farm(farm)
