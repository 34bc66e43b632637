"""The command line on a running farm: exit codes, output formats, and exactly one outcome for every
request sent."""

import contextlib
import json
import os
import pty
import shlex
import signal
import subprocess
import time
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import jwt
import pytest

from berthtest.check import check_farm
from berthtest.cli import Cli
from berthtest.events import read_topic
from berthtest.farm import rfc3339, share, tomorrow
from berthtest.preload import compile_preload
from berthtest.process import program
from berthtest.wait import wait_until

HOUR = 3600
# Control characters (C0, DEL, C1) and others that a terminal obeys or does not show.
HIDDEN = [*map(chr, [*range(0x20), *range(0x7F, 0xA0), *range(0x200B, 0x2010),
                     *range(0x2028, 0x202F), *range(0x2060, 0x2070)])]
UNREACHABLE = "127.0.0.1:1"


@pytest.fixture(scope="module", name="served")
def fixture_served(module_farm):
    module_farm.start_reader()
    ops = Cli(module_farm, module_farm.ops)
    for name in ("gpu-01", "gpu-02", "gpu-03"):
        ops("machine", "add", name, "--gpus", 8, "--mem", 64)
    return module_farm


@pytest.fixture(name="ops")
def fixture_ops(served):
    return Cli(served, served.ops)


@pytest.fixture(name="berth")
def fixture_berth(served):
    return Cli(served, served.batch_1)


def moment(text):
    """An RFC 3339 time in UTC."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_life_of_a_booking(served, berth, ops):
    start = tomorrow()
    event = berth.json("book", "gpu-01:2:16", "gpu-02:1", "--start", rfc3339(start), "--for", "2h",
                       "--user", "älice", "--request-id", "life-1")
    booking = event["data"]["booking"]
    assert event["data"]["request"]["user"] == "älice"
    assert booking["allocations"] == [share("gpu-01", 2, 16), share("gpu-02", 1, 0)]
    # The printed booking equals the event and the reader's answer.
    seen = served.events.decision((event["data"]["request"]["partition"],
                                   event["data"]["request"]["offset"]))
    assert seen.json == event
    number = booking["id"]
    assert berth.json("show", number) == booking == berth.json("show", f"booking/{number}")
    assert berth.json("show", "--request", "life-1") == event == berth.json("why", "life-1")

    amended = berth.json("amend", number, "--for", "3h", "gpu-01")["data"]["booking"]
    assert amended["end"] == rfc3339(start + 3 * HOUR)
    assert amended["allocations"] == [share("gpu-01", 8, 64)]  # a bare name means the whole machine
    assert amended["version"] == 2
    rejected = berth.json("book", "gpu-01:1", "--start", f"@{start + HOUR}", "--for", "1h",
                          status=3)
    assert rejected["type"] == "urn:berth:problem:rejected"
    assert rejected["reason"] == "insufficient_capacity" and rejected["machine"] == "gpu-01"
    assert rejected["next_available"] == rfc3339(start + 3 * HOUR)

    assert f"booking {number} cancelled" in berth("cancel", number).stdout
    done = berth("cancel", number, status=3)
    assert done.stdout == "" and "booking_over" in done.stderr
    row = berth("list", "--state", "cancelled", "-o", "tsv", "--no-headers").stdout.splitlines()
    assert [line.split("\t")[1] for line in row if line.startswith(f"{number}\t")] == ["cancelled"]
    berth("show", 1, status=5)
    berth("why", "never-sent", status=5)
    check_farm(served)


def test_delivery_report_without_offset(served, berth, tmp_path):
    """A delivery report without an offset: the decision is found by the request id."""
    blind = {"LD_PRELOAD": compile_preload("untold_offset", tmp_path)}
    start = rfc3339(tomorrow() + 400 * HOUR)
    event = berth.json("book", "gpu-03:1", "--start", start, "--for", "1h", "--request-id",
                       "untold-1", **blind)
    assert event["data"]["request"]["id"] == "untold-1"
    assert served.events.decision((event["data"]["request"]["partition"],
                                   event["data"]["request"]["offset"])).json == event
    lines = [json.dumps({"type": "booking.create", "start": start, "duration_s": 3600,
                         "allocations": [share("gpu-03", 1, 0)]}) for _ in range(20)]
    done = berth("submit", stdin="\n".join(lines), status=3, **blind)
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({item["event"]["data"]["request"]["id"] for item in seen}) == 20
    assert sorted(item["outcome"] for item in seen) == 7 * ["accepted"] + 13 * ["rejected"]
    published = berth.json("book", "gpu-03:1", "--start", start, "--for", "1h", "--no-wait", **blind)
    assert published["request"]["offset"] is None
    done = berth("book", "gpu-03:1", "--start", start, "--for", "1h", "--no-wait", **blind)
    assert ":?" in done.stdout


def test_amend_in_steps(served, berth, ops):
    """amend completes omitted fields from the reader; the request states every field."""
    for name in ("step-1", "step-2", "step-3"):
        ops("machine", "add", name, "--gpus", 8, "--mem", 64)
    start = tomorrow()
    number = berth.json("book", "step-1:2:16", "step-2:1", "--start", rfc3339(start), "--for",
                        "2h")["data"]["booking"]["id"]

    def amend(*words):
        booking = berth.json("amend", number, *words)["data"]["booking"]
        assert berth.json("show", number) == booking
        hours = [(moment(booking[name]).timestamp() - start) / HOUR for name in ("start", "end")]
        return tuple(hours), booking["allocations"]

    both = [share("step-1", 2, 16), share("step-2", 1, 0)]
    assert amend("--extend", "1h") == ((0, 3), both)
    assert amend("--shorten", "30m") == ((0, 2.5), both)
    assert amend("--move", rfc3339(start + 4 * HOUR)) == ((4, 6.5), both)
    assert amend("--for", "1h") == ((4, 5), both)
    assert amend("--start", rfc3339(start + 2 * HOUR)) == ((2, 5), both)
    assert amend("--start", rfc3339(start), "--shorten", "1h") == ((0, 4), both)
    assert amend("--set", "step-3:4:8") == ((0, 4), both + [share("step-3", 4, 8)])
    assert amend("--set", "step-1:3", "--drop", "step-2") == \
        ((0, 4), [share("step-1", 3, 0), share("step-3", 4, 8)])
    assert amend("--set", "step-3", "--extend", "1h") == \
        ((0, 5), [share("step-1", 3, 0), share("step-3", 8, 64)])  # the whole machine
    done = berth("amend", number, "--drop", "step-2", status=5)
    assert "holds nothing of step-2" in done.stderr
    assert amend("--drop", "step-1", "--drop", "step-3") == ((0, 5), [])
    assert amend("step-2:1") == ((0, 5), [share("step-2", 1, 0)])
    berth("amend", number, "--shorten", "5h", status=2)
    berth("amend", 1, "--extend", "1h", status=5)

    # A booking that has begun keeps its start and its past use.
    running = berth.json("book", "step-1:1", "--for", "1h")["data"]["booking"]
    begun = moment(running["start"]).timestamp() + 1
    wait_until(lambda: time.time() > begun, "the booking has begun")
    longer = berth.json("amend", running["id"], "--extend", "1h", "--set", "step-2:1")
    longer = longer["data"]["booking"]
    assert longer["start"] == running["start"]
    assert moment(longer["end"]) == moment(running["end"]) + timedelta(hours=1)
    assert longer["allocations"] == [share("step-1", 1, 0), share("step-2", 1, 0)]
    assert "released" in berth("cancel", running["id"]).stdout
    check_farm(served)


def test_machines(served, berth, ops):
    event = ops.json("machine", "add", "gpu-77", "--gpus", 4, "--mem", 32, "--id", 77, "--label",
                     "zone=a", "--label", "note=größer")
    assert event["data"]["machine"]["labels"] == {"zone": "a", "note": "größer"}
    assert ops.json("machine", "show", "gpu-77") == event["data"]["machine"]
    ops("machine", "add", "gpu-77", "--gpus", 4, "--mem", 32, status=3)
    berth("machine", "drain", "gpu-77", status=3)  # not an admin
    booked = berth.json("book", "gpu-77:4", "--start", f"@{tomorrow()}", "--for", "1h")
    ops("machine", "update", "gpu-77", "--gpus", 2, status=3)
    event = ops.json("machine", "update", "gpu-77", "--gpus", 2, "--label", "zone=b", "--displace")
    assert event["data"]["machine"]["labels"] == {"zone": "b"}
    assert [item["id"] for item in event["data"]["displaced"]] == [booked["data"]["booking"]["id"]]
    assert ops.json("machine", "drain", "gpu-77")["data"]["machine"]["state"] == "draining"
    assert "machine_not_up" in berth("book", "gpu-77:1", "--for", "1h", status=3).stderr
    assert ops.json("machine", "resume", "gpu-77")["data"]["machine"]["state"] == "up"
    ops("machine", "drain", "gpu-77")
    assert ops.json("machine", "undrain", "gpu-77")["data"]["machine"]["state"] == "up"
    assert ops.json("machine", "update", "gpu-77", "--no-labels")["data"]["machine"]["labels"] == {}
    ops("machine", "retire", "gpu-77")
    assert "gpu-77" not in berth("machine", "list").stdout
    assert "gpu-77" in berth("machine", "list", "--state", "retired").stdout
    listed = berth("machine", "list", "--all", "-o", "tsv").stdout.splitlines()
    assert listed[0].split("\t") == ["machine", "state", "gpus", "memory_gib", "id", "version",
                                     "labels"]
    assert any(line.startswith("gpu-77\tretired\t2\t32\t77\t") for line in listed)
    check_farm(served)


def test_any_machines_that_fit(served, berth, ops):
    for number in range(3):
        ops("machine", "add", f"any-{number}", "--gpus", 8, "--mem", 64, "--label", "kind=any",
            "--label", f"rack={number % 2}")
    start = tomorrow()
    window = ("--label", "kind=any", "--start", rfc3339(start), "--for", "2h")

    def chosen(*words):
        booking = berth.json("book", "--any", *words, *window)["data"]["booking"]
        return sorted(booking["allocations"], key=lambda item: item["machine"])

    said = berth.json("book", "--any", 2, "--gpus", 4, *window, "--request-id", "any-1",
                      "--dry-run")
    assert (said["key"], said["partition"]) == ("any-1", None)
    assert chosen(2, "--gpus", 4, "--mem", 16) == [share("any-0", 4, 16), share("any-1", 4, 16)]
    # Best fit (the fullest machine with room); then whole machines, then by label.
    assert chosen(1, "--gpus", 4) == [share("any-0", 4, 0)]
    assert chosen(1, "--mem", 8, "--label", "rack=1") == [share("any-1", 0, 8)]
    assert chosen(1) == [share("any-2", 8, 64)]

    full = ("book", "--any", 2, "--gpus", 4, *window)
    rejected = berth.json(*full, status=3)
    assert (rejected["reason"], rejected["fitting"]) == ("insufficient_capacity", 1)
    assert rejected["next_available"] == rfc3339(start + 2 * HOUR)
    row = berth(*full, "-o", "tsv", status=3).stdout.splitlines()
    row = dict(zip(row[0].split("\t"), row[1].split("\t")))
    assert (row["fitting"], row["next_available"]) == ("1", rfc3339(start + 2 * HOUR))
    # The printed command can be pasted as it is.
    told = berth(*full, "--request-id", "any-full", "--user", "it's me", status=3).stderr
    assert told.splitlines()[-2] == "berth: to have it then:"
    words = shlex.split(told.splitlines()[-1])
    assert words[0] == "berth" and "any-full" not in words
    event = berth.json(*words[1:])
    assert event["data"]["request"]["user"] == "it's me"
    assert event["data"]["booking"]["start"] == rfc3339(start + 2 * HOUR)
    assert event["data"]["booking"]["end"] == rfc3339(start + 4 * HOUR)

    ops("machine", "add", "any-small", "--gpus", 4, "--mem", 32, "--label", "kind=any")
    assert "differ: give --gpus and --mem" in berth("book", "--any", 1, *window, status=2).stderr
    berth("book", "--any", 1, "--label", "kind=none", "--for", "1h", status=5)
    too_many = berth.json("book", "--any", 5, "--gpus", 1, *window, status=3)
    assert (too_many["reason"], too_many["fitting"]) == ("exceeds_machine", 4)
    check_farm(served)


def next_clock_change(zone):
    """The day before the next clock change."""
    def offset(day):
        return datetime(day.year, day.month, day.day, 12, tzinfo=zone).utcoffset()
    days = (date.today() + timedelta(days=number) for number in range(2, 400))
    return next(day for day in days if offset(day) != offset(day + timedelta(days=1)))


def test_series(served, berth, ops):
    ops("machine", "add", "series-1", "--gpus", 8, "--mem", 64)
    zone = ZoneInfo("Europe/Paris")
    days = [next_clock_change(zone) + timedelta(days=number) for number in range(3)]
    words = ("--start", f"{days[0]} 09:00", "--for", "2h", "--repeat", "day", "--count", 3)

    event = berth.json("book", "series-1:4", *words, "--zone", "Europe/Paris")
    series = event["data"]["series"]
    occurrences = series["occurrences"]
    # Nine o'clock in Paris, whatever the offset to UTC.
    assert [f"{moment(item['start']).astimezone(zone):%Y-%m-%d %H:%M}" for item in occurrences] \
        == [f"{day} 09:00" for day in days]
    assert len({moment(item["start"]).hour for item in occurrences}) == 2
    numbers = [item["booking"] for item in occurrences]
    assert numbers[0] == series["id"] == event["data"]["booking"]["id"]
    assert len(set(numbers)) == 3 and len({number % 4096 for number in numbers}) == 1
    for number in numbers:
        assert berth.json("show", number)["series"] == series["id"]
    assert f"of series {series['id']}" in berth("show", numbers[1]).stdout

    # All or none; with --skip-conflicts, the occurrences that fit.
    full = ("book", "series-1:5", *words, "--tz", "Europe/Paris")
    berth("cancel", numbers[0])
    berth("cancel", numbers[2])
    refused = berth(*full, status=3)
    assert "insufficient_capacity" in refused.stderr and "--skip-conflicts" in refused.stderr
    rows = [line.split("\t") for line in
            berth(*full, "--skip-conflicts", "-o", "tsv").stdout.splitlines()]
    rows = [dict(zip(rows[0], row)) for row in rows[1:]]
    assert [row["state"] for row in rows] == ["booked", "left_out", "booked"]
    assert [row["reason"] for row in rows] == ["-", "insufficient_capacity", "-"]
    assert (rows[1]["machine"], rows[1]["booking"]) == ("series-1", "-")
    assert [row["start"] for row in rows] == [item["start"] for item in occurrences]
    second = rows[0]["series"]

    # The first booking's id is the series' id: cancelling it alone prints a note.
    told = berth("cancel", rows[0]["booking"])
    assert f"berth cancel --series {second}" in told.stderr
    ended = berth.json("cancel", "--series", second)["data"]["series"]
    assert ended["id"] == int(second)
    assert [(item["booking"], item["state"]) for item in ended["occurrences"]] == \
        [(int(rows[2]["booking"]), "cancelled")]
    assert "booking_over" in berth("cancel", "--series", second, status=3).stderr
    assert "unknown_booking" in berth("cancel", "--series", 1, status=5).stderr
    assert "cancelled 1" in berth("cancel", "--series", series["id"]).stdout
    listed = berth("list", "--machine", "series-1", "--state", "booked", "-o", "tsv",
                   "--no-headers").stdout
    assert listed == ""

    # Without --zone the zone comes from TZ, which must be a zone's name.
    for tz in ("", "CET-1CEST"):
        told = berth("book", "series-1:1", *words, status=2, TZ=tz).stderr
        assert "--zone" in told
    assert berth.json("book", "series-1:1", *words, "--dry-run", TZ=":Australia/Lord_Howe")[
        "claims"]["request"]["repeat"] == {"every": "day", "count": 3,
                                           "zone": "Australia/Lord_Howe"}
    check_farm(served)


def test_bookings_in_the_way(served, berth, ops):
    ops("machine", "add", "way-1", "--gpus", 8, "--mem", 64)
    start = tomorrow()
    numbers = [berth.json("book", "way-1:4", "--start", rfc3339(start), "--for", "1h")["data"][
        "booking"]["id"] for _ in range(2)]
    refused = ops.json("machine", "retire", "way-1", status=3)
    assert (refused["reason"], refused["in_use"]) == ("capacity_in_use", numbers)
    told = ops("machine", "update", "way-1", "--gpus", 4, status=3).stderr
    assert f"in the way: booking {numbers[1]}\n" in told and "--displace" in told

    refused = berth.json("book", "way-1:8", "gpu-03:1", "--start", rfc3339(start), "--for", "2h",
                         status=3)
    assert refused["machines_free"][0] == share("way-1", 0, 64)
    assert refused["machines_free"][1]["machine"] == "gpu-03"
    assert refused["next_available"] == rfc3339(start + HOUR)
    told = berth("book", "way-1:8", "gpu-03:1", "--start", rfc3339(start), "--for", "2h", "--tz",
                 "Asia/Tokyo", status=3).stderr
    assert "free then: way-1 " in told and " JST (" in told
    pasted = berth.json(*shlex.split(told.splitlines()[-1])[1:])
    assert pasted["data"]["booking"]["start"] == rfc3339(start + HOUR)

    served.admin_command("client", "limit", "batch-2", "--gpus-at-once", 6)
    other = Cli(served, served.batch_2)
    window = ("--start", rfc3339(start + 8 * HOUR), "--for", "1h")
    other("book", "way-1:5", *window)
    refused = other.json("book", "way-1:2", *window, status=3)
    assert (refused["reason"], refused["limit"]) == (
        "limit_exceeded", {"name": "gpus_at_once", "limit": 6, "used": 5, "asked": 2})
    row = other("book", "way-1:2", *window, "-o", "tsv", "--no-headers", status=3).stdout
    assert "\tgpus_at_once:6:5:2\t" in row
    assert "The limit gpus_at_once of batch-2" in other("book", "way-1:2", *window, status=3).stderr

    told = ops("machine", "retire", "way-1", "--displace").stdout
    for number in (*numbers, pasted["data"]["booking"]["id"]):
        assert f"displaced: booking {number} of batch-1, now cancelled" in told
        assert berth.json("show", number)["state"] == "cancelled"
    check_farm(served)


def test_when_something_is_free(served, berth, ops):
    for number in range(2):
        ops("machine", "add", f"free-{number}", "--gpus", 8, "--mem", 64, "--label", "kind=free",
            "--label", f"rack={number}")
    start = tomorrow()
    window = ("--for", "2h", "--from", rfc3339(start))
    any_two = ("free", "--any", 2, "--label", "kind=free", *window)
    berth("book", "free-0", "--start", rfc3339(start), "--for", "3h")

    def offered(done):
        """The offered command as arguments of berth."""
        told = done.stderr.splitlines()
        assert told[-2] == "berth: to have the first one:"
        return shlex.split(told[-1])[1:]

    # As the reader answers; whole machines, because no share was given.
    answer = berth.json(*any_two, "--limit", 2)
    assert [item["start"] for item in answer["windows"]] == \
        [rfc3339(start + hours * HOUR) for hours in (3, 5)]
    assert answer["windows"][0]["allocations"] == [share("free-0", 8, 64), share("free-1", 8, 64)]
    query = {"gpus": 8, "memory_gib": 64, "count": 2, "label": "kind=free", "duration": "2h",
             "from": rfc3339(start), "limit": 2}
    asked = served.get("/v1/availability", params=query).json()
    assert asked == answer
    rows = [line.split("\t") for line in berth(*any_two, "-o", "tsv").stdout.splitlines()]
    assert rows[0] == ["start", "end", "machines"] and len(rows) == 11
    assert rows[1] == [rfc3339(start + 3 * HOUR), rfc3339(start + 5 * HOUR),
                       "free-0:8:64,free-1:8:64"]

    # The offered command is accepted; the next window is then the first one offered.
    done = berth(*any_two, "--tz", "Europe/Paris")
    paris = datetime.fromtimestamp(start + 3 * HOUR, ZoneInfo("Europe/Paris"))
    assert done.stdout.startswith(f"{paris:%a %Y-%m-%d %H:%M} {paris.tzname()} (")
    assert f"looking for 2h from {datetime.fromtimestamp(start, ZoneInfo('Europe/Paris')):%a %Y}" \
        in done.stderr
    booking = berth.json(*offered(done))["data"]["booking"]
    assert (booking["start"], booking["end"]) == (rows[1][0], rows[1][1])
    assert berth.json(*any_two)["windows"][0]["start"] == rfc3339(start + 5 * HOUR)

    # One machine, a share of it and the whole; a label that only one machine carries.
    one = berth("free", "--machine", "free-0", "--gpus", 2, "--mem", 8, "--for", "1h", "--from",
                rfc3339(start))
    assert offered(one)[:2] == ["book", "free-0:2:8"]
    assert berth.json(*offered(one))["data"]["booking"]["start"] == rfc3339(start + 5 * HOUR)
    whole = berth("free", "-m", "free-1", *window)
    assert offered(whole)[:2] == ["book", "free-1"]
    assert berth.json(*offered(whole))["data"]["booking"]["allocations"] == [share("free-1", 8, 64)]
    assert berth.json("free", "--gpus", 1, "--label", "rack=0", "--label", "kind=free", "--for",
                      "1h", "--from", rfc3339(start))["windows"][0]["allocations"] == \
        [share("free-0", 1, 0)]

    none = berth("free", "--gpus", 1, "-m", "free-0", "--for", "1h", "--from", rfc3339(start),
                 "--horizon", "2h", status=5)
    assert none.stdout == "" and "nothing is free for 1h until" in none.stderr
    none = berth.json("free", "--gpus", 9, "--label", "kind=free", "--for", "1h", status=5)
    assert none["type"] == "urn:berth:problem:not_found" and none["matching"] == 2
    berth("free", "-m", "nowhere", "--for", "1h", status=5)
    check_farm(served)


def test_what_does_not_exist_ends_with_5(served, berth, ops):
    """The same exit status whether the reader or a decision says so, in the words of the command."""
    for words in (("book", "nosuch", "--for", "1h"), ("book", "nosuch:1", "--for", "1h"),
                  ("machine", "show", "nosuch"), ("show", "nosuch"), ("free", "-m", "nosuch", "--for", "1h"),
                  ("amend", 1, "--extend", "1h"), ("amend", 1, "--end", "+1h"), ("cancel", 1),
                  ("show", 1), ("show", "--series", 1), ("why", "nosuch"), ("why", 1)):
        done = berth(*words, status=5)
        assert "GET" not in done.stderr, done.stderr
        assert "GET" not in berth(*words, "-o", "json", status=5).stdout
    ops("machine", "drain", "nosuch", status=5)
    assert "`berth machine list --all`" in berth("show", "nosuch", status=5).stderr
    assert "there is no booking 1; `berth list --all`" in berth("show", 1, status=5).stderr
    assert berth.json("show", "nosuch", status=5)["type"] == "urn:berth:problem:not_found"
    check_farm(served)


def test_cancel_several(served, berth):
    ids = [berth.json("book", "gpu-01:1", "--start", f"@{tomorrow() + 30 * HOUR}", "--for", "1h")[
        "data"]["booking"]["id"] for _ in range(5)]
    done = berth("cancel", *ids[:2])
    assert [line.split(":")[0] for line in done.stdout.splitlines() if line[0] != " "] == \
        [f"booking {number} cancelled" for number in ids[:2]]
    # Each has its outcome; the exit status is that of the worst, and the others are cancelled.
    done = berth("cancel", ids[0], ids[2], 1, status=3)
    assert "booking_over" in done.stderr and "unknown_booking" in done.stderr
    assert f"booking {ids[2]} cancelled" in done.stdout
    berth("cancel", 1, f"booking/{ids[3]}", status=5)
    rows = [line.split("\t") for line in
            berth("cancel", ids[4], ids[3], "-o", "tsv", status=3).stdout.splitlines()]
    assert [row[0] for row in rows] == ["outcome", "accepted", "rejected"]
    # Nothing is sent when one of the words is no id, or one request id would be for all.
    before = served.message_count()
    berth("cancel", ids[0], "x", status=2)
    assert "--request-id" in berth("cancel", *ids, "--request-id", "r", status=2).stderr
    assert served.message_count() == before
    done = berth("cancel", *ids, status=1, BERTH_KAFKA_BOOTSTRAP_SERVERS=UNREACHABLE)
    assert f"not sent: booking {ids[1]} and those behind it" in done.stderr
    check_farm(served)


def test_list_filters(served, berth, ops):
    ops("machine", "add", "list-1", "--gpus", 8, "--mem", 64, "--label", "kind=list", "--label",
        "rack=a b")
    ops("machine", "add", "list-2", "--gpus", 8, "--mem", 64, "--label", "kind=list")
    start = tomorrow()

    def book(hour, *words):
        return berth.json("book", "list-1:1", "--start", rfc3339(start + hour * HOUR), "--for",
                          "1h", *words)["data"]["booking"]["id"]
    ids = [book(0, "--user", "zoé"), book(2, "--user", "zoé"), book(4, "--user", "max")]

    def listed(*words):
        found = berth.json("list", "--machine", "list-1", *words)["items"]
        return [item["id"] for item in found]
    assert listed() == ids
    assert listed("--user", "zoé") == ids[:2]
    assert listed("--from", rfc3339(start + HOUR)) == ids[1:]
    assert listed("--to", rfc3339(start + 2 * HOUR)) == ids[:1]
    assert listed("--from", rfc3339(start + HOUR), "--to", rfc3339(start + 3 * HOUR)) == ids[1:2]
    assert listed("--client", "ops") == []
    zone = ZoneInfo("Asia/Tokyo")
    local = datetime.fromtimestamp(start, zone)
    done = berth("list", "--from", f"{local:%Y-%m-%d %H:%M}", "--to", "+1w", "--tz", zone.key)
    assert f"berth: window: {local:%a %Y-%m-%d %H:%M} JST" in done.stderr

    def machines(*words):
        return [item["name"] for item in berth.json("machine", "list", *words)["items"]]
    assert machines("--label", "kind=list") == ["list-1", "list-2"]
    assert machines("--label", "kind=list", "--label", "rack=a b") == ["list-1"]
    assert machines("--label", "kind=list", "--state", "retired") == []

    series = berth.json("book", "list-2:1", "--start", rfc3339(start), "--for", "1h", "--repeat",
                        "day", "--count", 3, "--zone", "UTC")["data"]["series"]
    numbers = [item["booking"] for item in series["occurrences"]]
    for words in (("list",), ("show",)):
        page = berth.json(*words, "--series", series["id"])
        assert [item["id"] for item in page["items"]] == numbers
    rows = berth("show", "--series", f"series/{series['id']}", "-o", "tsv").stdout.splitlines()
    assert [row.split("\t")[0] for row in rows[1:]] == [str(number) for number in numbers]
    assert [line.split()[0] for line in
            berth("list", "--series", series["id"]).stdout.splitlines()] == \
        ["BOOKING", *(str(number) for number in numbers)]
    berth("show", "--series", ids[0], status=5)
    check_farm(served)


def test_list_is_what_is_not_over_by_start(served, berth, ops):
    ops("machine", "add", "over-1", "--gpus", 8, "--mem", 64)
    start = tomorrow()

    def book(when, length):
        return berth.json("book", "over-1:1", "--user", "mia", "--start", when, "--for", length)[
            "data"]["booking"]["id"]
    late = book(rfc3339(start + 9 * HOUR), "1h")
    early = book(rfc3339(start), "5h")
    gone = book(rfc3339(start + 2 * HOUR), "1h")
    short = book("now", "1s")
    berth("cancel", gone)
    released = book("now", "1h")
    of = ("list", "--user", "mia")

    def listed(*words, **options):
        return [item["id"] for item in berth.json(*of, *words, **options)["items"]]
    wait_until(lambda: listed() == [released, early, late], "the short one is over")
    assert "released" in berth("cancel", released).stdout
    assert listed() == [early, late]
    everything = listed("--all")
    assert set(everything) == {late, early, gone, short, released}
    assert everything[-3:] == [early, gone, late]
    assert listed("--state", "cancelled") == [gone] and listed("--state", "released") == [released]
    assert listed("--to", rfc3339(start + HOUR)) == [early]
    assert short in listed("--from", "@1")
    assert listed("--sort", "-start") == [late, early]
    assert listed("--sort", "end", "--limit", 1) == [early]
    assert listed("--sort", "booking") == sorted([early, late])
    assert listed("--sort=-booking", "--limit", 1) == [max(early, late)]
    mine = berth.json("list", "--mine", BERTH_CLIENT_USER="mia")["items"]
    assert [item["id"] for item in mine] == [early, late]
    assert berth.json("list", "--mine", BERTH_CLIENT_USER="max", BERTH_CLIENT_NAME="ops") == {
        "items": []}
    assert "did you mean start" in berth(*of, "--sort", "strat", status=2).stderr
    assert "--mine" in berth(*of, "--mine", "--user", "mia", status=2).stderr
    told = berth("list", "--user", "nobody")
    assert told.stdout == "" and "--all shows what is over" in told.stderr

    rows = berth(*of, "--tz", "UTC").stdout.splitlines()
    assert rows[0].split() == ["BOOKING", "STATE", "WHEN", "USER", "CLIENT", "MACHINES"]
    assert [row.split()[0] for row in rows[1:]] == [str(early), str(late)]
    assert len({row.index(user) for row, user in zip(rows, ("USER", "mia", "mia"))}) == 1
    rows = berth(*of, "--no-headers", "--sort", "booking").stdout.splitlines()
    assert [int(row.split()[0]) for row in rows] == sorted([early, late])
    check_farm(served)


def on_terminal(served, client, *words, **environment):
    """The exit status of `berth` with a terminal as stdout, and what it wrote there."""
    controller, terminal = pty.openpty()
    with subprocess.Popen([program("berth"), *words], stdin=subprocess.DEVNULL, stdout=terminal,
                          env=served.environment(**client.settings, **environment)) as child:
        os.close(terminal)
        text = b""
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal any more
            while piece := os.read(controller, 65536):
                text += piece
        os.close(controller)
    return child.returncode, text.decode().replace("\r\n", "\n")


def test_pager(served, berth):
    rows = berth("machine", "list").stdout
    assert rows.startswith("MACHINE ")
    assert on_terminal(served, berth, "machine", "list", PAGER="") == (0, rows)
    paged = on_terminal(served, berth, "machine", "list", PAGER='sed "s/^/[$LESS] /"')
    assert paged == (0, "".join(f"[FRX] {line}\n" for line in rows.splitlines()))
    # Who leaves the pager early has seen enough.
    assert on_terminal(served, berth, "machine", "list", PAGER="true")[0] == 0
    # Scripts and what is not a list get none.
    assert on_terminal(served, berth, "machine", "list", "-o", "tsv", PAGER="false")[1]
    assert berth("machine", "list", PAGER="false").stdout == rows
    assert on_terminal(served, berth, "show", "gpu-01", PAGER="false")[1].startswith("machine ")


def test_the_timeline_of_a_machine(served, berth, ops):
    ops("machine", "add", "line-1", "--gpus", 8, "--mem", 64)
    start = tomorrow()
    numbers = [berth.json("book", amount, "--start", rfc3339(start + hour * HOUR), "--for", "2h")[
        "data"]["booking"]["id"] for amount, hour in (("line-1:4:16", 0), ("line-1:1:8", 1))]
    window = ("--from", rfc3339(start), "--to", rfc3339(start + 4 * HOUR))
    timeline = berth.json("machine", "show", "line-1", *window)
    assert [item["booking"] for item in timeline["bookings"]] == numbers
    assert [(item["gpus"], item["memory_gib"]) for item in timeline["free"]] == \
        [(4, 48), (3, 40), (7, 56), (8, 64)]
    rows = berth("machine", "show", "line-1", *window, "-o", "tsv").stdout.splitlines()
    rows = [dict(zip(rows[0].split("\t"), row.split("\t"))) for row in rows[1:]]
    assert [row["kind"] for row in rows] == ["booking"] * 2 + ["free"] * 4
    assert rows[0] == {"kind": "booking", "start": rfc3339(start), "gpus": "4", "memory_gib": "16",
                       "end": rfc3339(start + 2 * HOUR), "booking": str(numbers[0]),
                       "client": "batch-1", "user": "alice"}
    assert rows[2]["booking"] == "-" and rows[5]["end"] == rfc3339(start + 4 * HOUR)

    said = berth("machine", "show", "line-1", *window).stdout.splitlines()
    assert said[0].split()[:3] == ["machine", "line-1", "up"]
    assert [line.split()[0] for line in said[2:6]] == \
        ["[#####-----]", "[#######---]", "[##--------]", "[----------]"]
    assert said[6] == "held:" and said[7].split()[0] == str(numbers[0])
    # Without a window: programs (JSON) get the machine alone, people the coming week too.
    assert berth.json("machine", "show", "line-1")["name"] == "line-1"
    assert len(berth("machine", "show", "line-1", "-o", "tsv").stdout.splitlines()) == 2
    assert "free" in berth.json("machine", "show", "line-1", "--timeline")
    assert ", 1w:" in berth("machine", "show", "line-1").stdout
    berth("machine", "show", "nowhere", status=5)
    check_farm(served)


def test_why(served, berth, ops):
    ops("machine", "add", "why-1", "--gpus", 8, "--mem", 64)
    start = tomorrow()
    number = berth.json("book", "why-1:4:16", "--start", rfc3339(start), "--for", "2h",
                        "--request-id", "because-1")["data"]["booking"]["id"]
    berth("amend", number, "--set", "why-1:9", status=3)
    berth("amend", number, "--extend", "1h")
    ops("machine", "update", "why-1", "--gpus", 2, "--displace")
    said = berth("why", number).stdout.splitlines()
    assert len(said) == 4
    assert "booking.create accepted by batch-1: booked, " in said[0]
    assert said[0].endswith(", why-1:4:16")
    assert "booking.amend rejected by batch-1: exceeds_machine: " in said[1]
    assert "booking.amend accepted by batch-1: booked, " in said[2] and ", 3h, " in said[2]
    assert "machine.update accepted by ops, machine/why-1 changed: cancelled" in said[3]
    events = berth.json("why", f"booking/{number}")["items"]
    assert [event["data"]["request"]["type"] for event in events] == \
        ["booking.create", "booking.amend", "booking.amend", "machine.update"]
    rows = berth("why", number, "-o", "tsv").stdout.splitlines()
    rows = [dict(zip(rows[0].split("\t"), row.split("\t"))) for row in rows[1:]]
    assert [row["outcome"] for row in rows] == ["accepted", "rejected", "accepted", "accepted"]
    assert [row["version"] for row in rows] == ["1", "-", "2", "3"]
    assert rows[0]["request"] == "because-1" and rows[3]["state"] == "cancelled"
    assert berth.json("why", "request/because-1") == events[0]
    berth("why", 1, status=5)

    # An occurrence's history includes its series' decisions; and a request id of digits only.
    series = berth.json("book", "why-1:1", "--start", rfc3339(start), "--for", "1h", "--repeat",
                        "day", "--count", 3, "--zone", "UTC", "--request-id", "77")["data"]["series"]
    numbers = [item["booking"] for item in series["occurrences"]]
    berth("cancel", numbers[0])
    berth("cancel", "--series", series["id"])
    kinds = [[event["data"]["request"]["type"] for event in berth.json("why", one)["items"]]
             for one in numbers]
    assert kinds == [["booking.create", "booking.cancel"], ["booking.create", "booking.cancel"],
                     ["booking.create", "booking.cancel"]]
    for one in numbers:
        said = berth("why", one).stdout.splitlines()
        assert ": booked, " in said[0] and ": cancelled, " in said[1], said
    berth("why", "77", status=5)
    assert berth.json("why", "request/77")["data"]["series"] == series
    check_farm(served)


def test_a_duplicate_ends_as_the_first_answer_did(served, berth):
    start = f"@{tomorrow() + 48 * HOUR}"
    same = ("book", "gpu-03:8", "--start", start, "--for", "1h", "--request-id", "twice")
    first = berth.json(*same)
    # The reader knows the first answer; without it the farm gives that answer again.
    assert berth.json(*same) == first
    away = {"BERTH_READER_URL": f"http://{UNREACHABLE}"}
    again = berth.json(*same, **away)
    assert again["data"]["duplicate_of"] == first["id"]
    assert again["data"]["booking"] == first["data"]["booking"]
    refused = ("book", "gpu-03:1", "--start", start, "--for", "1h", "--request-id", "refused")
    berth(*refused, status=3)
    assert berth.json(*refused, status=3, **away)["duplicate_of"]
    other = berth.json("book", "gpu-03:2", "--start", start, "--for", "1h", "--request-id", "twice",
                       status=3)
    assert other["reason"] == "request_id_reused"
    check_farm(served)


def test_dry_run_sends_nothing(served, berth):
    before = served.message_count()
    said = berth.json("book", "gpu-01:1", "--for", "1h", "--dry-run",
                      BERTH_KAFKA_BOOTSTRAP_SERVERS=UNREACHABLE)
    public = served.batch_1.key.public_key()
    claims = jwt.decode(said["token"], public, algorithms=["ES256"], audience=served.name)
    assert claims == said["claims"] and claims["iss"] == "batch-1"
    assert (said["key"], said["partition"]) == ("gpu-01", None)
    assert jwt.get_unverified_header(said["token"])["kid"] == "batch-1-key"
    said = berth.json("cancel", 4268035, "--dry-run")
    assert (said["key"], said["partition"]) == (None, 4268035 % 4096)
    berth("verify", said["token"])
    head, payload, signature = said["token"].split(".")
    berth("verify", ".".join((head, payload, signature[::-1])), status=6)
    berth("verify", "-", stdin=said["token"])
    lines = '{"type": "booking.cancel", "booking": 7}\n' * 3
    done = berth("submit", "--dry-run", stdin=lines)
    assert [json.loads(line)["outcome"] for line in done.stdout.splitlines()] == ["dry_run"] * 3
    assert served.message_count() == before


def test_usage_errors_send_nothing(served, berth):
    before = served.message_count()
    for words, meant in ((("bok",), "'book'"), (("machines",), "'machine'"),
                         (("machin", "list"), "'machine list'"), (("machine", "lst"), "'machine list'"),
                         (("watch", "--type", "acepted"), "accepted"),
                         (("list", "--state", "bookd"), "booked"), (("list", "-o", "jsn"), "json"),
                         (("book", "gpu-01:1", "--duration", "1h"), "--for")):
        assert f"did you mean {meant}?" in berth(*words, status=2).stderr
    for words in (("bok",), ("machine",), ("book",), ("book", "gpu-01:1"), ("book", "--for", "1h"),
                  ("book", "gpu-01:1", "--for", "90"), ("book", "gpu-01:x", "--for", "1h"),
                  ("book", "gpu-01:1", "gpu-01:2", "--for", "1h"),
                  ("book", "gpu-01:1", "--for", "1h", "--strat", "now"),
                  ("book", "gpu-01:1", "--start", "2027-03-28 02:30", "--for", "1h", "--tz",
                   "Europe/Paris"),
                  ("book", "gpu-01:1", "--for", "1h", "--tz", "Mars/Phobos"),
                  ("book", "gpu-01:1", "--for", "1h", "--request-id", "a b"),
                  ("book", "gpu-01:1", "--for", "1h", "-X", "acks=1"),
                  ("book", "gpu-01:1", "--any", 1, "--for", "1h"),
                  ("book", "--any", 65, "--gpus", 1, "--for", "1h"),
                  ("book", "--any", 1, "--gpus", 0, "--for", "1h"),
                  ("book", "--any", 1, "--mem", "64G", "--for", "1h"),
                  ("book", "--gpus", 1, "--for", "1h"),
                  ("book", "gpu-01:1", "--label", "a=b", "--for", "1h"),
                  ("book", "gpu-01:1", "--for", "1h", "--repeat", "day", "--count", 2, "--zone",
                   "UTC"),
                  ("book", "gpu-01:1", "--start", "+1h", "--for", "1h", "--count", 2),
                  ("book", "gpu-01:1", "--start", "+1h", "--for", "1h", "--repeat", "month",
                   "--count", 2, "--zone", "UTC"),
                  ("book", "gpu-01:1", "--start", "+1h", "--for", "1h", "--repeat", "day",
                   "--count", 367, "--zone", "UTC"),
                  ("book", "gpu-01:1", "--start", "+1h", "--for", "1h", "--repeat", "day",
                   "--count", 2, "--zone", "Mars/Phobos"),
                  ("amend", 7), ("amend", "x", "--end", "+1h"), ("cancel",), ("show",),
                  ("amend", 7, "--move", "+1h", "--for", "1h"), ("amend", 7, "--extend", "60"),
                  ("amend", 7, "gpu-01:1", "--set", "gpu-02:1"),
                  ("amend", 7, "--drop", "gpu-01", "--set", "gpu-01:1"),
                  ("amend", 7, "--drop", "gpu-01", "--drop", "gpu-01"),
                  ("cancel", 7, "--series", 7), ("cancel", "--series", "x"),
                  ("free",), ("free", "--gpus", 1), ("free", "--for", "1h", "--gpus", "x"),
                  ("free", "--for", "0s", "--gpus", 1), ("free", "--for", "1h", "--limit", 0),
                  ("free", "--for", "1h", "--gpus", 1, "--horizon", "30"),
                  ("free", "--for", "1h", "--machine", "gpu-01", "--label", "a=b"),
                  ("free", "--for", "1h", "--machine", "a b"), ("free", "gpu-01", "--for", "1h"),
                  ("free", "--for", "1h", "--gpus", 0), ("free", "--for", "500d", "--gpus", 1),
                  ("list", "--from", "+2h", "--to", "+1h"), ("list", "--from", "yesterday"),
                  ("list", "--state", "open"), ("list", "--series", 7, "--user", "alice"),
                  ("show", "--series", "x"), ("show", 7, "--series", 7), ("why",),
                  ("machine", "list", "--label", "a"), ("machine", "show", "gpu-01", "--to", "x"),
                  ("machine", "add", "x"), ("machine", "update", "x"), ("submit", "/nonexistent"),
                  ("watch", "--from", "x"), ("completion", "csh"), ("key", "generate")):
        done = berth(*words, status=2)
        assert done.stdout == "" and done.stderr.startswith("berth: "), words
    # libc would take these for UTC.
    for zone in ({"TZ": "Europe/Pariss"}, {"TZ": "Europe/Paris", "TZDIR": "/nonexistent"}):
        for words in (("list",), ("book", "gpu-01:1", "--for", "1h", "--dry-run")):
            assert "names no time zone" in berth(*words, status=2, **zone).stderr
    said = berth.json("book", "gpu-01:1", "--for", "90", status=2)
    assert said["type"] == "urn:berth:problem:usage"
    assert served.message_count() == before
    # With --no-check the farm, not the client, judges a request against the schema.
    done = berth("submit", "--no-check", stdin='{"type": "unheard.of"}\n', status=3)
    assert json.loads(done.stdout)["event"]["data"]["reason"] == "invalid_request"


def test_unreachable_servers(served, berth):
    done = berth("book", "gpu-01:1", "--for", "1h", status=1,
                 BERTH_KAFKA_BOOTSTRAP_SERVERS=UNREACHABLE)
    assert "cannot reach Kafka" in done.stderr and "refused" in done.stderr
    done = berth("book", "gpu-01:1", "--for", "1h", status=2, BERTH_FARM_TOPIC_PREFIX="nobody.")
    assert "nobody.requests does not exist" in done.stderr
    done = berth("show", "gpu-01", status=1, BERTH_READER_URL=f"http://{UNREACHABLE}")
    assert "no answer from the reader" in done.stderr
    done = berth("book", "gpu-01", "--for", "1h", status=1,
                 BERTH_READER_URL=f"http://{UNREACHABLE}")
    assert "gpu-01:GPUS[:GIB]" in done.stderr
    done = berth("book", "gpu-01:1", "--for", "1h", status=2, BERTH_CLIENT_KEY_FILE="")
    assert "key" in done.stderr


def test_keys(served, berth, tmp_path):
    for algorithm in ("ES256", "RS256"):
        for options in ((), ("--jwk",)):
            path = tmp_path / f"{algorithm}{len(options)}"
            said = berth.json("key", "generate", "--alg", algorithm, "--out", path, *options)
            assert path.stat().st_mode & 0o777 == 0o600 and said["alg"] == algorithm
            content = path.read_bytes()
            berth("key", "generate", "--out", path, status=2)
            assert path.read_bytes() == content
            shown = berth("key", "show", path, "--jwk").stdout
            assert berth("key", "show", said["public_key"], "--jwk").stdout == shown
            assert json.loads(shown)["kid"] == said["kid"]
            # The farm accepts the key under its thumbprint.
            served.admin_command("key", "add", "batch-1", "--public-key", said["public_key"])

            def takes(file=path):
                return berth("book", "--empty", "--for", "1h", status=None, BERTH_CLIENT_KID="",
                             BERTH_CLIENT_KEY_FILE=file).returncode == 0
            assert takes()
            token = berth.json("book", "--empty", "--for", "1h", "--dry-run", BERTH_CLIENT_KID="",
                               BERTH_CLIENT_KEY_FILE=path)["token"]
            public = jwt.PyJWK(json.loads(shown)).key
            claims = jwt.decode(token, public, algorithms=[algorithm], audience=served.name)
            assert claims["iss"] == "batch-1"
    os.chmod(path, 0o640)
    done = berth("book", "--empty", "--for", "1h", status=2, BERTH_CLIENT_KEY_FILE=path)
    assert "chmod 600" in done.stderr


def test_submit(served, berth, tmp_path):
    start = tomorrow() + 96 * HOUR
    lines, broken = [], {7: "not JSON", 300: "{}", 900: '{"type": "booking.create"}'}
    for i in range(2000):
        request = {"type": "booking.create", "start": rfc3339(start + i // 20 * 60),
                   "duration_s": 60, "allocations": [share(f"gpu-0{i % 2 + 1}", 1, 1)]}
        lines.append(broken.get(i + 1, json.dumps(request)))
    lines[1000] = ""
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(lines))
    done = berth("submit", path, status=2)
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    # One outcome for each non-empty line, with the line's number.
    assert sorted(item["line"] for item in outcomes) == \
        [number for number in range(1, 2001) if number != 1001]
    assert {item["line"] for item in outcomes if item["outcome"] == "invalid"} == set(broken)
    for item in outcomes:
        if item["outcome"] in ("accepted", "rejected"):
            assert item["event"]["type"] == f"berth.request.{item['outcome']}"
            booked = item["event"]["data"]
            if item["outcome"] == "accepted":
                assert booked["booking"]["start"] == json.loads(
                    lines[item["line"] - 1])["start"]
    # The requests ask for ten GPUs of each machine at a time; each has eight.
    counts = {kind: sum(item["outcome"] == kind for item in outcomes)
              for kind in ("accepted", "rejected", "invalid")}
    assert counts["accepted"] + counts["rejected"] == 1996 and counts["rejected"] > 0
    assert f"{counts['accepted']} accepted" in done.stderr
    again = berth("submit", "--no-wait", "-o", "tsv", "--in-flight", 10, path, status=2)
    rows = [line.split("\t") for line in again.stdout.splitlines()]
    assert rows[0] == ["line", "outcome", "reason", "subject", "event", "request", "partition",
                       "offset"]
    assert sum(row[1] == "published" for row in rows) == 1996
    ok = berth("submit", stdin='{"type":"booking.create","duration_s":60,"allocations":[]}\n')
    assert json.loads(ok.stdout)["outcome"] == "accepted"
    refused = berth("submit", stdin='{"type":"booking.cancel","booking":1}', status=3)
    assert json.loads(refused.stdout)["event"]["data"]["reason"] == "unknown_booking"
    check_farm(served)


def watch_departures(served, berth, ops):
    """`watch --machine` shows by which events bookings leave the machine, and `--client` what others
    did to the client's bookings."""
    ops("machine", "add", "watch-1", "--gpus", 8, "--mem", 64)
    ops("machine", "add", "watch-2", "--gpus", 8, "--mem", 64)
    made = [berth.json("book", "watch-1:2", "--start", f"@{tomorrow()}", "--for", "1h")
            ["data"]["booking"]["id"] for _ in range(4)]
    berth("cancel", made[0])
    ops("cancel", made[1])
    berth("amend", made[2], "--set", "watch-2:2", "--drop", "watch-1")
    ops("machine", "retire", "watch-1", "--displace")
    check_farm(served)

    def watched(count, *options):
        return [line.split("\t") for line in
                berth("watch", "--from", "beginning", "-o", "tsv", "--no-headers", "--count", count,
                      "--machine", "watch-1", *options).stdout.splitlines()]
    rows = watched(9)
    assert sorted((row[3], row[4]) for row in rows) == sorted(
        [("machine.register", "machine/watch-1"), ("machine.update", "machine/watch-1")]
        + [("booking.create", f"booking/{number}") for number in made]
        + [("booking.cancel", f"booking/{number}") for number in made[:2]]
        + [("booking.amend", f"booking/{made[2]}")])
    left = {row[4]: (row[9], row[12], row[15]) for row in rows if row[3] in
            ("booking.cancel", "booking.amend")}
    assert left == {f"booking/{made[0]}": ("cancelled", "-", "watch-1:2:0"),
                    f"booking/{made[1]}": ("cancelled", "-", "watch-1:2:0"),
                    f"booking/{made[2]}": ("booked", "watch-2:2:0", "watch-1:2:0")}
    others = [(row[3], row[5]) for row in watched(8, "--client", "batch-1")
              if row[5] == "ops"]
    assert sorted(others) == [("booking.cancel", "ops"), ("machine.update", "ops")]
    text = berth("watch", "--from", "beginning", "--count", 9, "-o", "text", "--machine",
                 "watch-1").stdout
    assert "; 1 displaced\n" in text and "before: booked " in text


def test_watch(served, berth, ops):
    berth("book", "--empty", "--for", "1h")
    ops("machine", "add", "gpu-01", "--gpus", 8, "--mem", 64, status=3)
    check_farm(served)  # everything is published
    topic = read_topic(served.broker.bootstrap, served.event_topic)
    expected = {part: [message.value for message in messages] for part, messages in topic.items()}
    total = sum(map(len, expected.values()))
    done = berth("watch", "--from", "beginning", "--count", total)
    got = {part: [] for part in expected}
    for line in done.stdout.splitlines():
        got[int(json.loads(line)["id"].split("-")[0])].append(line.encode())
    assert got == expected

    part = max(expected, key=lambda number: len(expected[number]))
    skip = len(expected[part]) - 1
    done = berth("watch", "--from", f"{part}:{skip}", "--count", 1)
    assert done.stdout.encode() == expected[part][-1] + b"\n"
    rejected = berth("watch", "--from", "beginning", "--type", "rejected", "--client", "ops",
                     "--count", 1, "-o", "tsv", "--no-headers").stdout.split("\t")
    assert rejected[2] == "rejected" and rejected[5] == "ops"
    # Every event was seen: nothing to report.
    assert berth("watch", "--from", f"{part}:{skip + 1}", "--for", "1s").stdout == ""

    with berth.running("watch", "--machine", "gpu-02", "--count", 1) as child:
        # watch prints nothing when it is ready: book until it shows a booking.
        def seen():
            berth("book", "gpu-02:1", "--start", f"@{tomorrow()}", "--for", "1h", status=None)
            return child.poll() is not None
        wait_until(seen, "the watch has seen a booking")
        assert json.loads(child.stdout.read())["data"]["request"]["type"] == "booking.create"
    watch_departures(served, berth, ops)
    with berth.running("watch", "--from", "beginning") as child:
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130


def test_texts_of_strangers_are_visible(served, berth, ops):
    """What requests bring in names, users and labels is shown by every command, and moves no cursor."""
    start, user = rfc3339(tomorrow() + 60 * 24 * HOUR), "eve\u202elive"
    fake = "a\x1b]0;x\x07\n2026-11-24T14:37:54Z 3-1042 accepted booking.create"
    ops("machine", "add", "gpu-stranger", "--gpus", 8, "--mem", 64, "--label", "place=x\u2028y")
    number = berth.json("book", "gpu-stranger:1:1", "--start", start, "--for", "1h",
                        "--user", user)["data"]["booking"]["id"]
    request = json.dumps({"type": "booking.create", "start": start, "duration_s": 60, fake: 1})
    said = berth("submit", "--no-check", "-o", "text", status=3, stdin=request)
    check_farm(served)  # everything is published
    total = sum(map(len, read_topic(served.broker.bootstrap, served.event_topic).values()))
    shown = [said,
             *(berth("watch", "--from", "beginning", "--count", total, "-o", form) for form in
               ("text", "tsv")),
             *(berth("list", "--machine", "gpu-stranger", "-o", form) for form in ("text", "tsv")),
             *(berth("machine", "list", "-o", form) for form in ("text", "tsv")),
             berth("show", number), berth("why", number),
             berth("machine", "show", "gpu-stranger", "--from", start, "--to",
                   f"@{tomorrow() + 61 * 24 * HOUR}"),
             berth("list", "--state", fake, status=2), berth("show", fake, status=5),
             berth(fake, status=2), berth("book", fake, "--for", "1h", status=2),
             served.admin_command("key", "list", fake, status=None)]
    for done in shown:
        for text in (done.stdout, done.stderr):
            assert not set(text.replace("\n", "").replace("\t", "")) & set(HIDDEN), (done.args, text)
            assert not any(line.startswith("2026-11-24T14:37:54Z 3-1042") for line in text.split("\n"))
    assert "eve\\u202elive" in berth("list", "--machine", "gpu-stranger", "--all").stdout
    assert "place=x\\u2028y" in berth("machine", "list").stdout
    assert "a\\u001b]0;x\\u0007\\u000a2026" in shown[1].stdout
    # Programs get the bytes as they are.
    assert berth.json("show", number)["user"] == user


def test_times_are_echoed(served, berth):
    # 2030-01-01T00:00:00Z may be beyond the horizon; a rejection is an outcome too.
    done = berth("book", "gpu-01:1", "--start", "@1893456000", "--for", "90m", "--tz",
                 "Europe/Paris", status=None)
    said = "Tue 2030-01-01 01:00 CET (00:00Z) – 02:30 CET, 1h30m"
    assert said in done.stdout + done.stderr


def test_no_decision_in_time(farm):
    """Without a worker the outcome is unknown; the same request id finds it later."""
    berth, ops = Cli(farm, farm.batch_1), Cli(farm, farm.ops)
    words = ("machine", "add", "gpu-01", "--gpus", 8, "--mem", 64, "--request-id", "late-1")
    said = ops.json(*words, "--wait=1s", status=4)
    assert said["type"] == "urn:berth:problem:no_decision"
    assert said["request"]["id"] == "late-1" and said["request"]["offset"] >= 0
    done = ops(*words, "--wait=1s", status=4)
    assert "--request-id late-1" in done.stderr and done.stdout == ""
    said = berth.json("book", "--empty", "--for", "1h", "--no-wait", "--request-id", "early-1")
    assert said["outcome"] == "published" and said["request"]["id"] == "early-1"
    lines = '{"type":"booking.create","duration_s":60,"allocations":[]}\n'
    done = berth("submit", "--wait=1s", stdin=lines * 2, status=4)
    assert [json.loads(line)["outcome"] for line in done.stdout.splitlines()] == ["unknown"] * 2
    done = berth("submit", "--wait=1s", "-o", "tsv", "--no-headers", stdin=lines, status=4)
    line, outcome, *_, partition, offset = done.stdout.strip().split("\t")
    assert (line, outcome) == ("1", "unknown") and partition.isdigit() and offset.isdigit()

    with berth.running("book", "--empty", "--for", "1h", "--request-id", "stopped-1") as child:
        wait_until(lambda: farm.message_count() == 7, "the request is published")
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130
        assert "--request-id stopped-1" in child.stderr.read()

    farm.start_worker()
    event = ops.json(*words)
    assert event["data"]["duplicate_of"] and event["data"]["machine"]["name"] == "gpu-01"
    assert berth.json("book", "--empty", "--for", "1h", "--request-id", "early-1")["data"][
        "duplicate_of"]
    assert berth.json("book", "--empty", "--for", "1h", "--request-id", "stopped-1")["data"][
        "duplicate_of"]
    check_farm(farm)
