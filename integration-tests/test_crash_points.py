"""Kills a worker at its Nth writing or sending system call, for N over a whole run: start, a script
of requests of all kinds, stop. Another worker takes over. After each N every message must have one
decision, the events must equal the rows, and the audit must pass.

strace counts calls by kind and thread, hence several series:

    worker    the Nth write, and the Nth sendto, … of the worker's own thread: its log, what it says to
              the database, how it wakes librdkafka up
    kafka     the Nth sendmsg of whichever thread of librdkafka is first to get there
    produce   the Nth sendmsg of the thread that sends events, from the moment that the worker is ready

BERTH_CRASH_POINTS: how many of each series, spread over it (4), each series on one database; or `all`,
on both (`make crash-points`).
"""

import codecs
import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from berthtest.check import check_farm
from berthtest.farm import Farm, create, share
from berthtest.wait import wait_until

CALLS = ("write", "writev", "sendto", "sendmsg", "pwrite64")
WANTED = os.environ.get("BERTH_CRASH_POINTS", "4")
SERIES = [("mysql", "worker"), ("mariadb", "kafka"), ("mariadb", "produce")]
if WANTED == "all":
    SERIES = [(kind, series) for kind in ("mysql", "mariadb") for _, series in SERIES]
HOUR = 3600
DECIDE_LIMIT_S = 40
# Points that share a farm. Few, because the audit after each point compares the whole history.
POINTS_A_FARM = 60

pytestmark = pytest.mark.timeout(240 if WANTED != "all" else 4 * HOUR)
numbers = itertools.count(1)


def can_trace():
    probe = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True,
                           check=False)
    return probe.returncode == 0


class Run:
    """One worker under strace, one script, and the worker that takes over. `point`: (call, N), or None
    for no kill; `thread`: index of the worker's thread in order of creation."""

    def __init__(self, farm, series, point=None, thread=None):
        self.farm, self.point = farm, point
        self.trace = farm.folder / f"{series}-{'-'.join(map(str, point or ('none',)))}.strace"
        calls = point[0] if point else ",".join(CALLS)
        command = ["strace", "-qq", "-o", self.trace, "-s", "64", "-e", "signal=none",
                   "-e", f"trace={calls}"]
        if point:
            command += ["-e", f"inject={calls}:signal=SIGKILL:when={point[1]}"]
        self.killed, self.tracer, self.traced = False, None, None
        if thread is None:
            self.worker = self.start([*command, *(["-f"] if series != "worker" else [])])
            return
        self.worker = self.start()
        self.worker.wait_log("worker ready")
        self.trace_thread(command, thread)

    def trace_thread(self, command, thread):
        """Attaches strace to one thread of a running worker."""
        tasks = Path(f"/proc/{self.worker.pid}/task")
        self.traced = sorted(int(task.name) for task in tasks.iterdir())[thread]
        self.tracer = subprocess.Popen([*map(str, command), "-p", str(self.traced)],
                                       stdin=subprocess.DEVNULL)
        status = tasks / str(self.traced) / "status"
        wait_until(lambda: f"TracerPid:\t{self.tracer.pid}\n" in status.read_text(),
                   "strace follows the thread")

    def start(self, wrapper=()):
        """A fresh consumer group: in an old one the broker waits 6 s for the killed member."""
        return self.farm.start_worker(
            ready=False, wrapper=wrapper, BERTH_KAFKA_FETCH_WAIT_MAX_MS=200,
            BERTH_WORKER_GROUP=f"{self.farm.topic_prefix}crash-{next(numbers)}")

    def tend(self):
        """Starts another worker once the first is dead."""
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
        """Stops the traced worker with SIGTERM; the kill may come during the stop."""
        if self.killed:
            self.worker.kill()
        elif self.tracer:
            self.worker.signal(signal.SIGTERM)
        else:
            os.kill(self.child(), signal.SIGTERM)
        self.worker.child.wait(30)
        if self.tracer:
            self.tracer.wait(30)
        # strace exits with the status of the traced process.
        self.killed = self.killed or self.worker.child.returncode == -signal.SIGKILL

    def child(self):
        """Process id of the traced worker, not of strace."""
        parent = self.worker.pid
        return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])

    def tasks(self):
        """The ids of the worker's threads in order of creation."""
        pid = self.worker.pid if self.tracer else self.child()
        return sorted(int(task.name) for task in Path(f"/proc/{pid}/task").iterdir())

    def threads(self):
        """{thread: [(call, description of the sent data)]}"""
        threads = {}
        for thread, call, descriptor, text in re.findall(r"^(?:(\d+) +)?(\w+)\((\d+), (.*)",
                                                         self.trace.read_text(), re.M):
            threads.setdefault(thread, []).append((call, kind_of(call, descriptor, text)))
        return threads

    def place(self):
        """Description of the Nth call, for the report."""
        count = self.point[1]
        return next((calls[count - 1][1] for calls in self.threads().values()
                     if len(calls) >= count), "?")


KAFKA_REQUESTS = {
    0: "Produce", 1: "Fetch", 2: "ListOffsets", 3: "Metadata", 8: "OffsetCommit",
    10: "FindCoordinator", 11: "JoinGroup", 12: "Heartbeat", 13: "LeaveGroup", 14: "SyncGroup",
    17: "Sasl", 18: "ApiVersions", 22: "InitProducerId", 32: "DescribeConfigs"}


def kind_of(call, descriptor, text):
    """Describes a call by the data that it sends."""
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
    """Each message has one row equal to its event, and the audit passes. The test's consumer has
    already checked that sequences have no gap and that repeats have the same bytes."""
    for event in events:
        assert farm.decision_row(event.position)["event"] == event.value
    counts = farm.rows("SELECT part, COUNT(*) AS n, MAX(seq) AS last, MAX(log_offset) + 1 AS next"
                       " FROM decision GROUP BY part")
    for row in counts:
        state = farm.partition_row(row["part"])
        assert row["n"] == row["last"] == state["last_seq"] and row["next"] == state["next_offset"]
    farm.audit()


def find_points(servers, database, series, folder):
    """All points of a series, [(call, N)], and the thread concerned; recorded from runs without a
    kill."""
    farm = new_farm(servers, database, folder, "count")

    def look(thread=None):
        run = Run(farm, series, None, thread)
        check_point(farm, script(run, f"count-{next(numbers)}"))
        tasks = run.tasks()
        run.end()
        return run.threads(), tasks
    try:
        threads, tasks = look()
        thread = None
        if series == "produce":
            # librdkafka creates its threads in a fixed order, so their ids are in that order too.
            producing, = (int(ident) for ident, calls in threads.items()
                          if ("sendmsg", "Kafka Produce") in calls)
            thread = tasks.index(producing)
            threads, _ = look(thread)
    finally:
        farm.close()
    most = Counter()
    for calls in threads.values():
        for call, count in Counter(call for call, _ in calls).items():
            most[call] = max(most[call], count)
    kinds = CALLS if series == "worker" else ("sendmsg",)
    return [(call, n) for call in kinds for n in range(1, most[call] + 1)], thread


def spread(points):
    """The points to kill at, spread over the series."""
    if WANTED == "all":
        return points
    count = int(WANTED)
    return [points[len(points) * (2 * i + 1) // (2 * count)] for i in range(count)]


@pytest.mark.parametrize("database, series", SERIES, indirect=["database"])
def test_crash_points(servers, database, series, tmp_path, say):
    if not can_trace():
        pytest.skip("NO STRACE HERE (or ptrace is forbidden): crash points ARE NOT TESTED")
    farm, begin = None, time.monotonic()
    killed, places = 0, Counter()
    points, thread = find_points(servers, database, series, tmp_path)
    tried = spread(points)
    try:
        for index, point in enumerate(tried):
            if index % POINTS_A_FARM == 0:
                farm = next_farm(farm, servers, database, tmp_path, index)
            run = Run(farm, series, point, thread)
            check_point(farm, script(run, f"{series}-{point[0]}-{point[1]}"))
            run.end()
            killed += run.killed
            places[run.place() if run.killed else "not reached"] += 1
            run.trace.unlink()
        farm = next_farm(farm, servers, database, tmp_path, None)
    finally:
        if farm is not None:
            farm.close()
    tell(say, database, {"crash_points": series, "points": len(points), "tried": len(tried),
                         "killed": killed, "not_reached": len(tried) - killed,
                         "seconds": round(time.monotonic() - begin), "at": dict(places)})
    assert killed > 0


def tell(say, database, line):
    say(f"crash points of series {line['crash_points']}", json.dumps(line))
    report = os.environ.get("BERTH_FAULT_REPORT")
    if report:
        with open(report, "a", encoding="ascii") as out:
            out.write(json.dumps({"database": database.kind, **line}) + "\n")


def new_farm(servers, database, folder, name):
    place = folder / name
    place.mkdir()
    return Farm(servers.broker, database, place, partitions=2).init()


def next_farm(farm, servers, database, folder, index):
    """Runs the full checks on the last farm's history, then starts a fresh farm."""
    if farm is not None:
        farm.start_worker(BERTH_WORKER_GROUP=f"{farm.topic_prefix}last")
        check_farm(farm)
        farm.close()
    return None if index is None else new_farm(servers, database, folder, f"from-{index}")
