"""The reader under people who do not behave: what they ask or hold keeps nobody else out. Slow questions
are made by locking a table, so that no test depends on how fast a machine is."""

import contextlib
import http.client
import json
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from berthtest.farm import create, rfc3339, share, tomorrow
from berthtest.metrics import Scrape
from berthtest.process import program
from berthtest.sse import Listener
from berthtest.wait import wait_until

HOUR = 3600
EVER = "/v1/usage?from=1970-01-01T00:00:00Z&to=9999-12-31T00:00:00Z"
BEGIN = ",".join(["0"] * 8)
# Less than a locked table or a slow client would delay an answer that waits for it.
QUICK_S = 5
ELSEWHERE = "127.0.0.2"


@pytest.fixture(scope="module", name="farm")
def fixture_farm(module_farm):
    farm = module_farm
    farm.register("l-00", "l-01")
    start = tomorrow()
    farm.booked = farm.decide_all([
        (farm.batch_1, create(start + hour * HOUR, start + (hour + 1) * HOUR, share("l-00")))
        for hour in range(60)])
    assert all(event.accepted for event in farm.booked)
    return farm


@contextlib.contextmanager
def reading(farm, **settings):
    """A reader of its own, to which farm.get() goes."""
    reader = farm.start_reader(**{f"BERTH_READER_{name.upper()}": value
                                  for name, value in settings.items()})
    try:
        yield reader
    finally:
        reader.stop()


@contextlib.contextmanager
def locked(farm, table):
    """Queries of the table wait."""
    with farm.database.connect(farm.database_name) as session, session.cursor() as cursor:
        cursor.execute(f"LOCK TABLES {table} WRITE")
        yield
        cursor.execute("UNLOCK TABLES")


def ask(farm, path, limit_s=60, source="127.0.0.1"):
    """(status, header, JSON) of a GET from that address."""
    connection = http.client.HTTPConnection(farm.reader_url.removeprefix("http://"), timeout=limit_s,
                                            source_address=(source, 0))
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())


def connect(farm, source="127.0.0.1"):
    port = int(farm.reader_url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))


def waiting_queries(farm, table):
    return len(farm.rows("SELECT id FROM information_schema.processlist WHERE info LIKE %s AND"
                         " id <> CONNECTION_ID() AND state LIKE 'Waiting for table%%'",
                         f"%FROM {table} %"))


def assert_quick(farm, *more):
    for path in ("/healthz", "/readyz", "/v1/farm", "/v1/machines/l-00", *more):
        assert ask(farm, path, limit_s=QUICK_S)[0] == 200, path


def scrape(farm):
    return Scrape(farm.get("/metrics").text)


def test_slow_questions_delay_no_quick_one(farm):
    """More slow questions than the reader has threads for: look-ups are answered meanwhile, questions
    above the limit are refused, and those of another address have threads left."""
    booking = f"/v1/bookings/{farm.booked[0].booking['id']}"
    with reading(farm, pending_per_address=6), ThreadPoolExecutor(12) as pool:
        assert ask(farm, booking)[0] == 200
        with locked(farm, "client"):
            asked = [pool.submit(ask, farm, EVER.replace("usage", "bookings")) for _ in range(6)]
            wait_until(lambda: waiting_queries(farm, "client") == 2, "two of them are under way")
            assert_quick(farm, booking)
            status, headers, problem = ask(farm, EVER, limit_s=QUICK_S)
            assert status == 429 and int(headers["Retry-After"]) >= 1
            assert problem["type"] == "urn:berth:problem:too_many_requests"
            assert ask(farm, "/v1/machines", limit_s=QUICK_S, source=ELSEWHERE)[0] == 200
        # Those that waited for longer than the database lets a query wait failed.
        assert {question.result(30)[0] for question in asked} <= {200, 503}
        assert scrape(farm).value("berth_http_requests_total", route="/v1/usage", status="429") == 1


def test_a_statement_has_a_limit(farm):
    with reading(farm, statement_limit_s=1):
        with locked(farm, "allocation"):
            status, _, problem = ask(farm, EVER)
            assert (status, problem["type"]) == (400, "urn:berth:problem:too_expensive")
            assert "shorter" in problem["detail"]
        assert ask(farm, EVER)[0] == 200


def test_a_question_reads_so_many_rows(farm):
    with reading(farm, rows_max=59):
        status, _, problem = ask(farm, EVER)
        assert (status, problem["parameter"]) == (400, "from") and "59" in problem["detail"]
        start = tomorrow()
        assert ask(farm, f"/v1/usage?from={rfc3339(start + HOUR)}&to={rfc3339(start + 60 * HOUR)}")[0] \
            == 200


def test_listeners_of_the_past_delay_nobody(farm):
    """Many listeners that begin long ago: each waits for the database, and nobody else does."""
    path = f"/v1/events?client=nosuch&after={BEGIN}"
    with reading(farm), contextlib.ExitStack() as stack:
        with locked(farm, "decision"):
            for _ in range(60):
                conn = stack.enter_context(connect(farm))
                conn.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_until(lambda: waiting_queries(farm, "decision") == 2, "two pages are being read")
            assert_quick(farm, f"/v1/bookings/{farm.booked[0].booking['id']}")
            # Live listeners need no database.
            with contextlib.closing(Listener(farm.reader_url)) as live:
                wait_until(lambda: live.last_id, "the first position arrives")
        # Afterwards each gets to the end.
        last = ",".join(str(row["last_seq"]) for row in farm.rows(
            "SELECT last_seq FROM request_partition ORDER BY part"))
        with contextlib.closing(Listener(farm.reader_url, client="nosuch", after=BEGIN)) as listener:
            wait_until(lambda: listener.last_id == last, "the last position arrives", 60)


def test_closed_listeners_are_freed(farm):
    with reading(farm):
        listeners = [Listener(farm.reader_url) for _ in range(20)]
        wait_until(lambda: all(listener.last_id for listener in listeners), "they listen")
        assert scrape(farm).value("berth_event_listeners") == 20
        for listener in listeners:
            listener.close()
        # The next sign of life would be sent after 15 s.
        wait_until(lambda: scrape(farm).value("berth_event_listeners") == 0, "they are freed", 8)


def open_count(conns):
    """How many of the connections the reader has not closed."""
    count = 0
    for conn in conns:
        conn.setblocking(False)
        try:
            count += conn.recv(1) != b""
        except BlockingIOError:
            count += 1
        except ConnectionError:
            pass
    return count


def test_dripping_connections(farm):
    """Connections that never complete a header make room for others, and end at the deadline."""
    with reading(farm, connection_limit=48, connections_per_address=32, header_timeout_s=20,
                 timeout_s=90), contextlib.ExitStack() as stack:
        conns = []

        def drip(count, source):
            for _ in range(count):
                conns.append(stack.enter_context(connect(farm, source)))
                conns[-1].sendall(b"G")

        def drop():
            for conn in conns:
                with contextlib.suppress(OSError):
                    conn.sendall(b"E")

        def closed():
            return scrape(farm).by("cause", "berth_http_connections_closed_total")
        drip(40, "127.0.0.1")
        wait_until(lambda: open_count(conns) <= 32, "the oldest of the address are closed")
        drip(20, "127.0.0.3")
        before = closed()["shed"]
        # More than all may have: the oldest are closed once they had time to ask.
        wait_until(lambda: drip(1, ELSEWHERE) or closed()["shed"] > before + 1,
                   "the oldest of all are closed", poll_s=0.2)
        for source in ("127.0.0.1", ELSEWHERE):
            assert ask(farm, "/healthz", limit_s=QUICK_S, source=source)[0] == 200
        begin = time.monotonic()
        wait_until(lambda: drop() or open_count(conns) == 0, "the deadline ends all", 60, poll_s=0.2)
        assert time.monotonic() - begin < 50  # before the time-out of silent connections
        assert closed()["shed"] >= 10 and closed()["header_timeout"] >= 1
        assert closed()["refused"] == 0


def test_listeners_leave_room(farm):
    """Listeners take four fifths of the connections, of an address and of all; what finds no room is
    refused."""
    with reading(farm, connection_limit=20, connections_per_address=15), \
            contextlib.ExitStack() as stack:
        def listen(source):
            conn = stack.enter_context(connect(farm, source))
            conn.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            return int(conn.recv(65536).split()[1])
        assert [listen("127.0.0.1") for _ in range(14)] == [200] * 12 + [503] * 2
        assert [listen(ELSEWHERE) for _ in range(6)] == [200] * 4 + [503] * 2
        for source in ("127.0.0.1", ELSEWHERE):
            assert ask(farm, "/healthz", limit_s=QUICK_S, source=source)[0] == 200


def test_listeners_with_few_descriptors(farm):
    command = "ulimit -n 500; exec " + program("berth-reader")
    log = farm.folder / "few.log"
    with open(log, "w", encoding="utf-8") as out, contextlib.ExitStack() as stack:
        reader = subprocess.Popen(["sh", "-c", command], stderr=out, stdin=subprocess.DEVNULL,
                                  env=farm.environment())
        stack.callback(reader.wait)
        stack.callback(reader.terminate)
        wait_until(lambda: "reader listens" in log.read_text(), "it listens")
        port = int(log.read_text().rpartition("port=")[2].split()[0])
        for _ in range(400):
            conn = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            conn.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = requests.get(f"http://127.0.0.1:{port}/healthz", timeout=QUICK_S)
        assert answer.status_code == 200
        assert "Too many open files" not in log.read_text()
