"""The runbook of docs/operations.md: provokes each halt, finds its text where the page says, and
follows its remedy step by step."""

import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions, NewTopic

from berthtest.check import check_farm, millis
from berthtest.farm import create, share, tomorrow
from berthtest.servers import ROOT
from berthtest.wait import wait_until

HOUR = 3600
PAGE = " ".join((ROOT / "docs/operations.md").read_text().split())
REQUESTS = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete",
            "compression.type": "uncompressed", "max.message.bytes": "65536"}
EVENTS = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete",
          "compression.type": "uncompressed", "max.message.bytes": "1048576"}


def on_the_page(text):
    """Checks that the page contains a text of the programs."""
    assert text in PAGE, f"docs/operations.md does not mention: {text}"
    return text


def make_topic(farm, topic, settings, partitions=8):
    for future in farm.broker.admin.create_topics(
            [NewTopic(topic, partitions, 1, config=settings)]).values():
        future.result()
    wait_until(lambda: topic in farm.broker.topics(), f"{topic} is made")


def execute(farm, statement):
    with farm.sql.cursor() as cursor:
        cursor.execute(statement)


def wait_halted(farm, part, cause, text):
    """Waits for the halt; checks its cause in the row, and its text in row, listing and log."""
    on_the_page(text.split("{")[0])
    wait_until(lambda: farm.partition_row(part)["halted"], f"partition {part} is halted", 30)
    row = farm.partition_row(part)
    why = row["halted"]
    assert row["halt_cause"] == cause
    assert text.split("{")[0] in why, why
    assert why in farm.admin_command("partition", "list", "-o", "tsv").stdout
    for worker in farm.processes:
        if worker.running():
            worker.wait_log(rf'part={part} .*to=halted.*why="')
    return why


# ---- programs that do not start ------------------------------------------------------------------

def refuses(farm, text, **environment):
    """The worker exits with status 2 and one line that the page explains."""
    worker = farm.start_worker(ready=False, **environment)
    worker.wait(status=2)
    lines = worker.text().strip().splitlines()
    assert text in lines[-1], lines
    assert lines[-1].startswith("berth-worker: ")
    return lines[-1]


def test_a_worker_does_not_start_without_a_farm(new_farm):
    farm = new_farm()
    refuses(farm, on_the_page("the database has no tables of Berth"))
    farm.admin_command("migrate")
    refuses(farm, on_the_page("the database holds no farm"))
    execute(farm, "INSERT INTO schema_version (version, name, sha256, statements_done,"
            " applied_at_ms) VALUES (999, 'future', REPEAT('x', 32), 1, 1)")
    refuses(farm, "the database has schema version 999")


def test_a_worker_does_not_start_in_a_wrong_world(farm):
    refuses(farm, on_the_page("the request topic is missing"), BERTH_FARM_TOPIC_PREFIX="misspelt.")
    prefix = f"{farm.topic_prefix}wrong."
    other = {"BERTH_FARM_TOPIC_PREFIX": prefix}
    make_topic(farm, f"{prefix}requests", REQUESTS)
    refuses(farm, on_the_page("the event topic is missing"), **other)
    make_topic(farm, f"{prefix}events", EVENTS)
    for topic, setting, wrong in (
            ("requests", "message.timestamp.type", "CreateTime"),
            ("requests", "cleanup.policy", "compact"),
            ("requests", "max.message.bytes", "10000"),
            ("requests", "compression.type", "producer"),
            ("events", "cleanup.policy", "compact"),
            ("events", "compression.type", "lz4"),
            ("events", "max.message.bytes", "65536")):
        settings = REQUESTS if topic == "requests" else EVENTS
        farm.broker.configure(prefix + topic, **{setting.replace(".", "_"): wrong})
        line = refuses(farm, f"topic {prefix}{topic}: {setting} is {wrong} and must be", **other)
        assert "(" in line
        farm.broker.configure(prefix + topic, **{setting.replace(".", "_"): settings[setting]})
    few = f"{farm.topic_prefix}few."
    make_topic(farm, f"{few}requests", REQUESTS, 4)
    make_topic(farm, f"{few}events", EVENTS, 8)
    refuses(farm, "the topics have 4 and 8 partitions, the farm has 8",
            BERTH_FARM_TOPIC_PREFIX=few)
    execute(farm, "UPDATE farm SET cluster_id = 'another'")
    refuses(farm, f"but farm {farm.name} was set up on another")
    farm.run("berth-worker", "--healthcheck", status=2)
    farm.broker.delete_topics([few + "requests", few + "events", prefix + "requests",
                               prefix + "events"])


def test_a_worker_does_not_start_with_wrong_settings(farm):
    refuses(farm, on_the_page("worker.unpublished_max must be greater than worker.batch_max"),
            BERTH_WORKER_UNPUBLISHED_MAX=2000)
    refuses(farm, "kafka.acks is 1, but Berth needs", BERTH_KAFKA_ACKS=1)
    refuses(farm, "worker.batch_max must be a whole number", BERTH_WORKER_BATCH_MAX="many")
    farm.run("berth-worker", "--check-config")
    farm.run("berth-worker", "--check-config", status=2, BERTH_WORKER_BATCH_MAX="many")
    done = farm.run("berth-worker", "--set", "worker.batchmax=5", status=2)
    assert "worker.batch_max" in done.stderr
    # The worker waits for temporary faults.
    patient = farm.start_worker(ready=False, BERTH_DB_PORT=1)
    patient.wait_log("cannot start yet")
    assert patient.stop() < 10


# ---- requests ------------------------------------------------------------------------------------

@pytest.mark.parametrize("remedy", ("reject", "resume"))
def test_owners_that_make_no_progress(farm, remedy):
    """Simulates seven owners that died before a commit, by advancing only the epoch."""
    positions = [farm.publish(f"message {number}", partition=2) for number in range(3)]
    execute(farm, "UPDATE request_partition SET epoch = 6, progress_epoch = 0 WHERE part = 2")
    farm.start_worker()
    why = wait_halted(farm, 2, "repeated_deaths", "owners made no progress at offset {offset}")
    assert "berth-admin reject 2 0" in why
    other = farm.publish(b"other", partition=3)
    assert farm.events.decision(other).reason == "malformed"
    assert farm.partition_row(2)["last_seq"] == 0
    if remedy == "reject":
        farm.admin_command("reject", 2, 0)
    else:
        farm.admin_command("partition", "resume", 2)
    first, *rest = farm.events.decisions(positions)
    assert first.reason == ("rejected_by_operator" if remedy == "reject" else "malformed")
    assert [event.reason for event in rest] == ["malformed", "malformed"]
    check_farm(farm)


def test_owners_that_make_little_progress(farm):
    """After four fruitless epochs messages are decided one at a time; after more the partition halts."""
    positions = [farm.publish(f"message {number}", partition=2) for number in range(5)]
    execute(farm, "UPDATE request_partition SET epoch = 4, progress_epoch = 0 WHERE part = 2")
    farm.start_worker()
    farm.events.decisions(positions)
    row = farm.partition_row(2)
    assert row["progress_epoch"] == row["epoch"] == 5 and not row["halted"]
    check_farm(farm)


def test_no_append_time(farm):
    farm.start_worker()
    first = farm.events.decision(farm.publish(b"before", partition=4))
    farm.broker.configure(farm.request_topic, message_timestamp_type="CreateTime")
    position = farm.publish(b"without time", partition=4)
    wait_halted(farm, 4, "no_append_time", "has no append time")
    farm.broker.configure(farm.request_topic, message_timestamp_type="LogAppendTime")
    farm.admin_command("partition", "resume", 4, "--ignore-time-until", position[1] + 1)
    event = farm.events.decision(position)
    assert event.json["time"] == first.json["time"]  # the partition's clock
    after = farm.events.decision(farm.publish(b"after", partition=4))
    assert millis(after.json["time"]) > millis(event.json["time"])
    check_farm(farm)


def test_deleted_before_they_were_decided(farm):
    worker = farm.start_worker()
    farm.events.decision(farm.publish(b"decided", partition=1))
    worker.stop()
    for number in range(4):
        position = farm.publish(f"lost {number}", partition=1)
    farm.broker.delete_records(farm.request_topic, 1, position[1])
    farm.start_worker()
    why = wait_halted(farm, 1, "requests_deleted",
                      "were deleted before they were decided (retention is too short)")
    assert "requests 1 to 3" in why
    execute(farm, "UPDATE request_partition SET next_offset = 4 WHERE part = 1 AND next_offset = 1")
    farm.admin_command("partition", "resume", 1)
    assert farm.events.decision(position).sequence == 2
    check_farm(farm)


def test_a_hole_before_the_position(farm):
    """The position may follow a transaction's end marker, which takes an offset: the message before the
    marker is compared, as long as retention has left it."""
    producer = Producer({"bootstrap.servers": farm.broker.bootstrap, "log_level": 0,
                         "transactional.id": f"{farm.name}-hole"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(farm.request_topic, "garbage", partition=5)
    producer.commit_transaction(30)
    worker = farm.start_worker()
    farm.events.decision((5, 0))
    wait_until(lambda: farm.partition_row(5)["next_offset"] == 2, "the marker is passed", 10)
    worker.stop()
    worker = farm.start_worker()
    worker.wait_log(r"part=5 .*to=running")
    worker.stop()
    execute(farm, "UPDATE request_partition SET last_sha256 = REPEAT('x', 32) WHERE part = 5")
    worker = farm.start_worker()
    wait_halted(farm, 5, "request_log_replaced", "is not the one that was decided last")
    farm.broker.delete_records(farm.request_topic, 5, 1)
    farm.admin_command("partition", "resume", 5)
    worker.wait_log(r"part=5 .*to=running")


@pytest.mark.parametrize("offset", (0, 100))
def test_the_groups_offset_does_not_count(farm, offset):
    """The group's committed offset is for lag monitoring only: the worker reads from the row's position."""
    worker = farm.start_worker()
    for number in range(2):
        farm.events.decision(farm.publish(f"message {number}", partition=4))
    worker.stop()
    behind = farm.publish("message 2", partition=4)
    last = farm.publish("message 3", partition=4)
    group = Consumer({"bootstrap.servers": farm.broker.bootstrap,
                      "group.id": farm.environment()["BERTH_WORKER_GROUP"]})
    group.commit(offsets=[TopicPartition(farm.request_topic, 4, offset)], asynchronous=False)
    group.close()
    farm.start_worker()
    assert [event.sequence for event in farm.events.decisions([behind, last])] == [3, 4]
    check_farm(farm)


def test_init_begins_where_the_log_begins(new_farm):
    """Messages removed by retention before the farm was initialised were never the farm's."""
    farm = new_farm()
    make_topic(farm, farm.request_topic, REQUESTS)
    positions = [farm.publish(f"message {number}", partition=2) for number in range(3)]
    farm.broker.delete_records(farm.request_topic, 2, positions[1][1])
    farm.init()
    assert farm.partition_row(2)["next_offset"] == positions[1][1]
    farm.start_worker()
    assert [event.sequence for event in farm.events.decisions(positions[1:])] == [1, 2]


def test_old_requests_and_events_are_deleted(farm):
    """Retention of decided and published messages is harmless, even of all of them."""
    worker = farm.start_worker()
    farm.register("gpu-01")
    start = tomorrow()
    for number in range(4):
        event = farm.accept(farm.batch_1, create(start + number * HOUR, start + (number + 1) * HOUR,
                                                 share("gpu-01")))
    wait_until(lambda: farm.partition_row(event.partition)["published_seq"] == event.sequence,
               "it is noted as published")
    worker.stop()
    part = event.partition
    farm.broker.delete_records(farm.request_topic, part, event.position[1] + 1)
    farm.broker.delete_records(farm.event_topic, part, event.message.offset + 1)
    farm.start_worker()
    after = farm.accept(farm.batch_2, create(start, start + HOUR, share("gpu-01")))
    assert after.partition == part and after.sequence == event.sequence + 1
    assert farm.events.repeats == 0
    farm.audit()


# ---- events, partitions --------------------------------------------------------------------------

def test_event_topic_recreated_and_published_again(farm):
    worker = farm.start_worker()
    farm.register("gpu-01")
    start = tomorrow()
    events = [farm.accept(farm.batch_1, create(start + number * HOUR, start + (number + 1) * HOUR,
                                               share("gpu-01"))) for number in range(5)]
    part = events[0].partition
    wait_until(lambda: farm.partition_row(part)["published_seq"] == events[-1].sequence,
               "it is noted as published")
    worker.stop()
    farm.broker.delete_topics([farm.event_topic])
    assert "gone" in farm.admin_command("init", "--farm", farm.name, status=1).stderr
    make_topic(farm, farm.event_topic, EVENTS)
    farm.start_worker()
    wait_halted(farm, part, "events_deleted", "is empty though {N} events were published")
    execute(farm, f"UPDATE request_partition SET published_seq = 0 WHERE part = {part}")
    farm.admin_command("partition", "resume", part)
    # A consumer that reads from the start finds the log unchanged.
    fresh = farm.new_consumer()
    again = fresh.decisions([event.position for event in events])
    assert [event.value for event in again] == [event.value for event in events]
    assert fresh.decision(farm.send(farm.batch_1, create(start, start + HOUR, share("gpu-01", 8)))
                          ).reason == "insufficient_capacity"
    farm.use_consumer(fresh)
    check_farm(farm)


def test_partitions_are_added(farm):
    """Requests on added partitions stay undecided, with a warning, until the farm adopts them."""
    worker = farm.start_worker()
    farm.register("gpu-01")
    worker.stop()
    for future in farm.broker.admin.create_partitions(
            [NewPartitions(farm.request_topic, 10)]).values():
        future.result()
    worker = farm.start_worker()
    worker.wait_log(on_the_page("the topics have more partitions than the farm; those above are "
                                "not consumed"))
    farm.forget_producer()
    lost = farm.publish(b"nobody decides me", partition=9)
    worker.wait_log("a partition without a row is not consumed")
    assert farm.events.decision(farm.publish(b"garbage", partition=0)).reason == "malformed"
    worker.stop()
    for future in farm.broker.admin.create_partitions(
            [NewPartitions(farm.event_topic, 10)]).values():
        future.result()
    execute(farm, "UPDATE farm SET partitions = 10")
    execute(farm, "INSERT INTO request_partition (part, next_offset) VALUES (8, 0), (9, 0)")
    wait_until(lambda: len(farm.broker.topics()[farm.event_topic].partitions) == 10,
               "the partitions are there")
    farm.admin_command("init", "--farm", farm.name)
    farm.start_worker()
    farm.partitions = 10
    farm.use_consumer(farm.new_consumer())
    assert farm.events.decision(lost).reason == "malformed"
    start = tomorrow()
    for number in range(12):  # spread over all partitions by their ids
        event = farm.accept(farm.batch_1, {"type": "booking.create", "duration_s": 60,
                                           "allocations": []})
        farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": event.booking["id"]})
    farm.accept(farm.batch_1, create(start, start + HOUR, share("gpu-01")))
    check_farm(farm)
