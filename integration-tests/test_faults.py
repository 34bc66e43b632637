"""Servers that fail under load, and topics or databases that do not belong together."""

import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from berthtest.check import check_farm, millis
from berthtest.farm import Farm, create, share
from berthtest.faults import HALF, REPEATS, Trials, loaded, patient
from berthtest.load import outcomes
from berthtest.metrics import metrics_url, scrape
from berthtest.preload import compile_preload
from berthtest.servers import Broker, wipe_stack
from berthtest.sse import Listener
from berthtest.wait import NotInTime, wait_until
from test_audit import audit, kinds
from test_cli import Cli

pytestmark = patient

HOUR = 3600


def test_database_is_killed(farm, say):
    workers, load = loaded(farm, "database-killed")
    trials = Trials(farm, load, workers, say)
    for _ in range(max(2, REPEATS)):
        with trials.fault(f"kill -9 of {farm.database.kind}", 500):
            farm.database.kill()
            load.send(200)
            farm.flush(load.positions)
            farm.database.start()
    for worker in workers:  # logged, but not at every attempt
        told = worker.text().count("database session lost")
        assert 1 <= told <= 2 * max(2, REPEATS), worker.tail(60)
    trials.finish()
    say("decisions", outcomes(farm.events.events))


def test_broker_is_killed(farm, say):
    workers, load = loaded(farm, "broker-killed")
    trials = Trials(farm, load, workers, say)
    for _ in range(HALF):
        with trials.fault("kill -9 of the only broker", 500):
            farm.broker.kill()
            load.send(200)
            farm.broker.start()
        load.send(200)
    trials.finish()
    say("decisions", outcomes(farm.events.events))


def kill_sessions(farm):
    """Kills the workers' database sessions; returns their number."""
    killed = 0
    for row in farm.rows("SELECT id FROM information_schema.processlist WHERE user = 'berth'"
                         " AND db = %s", farm.database_name):
        try:
            farm.rows(f"KILL {row['id']}")
            killed += 1
        except farm.sql.OperationalError:
            pass  # the session had ended by itself
    return killed


def test_sessions_are_killed(farm, say):
    """Kills database sessions under load, some in the middle of a transaction."""
    workers, load = loaded(farm, "session-killed")
    trials = Trials(farm, load, workers, say)
    killed = 0
    for _ in range(max(8, REPEATS)):
        with trials.fault("KILL of the workers' sessions", 200):
            killed += kill_sessions(farm)
    say("sessions killed", killed)
    assert killed >= 8
    trials.finish()


@pytest.fixture(scope="module", name="cluster")
def fixture_cluster(servers):
    """A cluster of three brokers."""
    stack = servers.another("cluster", "mysql", STACK_BROKERS="3")
    stack.run("start-kafka")
    try:
        yield Broker(stack)
    finally:
        wipe_stack(stack)


def leader_of(broker, topic, part):
    return broker.topics()[topic].partitions[part].leader


@pytest.mark.parametrize("database", ["mysql"], indirect=True)
def test_cluster_loses_a_leader(cluster, database, tmp_path, say):
    """Three brokers, three replicas, min.insync.replicas=2: a partition's leader dies under load and
    comes back."""
    farm = Farm(cluster, database, tmp_path)
    try:
        farm.init("--replication-factor", 3)
        for topic in (farm.request_topic, farm.event_topic):
            cluster.configure(topic, min_insync_replicas="2")
        workers, load = loaded(farm, "leader-lost")
        trials = Trials(farm, load, workers, say)
        for number in range(REPEATS):
            topic = (farm.request_topic, farm.event_topic)[number % 2]
            leader = leader_of(cluster, topic, load.random.randrange(farm.partitions))
            with trials.fault("kill -9 of a partition's leader, one of three brokers"):
                cluster.kill(leader)
                load.send(200)
            cluster.start(leader)
            wait_until(lambda: in_sync(cluster, farm), "all copies are in sync again", 60)
        trials.finish()
    finally:
        farm.close()


def in_sync(broker, farm):
    """Whether every replica of every partition is in sync."""
    topics = broker.topics()
    return all(len(part.isrs) == 3 for name in (farm.request_topic, farm.event_topic)
               for part in topics[name].partitions.values())


def test_open_transaction_of_another_client(farm):
    """A client's open Kafka transaction does not delay later requests. Its messages are decided from
    their append on, even if it is aborted. The offset taken by its end marker is harmless, also to
    a restarted worker."""
    worker = farm.start_worker()
    farm.register("gpu-01")
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    producer = Producer({"bootstrap.servers": farm.broker.bootstrap, "log_level": 0,
                         "transactional.id": f"{farm.name}-tx", "partitioner": "murmur2_random"})
    producer.init_transactions(30)
    producer.begin_transaction()
    positions = []
    for number in range(2):
        token = farm.sign(farm.batch_1, create(start, start + HOUR, share("gpu-01")), jti=f"t{number}")
        producer.produce(farm.request_topic, token, "gpu-01", on_delivery=lambda _, message:
                         positions.append((message.partition(), message.offset())))
    producer.flush(20)
    behind = farm.decide(farm.batch_1, create(start, start + HOUR, share("gpu-01")))
    assert behind.accepted and behind.partition == positions[0][0]
    assert all(event.accepted for event in farm.events.decisions(positions))
    producer.abort_transaction(30)
    assert farm.decide(farm.batch_1, create(start, start + HOUR, share("gpu-01"))).accepted
    # Now an end marker is directly before the offset from which a new owner reads.
    producer.begin_transaction()
    producer.produce(farm.request_topic, "garbage", partition=behind.partition)
    producer.commit_transaction(30)
    wait_until(lambda: farm.partition_row(behind.partition)["last_seq"] > behind.sequence + 1,
               "the last message is decided")
    worker.stop()
    farm.start_worker()
    event = farm.decide(farm.batch_1, create(start, start + HOUR, share("gpu-01")))
    assert event.accepted and event.position[1] > behind.position[1] + 4
    check_farm(farm)


def transact(farm, name, count, value="garbage"):
    """Commits that many transactions of one message each, in partition 5."""
    producer = Producer({"bootstrap.servers": farm.broker.bootstrap, "log_level": 0,
                         "linger.ms": 0, "transactional.id": f"{farm.name}-{name}"})
    producer.init_transactions(30)
    for _ in range(count):
        producer.begin_transaction()
        producer.produce(farm.request_topic, value, partition=5)
        producer.commit_transaction(30)


def nothing_waits(farm, worker, reader):
    """No request is undecided: for the worker, the reader and berth-admin."""
    def lag(url):
        return scrape(url).value("berth_request_lag", partition="5")
    if lag(worker) or lag(reader):
        return None
    return farm.admin_json("status")["undecided"] == 0


def test_markers_at_the_end_of_the_log(farm):
    """A commit takes an offset behind the last request for its marker. It is no undecided request, and
    an owner that finds nothing else has made progress."""
    worker = farm.start_worker(BERTH_WORKER_METRICS_LISTEN="127.0.0.1:0")
    farm.start_reader()
    transact(farm, "markers", 1)
    reader, url = f"{farm.reader_url}/metrics", metrics_url(worker)
    farm.events.decision((5, 0))
    wait_until(lambda: nothing_waits(farm, url, reader), "nothing waits", 5)
    # An owner can be killed before it has seen the marker.
    worker.kill()
    with farm.sql.cursor() as cursor:
        cursor.execute("UPDATE request_partition SET next_offset = 1, epoch = epoch + 6"
                       " WHERE part = 5")
    assert farm.admin_json("status")["undecided"] == 0
    refused = farm.admin_command("reject", 5, 1, status=2).stderr
    assert "has no undecided request" in refused, refused
    farm.start_worker().wait_log(r"part=5 .*to=running")
    row = farm.partition_row(5)
    assert row["next_offset"] == 2 and row["progress_epoch"] == row["epoch"] and not row["halted"]
    assert farm.events.decision(farm.publish("garbage", partition=5)).reason == "malformed"
    check_farm(farm)


def test_backlog_of_small_transactions(farm):
    """Every second offset is a marker, which cannot be rejected."""
    transact(farm, "backlog", 40)
    assert farm.admin_json("status")["undecided"] == 79  # offsets up to the last request
    refused = farm.admin_command("reject", 5, 1, status=2).stderr
    assert "stands at offset 0" in refused, refused
    farm.admin_command("reject", 5, 0)
    farm.start_worker()
    events = farm.events.decisions([(5, 2 * number) for number in range(40)])
    assert [event.reason for event in events] == ["rejected_by_operator"] + ["malformed"] * 39
    wait_until(lambda: farm.partition_row(5)["next_offset"] == 80, "the last marker is passed", 10)


def test_open_transactions_and_other_consumers(farm):
    """An open transaction on each topic blocks neither the command line, the reader nor the audit."""
    farm.start_worker()
    farm.start_reader()
    producer = Producer({"bootstrap.servers": farm.broker.bootstrap, "log_level": 0,
                         "transactional.id": f"{farm.name}-tx"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for part in range(farm.partitions):
        producer.produce(farm.event_topic, "foreign", partition=part)
    producer.produce(farm.request_topic, "garbage", partition=5)
    producer.flush(20)
    listener = Listener(farm.reader_url)
    wait_until(lambda: listener.last_id, "the first position arrives")
    Cli(farm, farm.ops)("machine", "add", "gpu-01", "--gpus", 8, "--mem", 64)
    listener.wait_for(1)
    listener.close()
    report = audit(farm, "--wait", "10s", status=6)
    assert kinds(report) == {"event_foreign"}, report
    producer.abort_transaction(30)


def test_another_claim_of_the_same_epoch(farm):
    """A fail-over can lose a claim; then another worker's claim has the same epoch. The row names another
    session: the worker that reads it again claims anew."""
    worker = farm.start_worker()
    worker.wait_log(r"part=5 .*to=running")
    epochs = {part: farm.partition_row(part)["epoch"] for part in (4, 5)}
    with farm.sql.cursor() as cursor:
        cursor.execute("UPDATE request_partition SET connection_id = 1 WHERE part = 5")
    kill_sessions(farm)
    worker.wait_log(r"part=5 .*to=lost .*another worker has claimed it")
    wait_until(lambda: farm.partition_row(5)["epoch"] > epochs[5], "it is claimed anew", 30)
    assert farm.events.decision(farm.publish("garbage", partition=5)).reason == "malformed"
    assert "part=4 from=checking to=lost" not in worker.text()
    check_farm(farm)


# ---- wrong worlds --------------------------------------------------------------------------------

REQUEST_SETTINGS = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete",
                    "compression.type": "uncompressed", "max.message.bytes": "65536"}


def make_again(farm, topic, settings):
    """Deletes a topic and creates it again, empty."""
    farm.broker.delete_topics([topic])

    def created():
        try:
            for future in farm.broker.admin.create_topics(
                    [NewTopic(topic, farm.partitions, 1, config=settings)]).values():
                future.result()
        except Exception:  # pylint: disable=broad-except
            return False  # the broker has not finished the deletion
        return True
    wait_until(created, f"{topic} is made again")
    wait_until(lambda: topic in farm.broker.topics() and
               len(farm.broker.topics()[topic].partitions) == farm.partitions,
               f"{topic} has its partitions")


def test_request_topic_recreated(farm):
    worker = farm.start_worker()
    used = {farm.events.decision(farm.publish(b"garbage", partition=part)).partition
            for part in (1, 2, 2, 2)}
    worker.stop()
    before = farm.rows("SELECT part, seq FROM decision")
    make_again(farm, farm.request_topic, REQUEST_SETTINGS)
    positions = []
    for part in (1, 1, 1, 1, 0):  # partition 1 becomes longer than before, partition 2 stays empty
        farm.publish_later(b"other garbage", positions, partition=part)
    farm.flush(positions)

    worker = farm.start_worker()
    wait_until(lambda: set(farm.halted()) == used, "the partitions are halted")
    reasons = farm.halted()
    assert "is not the one that was decided last" in reasons[1]
    assert "ends at 0 but was decided up to 3" in reasons[2]
    assert all("docs/operations.md" in reason for reason in reasons.values())
    for part in used:
        worker.wait_log(rf'part={part} .*to=halted')
    # The other partitions go on; halted partitions decide nothing.
    fresh = farm.new_consumer()
    assert fresh.decision((0, 0)).reason == "malformed"
    assert farm.rows("SELECT part, seq FROM decision WHERE part IN (1, 2)") == before
    listing = farm.admin_command("partition", "list", "-o", "tsv").stdout
    assert "is not the one that was decided last" in listing
    # Resuming without a new position halts the partition again.
    farm.admin_command("partition", "resume", "2")
    wait_until(lambda: set(farm.halted()) == used, "partition 2 is halted again")
    worker.stop()


def test_request_topic_recreated_under_a_running_worker(farm):
    worker = farm.start_worker()
    position = farm.publish(b"garbage", partition=5)
    farm.events.decision(position)
    make_again(farm, farm.request_topic, REQUEST_SETTINGS)
    wait_until(lambda: set(farm.halted()) == {5}, "the partition is halted", 60)
    assert worker.running()
    assert farm.partition_row(5)["last_seq"] == 1
    worker.stop()


def test_event_topic_recreated(farm):
    worker = farm.start_worker()
    farm.events.decision(farm.publish(b"garbage", partition=3))
    wait_until(lambda: farm.partition_row(3)["published_seq"] == 1, "it is noted as published")
    worker.stop()
    make_again(farm, farm.event_topic,
               {"cleanup.policy": "delete", "compression.type": "uncompressed"})
    worker = farm.start_worker()
    wait_until(lambda: set(farm.halted()) == {3}, "the partition is halted")
    assert "the topic was deleted and made again" in farm.halted()[3]
    position = farm.publish(b"garbage", partition=4)
    assert farm.new_consumer().decision(position).reason == "malformed"
    worker.stop()


def test_database_restored_from_an_older_copy(farm):
    """After a restored backup even sound-looking partitions halt: they would over-book machines."""
    worker = farm.start_worker()
    farm.register("gpu-01")
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    worker.stop()
    farm.database.dump(farm.database_name, f"{farm.database_name}old")
    worker = farm.start_worker()
    first = farm.accept(farm.batch_1, create(start, start + HOUR, share("gpu-01", 8)))
    worker.stop()
    farm.database.dump(farm.database_name, f"{farm.database_name}new")
    farm.database.restore(farm.database_name, f"{farm.database_name}old")

    workers = [farm.start_worker(), farm.start_worker()]
    why = wait_until(lambda: farm.row("SELECT halted FROM farm")["halted"], "the farm is halted")
    assert "was restored from an older state" in why and first.id in why
    assert any("the farm is halted" in worker.text() for worker in workers)
    # A partition that was never behind decides nothing either.
    idle = next(part for part in range(farm.partitions) if part != first.partition)
    position = farm.publish(farm.sign(farm.batch_2, create(start, start + HOUR, share("gpu-01", 8))),
                            partition=idle)
    with pytest.raises(NotInTime):
        farm.events.decision(position, limit_s=1)
    assert "halted" in farm.admin_command("status").stdout.lower()
    refused = farm.admin_command("farm", "resume", status=None)
    assert refused.returncode not in (0, 2) and "older" in refused.stderr
    for worker in workers[1:]:
        worker.stop()
    # With the newest state restored the farm goes on, and the machine is booked once.
    farm.database.restore(farm.database_name, f"{farm.database_name}new")
    farm.admin_command("farm", "resume")
    assert farm.events.decision(position, limit_s=30).reason == "insufficient_capacity"
    check_farm(farm)


# ---- clocks --------------------------------------------------------------------------------------

@pytest.fixture(scope="module", name="wrong_clock")
def fixture_wrong_clock(tmp_path_factory):
    """Environment that shifts a program's wall clock by so many seconds."""
    library = compile_preload("wrong_clock", tmp_path_factory.mktemp("clock"))
    return lambda seconds: {"LD_PRELOAD": library, "WRONG_CLOCK_S": seconds}


def test_messages_ahead_of_the_clock_wait(farm, wrong_clock):
    """A worker with a clock ten minutes slow sees the broker's clock ten minutes fast, and halts."""
    behind = farm.start_worker(**wrong_clock(-600))
    positions = [farm.publish(b"garbage", partition=part) for part in (2, 2, 6)]
    behind.wait_log(r"part=2 .*to=waiting.*ahead of this host's clock", limit_s=15)
    behind.wait_log(r"part=6 .*to=waiting.*ahead of this host's clock", limit_s=15)
    with pytest.raises(NotInTime):
        farm.events.decision(positions[0], limit_s=1)
    assert not farm.halted() and behind.running()
    # The operator lets one message through: it is decided by the partition's clock.
    farm.admin_command("partition", "resume", "2", "--ignore-time-until", positions[0][1] + 1)
    farm.events.decision(positions[0])
    with pytest.raises(NotInTime):
        farm.events.decision(positions[1], limit_s=1)
    behind.stop()
    # A worker with a correct clock has nothing to wait for.
    farm.start_worker()
    farm.events.decisions(positions)


@pytest.mark.parametrize("seconds", (-240, 30 * 24 * HOUR))
def test_a_worker_with_a_wrong_clock_decides_the_same(farm, wrong_clock, seconds):
    """Decisions never read the wall clock, whether minutes slow or a month fast."""
    farm.start_worker(**wrong_clock(seconds))
    now = int(time.time())
    event = farm.accept(farm.ops, {"type": "machine.register", "machine": "gpu-01", "gpus": 8,
                                   "memory_gib": 64})
    assert abs(millis(event.json["time"]) / 1000 - now) < 60
    event = farm.accept(farm.batch_1, {"type": "booking.create", "duration_s": HOUR,
                                       "allocations": [share("gpu-01")]})
    assert abs(millis(event.booking["start"]) / 1000 - now) < 60
    assert farm.decide(farm.batch_1, create(now - HOUR, now + HOUR)).reason == "start_in_past"
    assert farm.decide(farm.batch_1, create(now, now + HOUR), iat=now - 700,
                       exp=now - 100).reason == "expired"
    check_farm(farm)
