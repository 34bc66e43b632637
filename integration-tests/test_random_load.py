"""10,000 random requests of all kinds on 50 machines through two workers, under limits: every check
on the farm passes."""

from berthtest.check import Findings, check_client, check_farm
from berthtest.load import Load, outcomes, seed_for

REQUESTS = 10000
CHUNK = 500
LIMIT = 40  # GPUs at once, of batch-1


def kinds_of(events, load):
    """Accepted bookings on any machine, accepted series, and series that were cancelled."""
    requests = {ident: request for _, request, ident in load.tokens}
    accepted = [requests[event.data["request"]["id"]] for event in events
                if event.accepted and not event.duplicate_of and "booking" in event.data]
    return (sum("any" in request for request in accepted),
            sum("repeat" in request for request in accepted),
            sum("series" in request for request in accepted))


def test_random_load(farm, say):
    workers = [farm.start_worker() for _ in range(2)]
    machines = [f"node-{number:02d}" for number in range(50)]
    for rack in range(4):
        farm.register(*machines[rack::4], gpus=8, memory_gib=64, labels={"rack": f"r{rack}"})
    farm.admin_command("client", "limit", "batch-1", "--gpus-at-once", LIMIT)
    farm.admin_command("farm", "limit", "--allocations", 4, "--gpu-hours-ahead", 20000)
    farm.wait_owned(*workers)
    load = Load(farm, machines, seed_for("random-load"))
    for chunk in range(REQUESTS // CHUNK):
        load.send(CHUNK)
        # Later requests name earlier bookings, also on a slow host.
        farm.events.wait(lambda: len(farm.events.events) >= len(machines) + (chunk - 1) * CHUNK,
                         "the workers keep up", 60)
        load.learn()
    events = load.finish()
    assert len(events) == REQUESTS
    counts = outcomes(events)
    say("random load", counts)
    # The load had the intended contention and mix.
    assert counts["accepted"] > 1000
    assert min(counts[name] for name in (
        "insufficient_capacity", "duplicate", "forbidden", "booking_over", "machine_not_up",
        "unknown_booking", "limit_exceeded", "capacity_in_use")) > 5, counts
    assert counts["insufficient_capacity"] > 500
    assert farm.events.repeats == 0
    any_booked, series, cancelled = kinds_of(events, load)
    say("random load", f"{any_booked} bookings on any machine, {series} series, {cancelled} cancelled")
    assert any_booked > 100 and series > 30 and cancelled > 5
    picture = check_farm(farm)
    wrong = Findings()
    say("random load", f"batch-1 held at most {check_client(picture, 'batch-1', LIMIT, wrong)} GPUs")
    wrong.report()
    assert sum(map(len, picture.decisions.values())) == REQUESTS + len(machines)
    for worker in workers:
        assert worker.stop() < 10
