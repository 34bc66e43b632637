"""10,000 random requests on 50 machines through two workers: everything that must hold, holds."""

from berthtest.check import check_farm
from berthtest.load import Load, outcomes, seed_for

REQUESTS = 10000
CHUNK = 500


def test_random_load(farm, say):
    workers = [farm.start_worker() for _ in range(2)]
    machines = [f"node-{number:02d}" for number in range(50)]
    farm.register(*machines, gpus=8, memory_gib=64)
    farm.wait_owned(*workers)
    load = Load(farm, machines, seed_for("random-load"))
    for _ in range(REQUESTS // CHUNK):
        load.send(CHUNK)
        load.learn()
    events = load.finish()
    assert len(events) == REQUESTS
    counts = outcomes(events)
    say("random load", counts)
    # It was as tight, and as mixed, as it was meant to be.
    assert counts["accepted"] > 1000
    assert min(counts[name] for name in (
        "insufficient_capacity", "duplicate", "forbidden", "booking_over", "machine_not_up",
        "unknown_booking")) > 5, counts
    assert counts["insufficient_capacity"] > 500
    assert farm.events.repeats == 0
    picture = check_farm(farm)
    assert sum(map(len, picture.decisions.values())) == REQUESTS + len(machines)
    for worker in workers:
        assert worker.stop() < 10
