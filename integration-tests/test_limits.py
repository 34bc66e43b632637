"""Client limits: how an operator sets them, when they take effect, and that no client exceeds them,
whichever partitions and workers decide its requests."""

import time

import pytest

from berthtest.check import check_farm
from berthtest.farm import create, share
from berthtest.load import outcomes

HOUR = 3600
DAY = 24 * HOUR


def tomorrow(hour=0):
    return int(time.time()) // HOUR * HOUR + DAY + hour * HOUR


def versions(farm):
    return {row["name"]: row["version"] for row in farm.rows("SELECT name, version FROM client")}


def generation(farm):
    return farm.row("SELECT key_generation AS n FROM farm")["n"]


# ---- the commands ------------------------------------------------------------------------------


def test_setting_limits(farm):
    before, first = versions(farm), generation(farm)
    shown = farm.admin_json("client", "limit", "batch-1")
    assert shown == {"client": "batch-1", "limits": {}, "in_force": {}}
    assert (versions(farm), generation(farm)) == (before, first)  # showing limits changes nothing

    own = {"booking_s": 12 * HOUR, "gpus_at_once": 64}
    shown = farm.admin_json("client", "limit", "batch-1", "--booking", "12h", "--gpus-at-once", "64")
    assert shown == {"client": "batch-1", "limits": own, "in_force": own}
    assert versions(farm) == {**before, "batch-1": before["batch-1"] + 1}
    assert generation(farm) == first + 1

    everybody = {"ahead_s": 28 * DAY, "allocations": 4, "gpus_at_once": 32, "gpu_hours_ahead": 5000}
    shown = farm.admin_json("farm", "limit", "--ahead", "4w", "--allocations", "4", "--gpus-at-once",
                    "32", "--gpu-hours-ahead", "5000")
    assert shown == {"limits": everybody}
    assert versions(farm) == {"ops": before["ops"] + 1, "batch-1": before["batch-1"] + 2,
                              "batch-2": before["batch-2"] + 1}
    assert farm.admin_json("client", "limit", "batch-1")["in_force"] == {**everybody, **own}
    assert farm.admin_json("client", "limit", "batch-2") == {
        "client": "batch-2", "limits": {}, "in_force": everybody}
    assert farm.admin_json("status")["limits"] == everybody
    listed = {item["client"]: item["limits"] for item in farm.admin_json("client", "list")["items"]}
    assert listed == {"ops": {}, "batch-1": own, "batch-2": {}}
    assert "gpus_at_once=64" in farm.admin_command("client", "list").stdout

    # Uncounted fields change no version; omitted fields keep their values.
    counted = versions(farm)
    farm.admin_json("client", "limit", "batch-1", "--booking", "none", "--allocations", "7")
    farm.admin_json("farm", "limit", "--ahead", "none")
    assert versions(farm) == counted
    assert generation(farm) == first + 4
    shown = farm.admin_json("client", "limit", "batch-1", "--gpus-at-once=none")
    assert shown["limits"] == {"allocations": 7}
    assert shown["in_force"] == {"allocations": 7, "gpus_at_once": 32, "gpu_hours_ahead": 5000}


def test_wrong_limits(farm):
    before = versions(farm), generation(farm)
    for arguments, sentence in [
            (("--gpus-at-once", "0"), "--gpus-at-once 0: expected a whole number, 1 to"),
            (("--gpus-at-once", "-1"), "expected a whole number"),
            (("--gpu-hours-ahead", "many"), "expected a whole number"),
            (("--allocations", "65"), "1 to 64"),
            (("--booking", "12"), "--booking"),
            (("--booking", "0s"), "a second or more"),
            (("--gpus-at-one", "3"), "did you mean --gpus-at-once")]:
        for command in (("client", "limit", "batch-1"), ("farm", "limit")):
            assert sentence in farm.admin_command(*command, *arguments, status=2).stderr
    farm.admin_command("client", "limit", "nobody", "--booking", "1h", status=5)
    farm.admin_command("client", "limit", "nobody", status=5)
    assert (versions(farm), generation(farm)) == before


def test_set_while_a_batch_is_under_way(farm):
    """The command waits for a partition's row lock, held by a batch in progress."""
    farm.sql.begin()
    with farm.sql.cursor() as cursor:
        cursor.execute("SELECT * FROM request_partition WHERE part = 3 FOR UPDATE")
    started = time.monotonic()
    done = farm.admin_command("client", "limit", "batch-1", "--gpus-at-once", "1", status=1)
    assert "nothing was changed" in done.stderr and time.monotonic() - started > 10
    farm.sql.rollback()
    assert farm.admin_json("client", "limit", "batch-1")["limits"] == {}
    assert generation(farm) == 4  # three keys


# ---- limits in force ---------------------------------------------------------------------------


def test_they_count_from_the_next_batch_on(farm):
    farm.start_worker()
    farm.register("gpu-01", "gpu-02", gpus=16)
    window = (tomorrow(), tomorrow(2))
    farm.accept(farm.batch_1, create(*window, share("gpu-01", 6)))
    farm.admin_json("client", "limit", "batch-1", "--gpus-at-once", "8", "--booking", "3h",
            "--allocations", "1", "--ahead", "2d")

    def reason(client, request):
        return farm.decide(client, request).reason
    # Bookings made before the limit count.
    event = farm.decide(farm.batch_1, create(*window, share("gpu-02", 3)))
    assert event.reason == "limit_exceeded" and "gpus_at_once" in event.data["detail"]
    running = farm.accept(farm.batch_1, create(*window, share("gpu-02", 2))).booking["id"]
    assert reason(farm.batch_1, create(*window, share("gpu-02", 1))) == "limit_exceeded"
    assert reason(farm.batch_2, create(*window, share("gpu-02", 9))) is None
    # An admin's amend of the client's booking is limited too; released GPUs can be booked again.
    amend = {"type": "booking.amend", "booking": running, "allocations": [share("gpu-02", 3)]}
    assert reason(farm.ops, amend) == "limit_exceeded"
    farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": running})
    farm.accept(farm.batch_1, create(*window, share("gpu-02", 2)))
    # Limits on a single booking.
    assert reason(farm.batch_1, create(tomorrow(3), tomorrow(7), share("gpu-01"))) == "limit_exceeded"
    assert reason(farm.batch_1, create(tomorrow(3), tomorrow(4), share("gpu-01"),
                                       share("gpu-02"))) == "limit_exceeded"
    assert reason(farm.batch_1, create(tomorrow(40), tomorrow(41), share("gpu-01"))) == "limit_exceeded"
    farm.admin_json("client", "limit", "batch-1", "--gpus-at-once", "none", "--booking", "none",
            "--allocations", "none", "--ahead", "none")
    farm.accept(farm.batch_1, create(tomorrow(3), tomorrow(7), share("gpu-01", 9),
                                     share("gpu-02", 9)))
    check_farm(farm)


def spread(farm, count):
    """Machines that all belong to different partitions."""
    events = farm.register(*[f"node-{n:02d}" for n in range(40)], gpus=100, memory_gib=1000)
    machines = {}
    for event in events:
        machines.setdefault(event.partition, event.data["machine"]["name"])
    assert len(machines) >= count
    return list(machines.values())[:count]


@pytest.mark.parametrize("limit", [{"gpus-at-once": 8}, {"gpu-hours-ahead": 8 * 24}])
def test_limit_holds_across_partitions(farm, limit):
    """One client sends to six partitions of two workers at once, in several rounds."""
    option, value = next(iter(limit.items()))
    farm.admin_json("client", "limit", "batch-1", f"--{option}", value)
    workers = [farm.start_worker(BERTH_WORKER_BATCH_MAX=7) for _ in range(2)]
    machines = spread(farm, 6)
    farm.wait_owned(*workers)
    requests = []
    for day in range(24):
        for number in range(18):
            start = tomorrow() + (day * DAY if option == "gpus-at-once" else 0)
            requests.append((farm.batch_1, create(start, start + HOUR,
                                                  share(machines[number % 6]))))
    events = farm.decide_all(requests)
    counts = outcomes(events)
    assert counts == {"accepted": 8 * 24, "limit_exceeded": len(requests) - 8 * 24}
    if option == "gpus-at-once":
        for day in range(24):
            taken = [event for event in events[18 * day:18 * (day + 1)] if event.accepted]
            assert len(taken) == 8
    deciders = {event.partition for event in events if event.accepted}
    assert len({farm.owners()[part] for part in deciders}) == 2
    check_farm(farm)


def test_set_under_load(farm):
    """A limit is in force when the command returns: every later decision respects it."""
    workers = [farm.start_worker(BERTH_WORKER_BATCH_MAX=20) for _ in range(2)]
    machines = spread(farm, 6)
    farm.wait_owned(*workers)
    positions = []

    def held(day):
        start = (tomorrow() + day * DAY) * 1000
        return farm.row("SELECT COALESCE(SUM(a.gpus), 0) AS n FROM booking b JOIN allocation a ON"
                        " a.booking = b.id WHERE b.client = 'batch-1' AND a.live = 1"
                        " AND a.start_ms = %s", start)["n"]

    for day in range(6):
        start = tomorrow() + day * DAY
        for number in range(600):
            request = create(start, start + HOUR, share(machines[number % 6], 1, 1))
            farm.send_later(farm.batch_1, request, positions)
            farm.producer.poll(0)
            if number == 150:
                farm.flush(positions)
                farm.admin_json("client", "limit", "batch-1", "--gpus-at-once", "10")
                at_limit = held(day)
        farm.events.decisions(farm.flush(positions))
        after = held(day)
        assert after == max(at_limit, 10), (at_limit, after)
        farm.admin_json("client", "limit", "batch-1", "--gpus-at-once", "none")
        assert at_limit > 0
    check_farm(farm)
