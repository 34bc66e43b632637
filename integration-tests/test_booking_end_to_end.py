"""All five request types end to end: the event, the decision row, the booking, its allocations and
the reader's answer agree."""

import hashlib
import itertools
import json
import math
import time

import pytest

from berthtest.check import check_farm, millis
from berthtest.farm import create, rfc3339, share, tomorrow
from berthtest.wait import wait_until

HOUR = 3600
numbers = itertools.count(1)


@pytest.fixture(scope="module", name="served")
def fixture_served(module_farm):
    """The module's farm, with a reader."""
    module_farm.start_reader()
    return module_farm


@pytest.fixture(name="running")
def fixture_running(served):
    """The farm and three machines for one test."""
    names = [f"m{next(numbers)}-{letter}" for letter in "abc"]
    served.register(*names, gpus=8, memory_gib=64)
    return served, *names


def rows_of(farm, booking):
    """(machine, start, end, gpus, memory, live) of each allocation row; times in seconds."""
    return [(row["name"], row["start_ms"] // 1000, row["end_ms"] // 1000, row["gpus"],
             row["memory_gib"], row["live"]) for row in farm.allocation_rows(booking)]


def assert_shown_everywhere(farm, event):
    """The event, the row and the reader show the same booking."""
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
    farm, a, b, c, start = *running, tomorrow()
    request = create(start, start + 2 * HOUR, share(a, 4, 32))
    token = farm.sign(farm.batch_1, request, sub="älice", jti=f"first-booking:{a}")
    position = farm.publish(token, key=a)
    event = farm.events.decision(position)

    assert event.accepted and event.partition == position[0]
    assert event.id == f"{position[0]}-{event.sequence}"
    assert event.json["source"] == f"berth://{farm.name}/requests/{position[0]}"
    assert event.data["request"] == {
        "id": f"first-booking:{a}", "client": "batch-1", "user": "älice", "type": "booking.create",
        "partition": position[0], "offset": position[1]}
    number = event.sequence * 4096 + event.partition
    assert event.json["subject"] == f"booking/{number}"
    assert event.message.key == f"booking/{number}".encode()
    assert event.booking == {
        "id": number, "version": 1, "client": "batch-1", "user": "älice", "state": "booked",
        "start": rfc3339(start), "end": rfc3339(start + 2 * HOUR),
        "allocations": [share(a, 4, 32)]}

    decision = farm.decision_row(position)
    assert decision["message_sha256"] == hashlib.sha256(token.encode()).digest()
    assert (decision["seq"], decision["client"], decision["request_id"], decision["outcome"]) == \
        (event.sequence, "batch-1", f"first-booking:{a}", "accepted")
    assert rows_of(farm, number) == [(a, start, start + 2 * HOUR, 4, 32, 1)]
    assert_shown_everywhere(farm, event)
    machine = farm.row("SELECT * FROM machine WHERE name = %s", a)
    assert machine["version"] == 2
    assert farm.get_json(f"/v1/machines/{a}")["version"] == 2
    check_farm(farm)


def test_rejection_through_every_step(running):
    farm, a, b, c, start = *running, tomorrow()
    farm.accept(farm.batch_1, create(start, start + HOUR, share(a, 5, 8)))
    event = farm.decide(farm.batch_2, create(start, start + 2 * HOUR, share(a, 4, 8)))
    assert event.reason == "insufficient_capacity"
    assert "subject" not in event.json and event.message.key is None
    assert event.data["machine"] == a
    assert event.data["free"] == {"gpus": 3, "memory_gib": 56}
    assert event.data["next_available"] == rfc3339(start + HOUR)
    decision = farm.decision_row(event.position)
    assert (decision["outcome"], decision["reason"]) == ("rejected", "insufficient_capacity")
    assert farm.get(f"/v1/decisions/batch-2/{decision['request_id']}").content == event.value
    assert not farm.rows("SELECT * FROM booking WHERE id = %s",
                         event.sequence * 4096 + event.partition)
    # The rejection's next_available was correct.
    farm.accept(farm.batch_2, create(start + HOUR, start + 2 * HOUR, share(a, 4, 8)))
    check_farm(farm)


def test_several_machines_are_all_or_nothing(running):
    farm, a, b, c, start = *running, tomorrow()
    farm.accept(farm.batch_1, create(start, start + HOUR, share(b, 8, 8)))
    wanted = [share(c, 1, 8), share(a, 2, 16), share(b, 1, 8)]
    event = farm.decide(farm.batch_2, create(start, start + HOUR, *wanted))
    assert event.reason == "insufficient_capacity" and event.data["machine"] == b
    assert {name: farm.row("SELECT version FROM machine WHERE name = %s", name)["version"]
            for name in (a, b, c)} == {a: 1, b: 2, c: 1}
    event = farm.accept(farm.batch_2, create(start + HOUR, start + 2 * HOUR, *wanted))
    # Ordered by machine id, whatever the order in the request.
    assert sorted(item["machine"] for item in event.booking["allocations"]) == \
        sorted((a, b, c))
    assert len(farm.allocation_rows(event.booking["id"])) == 3
    assert sorted(farm.get_json(f"/v1/bookings/{event.booking['id']}")["allocations"],
                  key=str) == sorted(event.booking["allocations"], key=str)
    check_farm(farm)


def test_amend_and_cancel_a_booking_to_come(running):
    farm, a, b, c, start = *running, tomorrow()
    first = farm.accept(farm.batch_1, create(start, start + HOUR, share(a, 4, 8)))
    number = first.booking["id"]
    amended = farm.accept(farm.batch_1, {
        "type": "booking.amend", "booking": number, "start": rfc3339(start + HOUR),
        "end": rfc3339(start + 3 * HOUR), "allocations": [share(b, 2, 4)]})
    assert amended.partition == number % 4096  # the partition that created it
    assert amended.booking["version"] == 2
    assert amended.booking["allocations"] == [share(b, 2, 4)]
    assert rows_of(farm, number) == [
        (a, start, start + HOUR, 4, 8, 0),
        (b, start + HOUR, start + 3 * HOUR, 2, 4, 1)]
    assert_shown_everywhere(farm, amended)
    # A client may not change another client's booking; an admin may.
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
    farm, a, b, _ = running
    # Without a start the booking begins now, rounded up to the second.
    first = farm.accept(farm.batch_1, {"type": "booking.create", "duration_s": 2 * HOUR,
                                       "allocations": [share(a, 2, 8),
                                                       share(b, 1, 8)]})
    number, start = first.booking["id"], millis(first.booking["start"]) // 1000
    assert start == math.ceil(millis(first.json["time"]) / 1000)
    assert millis(first.booking["end"]) // 1000 == start + 2 * HOUR
    wait_until(lambda: time.time() > start + 1, "the booking has begun")

    event = farm.decide(farm.batch_1, {"type": "booking.amend", "booking": number,
                                       "start": rfc3339(start + HOUR)})
    assert event.reason == "start_in_past"
    amended = farm.accept(farm.batch_1, {"type": "booking.amend", "booking": number,
                                         "end": rfc3339(start + HOUR),
                                         "allocations": [share(a, 6, 8)]})
    cut = math.ceil(millis(amended.json["time"]) / 1000)
    assert rows_of(farm, number) == [
        (a, start, cut, 2, 8, 1), (a, cut, start + HOUR, 6, 8, 1),
        (b, start, cut, 1, 8, 1)]
    assert amended.booking["allocations"] == [share(a, 6, 8)]
    assert_shown_everywhere(farm, amended)

    # Early release: the rest of the window is free for others at once.
    wait_until(lambda: time.time() > cut, "the amended part has begun")
    released = farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": number})
    end = math.ceil(millis(released.json["time"]) / 1000)
    assert (released.booking["state"], released.booking["end"]) == ("released", rfc3339(end))
    assert released.booking["allocations"] == [share(a, 6, 8)]
    assert rows_of(farm, number) == [
        (a, start, cut, 2, 8, 1), (a, cut, end, 6, 8, 1),
        (b, start, cut, 1, 8, 1)]
    assert_shown_everywhere(farm, released)
    farm.accept(farm.batch_2, create(end, end + HOUR, share(a, 8, 64)))
    check_farm(farm)


def test_update_displaces_bookings(running):
    farm, a, b, c, start = *running, tomorrow()
    older = farm.accept(farm.batch_1, create(start, start + HOUR, share(a, 3, 8)))
    newer = farm.accept(farm.batch_2, create(start, start + HOUR, share(a, 3, 8),
                                             share(b, 1, 1)))
    lower, higher = sorted((older, newer), key=lambda event: event.booking["id"])
    shrink = {"type": "machine.update", "machine": a, "gpus": 4}
    event = farm.decide(farm.ops, shrink)
    assert event.reason == "capacity_in_use" and event.message.key == f"machine/{a}".encode()
    assert farm.decide(farm.batch_1, {**shrink, "displace": True}).reason == "forbidden"
    event = farm.accept(farm.ops, {**shrink, "displace": True})
    assert event.data["displaced"] == [{
        **higher.booking, "version": 2, "state": "cancelled", "allocations": [],
        "previous": {name: higher.booking[name]
                     for name in ("version", "state", "start", "end", "allocations")}}]
    assert event.data["machine"]["gpus"] == 4
    assert farm.get_json(f"/v1/machines/{a}") == event.data["machine"]
    gone = farm.get_json(f"/v1/bookings/{higher.booking['id']}")
    assert (gone["state"], gone["version"], gone["allocations"]) == ("cancelled", 2, [])
    assert farm.get_json(f"/v1/bookings/{lower.booking['id']}") == lower.booking
    # A draining machine keeps its bookings and takes no new ones.
    farm.accept(farm.ops, {"type": "machine.update", "machine": a, "state": "draining"})
    event = farm.decide(farm.batch_1, create(start + HOUR, start + 2 * HOUR, share(a, 1, 1)))
    assert event.reason == "machine_not_up"
    event = farm.accept(farm.ops, {"type": "machine.update", "machine": a,
                                   "state": "retired", "displace": True})
    assert [item["id"] for item in event.data["displaced"]] == [lower.booking["id"]]
    check_farm(farm)


def test_machines_and_their_labels(running):
    farm, a, b, _ = running
    labels = {"gpu": "h100", "rack": "b-07", "note": "größer"}
    event = farm.accept(farm.ops, {"type": "machine.register", "machine": a.upper(), "gpus": 0,
                                   "memory_gib": 16, "labels": labels, "id": 17})
    # Machine names are case-sensitive.
    assert event.data["machine"] == {"id": 17, "version": 1, "name": a.upper(), "gpus": 0,
                                     "memory_gib": 16, "labels": labels, "state": "up"}
    assert json.loads(farm.row("SELECT labels FROM machine WHERE id = 17")["labels"]) == labels
    event = farm.decide(farm.ops, {"type": "machine.register", "machine": f"{a}-other", "gpus": 1,
                                   "memory_gib": 1, "id": 17})
    assert event.reason == "machine_exists" and event.data["machine"] == a.upper()
    event = farm.decide(farm.ops, {"type": "machine.register", "machine": a, "gpus": 1,
                                   "memory_gib": 1})
    assert event.reason == "machine_exists"
    event = farm.accept(farm.ops, {"type": "machine.register", "machine": f"{a}-chosen", "gpus": 1,
                                   "memory_gib": 1})
    assert event.data["machine"]["id"] == event.sequence * 4096 + event.partition
    check_farm(farm)


def test_a_late_request_is_decided_at_its_append_time(farm):
    """A request decided late gets the time of its append by the broker."""
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
