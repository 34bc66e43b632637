"""A worker is killed at its Nth system call that writes or sends, for N over a whole run: from its
start, over a script of requests of all kinds, to its end. Another one takes over. After each N every
message has one decision, events are the rows, and the audit agrees.

strace counts for each thread by itself. The worker's own thread writes its log, talks to the
database and wakes librdkafka up; librdkafka's threads talk to Kafka. So there are two series:

    worker   the Nth write of the worker's own thread, of whatever kind
    kafka    the Nth sendmsg of whichever thread of librdkafka is first to get there

BERTH_CRASH_POINTS: how many of each series, spread over it (3), or `all` (`make crash-points`).
"""

import codecs
import itertools
import json
import os
import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from berthtest.check import check_farm
from berthtest.farm import Farm, create, share

CALLS = "write,writev,sendto,sendmsg,pwrite64"
SERIES = {"worker": (CALLS, False), "kafka": ("sendmsg", True)}
WANTED = os.environ.get("BERTH_CRASH_POINTS", "3")
HOUR = 3600
DECIDE_LIMIT_S = 40
# So many points share a farm: the audit after each compares the whole history.
POINTS_A_FARM = 60

pytestmark = pytest.mark.timeout(240 if WANTED != "all" else 4 * HOUR)
numbers = itertools.count(1)


def can_trace():
    probe = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True,
                           check=False)
    return probe.returncode == 0


class Run:
    """One worker under strace, one script, and whoever takes over."""

    def __init__(self, farm, series, when):
        self.farm = farm
        self.calls, self.all_threads = SERIES[series]
        self.trace = farm.folder / f"{series}-{when}.strace"
        wrapper = ["strace", "-qq", "-o", self.trace, *(["-f"] if self.all_threads else []),
                   "-e", f"trace={self.calls}", "-e", "signal=none"]
        if when:
            wrapper += ["-e", f"inject={self.calls}:signal=SIGKILL:when={when}"]
        self.worker = self.start(wrapper)
        self.killed = False

    def start(self, wrapper=()):
        """A group of its own: the broker waits 6 s for a member that was killed."""
        return self.farm.start_worker(
            ready=False, wrapper=wrapper, BERTH_KAFKA_FETCH_WAIT_MAX_MS=200,
            BERTH_WORKER_GROUP=f"{self.farm.topic_prefix}crash-{next(numbers)}")

    def tend(self):
        """Starts another worker when the one that ran is dead."""
        if not self.worker.running():
            assert not self.killed, f"an untraced worker ended:\n{self.worker.tail()}"
            self.killed = True
            self.worker = self.start()

    def decide(self, *messages):
        """Publishes [(partition, client, request, claims)] or [(partition, bytes)], and waits for
        the events."""
        positions = []
        for part, *what in messages:
            value = what[0] if len(what) == 1 else self.farm.sign(*what[:2], **what[2])
            self.farm.publish_later(value, positions, partition=part)
        self.farm.flush(positions)
        deadline = time.monotonic() + DECIDE_LIMIT_S
        events = self.farm.events
        while any(position not in events.by_position for position in positions):
            assert time.monotonic() < deadline, f"not decided:\n{self.worker.tail()}"
            self.tend()
            events.pump(0.05)
        return [events.by_position[position] for position in positions]

    def end(self):
        """The traced worker ends in order, unless it is killed at that."""
        if self.killed:
            self.worker.kill()
            return
        children = Path(f"/proc/{self.worker.pid}/task/{self.worker.pid}/children").read_text()
        for child in children.split():
            os.kill(int(child), 15)
        self.worker.child.wait(30)

    def last_call(self, when):
        """What the thread that made the Nth call was about to do, for the report."""
        threads = {}
        for thread, call, descriptor, text in re.findall(r"^(?:(\d+) +)?(\w+)\((\d+), (.*)",
                                                         self.trace.read_text(), re.M):
            threads.setdefault(thread, []).append(kind_of(call, descriptor, text))
        return next((calls[when - 1] for calls in threads.values() if len(calls) >= when), "?")


KAFKA_REQUESTS = {
    0: "Produce", 1: "Fetch", 2: "ListOffsets", 3: "Metadata", 8: "OffsetCommit",
    10: "FindCoordinator", 11: "JoinGroup", 12: "Heartbeat", 13: "LeaveGroup", 14: "SyncGroup",
    17: "Sasl", 18: "ApiVersions", 22: "InitProducerId", 32: "DescribeConfigs"}


def kind_of(call, descriptor, text):
    """Names a call by what it sends."""
    if descriptor == "2":
        return "log line"
    found = re.search(r"COMMIT|ROLLBACK|INSERT INTO \w+|UPDATE \w+|SELECT|SET ", text)
    if found:
        return found.group().strip()
    found = re.search(r'iov_base="((?:[^"\\]|\\.)*)"', text)
    if found:
        head = codecs.escape_decode(found.group(1).encode())[0]
        number = int.from_bytes(head[4:6], "big") if len(head) >= 6 else -1
        return f"Kafka {KAFKA_REQUESTS.get(number, number)}"
    return "wake-up" if call.startswith("write") else call


def assert_answers(events, *expected):
    got = [event.duplicate_of and "duplicate" or event.reason or "accepted" for event in events]
    assert got == list(expected)


def script(run, tag):
    """Register, book, reject, amend, repeat, cancel, on two partitions; all events."""
    farm = run.farm
    ops, client = farm.ops, farm.batch_1
    a, b = f"{tag}-a", f"{tag}-b"
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    machine = {"type": "machine.register", "gpus": 8, "memory_gib": 64}
    events = run.decide((0, ops, {**machine, "machine": a}, {}), (1, ops, {**machine, "machine": b}, {}),
                        (1, b"garbage"))
    assert_answers(events, "accepted", "accepted", "malformed")
    first = create(start, start + HOUR, share(a, 6))
    both = create(start + HOUR, start + 2 * HOUR, share(a, 2), share(b, 2))
    made = run.decide((0, client, first, {"jti": f"{tag}-1"}), (1, client, both, {"jti": f"{tag}-2"}))
    assert_answers(made, "accepted", "accepted")
    amend = {"type": "booking.amend", "booking": made[0].booking["id"],
             "allocations": [share(a, 7), share(b, 3)]}
    changed = run.decide((0, client, first, {"jti": f"{tag}-3"}),
                         (0, client, amend, {"jti": f"{tag}-4"}),
                         (1, client, first, {"jti": f"{tag}-1"}))
    assert_answers(changed, "insufficient_capacity", "accepted", "duplicate")
    cancel = {"type": "booking.cancel", "booking": made[1].booking["id"]}
    last = run.decide((1, client, cancel, {"jti": f"{tag}-5"}), (1, client, cancel, {"jti": f"{tag}-5"}),
                      (0, client, amend, {"jti": f"{tag}-4"}))
    assert_answers(last, "accepted", "duplicate", "duplicate")
    return events + made + changed + last


def check_point(farm, events):
    """Each message has one row, which is its event; and the audit agrees. That sequences have no
    gap, and repeats no other bytes, the consumer has seen to."""
    for event in events:
        assert farm.decision_row(event.position)["event"] == event.value
    counts = farm.rows("SELECT part, COUNT(*) AS n, MAX(seq) AS last, MAX(log_offset) + 1 AS next"
                       " FROM decision GROUP BY part")
    for row in counts:
        state = farm.partition_row(row["part"])
        assert row["n"] == row["last"] == state["last_seq"] and row["next"] == state["next_offset"]
    farm.audit()


def count_calls(servers, database, series, folder):
    """How many calls the thread that makes most of them makes, when nobody is killed."""
    farm = new_farm(servers, database, folder, "count")
    try:
        run = Run(farm, series, None)
        check_point(farm, script(run, "count"))
        run.end()
        lines = run.trace.read_text().splitlines()
    finally:
        farm.close()
    if not run.all_threads:
        return len(lines)
    return max(Counter(line.split()[0] for line in lines).values())


def spread(total):
    """The points to try."""
    if WANTED == "all":
        return range(1, total + 1)
    count = int(WANTED)
    return [total * (2 * i + 1) // (2 * count) + 1 for i in range(count)]


@pytest.mark.parametrize("series", SERIES)
def test_crash_points(servers, database, series, tmp_path, say):
    if not can_trace():
        pytest.skip("NO STRACE HERE (or ptrace is forbidden): crash points ARE NOT TESTED")
    farm, begin = None, time.monotonic()
    killed, beyond, places = 0, 0, Counter()
    try:
        total = count_calls(servers, database, series, tmp_path)
        for index, when in enumerate(spread(total)):
            if index % POINTS_A_FARM == 0:
                farm = next_farm(farm, servers, database, tmp_path, index)
            run = Run(farm, series, when)
            check_point(farm, script(run, f"{series}-{when}"))
            run.end()
            died = run.killed or run.worker.child.returncode in (-9, 137)
            killed, beyond = killed + died, beyond + (not died)
            places[run.last_call(when) if died else "not reached"] += 1
            run.trace.unlink()
        farm = next_farm(farm, servers, database, tmp_path, None)
    finally:
        if farm is not None:
            farm.close()
    seconds = round(time.monotonic() - begin)
    say(f"crash points of series {series}",
        f"{killed} of {total} points, {beyond} not reached, {seconds} s, at "
        f"{dict(places.most_common())}")
    report = os.environ.get("BERTH_FAULT_REPORT")
    if report:
        with open(report, "a", encoding="ascii") as out:
            out.write(json.dumps({"crash_points": series, "database": database.kind,
                                  "points": total, "killed": killed, "not_reached": beyond, "seconds": seconds,
                                  "at": places}) + "\n")
    assert killed > 0


def new_farm(servers, database, folder, name):
    place = folder / name
    place.mkdir()
    return Farm(servers.broker, database, place, partitions=2).init()


def next_farm(farm, servers, database, folder, index):
    """Looks once more, and closer, at the history of the last one; then a fresh one."""
    if farm is not None:
        farm.start_worker(BERTH_WORKER_GROUP=f"{farm.topic_prefix}last")
        check_farm(farm)
        farm.close()
    return None if index is None else new_farm(servers, database, folder, f"from-{index}")
