"""Truncated logs, brokers with wrong clocks, batches that cannot be read, and a request that crashes
every worker: with a separate broker, or with a modified worker."""

import hashlib
import itertools
import struct
import time

import pytest
from confluent_kafka import Producer

from berthtest.check import check_farm, millis
from berthtest.farm import Farm, create, share
from berthtest.preload import compile_preload
from berthtest.servers import Broker, wipe_stack
from berthtest.sse import Listener
from berthtest.wait import NotInTime, wait_until

HOUR = 3600
MONTH = 30 * 24 * HOUR
FRUITLESS_MAX = 7
groups = itertools.count(1)

pytestmark = [pytest.mark.parametrize("database", ["mariadb"], indirect=True),
              pytest.mark.timeout(600)]


class OwnBroker:
    """A broker for this module alone, with an adjustable clock."""

    def __init__(self, servers, preload):
        self.stack = servers.another("own", "mariadb")
        self.preload = preload
        self.broker = None
        self.ahead_s = None

    def start(self, ahead_s=0):
        """Starts or restarts the broker with its clock so many seconds ahead."""
        if self.ahead_s == ahead_s:
            return self.broker
        if self.broker is not None:
            self.stack.run("stop-kafka")
        self.stack.settings = {"LD_PRELOAD": str(self.preload), "WRONG_CLOCK_S": str(ahead_s)} \
            if ahead_s else {}
        self.stack.run("start-kafka")
        self.ahead_s = ahead_s
        self.broker = self.broker or Broker(self.stack)
        return self.broker


@pytest.fixture(scope="module", name="own")
def fixture_own(servers, tmp_path_factory):
    library = compile_preload("wrong_clock", tmp_path_factory.mktemp("clock"), "-DMONOTONIC_WAITS")
    own = OwnBroker(servers, library)
    try:
        yield own
    finally:
        wipe_stack(own.stack)


@pytest.fixture(name="far_farm")
def fixture_far_farm(own, database, tmp_path):
    """A farm on that broker, with a correct clock at first."""
    farm = Farm(own.start(), database, tmp_path).init()
    yield farm
    farm.close()


def test_request_log_loses_its_end(own, far_farm):
    """A broker that lost its last writes restarts with a shorter log."""
    farm = far_farm
    worker = farm.start_worker()
    for number in range(3):
        farm.events.decision(farm.publish(f"message {number}", partition=1))
    own.broker.kill()
    log = own.stack.folder / f"kafka/data/{farm.request_topic}-1/00000000000000000000.log"
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 1)  # truncates the last message
    own.broker.start()  # keeps its clock
    why = wait_until(lambda: farm.halted().get(1), "the partition is halted", 60)
    assert "request partition 1 ends at 2 but was decided up to 3: its log was cut" in why
    worker.wait_log(r"part=1 .*to=halted.*its log was cut")
    assert "its log was cut" in farm.admin_command("partition", "list", "-o", "tsv").stdout
    farm.forget_producer()
    farm.use_consumer(farm.new_consumer())
    # The other partitions go on; the halted one decides nothing although a request waits.
    lost = farm.publish(b"another message at that offset", partition=1)
    assert lost == (1, 2)
    assert farm.events.decision(farm.publish(b"garbage", partition=2), 60).reason == "malformed"
    assert farm.partition_row(1)["last_seq"] == 3 and set(farm.halted()) == {1}
    worker.stop()


def test_broker_a_month_ahead(own, far_farm):
    """A broker clock a month ahead halts the partition: its messages would move the partition's clock
    and make every request expire for a month."""
    farm = far_farm
    worker = farm.start_worker()
    farm.register("gpu-01")
    own.start(ahead_s=MONTH)
    positions = [farm.publish(b"from the future", partition=2) for _ in range(2)]
    worker.wait_log(r"part=2 .*to=waiting.*ahead of this host's clock", limit_s=60)
    own.start()
    behind = farm.publish(b"after the repair", partition=2)
    with pytest.raises(NotInTime):
        farm.events.decision(positions[0], limit_s=2)
    # The other partitions go on. The operator names the first offset with a correct time.
    assert farm.events.decision(farm.publish(b"garbage", partition=3), 60).reason == "malformed"
    farm.admin_command("partition", "resume", "2", "--ignore-time-until", behind[1])
    first, second, last = farm.events.decisions([*positions, behind])
    assert abs(millis(last.json["time"]) / 1000 - time.time()) < 120
    assert millis(first.json["time"]) <= millis(second.json["time"]) <= millis(last.json["time"])
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    farm.accept(farm.batch_1, create(start, start + HOUR, share("gpu-01")))
    farm.audit()
    worker.stop()


def test_append_times_jump_by_an_hour(own, far_farm, tmp_path):
    """The broker's clock jumps back: the partition's clock stands still until the broker's has caught
    up. The worker's host keeps the broker's first time."""
    farm = far_farm
    clock = {"LD_PRELOAD": compile_preload("wrong_clock", tmp_path), "WRONG_CLOCK_S": HOUR}
    farm.start_worker(**clock)
    farm.register("gpu-01")
    now = int(time.time())
    tight = {"type": "booking.create", "duration_s": HOUR, "allocations": [share("gpu-01", 8)]}
    times, part = [], None
    for ahead_s in (HOUR, 0, HOUR):
        own.start(ahead_s=ahead_s)
        # The token was issued at the partition's time, whatever the broker's time is now.
        event = farm.decide(farm.batch_1, tight, limit_s=60, iat=now + HOUR - 60,
                            exp=now + 2 * HOUR)
        times.append(millis(event.json["time"]) / 1000)
        part = event.partition
    assert times == sorted(times)
    assert times[0] - now > HOUR - 60 and times[1] == times[0] and times[2] > times[1]
    appended = [message.timestamp_ms / 1000 for message in
                check_farm(farm).requests[part]][-3:]
    assert appended[1] < appended[0] - HOUR + 300  # the clock did jump back


def test_a_request_that_crashes_the_decoder(new_farm, tmp_path):
    """Every worker that decodes the request crashes, until its partition alone is halted."""
    farm = new_farm().init()
    crash = {"LD_PRELOAD": compile_preload("planted_crash", tmp_path),
             "PLANTED_CRASH": "kills-the-decoder"}
    worker = None

    def start():
        # The group waits 6 s for the dead member; a new group does not.
        return farm.start_worker(ready=False, BERTH_WORKER_GROUP=f"{farm.name}-{next(groups)}",
                                 **crash)
    poison = farm.publish(farm.sign(
        farm.batch_1, {"type": "booking.create", "duration_s": HOUR, "allocations": []},
        sub="kills-the-decoder"), partition=4)
    others = [farm.publish(f"message {number}", partition=number) for number in range(8)]
    deaths, deadline = 0, time.monotonic() + 120
    while not farm.halted():
        assert time.monotonic() < deadline, worker.tail()
        if worker is None or not worker.running():
            deaths += worker is not None
            worker = start()
        farm.events.pump(0.05)
    assert set(farm.halted()) == {poison[0]} and deaths >= FRUITLESS_MAX - 1
    assert "owners made no progress at offset 0" in farm.halted()[poison[0]]
    farm.events.decisions([position for position in others if position[0] != poison[0]])
    assert farm.partition_row(poison[0])["last_seq"] == 0 and worker.running()
    # The operator skips the request; the ones after it are decided.
    farm.admin_command("reject", *poison)
    farm.events.decisions([poison, others[poison[0]]])
    assert farm.events.by_position[poison].reason == "rejected_by_operator"
    assert worker.running()
    farm.processes.remove(worker)
    try:
        for other in farm.processes:
            assert not other.running()
        farm.processes = [worker]
        check_farm(farm)
    finally:
        worker.end()


# ---- batches that cannot be read -----------------------------------------------------------------

def damage(path, codec=None):
    """Damages the first batch of a log; with `codec`, names that codec in it and keeps its checksum right."""
    data = bytearray(path.read_bytes())
    size, = struct.unpack_from(">i", data, 8)
    if codec is None:
        data[12 + size - 1] ^= 0xff
    else:
        data[22] |= codec
        struct.pack_into(">I", data, 17, crc32c(data[21:12 + size]))
    path.write_bytes(data)


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def send_batch(farm, topic, part, values, **settings):
    """Sends the messages as one batch; returns the error's name, or None."""
    errors = []
    producer = Producer({"bootstrap.servers": farm.broker.bootstrap, "linger.ms": 500,
                         "message.max.bytes": 200_000_000, "batch.size": 200_000_000, **settings})
    for value in values:
        producer.produce(topic, value, partition=part,
                         on_delivery=lambda error, _: errors.append(error and error.name()))
    assert producer.flush(60) == 0 and len(set(errors)) == 1
    return errors[0]


# Makes 2 MB a bomb for Berth's programs, but not for the tests' own consumer.
SMALL = {"BERTH_KAFKA_FETCH_MAX_BYTES": 1_000_000, "BERTH_KAFKA_RECEIVE_MESSAGE_MAX_BYTES": 1_001_000}


def test_batches_that_cannot_be_read(own, far_farm):
    """A bomb, a damaged batch, an unknown codec: each halts its partition alone, until one rejection
    ends it. A bomb on the event topic stops no reader."""
    farm = far_farm
    bomb = bytes(150_000_000)
    zstd = {"compression.type": "zstd"}
    assert send_batch(farm, farm.request_topic, 1, [bomb], **zstd) == "MSG_SIZE_TOO_LARGE"
    for topic in (farm.request_topic, farm.event_topic):
        farm.broker.configure(topic, compression_type="producer")
    send_batch(farm, farm.request_topic, 1, [bomb], **zstd)
    for part in (2, 3):
        send_batch(farm, farm.request_topic, part, [b"a", b"b", b"c"])
    for codec in ("gzip", "snappy", "lz4"):
        send_batch(farm, farm.request_topic, 4, [bytes(2_000_000)], **{"compression.type": codec})
    send_batch(farm, farm.event_topic, 4, [bytes(2_000_000)], **zstd)
    positions = [farm.publish(b"behind it", partition=part) for part in (2, 3, 4)]
    for topic in (farm.request_topic, farm.event_topic):
        farm.broker.configure(topic, compression_type="uncompressed")
    own.stack.run("stop-kafka")
    logs = own.stack.folder / "kafka/data"
    damage(logs / f"{farm.request_topic}-2/00000000000000000000.log")
    damage(logs / f"{farm.request_topic}-3/00000000000000000000.log", codec=7)
    own.stack.run("start-kafka")
    farm.use_consumer(farm.new_consumer(from_beginning=False))  # behind the bomb
    worker = farm.start_worker(**SMALL)
    assert farm.events.decision(positions[2], 60).reason == "malformed"
    wait_until(lambda: set(farm.halted()) == {1, 2, 3}, "the partitions are halted", 60)
    for part in (1, 2, 3):
        assert farm.partition_row(part)["halt_cause"] == "unreadable"
        assert "offset 0 cannot be read" in farm.halted()[part]
        assert f"berth-admin reject {part} 0" in farm.halted()[part]
        farm.admin_command("reject", part, 0)
    rejected = farm.events.decisions([(1, 0), *[(part, offset) for part in (2, 3)
                                                for offset in range(3)]])
    assert {event.reason for event in rejected} == {"rejected_by_operator"}
    assert {event.data["request"]["sha256"] for event in rejected} == \
        {hashlib.sha256(b"").hexdigest()}
    assert [event.reason for event in farm.events.decisions(positions[:2])] == ["malformed"] * 2
    # A new owner compares the last decided message of each partition, of 1 the bomb.
    worker.stop()
    worker = farm.start_worker(**SMALL)
    last = [farm.publish(b"after the restart", partition=part) for part in range(8)]
    farm.events.decisions(last)
    assert not farm.halted()
    farm.start_reader(**SMALL)
    listener = Listener(farm.reader_url)
    seen = farm.publish(b"seen", partition=4)
    farm.events.decision(seen)
    wait_until(lambda: any('"partition":4' in event.data for event in listener.sent), "it is told")
    listener.close()
    watched = farm.run("berth", "watch", "--from", "beginning", "-n", 20, "-o", "json", **SMALL).stdout
    assert len(watched.splitlines()) == 20
    done = farm.admin_command("audit", status=6, **SMALL)
    assert done.stdout.count("event_foreign") == 1 and "4:0" in done.stdout
    assert "request_" not in done.stdout
    worker.stop()
