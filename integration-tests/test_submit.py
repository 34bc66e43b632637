"""`berth submit`, and requests that are sent again: an outcome for each line, as it comes, and nothing
is booked twice."""

import json
import subprocess
import time

import pytest

from berthtest.check import check_farm
from berthtest.cli import Cli
from berthtest.farm import rfc3339, share, tomorrow
from berthtest.wait import wait_until

HOUR = 3600
UNREACHABLE = "127.0.0.1:1"


@pytest.fixture(scope="module", name="served")
def fixture_served(module_farm):
    module_farm.start_reader()
    ops = Cli(module_farm, module_farm.ops)
    for name in ("gpu-01", "gpu-02"):
        ops("machine", "add", name, "--gpus", 8, "--mem", 64)
    return module_farm


@pytest.fixture(name="berth")
def fixture_berth(served):
    return Cli(served, served.batch_1)


def empty(start_h):
    """A request that is always accepted: a booking without machines."""
    return {"type": "booking.create", "start": rfc3339(tomorrow() + start_h * HOUR),
            "duration_s": 60, "allocations": []}


def outcomes(done):
    return [json.loads(line) for line in done.stdout.splitlines()]



def test_outcomes_come_while_the_input_goes_on(berth):
    with berth.running("submit", stdin=subprocess.PIPE) as child:
        for number in (1, 2):
            child.stdin.write(json.dumps(empty(number)) + "\n")
            child.stdin.flush()
            seen = json.loads(child.stdout.readline())
            assert (seen["line"], seen["outcome"]) == (number, "accepted")
        child.stdin.write('{"type": ')  # a line that is not finished
        child.stdin.flush()
        child.stdin.write('"booking.cancel", "booking": 1}')  # and has no line end
        child.stdin.close()
        last = json.loads(child.stdout.readline())
        assert (last["line"], last["outcome"]) == (3, "rejected")
        assert child.wait(10) == 3


def test_lines_with_ids_and_users(served, berth):
    lines = [{"request_id": "line-1", "user": "bob", "request": empty(1)},
             {"request": empty(2)},
             {"request_id": "line-1", "user": "bob", "request": empty(1)},
             {"request_id": "line-4", "usr": "bob", "request": empty(4)},
             {"request_id": 5, "request": empty(5)},
             {"request_id": "line 6", "request": empty(6)},
             {"request": "none"}]
    done = berth("submit", "--user", "carol", stdin="\n".join(map(json.dumps, lines)), status=2)
    seen = {item["line"]: item for item in outcomes(done)}
    assert {number: item["outcome"] for number, item in seen.items()} == {
        1: "accepted", 2: "accepted", 3: "accepted", 4: "invalid", 5: "invalid", 6: "invalid",
        7: "invalid"}
    first, second, third = (seen[number]["event"]["data"] for number in (1, 2, 3))
    assert (first["request"]["id"], first["request"]["user"]) == ("line-1", "bob")
    assert second["request"]["user"] == "carol"
    # The third repeats the first: whichever came first made the booking, the other one tells it.
    assert first["booking"]["id"] == third["booking"]["id"]
    assert seen[4]["problem"]["pointer"] == "/usr"
    assert seen[5]["problem"]["pointer"] == "/request_id"
    assert "id" in seen[6]["problem"]["detail"]
    assert len(served.rows("SELECT id FROM booking WHERE user_name = 'bob'")) == 1


def test_byte_order_mark_and_directory(berth, tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(empty(1)).encode() + b"\r\n")
    assert [item["outcome"] for item in outcomes(berth("submit", path))] == ["accepted"]
    assert "is a directory" in berth("submit", tmp_path, status=2).stderr


def test_every_line_has_a_row_without_brokers(berth):
    lines = "".join(json.dumps(empty(number)) + "\n" for number in range(50)) + "no JSON\n"
    done = berth("submit", stdin=lines, status=1, BERTH_KAFKA_BOOTSTRAP_SERVERS=UNREACHABLE)
    seen = outcomes(done)
    assert [item["line"] for item in seen] == list(range(1, 52))
    assert [item["outcome"] for item in seen] == 50 * ["failed"] + ["invalid"]
    assert all(item["request"]["id"] and "cannot reach Kafka" in item["problem"]["detail"]
               for item in seen[:50])
    assert "line 1 is not sent" in done.stderr


def test_nobody_reads_the_outcomes(served, berth, tmp_path):
    """`berth submit FILE | head -1`: submit stops sending, and says how many outcomes are lost."""
    path = tmp_path / "lines"
    path.write_text("".join(json.dumps(empty(number % 100)) + "\n" for number in range(3000)))
    with berth.running("submit", "--in-flight", 100, path) as child:
        assert json.loads(child.stdout.readline())["outcome"] == "accepted"
        child.stdout.close()
        said = child.stderr.read()
        assert child.wait(30) == 1
    assert "nobody reads the outcomes" in said and "sent requests could not be printed" in said


def test_resume_after_a_kill(served, berth, tmp_path):
    """Killed in the middle, then repeated: each line makes one booking."""
    path, journal = tmp_path / "lines", tmp_path / "journal"
    lines = [{"user": "kim", "request": empty(number % 100)} for number in range(400)]
    lines[7] = {"user": "kim", "request": {"type": "booking.cancel", "booking": 1}}
    lines[9] = {"request_id": "kim-9", "user": "kim", "request": empty(9)}
    path.write_text("\n".join(map(json.dumps, lines)))
    words = ("submit", "--resume", journal, "--in-flight", 40, "--line-buffered", path)
    with berth.running(*words) as child:
        for _ in range(100):
            child.stdout.readline()
        child.kill()
    with open(journal, "a", encoding="utf-8") as file:
        file.write('{"line":')  # as if the kill had cut a row off
    decided = sum('"outcome":' in line for line in journal.read_text().splitlines())
    assert 0 < decided < 400
    again = berth(*words, status=3)
    seen = outcomes(again)
    assert f"{decided} lines were decided in an earlier run" in again.stderr
    assert sorted([item["line"] for item in seen] + [
        json.loads(line)["line"] for line in journal.read_text().splitlines()[1:decided + 1]]
    ) == list(range(1, 401))
    assert len(served.rows("SELECT id FROM booking WHERE user_name = 'kim'")) == 399
    # Nothing is left to do, and the exit status is that of all lines.
    done = berth(*words, status=3)
    assert done.stdout == "" and "400 lines were decided" in done.stderr
    assert len(served.rows("SELECT id FROM booking WHERE user_name = 'kim'")) == 399
    check_farm(served)


def test_resume_finds_unknown_outcomes(served, berth, tmp_path):
    """Requests whose decision was not awaited are asked for again under their ids."""
    journal = tmp_path / "journal"
    lines = "".join(json.dumps({"user": "lee", "request": empty(number)}) + "\n"
                    for number in range(20))
    first = outcomes(berth("submit", "--no-wait", "--resume", journal, stdin=lines))
    assert {item["outcome"] for item in first} == {"published"}
    second = outcomes(berth("submit", "--resume", journal, stdin=lines))
    assert {item["event"]["data"]["request"]["id"] for item in second} == \
        {item["request"]["id"] for item in first}
    assert len(served.rows("SELECT id FROM booking WHERE user_name = 'lee'")) == 20
    # What a run without --resume printed does as well.
    printed = tmp_path / "printed"
    printed.write_text(berth("submit", "--no-wait", stdin=lines).stdout)
    third = berth("submit", "--resume", printed, stdin=lines)
    assert {item["outcome"] for item in outcomes(third)} == {"accepted"}
    assert "no request ids for lines without an outcome" in third.stderr
    assert len(served.rows("SELECT id FROM booking WHERE user_name = 'lee'")) == 40


def test_resume_refuses_what_it_must_not_use(berth, tmp_path):
    journal = tmp_path / "journal"
    lines = [json.dumps(empty(number)) for number in range(3)]
    berth("submit", "--resume", journal, stdin="\n".join(lines))
    # Another line in front: the outcomes in the journal are not of these lines.
    done = berth("submit", "--resume", journal, stdin="\n".join([json.dumps(empty(9)), *lines]),
                 status=1)
    assert "line 1 is not the one whose outcome is in" in done.stderr and done.stdout == ""
    done = berth("submit", "--resume", journal, stdin="", status=2, BERTH_CLIENT_NAME="batch-2")
    assert "of client batch-1" in done.stderr
    other = tmp_path / "other"
    other.write_text("line\toutcome\n")
    done = berth("submit", "--resume", other, stdin="", status=2)
    assert "line 1 of" in done.stderr and "is no outcome" in done.stderr
    assert other.read_text() == "line\toutcome\n"
    with open(other, "a", encoding="utf-8") as output:
        with berth.running("submit", "--resume", other, stdout=output) as child:
            assert "standard output" in child.stderr.read() and child.wait() == 2
    busy = tmp_path / "busy"
    with berth.running("submit", "--resume", busy, stdin=subprocess.PIPE) as child:
        child.stdin.write(lines[0] + "\n")
        child.stdin.flush()
        assert child.stdout.readline()  # it runs, and has the journal
        assert "in use" in berth("submit", "--resume", busy, stdin="", status=2).stderr
    done = berth("submit", "--dry-run", "--resume", tmp_path / "none", stdin=lines[0])
    assert [item["outcome"] for item in outcomes(done)] == ["dry_run"]
    assert not (tmp_path / "none").exists()


def test_relative_times_repeated(served, berth, tmp_path):
    """A request that is repeated with its id is asked for first: `+30h` is another time by now."""
    words = ("book", "gpu-01:1", "--start", "+30h", "--for", "1h", "--request-id", "again-1")
    first = berth.json(*words)
    # Until the clock has gone on, the same times would hide the fault.
    wait_until(lambda: rfc3339(time.time() + 30 * HOUR) > first["data"]["booking"]["start"],
               "a second has passed")
    before = served.message_count()
    assert berth.json(*words) == first
    done = berth(*words)
    assert "again-1 was decided before, as " + first["id"] in done.stderr
    assert served.message_count() == before
    # Without a reader the farm decides, and refuses the other content.
    refused = berth.json(*words, status=3, BERTH_READER_URL=f"http://{UNREACHABLE}")
    assert refused["reason"] == "request_id_reused"
    # So it does when the same id asks for something else.
    for other in (("book", "gpu-02:1", *words[2:]), ("book", "gpu-01:2", *words[2:]),
                  ("cancel", first["data"]["booking"]["id"], "--request-id", "again-1"),
                  (*words, "--user", "bob")):
        assert berth.json(*other, status=3)["reason"] == "request_id_reused"
    # A rejected request is told again as it was.
    words = ("book", "gpu-01:9", "--start", "+30h", "--for", "1h", "--request-id", "again-2")
    first = berth.json(*words, status=3)
    assert berth.json(*words, status=3) == first
    # An amend that is relative to the booking is not made twice.
    number = berth.json("book", "gpu-02:1", "--start", "+40h", "--for", "1h")["data"]["booking"]["id"]
    words = ("amend", number, "--extend", "1h", "--request-id", "again-3")
    assert berth.json(*words) == berth.json(*words)
    check_farm(served)


def test_advice_names_the_question(farm):
    """Without a worker no decision comes: the advice says how to learn it."""
    berth = Cli(farm, farm.batch_1)
    words = ("book", "--empty", "--for", "1h", "--wait=1s", "--request-id", "asked-1")
    done = berth(*words, status=4)
    assert "`berth why asked-1`" in done.stderr and "--request-id asked-1" in done.stderr
