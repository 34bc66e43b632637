"""Real faults, each injected several times under load, and their report.

BERTH_FAULT_REPEATS says how often (1; `make faults` takes 20). BERTH_FAULT_REPORT names a file to
which each test adds one line of JSON for each kind of fault.
"""

import json
import os
import statistics
from contextlib import contextmanager

import pytest

from berthtest.check import check_farm
from berthtest.load import Load, Prober, seed_for

REPEATS = int(os.environ.get("BERTH_FAULT_REPEATS", "1"))
# For faults that hardly concern the database: half of the repeats on each kind.
HALF = -(-REPEATS // 2)
# For repeated tests: pytest's limit is for one repeat.
patient = pytest.mark.timeout(240 + 60 * REPEATS)
RECOVERY_LIMIT_S = 60


def loaded(farm, name, workers=2, **environment):
    """A farm with workers and a load."""
    running = [farm.start_worker(**environment) for _ in range(workers)]
    return running, load_for(farm, running, name)


def load_for(farm, running, name):
    """A load of requests and its machines, for a farm with these workers."""
    machines = [f"node-{number:02d}" for number in range(20)]
    farm.register(*machines, gpus=8, memory_gib=64)
    farm.wait_owned(*running)
    return Load(farm, machines, seed_for(name))


def in_the_middle(farm, load, count=500):
    """Sends so many requests; returns once some are decided."""
    before = len(farm.events.events)
    load.send(count)
    farm.events.wait(lambda: len(farm.events.events) > before + load.random.randint(1, count // 2),
                     "some are decided")


def report(farm, say, kind, seconds):
    """Adds faults to the report. Call after the checks have passed."""
    line = {"fault": kind, "database": farm.database.kind, "made": len(seconds),
            "median_s": round(statistics.median(seconds), 2), "max_s": round(max(seconds), 2)}
    say(kind, f"{len(seconds)} made, nothing lost, seconds to recover: median {line['median_s']}, "
        f"max {line['max_s']}")
    path = os.environ.get("BERTH_FAULT_REPORT")
    if path:
        with open(path, "a", encoding="ascii") as out:
            out.write(json.dumps(line) + "\n")


class Trials:
    """Injects faults of one or more kinds, and measures the time until all partitions decide again."""

    def __init__(self, farm, load, workers, say, limit_s=RECOVERY_LIMIT_S):
        self.farm, self.load, self.workers, self.say = farm, load, workers, say
        self.limit_s = limit_s
        self.seconds = {}

    @contextmanager
    def fault(self, kind, requests=300, parts=None):
        """The body injects and ends the fault in the middle of `requests`; afterwards the time until
        all partitions decide is measured."""
        in_the_middle(self.farm, self.load, requests)
        yield
        prober = Prober(self.farm, range(self.farm.partitions) if parts is None else parts)
        self.load.send(50)
        self.seconds.setdefault(kind, []).append(prober.wait(self.limit_s))
        self.load.learn()
        for worker in self.workers:
            assert worker.running(), f"{kind}: a worker ended:\n{worker.tail(60)}"

    def finish(self):
        """Checks that every request is decided once and all checks pass; reports."""
        self.load.finish()
        check_farm(self.farm)
        for kind, seconds in self.seconds.items():
            report(self.farm, self.say, kind, seconds)
