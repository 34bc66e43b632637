"""berth-admin audit: passes a sound farm, also while it runs, and finds every planted fault."""

import json
import time
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from berthtest.farm import create, share
from berthtest.wait import wait_until

HOUR = 3600


@pytest.fixture(scope="module", name="booked")
def fixture_booked(module_farm):
    """A farm with bookings of all kinds."""
    farm = module_farm
    start = int(time.time()) // HOUR * HOUR + 2 * HOUR
    farm.register("gpu-01", "gpu-02", "gpu-03", labels={"rack": "r1"})
    events = [farm.accept(farm.batch_1, create(start + i * HOUR, start + (i + 2) * HOUR,
                                               share("gpu-01", 2), share("gpu-02", 1)))
              for i in range(6)]
    ids = [event.json["data"]["booking"]["id"] for event in events]
    farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": ids[0]})
    farm.accept(farm.batch_1, {"type": "booking.amend", "booking": ids[1],
                               "allocations": [share("gpu-03", 3)]})
    running = farm.accept(farm.batch_2, {"type": "booking.create", "duration_s": 5 * HOUR,
                                         "allocations": [share("gpu-03", 4)]})
    farm.accept(farm.batch_2, {"type": "booking.amend",
                               "booking": running.json["data"]["booking"]["id"],
                               "allocations": [share("gpu-02", 3)]})
    farm.accept(farm.batch_2, {"type": "booking.create", "duration_s": HOUR,
                               "allocations": [share("gpu-03", 1)]})
    farm.accept(farm.ops, {"type": "machine.update", "machine": "gpu-03", "gpus": 2,
                           "displace": True})
    daily = {"repeat": {"every": "day", "count": 4, "zone": "Europe/Paris"}}
    kept = farm.accept(farm.batch_1, {**create(start + 8 * HOUR, start + 9 * HOUR,
                                               share("gpu-01", 2)), **daily})
    first, second, *_ = kept.data["series"]["occurrences"]
    farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": second["booking"]})
    farm.accept(farm.batch_1, {"type": "booking.amend", "booking": first["booking"],
                               "allocations": [share("gpu-02", 1)]})
    gone = farm.accept(farm.batch_2, {
        "type": "booking.create", "start": kept.booking["start"], "end": kept.booking["end"],
        "any": {"count": 1, "gpus": 7, "memory_gib": 1}, "skip_conflicts": True, **daily})
    farm.accept(farm.batch_2, {"type": "booking.cancel", "series": gone.data["series"]["id"]})
    request = create(start, start + HOUR, share("gpu-02", 1))
    farm.accept(farm.batch_1, request, jti="twice")
    farm.decide(farm.batch_1, request, jti="twice")
    farm.publish(b"garbage", partition=0)
    assert not farm.decide(farm.batch_1, create(start, start + HOUR, share("gpu-01", 9))).accepted
    return farm


def audit(farm, *options, status=0):
    return json.loads(farm.admin_command("audit", "--json", *options, status=status).stdout)


@contextmanager
def planted(farm, plant, undo):
    """SQL that corrupts the tables, and SQL that repairs them."""
    def run(statements):
        with farm.sql.cursor() as cursor:
            for statement in statements:
                changed = cursor.execute(statement)
                assert changed > 0 or statement.startswith("DROP"), statement
    run(plant)
    try:
        yield
    finally:
        run(undo)


def kinds(report):
    return {difference["kind"] for difference in report["differences"]}


def test_good_farm(booked):
    wait_until(lambda: audit(booked)["compared"]["requests"] >= 24, "all is decided")
    report = audit(booked)
    assert report["result"] == "ok" and report["differences"] == []
    compared = report["compared"]
    assert compared["events"] == compared["decisions"] == compared["requests"] == 24
    assert compared["bookings"] == 9 + 4 + 4 and compared["machines"] == 3
    assert sum(part["last_sequence"] for part in report["ranges"]) == compared["events"]
    text = booked.admin_command("audit").stdout
    assert "all agree" in text and f"compared {compared['events']} events" in text


# name: (break, mend, kinds that must be among the differences)
PLANTS = {
    "event bytes": (
        ["UPDATE decision SET event = CONCAT(event, ' ') WHERE outcome = 'accepted' "
         "ORDER BY part, seq LIMIT 1"],
        ["UPDATE decision SET event = TRIM(TRAILING ' ' FROM event) WHERE event LIKE '%% '"],
        {"event_different"}),
    "message digest": (
        ["UPDATE decision SET message_sha256 = UNHEX(REVERSE(HEX(message_sha256))) "
         "ORDER BY part, seq LIMIT 1"],
        ["UPDATE decision SET message_sha256 = UNHEX(REVERSE(HEX(message_sha256))) "
         "ORDER BY part, seq LIMIT 1"],
        {"request_different"}),
    "decision lost": (
        ["CREATE TABLE kept AS SELECT * FROM decision ORDER BY part, seq LIMIT 1",
         "DELETE FROM decision ORDER BY part, seq LIMIT 1"],
        ["INSERT INTO decision SELECT * FROM kept", "DROP TABLE kept"],
        {"event_unknown", "request_undecided"}),
    "reason": (
        ["UPDATE decision SET reason = 'too_long' WHERE reason = 'exceeds_machine'"],
        ["UPDATE decision SET reason = 'exceeds_machine' WHERE reason = 'too_long'"],
        {"decision_contradicts"}),
    "allocation amount": (
        ["UPDATE allocation SET gpus = gpus + 1 WHERE live = 1 ORDER BY booking DESC LIMIT 1"],
        ["UPDATE allocation SET gpus = gpus - 1 WHERE live = 1 ORDER BY booking DESC LIMIT 1"],
        {"allocation_different", "allocation_missing"}),
    "allocation alive again": (
        ["UPDATE allocation SET live = 1 - live"],
        ["UPDATE allocation SET live = 1 - live"],
        {"allocation_different", "allocation_missing"}),
    "over-booked": (
        ["INSERT INTO allocation SELECT booking, machine, start_ms - 1000, end_ms - 1000, 60000, "
         "memory_gib, 1, 1 FROM allocation WHERE live = 1 ORDER BY booking DESC LIMIT 1"],
        ["DELETE FROM allocation WHERE gpus >= 60000"],
        {"overbooked"}),
    "over-booked in memory": (
        ["INSERT INTO allocation SELECT booking, machine, start_ms - 1000, end_ms - 1000, 0, "
         "1000000, 1, 1 FROM allocation WHERE live = 1 ORDER BY booking DESC LIMIT 1"],
        ["DELETE FROM allocation WHERE memory_gib >= 1000000"],
        {"overbooked"}),
    "booking end": (
        ["UPDATE booking SET end_ms = end_ms + 1000 ORDER BY id LIMIT 1"],
        ["UPDATE booking SET end_ms = end_ms - 1000 ORDER BY id LIMIT 1"],
        {"booking_different"}),
    "booking unknown": (
        ["INSERT INTO booking SELECT id + 40960000, client, user_name, start_ms, end_ms, state, "
         "version, series FROM booking ORDER BY id LIMIT 1"],
        ["DELETE FROM booking WHERE id BETWEEN 40960000 AND 81920000"],
        {"booking_unknown"}),
    "booking version": (
        ["UPDATE booking SET version = version + 1 ORDER BY id LIMIT 1"],
        ["UPDATE booking SET version = version - 1 ORDER BY id LIMIT 1"],
        {"booking_different"}),
    "booking of no series": (
        ["UPDATE booking SET series = 12345678 WHERE series IS NULL ORDER BY id LIMIT 1"],
        ["UPDATE booking SET series = NULL WHERE series = 12345678"],
        {"booking_different"}),
    "booking of another series": (
        ["UPDATE booking SET series = series + 1 WHERE series IS NOT NULL ORDER BY id LIMIT 1"],
        ["UPDATE booking SET series = series - 1 WHERE series IS NOT NULL ORDER BY id LIMIT 1"],
        {"booking_different"}),
    "occurrence lost": (
        ["CREATE TABLE kept AS SELECT * FROM booking WHERE series IS NOT NULL "
         "ORDER BY id DESC LIMIT 1",
         "DELETE FROM booking WHERE series IS NOT NULL ORDER BY id DESC LIMIT 1"],
        ["INSERT INTO booking SELECT * FROM kept", "DROP TABLE kept"],
        {"booking_missing"}),
    "occurrence alive": (
        ["CREATE TABLE kept AS SELECT id FROM booking WHERE series IS NOT NULL "
         "AND state = 'cancelled' ORDER BY id LIMIT 1",
         "UPDATE booking SET state = 'booked' WHERE id IN (SELECT id FROM kept)"],
        ["UPDATE booking SET state = 'cancelled' WHERE id IN (SELECT id FROM kept)",
         "DROP TABLE kept"],
        {"booking_different"}),
    "machine capacity": (
        ["UPDATE machine SET gpus = gpus + 1 WHERE name = 'gpu-01'"],
        ["UPDATE machine SET gpus = gpus - 1 WHERE name = 'gpu-01'"],
        {"machine_different"}),
    "event missing": (
        ["INSERT INTO decision SELECT part, seq + 1, log_offset + 1, message_sha256, NULL, NULL, "
         "NULL, outcome, reason, subject, time_ms, event FROM decision "
         "ORDER BY part, seq DESC LIMIT 1",
         "UPDATE request_partition SET last_seq = last_seq + 1 ORDER BY part LIMIT 1"],
        ["UPDATE request_partition SET last_seq = last_seq - 1 ORDER BY part LIMIT 1",
         "DELETE FROM decision ORDER BY part, seq DESC LIMIT 1"],
        {"event_missing", "decision_ahead"}),
}


@pytest.mark.parametrize("name", PLANTS)
def test_planted(booked, name):
    plant, undo, expected = PLANTS[name]
    with planted(booked, plant, undo):
        report = audit(booked, "--wait", "1s", status=6)
        assert report["result"] == "differences"
        assert report["difference_count"] == len(report["differences"])
        assert expected <= kinds(report), report["differences"]
    assert audit(booked)["result"] == "ok"


def test_occurrences_without_machines(booked):
    """A large series' event omits its machines; the audit must not conclude that it allocates none."""
    paths = ", ".join(f"'$.data.series.occurrences[{i}].allocations'" for i in range(4))
    with planted(booked,
                 ["CREATE TABLE kept AS SELECT part, seq, event FROM decision "
                  "WHERE event LIKE '%%\"series\":{%%'",
                  "UPDATE decision JOIN kept USING (part, seq) SET decision.event = "
                  f"JSON_REMOVE(CONVERT(kept.event USING utf8mb4), {paths})"],
                 ["UPDATE decision JOIN kept USING (part, seq) SET decision.event = kept.event",
                  "DROP TABLE kept"]):
        report = audit(booked, "--wait", "1s", status=6)
        assert kinds(report) == {"event_different"}, report["differences"]
    assert audit(booked)["result"] == "ok"


def test_foreign_and_forged_events(farm):
    """The audit finds foreign messages on the event topic and a gap in a sequence."""
    farm.start_worker()
    farm.register("gpu-01")
    producer = Producer({"bootstrap.servers": farm.broker.bootstrap})
    producer.produce(farm.event_topic, b"hello", partition=1)
    producer.produce(farm.event_topic, b'{"sequence":"0000000000000000777"}', partition=2,
                     headers={"ce_id": "2-777"})
    assert producer.flush(20) == 0
    report = audit(farm, "--wait", "1s", status=6)
    assert kinds(report) == {"event_foreign", "event_gap", "event_unknown"}, report


def test_while_running(farm, say):
    """An audit does not stop the farm from deciding requests."""
    farm.start_worker()
    farm.register(*[f"gpu-{i:02}" for i in range(20)])
    start = int(time.time()) // HOUR * HOUR + 2 * HOUR
    positions = []
    audits = 0
    for i in range(1500):
        at = start + i // 20 * HOUR
        farm.send_later(farm.batch_1, create(at, at + 2 * HOUR, share(f"gpu-{i % 20:02}")),
                        positions)
        if i % 300 == 299:
            assert audit(farm)["result"] == "ok"
            audits += 1
    farm.flush(positions)
    wait_until(lambda: audit(farm)["compared"]["requests"] >= 1520, "all is decided", 60)
    say("audits under load", audits)
