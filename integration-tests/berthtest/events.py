"""Consuming the event topic by the contract that docs/messages.md gives to every consumer."""

import json
import time
from dataclasses import dataclass, field
from functools import cached_property

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from berthtest.wait import NotInTime

EOF_ERROR = -191  # RD_KAFKA_RESP_ERR__PARTITION_EOF


class ContractBroken(AssertionError):
    """The topic breaks the contract with consumers."""


class Gap(ContractBroken):
    """A sequence number is missing."""


@dataclass
class Message:
    """A raw message of any topic."""
    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: int  # 1: CreateTime, 2: LogAppendTime
    key: bytes | None
    value: bytes | None
    headers: dict = field(default_factory=dict)

    @classmethod
    def of(cls, message):
        kind, timestamp = message.timestamp()
        return cls(message.partition(), message.offset(), timestamp, kind, message.key(),
                   message.value(), dict(message.headers() or ()))


@dataclass
class Event:
    """One event: the message and its parsed content."""
    message: Message

    @cached_property
    def json(self):
        return json.loads(self.message.value)

    @property
    def value(self):
        return self.message.value

    @property
    def partition(self):
        return self.message.partition

    @cached_property
    def sequence(self):
        return int(self.json["sequence"])

    @cached_property
    def epoch(self):
        return int(self.message.headers["berth-epoch"])

    @property
    def id(self):
        return self.json["id"]

    @property
    def data(self):
        return self.json["data"]

    @property
    def accepted(self):
        return self.json["type"] == "berth.request.accepted"

    @property
    def reason(self):
        """The reason of a rejection, None when accepted."""
        return self.data.get("reason")

    @property
    def booking(self):
        return self.data["booking"]

    @property
    def position(self):
        """(partition, offset) of the answered request."""
        return self.data["request"]["partition"], self.data["request"]["offset"]

    @property
    def duplicate_of(self):
        return self.data.get("duplicate_of")


class Contract:
    """The consumer's rules for one partition. `last`: the last accepted sequence; None for a consumer
    that started in the middle of the log."""

    def __init__(self, last):
        self.last = last
        # A consumer that started in the middle may have started among a zombie's late repeats.
        self.settled = last is not None
        self.highest_epoch = -1
        self.taken = {}
        self.repeats = 0

    def take(self, event):
        """True if the event is the next one, False if it repeats an earlier one."""
        sequence, epoch = event.sequence, event.epoch
        expected = None if self.last is None else self.last + 1
        fresh = expected is None or sequence == expected
        jump = not fresh and sequence > expected
        if jump:
            if self.settled or epoch <= self.highest_epoch:
                raise Gap(f"partition {event.partition}: {sequence} follows {self.last}")
        elif fresh and expected is not None:
            self.settled = True
        self.highest_epoch = max(self.highest_epoch, epoch)
        if fresh or jump:
            self.last = sequence
            self.taken[sequence] = event.value
            return True
        known = self.taken.get(sequence)
        if known is not None and known != event.value:
            raise ContractBroken(f"event {event.id} was repeated with other bytes")
        self.repeats += 1
        return False


def consumer(bootstrap, **settings):
    """A consumer without a group, with the isolation level that Berth's consumers need."""
    return Consumer({
        "bootstrap.servers": bootstrap, "group.id": "berth-integration-tests",
        "enable.auto.commit": False, "isolation.level": "read_uncommitted",
        "auto.offset.reset": "error", "enable.partition.eof": True, "fetch.wait.max.ms": 10,
        "reconnect.backoff.max.ms": 200, "log_level": 0, **settings})


def read_topic(bootstrap, topic, limit_s=60.0):
    """All messages of a topic up to its current ends: {partition: [Message]}."""
    reader = consumer(bootstrap, **{"fetch.max.bytes": 64 << 20})
    try:
        found = {partition: [] for partition in
                 reader.list_topics(topic, timeout=20).topics[topic].partitions}
        reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found])
        open_parts = set(found)
        deadline = time.monotonic() + limit_s
        while open_parts:
            if time.monotonic() > deadline:
                raise NotInTime(f"{topic}: partitions {open_parts} not read within {limit_s} s")
            for message in reader.consume(5000, 0.05):
                if message.error() is None:
                    found[message.partition()].append(Message.of(message))
                elif message.error().code() == EOF_ERROR:
                    open_parts.discard(message.partition())
                else:
                    raise KafkaException(message.error())
        return found
    finally:
        reader.close()


class EventConsumer:
    """Follows the event topic. Consumes only while a caller waits."""

    def __init__(self, bootstrap, topic, partitions, from_beginning=True):
        self.consumer = consumer(bootstrap)
        self.contracts = {partition: Contract(0 if from_beginning else None)
                          for partition in range(partitions)}
        self.by_position = {}
        self.events = []  # without repeats, in order of arrival
        self.from_beginning = from_beginning
        where = OFFSET_BEGINNING
        assignment = []
        for partition in range(partitions):
            if not from_beginning:
                # A fixed offset: OFFSET_END is resolved later and could skip events.
                where = self.consumer.get_watermark_offsets(
                    TopicPartition(topic, partition), timeout=20)[1]
            assignment.append(TopicPartition(topic, partition, where))
        self.consumer.assign(assignment)

    def close(self):
        self.consumer.close()

    def pump(self, timeout_s=0.0):
        """Consumes the available messages, waiting up to timeout_s for the first; returns new events."""
        fresh = []
        for message in self.consumer.consume(1000, timeout_s):
            if message.error() is not None:
                continue  # a partition's end, or a broker that is down: the client retries
            event = Event(Message.of(message))
            if self.contracts[event.partition].take(event):
                fresh.append(event)
                self.events.append(event)
                self.by_position[event.position] = event
        return fresh

    def wait(self, condition, what, limit_s=20.0):
        """Consumes until condition() is true; returns its value."""
        deadline = time.monotonic() + limit_s
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise NotInTime(f"{what}: not within {limit_s:g} s")
            self.pump(0.01)

    def decision(self, position, limit_s=20.0):
        """Waits for the event that answers the request at (partition, offset)."""
        return self.wait(lambda: self.by_position.get(tuple(position)),
                         f"the decision of the request at {position}", limit_s)

    def decisions(self, positions, limit_s=60.0):
        """Waits for the events of all these requests; returns them in the requests' order."""
        missing = {tuple(position) for position in positions}

        def all_there():
            nonlocal missing
            missing = {position for position in missing if position not in self.by_position}
            return not missing
        deadline = time.monotonic() + limit_s
        while not all_there():
            if time.monotonic() > deadline:
                raise NotInTime(f"{len(missing)} of {len(positions)} decisions are missing after "
                                f"{limit_s:g} s, such as {sorted(missing)[:5]}")
            self.pump(0.05)
        return [self.by_position[tuple(position)] for position in positions]

    @property
    def repeats(self):
        return sum(contract.repeats for contract in self.contracts.values())
