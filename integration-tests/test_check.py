"""Tests of the tests: each check of berthtest.check and of the consumer's contract is given a
snapshot of a farm with one planted fault, and must find it."""

import copy
import json
import time

import pytest

from berthtest.check import CHECKS, Findings, take_picture
from berthtest.events import Contract, ContractBroken, Event, Gap, Message
from berthtest.farm import Farm, create, share

HOUR = 3600


@pytest.fixture(scope="module", name="picture")
def fixture_picture(servers, tmp_path_factory):
    """A farm with bookings of every kind; one kind of database is enough."""
    farm = Farm(servers.broker, servers.databases["mariadb"], tmp_path_factory.mktemp("checks"))
    try:
        farm.init()
        farm.start_worker()
        farm.register("gpu-01", "gpu-02", gpus=4, memory_gib=64)
        start = int(time.time()) // HOUR * HOUR + 24 * HOUR
        first = farm.accept(farm.batch_1, create(start, start + HOUR, share("gpu-01", 3)), jti="id-1")
        farm.accept(farm.batch_1, create(start, start + HOUR, share("gpu-02", 3, 40)))
        farm.decide(farm.batch_1, create(start, start + HOUR, share("gpu-01", 3)), jti="id-1")
        farm.accept(farm.batch_1, {"type": "booking.amend", "booking": first.booking["id"],
                                   "allocations": [share("gpu-01", 2), share("gpu-02", 1)]})
        farm.accept(farm.batch_2, {"type": "booking.create", "duration_s": HOUR,
                                   "allocations": [share("gpu-01", 1)]})
        farm.events.decision(farm.publish(b"garbage", "gpu-01"))
        taken = take_picture(farm)
        yield taken
    finally:
        farm.close()


def findings(picture):
    wrong = Findings()
    for check in CHECKS:
        check(picture, wrong)
    return wrong.texts


def rows_of(picture):
    return [row for rows in picture.decisions.values() for row in rows]


def row_where(picture, **values):
    return next(row for row in rows_of(picture)
                if all(row[name] == value for name, value in values.items()))


def rewrite(picture, row, change):
    """Changes an event in the table and in the topic."""
    document = json.loads(row["event"])
    change(document)
    row["event"] = json.dumps(document).encode()
    for event in picture.events[row["part"]]:
        if event.sequence == row["seq"]:
            event.message.value = row["event"]
            event.__dict__.pop("json", None)


def used(picture):
    """A partition with at least two decisions."""
    return max(picture.decisions, key=lambda part: len(picture.decisions[part]))


def booked(picture):
    return next(row for row in picture.allocations if row["live"] and row["gpus"] == 2)


def with_epoch(event, epoch):
    event.message.headers["berth-epoch"] = epoch
    event.__dict__.pop("epoch", None)


WRONG = {
    "a decision is missing": lambda p: p.decisions[used(p)].pop(),
    "a decision is there twice":
        lambda p: p.decisions[used(p)].append(copy.deepcopy(p.decisions[used(p)][-1])),
    "a message has another hash": lambda p: rows_of(p)[0].update(message_sha256=bytes(32)),
    "a decision was made at another time": lambda p: rows_of(p)[0].update(time_ms=1),
    "an event is not its row's": lambda p: rows_of(p)[0].update(event=rows_of(p)[0]["event"] + b" "),
    "an event is missing": lambda p: p.events[used(p)].pop(),
    "an event is missing in the middle": lambda p: p.events[used(p)].pop(1),
    "an event has another key":
        lambda p: setattr(p.events[used(p)][0].message, "key", b"booking/1"),
    "an event has another header":
        lambda p: p.events[used(p)][0].message.headers.update(ce_id=b"0-77"),
    "an event's epoch is to come":
        lambda p: with_epoch(p.events[used(p)][0], b"99"),
    "an event does not fit its schema": lambda p: rewrite(
        p, row_where(p, outcome="accepted"), lambda event: event["data"].pop("request")["id"]
        and event["data"].update(request={"partition": 0, "offset": 0})),
    "an event answers another request": lambda p: rewrite(
        p, rows_of(p)[0], lambda event: event["data"]["request"].update(offset=99)),
    "a row has another reason": lambda p: row_where(p, reason="malformed").update(
        reason="bad_signature"),
    "an id is not used up": lambda p: row_where(p, request_id="id-1").update(
        request_id=None, content_sha256=None),
    "an id's content is another": lambda p: row_where(p, request_id="id-1").update(
        content_sha256=bytes(32)),
    "an impostor's words are repeated": lambda p: rewrite(
        p, row_where(p, reason="malformed"),
        lambda event: event["data"]["request"].update(client="batch-1")),
    "a duplicate tells something new": lambda p: rewrite(
        p, next(row for row in rows_of(p) if b"duplicate_of" in row["event"]),
        lambda event: event["data"]["booking"].update(version=2)),
    "a partition's row is behind": lambda p: p.partitions[used(p)].update(last_seq=1),
    "a booking is unknown to the events":
        lambda p: p.bookings.update({77 * 4096: {**next(iter(p.bookings.values())), "id": 77 * 4096}}),
    "a booking is lost": lambda p: p.bookings.popitem(),
    "a booking has another version": lambda p: next(iter(p.bookings.values())).update(version=9),
    "a booking ends later": lambda p: next(iter(p.bookings.values())).update(end_ms=10**13),
    "an allocation is lost": lambda p: p.allocations.remove(booked(p)),
    "an allocation has more": lambda p: booked(p).update(gpus=3),
    "an allocation is shorter": lambda p: booked(p).update(end_ms=booked(p)["end_ms"] - 1000),
    "what is gone is alive": lambda p: next(
        row for row in p.allocations if row["gpus"] == 1).update(live=0),
    "a machine has another size": lambda p: p.machines["gpu-01"].update(gpus=5),
    "a machine is unknown to the events": lambda p: p.machines.update(
        other={**p.machines["gpu-01"], "id": 1, "name": "other"}),
    "a machine is over-booked in GPUs": lambda p: p.machines["gpu-02"].update(gpus=3),
    "a machine is over-booked in memory": lambda p: p.machines["gpu-02"].update(memory_gib=45),
}


def test_nothing_is_wrong(picture):
    assert findings(picture) == []


@pytest.mark.parametrize("name", WRONG)
def test_something_is_wrong(picture, name):
    farm, picture.farm = picture.farm, None  # holds connections, which cannot be copied
    try:
        changed = copy.deepcopy(picture)
    finally:
        picture.farm = farm
    changed.farm = farm
    WRONG[name](changed)
    found = findings(changed)
    assert found, "nobody noticed"
    if "over-booked" in name:
        assert any("over-booked" in text for text in found), found


# ---- the consumer's contract ---------------------------------------------------------------------

def event_of(sequence, epoch, text="x"):
    value = json.dumps({"sequence": f"{sequence:019d}", "id": f"0-{sequence}", "text": text}).encode()
    return Event(Message(0, 0, 0, 2, None, value, {"berth-epoch": str(epoch).encode()}))


def test_contract_of_a_consumer_from_the_beginning():
    contract = Contract(0)
    assert contract.take(event_of(1, 1)) and contract.take(event_of(2, 1))
    assert not contract.take(event_of(1, 2)) and not contract.take(event_of(2, 2))
    assert contract.take(event_of(3, 2)) and contract.repeats == 2
    with pytest.raises(ContractBroken, match="other bytes"):
        contract.take(event_of(2, 2, "y"))
    with pytest.raises(Gap):
        contract.take(event_of(5, 9))


def test_contract_of_a_consumer_that_began_in_the_middle():
    """The first event may be a zombie's late repeat: one upward jump with a higher epoch is allowed."""
    contract = Contract(None)
    assert contract.take(event_of(41, 3))
    assert contract.take(event_of(90, 4)) and contract.take(event_of(91, 4))
    with pytest.raises(Gap):
        contract.take(event_of(95, 5))
    contract = Contract(None)
    assert contract.take(event_of(41, 3)) and contract.take(event_of(42, 3))
    with pytest.raises(Gap):
        contract.take(event_of(90, 4))
    contract = Contract(None)
    assert contract.take(event_of(41, 3))
    with pytest.raises(Gap):
        contract.take(event_of(90, 3))
