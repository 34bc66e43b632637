"""Duplicates: a request is decided once and each repeat gets the first answer; another request under
the same id is refused."""

import itertools
import time
import uuid

import pytest

from berthtest.check import check_farm
from berthtest.farm import create, private_key, share
from berthtest.load import outcomes

HOUR = 3600
numbers = itertools.count(1)


def window():
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    return start, start + HOUR


@pytest.fixture(name="place")
def fixture_place(module_farm):
    """The module's farm and two machines for one test."""
    names = [f"d{next(numbers)}-{letter}" for letter in "ab"]
    module_farm.register(*names)
    return module_farm, *names


def assert_repeats(event, first):
    """Checks a repeat's event: the first answer's type and data at its own position in the log."""
    assert event.duplicate_of == first.id
    assert event.json["type"] == first.json["type"]
    assert event.json.get("subject") == first.json.get("subject")
    expected = {**first.data, "duplicate_of": first.id,
                "request": {**first.data["request"], "partition": event.message.partition,
                            "offset": event.position[1]}}
    assert event.data == expected
    assert event.sequence > first.sequence or event.partition != first.partition


def test_the_same_message_twice(place):
    farm, a, _ = place
    token = farm.sign(farm.batch_1, create(*window(), share(a)))
    first = farm.events.decision(farm.publish(token, a))
    second = farm.events.decision(farm.publish(token, a))
    assert first.accepted and first.duplicate_of is None
    assert_repeats(second, first)
    assert farm.row("SELECT version FROM machine WHERE name = %s", a)["version"] == 2
    row = farm.decision_row(second.position)
    assert (row["client"], row["request_id"], row["content_sha256"]) == ("batch-1", None, None)
    check_farm(farm)


def test_signed_again(place):
    """Another iat or exp, another key of the client or another member order is the same request."""
    farm, a, _ = place
    ident, now = str(uuid.uuid4()), int(time.time())
    request = create(*window(), share(a))
    first = farm.accept(farm.batch_1, request, jti=ident)
    second = farm.decide(farm.batch_1, request, jti=ident, iat=now - 30, exp=now + 3000)
    assert_repeats(second, first)
    other_key = farm.add_key("batch-1", "submitter", "RS256", f"second-{a}", private_key("RS256"))
    third = farm.decide(other_key, request, jti=ident)
    assert_repeats(third, first)
    reordered = dict(reversed(list(request.items())))
    assert_repeats(farm.decide(farm.batch_1, reordered, jti=ident, unknown="claim"), first)


def test_sent_to_other_partitions(place):
    """Sent with another machine's key or with none: whichever partition gets it repeats the answer."""
    farm, a, b = place
    token = farm.sign(farm.batch_1, create(*window(), share(a)))
    first = farm.events.decision(farm.publish(token, b))
    assert first.accepted
    for partition in range(farm.partitions):
        event = farm.events.decision(farm.publish(token, a, partition))
        assert event.partition == partition
        assert_repeats(event, first)
    check_farm(farm)


def test_other_content_under_the_same_id(place):
    farm, a, b = place
    ident = str(uuid.uuid4())
    first = farm.accept(farm.batch_1, create(*window(), share(a)), jti=ident)
    for request, claims in ((create(*window(), share(a, 2)), {}),
                            (create(*window(), share(b)), {}),
                            ({"type": "booking.cancel", "booking": first.booking["id"]}, {}),
                            (create(*window(), share(a)), {"sub": "bob"})):
        event = farm.decide(farm.batch_1, request, jti=ident, **claims)
        assert event.reason == "request_id_reused" and event.duplicate_of is None
        assert first.id in event.data["detail"]
    # Request ids belong to a client and are case-sensitive.
    assert farm.accept(farm.batch_2, create(*window(), share(b)), jti=ident).duplicate_of is None
    upper = create(*window(), share(b))
    assert farm.accept(farm.batch_1, upper, jti=ident.upper()).duplicate_of is None
    check_farm(farm)


def test_the_first_answer_stays(place):
    """A repeat gets the first answer even after the booking has changed."""
    farm, a, _ = place
    ident, rejected_ident = str(uuid.uuid4()), str(uuid.uuid4())
    request = create(*window(), share(a, 8))
    first = farm.accept(farm.batch_1, request, jti=ident)
    rejected = farm.decide(farm.batch_2, request, jti=rejected_ident)
    assert rejected.reason == "insufficient_capacity"
    number = first.booking["id"]
    cancel = farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": number},
                         jti=f"cancel-{a}")
    again = farm.decide(farm.batch_1, request, jti=ident)
    assert_repeats(again, first)
    assert again.booking["state"] == "booked" and again.booking["version"] == 1
    assert farm.row("SELECT state FROM booking WHERE id = %s", number)["state"] == "cancelled"
    # A rejected request stays rejected although there is room now.
    assert_repeats(farm.decide(farm.batch_2, request, jti=rejected_ident), rejected)
    assert_repeats(farm.decide(farm.batch_1, {"type": "booking.cancel", "booking": number},
                               jti=f"cancel-{a}"), cancel)
    check_farm(farm)


def test_rejections_before_the_id_check(place):
    """Rejections before the id check do not use the id; a repeat after expiry is rejected as expired."""
    farm, a, _ = place
    ident, now = str(uuid.uuid4()), int(time.time())
    request = create(*window(), share(a))
    late = {"iat": now - 700, "exp": now - 100}
    assert farm.decide(farm.batch_1, request, jti=ident, **late).reason == "expired"
    assert farm.decide(farm.batch_1, request, jti=ident, aud="other").reason == "wrong_audience"
    wrong = {**request, "color": "red"}
    assert farm.decide(farm.batch_1, wrong, jti=ident).reason == "invalid_request"
    first = farm.accept(farm.batch_1, request, jti=ident)
    assert first.duplicate_of is None
    assert farm.decide(farm.batch_1, request, jti=ident, **late).reason == "expired"
    old = farm.add_key("batch-1", "submitter", "ES256", f"old-{a}", private_key("ES256", "old"))
    assert_repeats(farm.decide(old, request, jti=ident), first)
    farm.admin_command("key", "revoke", f"old-{a}")
    assert farm.decide(old, request, jti=ident).reason == "key_revoked"
    assert_repeats(farm.decide(farm.batch_1, request, jti=ident), first)
    # A rejection for a missing role uses up the id like any other decision.
    update = {"type": "machine.update", "machine": a, "gpus": 9}
    forbidden = farm.decide(farm.batch_1, update, jti=f"update-{a}")
    assert forbidden.reason == "forbidden"
    assert_repeats(farm.decide(farm.batch_1, update, jti=f"update-{a}"), forbidden)
    check_farm(farm)


def copies(farm, idents, machine, times):
    """Sends each id several times, spread over all partitions: {id: positions}."""
    start, end = window()
    positions, order = [], []
    tokens = {ident: farm.sign(farm.batch_1, create(start, end, share(machine, 1, 1)), jti=ident)
              for ident in idents}
    for number in range(times):
        for index, ident in enumerate(idents):
            farm.publish_later(tokens[ident], positions,
                               partition=(number + index) % farm.partitions)
            order.append(ident)
    found = {}
    for ident, position in zip(order, farm.flush(positions)):
        found.setdefault(ident, []).append(position)
    return found


def assert_once(farm, found):
    """One copy of each id was decided; the others repeat its answer."""
    for ident, positions in found.items():
        events = farm.events.decisions(positions)
        firsts = [event for event in events if event.duplicate_of is None]
        assert len(firsts) == 1, (ident, [event.id for event in firsts])
        for event in events:
            if event is not firsts[0]:
                assert_repeats(event, firsts[0])


def test_within_one_batch(farm):
    """All copies are in the log before the only worker starts."""
    positions = [farm.send(farm.ops, {"type": "machine.register", "machine": "gpu-01", "gpus": 64,
                                      "memory_gib": 64})] * 2
    found = copies(farm, [f"id-{number}" for number in range(30)], "gpu-01", 20)
    farm.start_worker()
    farm.events.decisions(positions)
    assert_once(farm, found)
    check_farm(farm)


def test_across_workers_and_restarts(farm, say):
    """Three workers decide copies of the same ids at once on all partitions; then other workers do."""
    workers = [farm.start_worker() for _ in range(3)]
    farm.wait_owned(*workers)
    farm.register("gpu-01", gpus=400, memory_gib=4000)
    idents = [f"id-{number}" for number in range(250)]
    found = copies(farm, idents, "gpu-01", farm.partitions)
    farm.events.decisions([position for positions in found.values() for position in positions])
    assert_once(farm, found)
    say("ids that met themselves", outcomes(farm.events.events))
    for worker in workers:
        worker.stop()
    farm.start_worker()
    again = copies(farm, idents[:40], "gpu-01", 2)
    for ident, positions in again.items():
        found[ident] += positions
    assert_once(farm, found)
    check_farm(farm)
