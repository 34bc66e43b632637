"""Servers that fail under load, and worlds that are not the one that the database speaks of."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from berthtest.check import check_farm, millis
from berthtest.farm import create, share
from berthtest.load import Load, Prober, outcomes, seed_for
from berthtest.wait import NotInTime, wait_until

HOUR = 3600


def loaded(farm, name, workers=2):
    """A farm with workers, and a load for it."""
    running = [farm.start_worker() for _ in range(workers)]
    machines = [f"node-{number:02d}" for number in range(20)]
    farm.register(*machines, gpus=8, memory_gib=64)
    farm.wait_owned(*running)
    return running, Load(farm, machines, seed_for(name))


def in_the_middle(farm, load, count=500):
    """Sends so many requests, and comes back when some of them are decided."""
    before = len(farm.events.events)
    load.send(count)
    farm.events.wait(lambda: len(farm.events.events) > before + load.random.randint(1, count // 2),
                     "some are decided")


def test_database_is_killed(farm, say):
    workers, load = loaded(farm, "database-killed")
    seconds = []
    for _ in range(2):
        in_the_middle(farm, load)
        farm.database.kill()
        load.send(200)
        farm.flush(load.positions)
        assert all(worker.running() for worker in workers)
        farm.database.start()
        seconds.append(Prober(farm, range(farm.partitions)).wait(30))
        load.learn()
    say("seconds from the database's start until all partitions decide",
        [round(s, 2) for s in seconds])
    say("decisions", outcomes(load.finish()))
    assert all(worker.running() for worker in workers)
    for worker in workers:  # it says so, but not at every attempt
        assert 1 <= worker.text().count("database session lost") <= 4, worker.tail(60)
    check_farm(farm)


def test_broker_is_killed(farm, say):
    workers, load = loaded(farm, "broker-killed")
    in_the_middle(farm, load)
    farm.broker.kill()
    load.send(200)
    farm.broker.start()
    seconds = Prober(farm, range(farm.partitions)).wait(60)
    say("seconds from the broker's start until all partitions decide", round(seconds, 2))
    load.learn()
    load.send(200)
    say("decisions", outcomes(load.finish()))
    assert all(worker.running() for worker in workers)
    check_farm(farm)


def test_sessions_are_killed(farm, say):
    """KILL of the workers' own sessions, in the middle of transactions among other moments."""
    workers, load = loaded(farm, "session-killed")
    killed = 0
    for _ in range(8):
        in_the_middle(farm, load, 200)
        for row in farm.rows("SELECT id FROM information_schema.processlist WHERE user = 'berth'"
                             " AND db = %s", farm.database_name):
            try:
                farm.rows(f"KILL {row['id']}")
                killed += 1
            except farm.sql.OperationalError:
                pass  # it ended by itself
        load.learn()
    say("sessions killed", killed)
    assert killed >= 8
    load.finish()
    assert all(worker.running() for worker in workers)
    check_farm(farm)


def test_an_open_transaction_of_somebody_else(farm):
    """A client's Kafka transaction that stays open does not hold up what comes behind it; what is
    in it counts from its append, also when it is aborted; the hole that its end leaves in the
    offsets does no harm, not even to a restarted worker."""
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
    # Now a hole is the last thing before the place where a new owner begins.
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


# ---- wrong worlds --------------------------------------------------------------------------------

REQUEST_SETTINGS = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete",
                    "max.message.bytes": "65536"}


def make_again(farm, topic, settings):
    """Deletes a topic and makes it again, empty."""
    farm.broker.delete_topics([topic])

    def created():
        try:
            for future in farm.broker.admin.create_topics(
                    [NewTopic(topic, farm.partitions, 1, config=settings)]).values():
                future.result()
        except Exception:  # pylint: disable=broad-except
            return False  # the broker is not done with the deletion
        return True
    wait_until(created, f"{topic} is made again")
    wait_until(lambda: topic in farm.broker.topics() and
               len(farm.broker.topics()[topic].partitions) == farm.partitions,
               f"{topic} has its partitions")


def halted(farm):
    return {row["part"]: row["halted"] for row in
            farm.rows("SELECT part, halted FROM request_partition") if row["halted"]}


def test_request_topic_made_again(farm):
    worker = farm.start_worker()
    used = {farm.events.decision(farm.publish(b"garbage", partition=part)).partition
            for part in (1, 2, 2, 2)}
    worker.stop()
    before = farm.rows("SELECT part, seq FROM decision")
    make_again(farm, farm.request_topic, REQUEST_SETTINGS)
    positions = []
    for part in (1, 1, 1, 1, 0):  # partition 1 is longer than it was, partition 2 is empty
        farm.publish_later(b"other garbage", positions, partition=part)
    farm.flush(positions)

    worker = farm.start_worker()
    wait_until(lambda: set(halted(farm)) == used, "the partitions are halted")
    reasons = halted(farm)
    assert "is not the one that was decided last" in reasons[1]
    assert "ends at 0 but was decided up to 3" in reasons[2]
    assert all("docs/operations.md" in reason for reason in reasons.values())
    for part in used:
        worker.wait_log(rf'part={part} .*to=halted')
    # The others go on, and nothing is decided where it is not known what is what.
    fresh = farm.new_consumer()
    assert fresh.decision((0, 0)).reason == "malformed"
    assert farm.rows("SELECT part, seq FROM decision WHERE part IN (1, 2)") == before
    listing = farm.admin_command("partition", "list", "-o", "tsv").stdout
    assert "is not the one that was decided last" in listing
    # An operator who only says "go on" is told again.
    farm.admin_command("partition", "resume", "2")
    wait_until(lambda: set(halted(farm)) == used, "partition 2 is halted again")
    worker.stop()


def test_request_topic_made_again_under_a_running_worker(farm):
    worker = farm.start_worker()
    position = farm.publish(b"garbage", partition=5)
    farm.events.decision(position)
    make_again(farm, farm.request_topic, REQUEST_SETTINGS)
    wait_until(lambda: set(halted(farm)) == {5}, "the partition is halted", 60)
    assert worker.running()
    assert farm.partition_row(5)["last_seq"] == 1
    worker.stop()


def test_event_topic_made_again(farm):
    worker = farm.start_worker()
    farm.events.decision(farm.publish(b"garbage", partition=3))
    wait_until(lambda: farm.partition_row(3)["published_seq"] == 1, "it is noted as published")
    worker.stop()
    make_again(farm, farm.event_topic, {"cleanup.policy": "delete"})
    worker = farm.start_worker()
    wait_until(lambda: set(halted(farm)) == {3}, "the partition is halted")
    assert "the topic was deleted and made again" in halted(farm)[3]
    position = farm.publish(b"garbage", partition=4)
    assert farm.new_consumer().decision(position).reason == "malformed"
    worker.stop()


def test_database_restored_from_an_older_copy(farm):
    """Partitions that look sound may not decide either: they would book the same machines again."""
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
    # Another partition, which was never behind, decides nothing.
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
    # With the newest state in place the farm goes on, and the machine is booked once.
    farm.database.restore(farm.database_name, f"{farm.database_name}new")
    farm.admin_command("farm", "resume")
    assert farm.events.decision(position, limit_s=30).reason == "insufficient_capacity"
    check_farm(farm)


# ---- clocks --------------------------------------------------------------------------------------

@pytest.fixture(scope="module", name="wrong_clock")
def fixture_wrong_clock(tmp_path_factory):
    """Settings that let a program's wall clock be wrong by so many seconds."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make the preloaded clock")
    library = tmp_path_factory.mktemp("clock") / "wrong_clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library,
                    Path(__file__).parent / "berthtest/wrong_clock.c"], check=True)
    return lambda seconds: {"LD_PRELOAD": library, "WRONG_CLOCK_S": seconds}


def test_messages_ahead_of_the_clock_wait(farm, wrong_clock):
    """To a worker whose clock is ten minutes behind, the broker's is ten minutes ahead."""
    behind = farm.start_worker(**wrong_clock(-600))
    positions = [farm.publish(b"garbage", partition=part) for part in (2, 2, 6)]
    behind.wait_log(r"part=2 .*to=waiting.*ahead of this host's clock", limit_s=15)
    behind.wait_log(r"part=6 .*to=waiting.*ahead of this host's clock", limit_s=15)
    with pytest.raises(NotInTime):
        farm.events.decision(positions[0], limit_s=1)
    assert not halted(farm) and behind.running()
    # An operator lets one message through: it is decided with the partition's clock.
    farm.admin_command("partition", "resume", "2", "--ignore-time-until", positions[0][1] + 1)
    farm.events.decision(positions[0])
    with pytest.raises(NotInTime):
        farm.events.decision(positions[1], limit_s=1)
    behind.stop()
    # To a worker with a good clock there is nothing to wait for.
    farm.start_worker()
    farm.events.decisions(positions)


@pytest.mark.parametrize("seconds", (-240, 30 * 24 * HOUR))
def test_a_worker_with_a_wrong_clock_decides_the_same(farm, wrong_clock, seconds):
    """No decision reads the wall clock, be it a few minutes behind or a month ahead."""
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
