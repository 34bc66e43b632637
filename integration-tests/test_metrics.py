"""/metrics of workers and reader: that Prometheus takes it, and that the numbers mean what they say."""

import time
from collections import Counter

import pytest
import requests

from berthtest.farm import create, share
from berthtest.metrics import metrics_url, promtool, scrape
from berthtest.wait import wait_until

HOUR = 3600
LISTEN = {"BERTH_WORKER_METRICS_LISTEN": "127.0.0.1:0"}
STAGES = ("authenticate", "warm", "lock", "decide", "write", "commit", "publish")
LABELS = {"partition", "type", "outcome", "reason", "state", "cause", "route", "status"}


def start_worker(farm, **environment):
    worker = farm.start_worker(**LISTEN, **environment)
    return worker, metrics_url(worker)


def scrape_when(url, condition, what, limit_s=20.0):
    """Scrapes until the condition holds; the scrape for which it does."""
    def look():
        found = scrape(url)
        return found if condition(found) else None
    return wait_until(look, what, limit_s)


def all_published(farm):
    """A condition: nothing is undecided or unpublished, on all partitions."""
    def condition(found):
        return all(len(values := found.by("partition", name)) == farm.partitions
                   and not any(values.values())
                   for name in ("berth_request_lag", "berth_unpublished_decisions"))
    return condition


def some_requests(farm):
    """Decided requests of several types, answers and reasons."""
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    farm.register("m-1", "m-2", gpus=4)
    booked = farm.decide_all([
        (farm.batch_1, create(start, start + HOUR, share(machine, 3))) for machine in
        ("m-1", "m-1", "m-2", "m-3")])
    assert [event.accepted for event in booked] == [True, False, True, False]
    farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": booked[0].booking["id"]})
    farm.decide(farm.batch_1, {"type": "booking.cancel", "booking": 77})
    farm.decide(farm.batch_2, {"type": "nonsense"})
    farm.events.decision(farm.publish(b"no token at all"))


def assert_well_formed(found):
    """Conventions: names, units, labels; and what Prometheus says of them."""
    assert promtool("check", "metrics", text=found.text) == ""
    for name, kind in found.types.items():
        assert name.startswith("berth_")
        assert name.endswith("_total") == (kind == "counter"), name
        assert found.help[name].endswith("."), name
        allowed = {"version"} if name == "berth_build_info" else LABELS
        assert found.labels(name) <= allowed, name
    for (name, pairs), value in found.samples.items():
        if dict(pairs).get("le") == "+Inf":
            plain = frozenset(pair for pair in pairs if pair[0] != "le")
            assert found.samples[name.replace("_bucket", "_count"), plain] == value


def test_worker_counts_what_it_decides(farm):
    _, url = start_worker(farm)
    begin = time.time()
    some_requests(farm)
    found = scrape_when(url, all_published(farm), "all is published")
    assert_well_formed(found)

    rows = farm.rows("SELECT reason, event FROM decision")
    wanted = Counter("accepted" if row["reason"] is None else "rejected" for row in rows)
    assert found.by("outcome", "berth_decisions_total") == wanted
    assert found.by("reason", "berth_decisions_total", outcome="rejected") == \
        Counter(row["reason"] for row in rows if row["reason"] is not None)
    for name, outcome, reason, count in (
            ("machine.register", "accepted", "none", 2), ("booking.create", "accepted", "none", 2),
            ("booking.create", "rejected", "insufficient_capacity", 1),
            ("booking.create", "rejected", "unknown_machine", 1),
            ("booking.cancel", "accepted", "none", 1),
            ("booking.cancel", "rejected", "unknown_booking", 1),
            ("machine.update", "accepted", "none", 0),
            ("unknown", "rejected", "invalid_request", 1), ("unknown", "rejected", "malformed", 1)):
        assert found.value("berth_decisions_total", type=name, outcome=outcome,
                           reason=reason) == count, (name, reason)

    assert found.value("berth_decision_seconds_count") == len(rows)
    assert 0 < found.value("berth_decision_seconds_sum") < len(rows) * (time.time() - begin)
    assert found.value("berth_batch_messages_sum") == len(rows)
    batches = found.value("berth_batch_messages_count")
    assert 0 < batches <= len(rows)
    for stage in STAGES:
        assert found.value(f"berth_batch_{stage}_seconds_count") >= batches
        assert 0 < found.value(f"berth_batch_{stage}_seconds_sum") < time.time() - begin
    # The second booking of a machine needs no second load of its timeline.
    assert found.value("berth_timelines_loaded_total") >= 1
    assert found.value("berth_timelines_reused_total") >= 1
    for name in ("database_reconnects", "producer_resets", "group_rejoins", "kafka_disconnects"):
        assert found.value(f"berth_{name}_total") == 0
    assert found.value("berth_database_up") == 1
    assert found.value("berth_farm_halted") == 0
    assert found.value("berth_farm_partitions") == farm.partitions
    assert found.by("state", "berth_partitions")["running"] == farm.partitions
    assert abs(found.value("berth_loop_timestamp_seconds") - time.time()) < 5
    epochs = {row["part"]: row["epoch"] for row in farm.rows("SELECT * FROM request_partition")}
    assert found.by("partition", "berth_partition_epoch") == \
        {str(part): epoch for part, epoch in epochs.items()}


def test_halted_partition_and_its_lag(farm):
    farm.start_worker().wait_log("to=running")
    farm.register("m-1")
    worker = farm.processes[-1]
    worker.stop()
    position = [farm.publish(b"no token", partition=5) for _ in range(3)][0]
    farm.sql.query("UPDATE request_partition SET halted = 'for the test' WHERE part = 5")
    farm.sql.query("UPDATE request_partition SET next_offset = 100 WHERE part = 6")
    _, url = start_worker(farm)

    found = scrape_when(url, lambda found: found.by("state", "berth_partitions").get("halted") == 2
                        and found.by("state", "berth_partitions")["running"] == 6,
                        "two partitions are halted")
    halted = found.by("partition", "berth_partition_halted")
    assert {part for part, value in halted.items() if value} == {"5", "6"}
    assert len(halted) == farm.partitions
    assert set(found.by("partition", "berth_partition_waiting").values()) == {0}
    assert_well_formed(found)

    farm.admin_command("partition", "resume", 5)
    found = scrape_when(url, lambda found: found.value("berth_partition_halted", partition="5") == 0
                        and found.value("berth_request_lag", partition="5") == 0,
                        "partition 5 goes on")
    assert farm.decision_row(position)["reason"] == "malformed"
    assert found.value("berth_partition_halted", partition="6") == 1


def test_lag_of_a_backlog(farm):
    """A partition that waits for a lock that somebody holds shows what is behind it."""
    _, url = start_worker(farm)
    farm.register("m-1")
    scrape_when(url, all_published(farm), "all is published")
    holder = farm.database.connect(farm.database_name)
    holder.begin()
    holder.query("SELECT * FROM request_partition WHERE part = 2 FOR UPDATE")
    for _ in range(7):
        farm.publish(b"no token", partition=2)
    found = scrape_when(url, lambda found: found.value("berth_request_lag", partition="2") == 7,
                        "the lag of partition 2 is seen", 40)
    holder.rollback()
    holder.close()
    assert found.total("berth_batch_rollbacks_total", cause="db_lock_timeout") >= 1
    scrape_when(url, all_published(farm), "the backlog is decided", 40)


def test_lost_session_is_counted(farm):
    _, url = start_worker(farm)
    farm.register("m-1")
    session = farm.row("SELECT connection_id FROM request_partition WHERE part = 0")
    farm.sql.query(f"KILL {session['connection_id']}")
    found = scrape_when(url, lambda found: found.value("berth_database_reconnects_total") == 1
                        and found.value("berth_database_up") == 1, "the session is opened again")
    assert_well_formed(found)
    farm.register("m-2")


def test_two_workers_show_their_own_partitions(farm):
    first, first_url = start_worker(farm)
    second, second_url = start_worker(farm)
    farm.wait_owned(first, second)
    wait_until(lambda: sorted([*scrape(first_url).by("partition", "berth_partition_epoch"),
                               *scrape(second_url).by("partition", "berth_partition_epoch")])
               == [str(part) for part in range(farm.partitions)],
               "each partition is shown by one worker")
    second.stop()
    with pytest.raises(requests.ConnectionError):
        scrape(second_url)
    scrape_when(first_url, lambda found: len(found.by("partition", "berth_partition_epoch"))
                == farm.partitions, "the first worker shows all")


def test_worker_listens_only_if_told(farm):
    worker = farm.start_worker()
    worker.wait_log("to=running")
    assert "metrics listen" not in worker.text()
    _, url = start_worker(farm)
    assert requests.get(url[:-1], timeout=10).status_code == 404
    assert requests.post(url, data=b"x", timeout=10).status_code == 405
    head = requests.head(url, timeout=10)
    assert (head.status_code, head.content) == (200, b"")
    taken = url.split("/")[2]
    done = farm.run("berth-worker", status=2, BERTH_WORKER_METRICS_LISTEN=taken)
    assert f"cannot listen at {taken}" in done.stderr


def test_worker_that_waits_for_the_database_answers(farm):
    worker = farm.start_worker(ready=False, **LISTEN, BERTH_DB_PORT=1)
    worker.wait_log("cannot start yet")
    found = scrape(metrics_url(worker))
    assert found.value("berth_database_up") == 0
    assert found.value("berth_loop_timestamp_seconds") is None
    assert_well_formed(found)
