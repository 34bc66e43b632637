"""The reader over HTTP: routes, pages, conditional requests, problem documents, connection limits,
and a database that is down or silent."""

import contextlib
import http.client
import http.server
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from jsonschema import Draft202012Validator

from berthtest.check import check_farm
from berthtest.farm import create, rfc3339, share, write_key_file
from berthtest.process import program
from berthtest.servers import ROOT
from berthtest.wait import wait_until

HOUR = 3600
MACHINES = [f"r-{number:02d}" for number in range(7)] + ["R-00", "r.dot_and-dash"]
PROBLEM = Draft202012Validator(json.loads((ROOT / "schemas/problem.schema.json").read_text()))


@pytest.fixture(scope="module", name="start")
def fixture_start():
    return int(time.time()) // HOUR * HOUR + 24 * HOUR


@pytest.fixture(scope="module", name="farm")
def fixture_farm(module_farm, start):
    """A farm with machines and bookings; `farm.booked`: the events of the bookings."""
    farm = module_farm
    farm.start_reader()
    farm.register(*MACHINES, labels={"rack": "a/1", "note": "größer"})
    farm.accept(farm.ops, {"type": "machine.update", "machine": "r-06", "state": "draining"})
    farm.booked = farm.decide_all([
        (farm.batch_1 if number % 3 else farm.batch_2,
         create(start + number * HOUR, start + (number + 1) * HOUR, share(MACHINES[number % 2]),
                share("r-05", 1, 1)))
        for number in range(9)])
    assert all(event.accepted for event in farm.booked)
    return farm


def assert_problem(answer, status, code, parameter=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    PROBLEM.validate(problem)
    assert problem["type"] == f"urn:berth:problem:{code}"
    assert problem["status"] == status
    assert problem.get("parameter") == parameter
    assert "ETag" not in answer.headers
    return problem


def pages(farm, path):
    """All items of a list, fetched page by page."""
    items, after = [], ""
    while True:
        page = farm.get_json(f"{path}{after}")
        items.append(page["items"])
        if "next" not in page:
            return items
        after = f"&after={page['next']}"


def test_farm(farm):
    answer = farm.get_json("/v1/farm")
    assert (answer["name"], answer["partitions"], answer["halted"]) == (farm.name, 8, False)
    assert answer["halted_partitions"] == []
    assert "booking.create" in answer["request_types"]
    # The bytes: compact, and the members always in this order.
    assert farm.get("/v1/farm").text == json.dumps(
        {name: answer[name] for name in ("name", "partitions", "halted", "request_types",
                                         "schema_versions", "version", "halted_partitions")},
        separators=(",", ":"))
    assert answer["schema_versions"] == {"request": 2, "event": 2}
    assert farm.get("/healthz").text == '{"status":"ok"}'


def test_machines(farm):
    page = farm.get_json("/v1/machines")
    # Ordered by name, bytewise: upper case first.
    assert [machine["name"] for machine in page["items"]] == sorted(MACHINES)
    assert "next" not in page
    assert page["items"][1] == farm.get_json(f"/v1/machines/{sorted(MACHINES)[1]}")
    assert page["items"][1]["labels"] == {"rack": "a/1", "note": "größer"}
    listed = pages(farm, "/v1/machines?limit=4")
    assert [len(items) for items in listed] == [4, 4, 1]
    assert sum(listed, []) == page["items"]
    assert [len(items) for items in pages(farm, "/v1/machines?limit=9")] == [9]
    draining = farm.get_json("/v1/machines?state=draining")["items"]
    assert [machine["name"] for machine in draining] == ["r-06"]
    assert farm.get_json("/v1/machines?state=retired")["items"] == []
    assert farm.get_json("/v1/machines/r-00")["name"] == "r-00"  # not R-00
    assert farm.get_json("/v1/machines/r%2D00")["name"] == "r-00"


def test_bookings(farm):
    wanted = sorted((event.booking for event in farm.booked), key=lambda booking: booking["id"])
    assert farm.get_json("/v1/bookings")["items"] == wanted
    listed = pages(farm, "/v1/bookings?limit=2")
    assert [len(items) for items in listed] == [2, 2, 2, 2, 1]
    assert sum(listed, []) == wanted
    for query, condition in (
            ("client=batch-2", lambda booking: booking["client"] == "batch-2"),
            ("machine=r-00", lambda booking: booking["allocations"][0]["machine"] == "r-00"
             or booking["allocations"][1]["machine"] == "r-00"),
            ("machine=r-05", lambda booking: True),
            ("machine=r-05&client=batch-1&state=booked",
             lambda booking: booking["client"] == "batch-1"),
            ("state=cancelled", lambda booking: False),
            ("machine=none&client=none", lambda booking: False)):
        assert farm.get_json(f"/v1/bookings?{query}")["items"] == \
            [booking for booking in wanted if condition(booking)], query
    assert farm.get_json(f"/v1/bookings/{wanted[3]['id']}") == wanted[3]


def test_decisions(farm):
    event = farm.booked[4]
    request = event.data["request"]
    answer = farm.get(f"/v1/decisions/{request['client']}/{request['id']}")
    assert answer.content == event.value
    assert answer.headers["Content-Type"] == "application/json"
    odd = farm.accept(farm.batch_1, {"type": "booking.create", "duration_s": 60,
                                     "allocations": []}, jti="odd:id_1.2-3")
    assert farm.get("/v1/decisions/batch-1/odd:id_1.2-3").content == odd.value
    assert farm.get("/v1/decisions/batch-1/odd%3Aid_1.2-3").content == odd.value
    for path in ("batch-2/odd:id_1.2-3", "batch-1/ODD:id_1.2-3", "batch-1/nothing", "a%20b/c"):
        assert_problem(farm.get(f"/v1/decisions/{path}"), 404, "not_found")


@pytest.mark.parametrize("path", [
    "/v1%2Fmachines", "/v1/machines%2Fr-00", "/%2Fv1/farm", "/v1/farm%00", "/v1/fa%ZZrm", "/v1/fa%",
    "/v1/bookings/04096", "/v1/bookings/%2B4096", "/v1/bookings/%204096",
    "/", "/v1", "/v1/", "/v2/machines", "/v1/machines/", "/v1/machines/none", "/v1/machines/r-00/",
    "/v1/machines/r-00/x", "/v1/machines/r-00%00", "/v1/machines/r-00%00x", "/v1/machines/r%252D00",
    "/v1/machines/..%2Ffarm", "/v1/machines/%ff",
    "/v1/machines/" + "x" * 500, "/v1/bookings/", "/v1/bookings/0", "/v1/bookings/-1",
    "/v1/bookings/4096x", "/v1/bookings/99999999999999999999", "/v1/bookings/1 OR 1=1",
    "/v1/decisions/batch-1", "/v1/farm/", "//v1/farm", "/V1/farm", "/healthz/x"])
def test_not_found(farm, path):
    assert_problem(farm.get(path), 404, "not_found")


@pytest.mark.parametrize("query, code, parameter", [
    ("/v1/machines?limit=0", "invalid_parameter", "limit"),
    ("/v1/machines?limit=1001", "invalid_parameter", "limit"),
    ("/v1/machines?limit=", "invalid_parameter", "limit"),
    ("/v1/machines?limit", "invalid_parameter", "limit"),
    ("/v1/machines?limit=ten", "invalid_parameter", "limit"),
    ("/v1/machines?limit=1.5", "invalid_parameter", "limit"),
    ("/v1/machines?limit=%2B5", "invalid_parameter", "limit"),
    ("/v1/machines?limit=99999999999999999999", "invalid_parameter", "limit"),
    ("/v1/machines?limit=1&limit=2", "invalid_parameter", "limit"),
    ("/v1/machines?state=Up", "invalid_parameter", "state"),
    ("/v1/machines?after=a%20b", "invalid_parameter", "after"),
    ("/v1/bookings?after=x", "invalid_parameter", "after"),
    ("/v1/bookings?after=-1", "invalid_parameter", "after"),
    ("/v1/bookings?machine=a/b", "invalid_parameter", "machine"),
    ("/v1/bookings?client=batch-1%00", "invalid_parameter", "client"),
    ("/v1/bookings?client=' OR 1=1", "invalid_parameter", "client"),
    ("/v1/bookings?state=over", "invalid_parameter", "state"),
    ("/v1/bookings?user=alice%00x", "invalid_parameter", "user"),
    ("/v1/bookings?user=%ff", "invalid_parameter", "user"),
    ("/v1/bookings?user=a&user=a", "invalid_parameter", "user"),
    ("/v1/bookings?after=007", "invalid_parameter", "after"),
    ("/v1/machines?limit=010", "invalid_parameter", "limit"),
    ("/v1/machines?limit=+5", "invalid_parameter", "limit"),
    ("/v1/machines?limit=5+", "invalid_parameter", "limit"),
    ("/v1/bookings?from=2026-12-01T02:00:00.Z", "invalid_parameter", "from"),
    ("/v1/bookings?from=2026-12-01T02:00:00,5Z", "invalid_parameter", "from"),
    ("/v1/bookings?from=2026-12-01T02:00:00", "invalid_parameter", "from"),
    ("/v1/bookings?color=red", "unknown_parameter", "color"),
    ("/v1/bookings?Limit=1", "unknown_parameter", "Limit"),
    ("/v1/machines?client=batch-1", "unknown_parameter", "client"),
    ("/v1/machines/r-00?limit=1", "unknown_parameter", "limit"),
    ("/v1/farm?x", "unknown_parameter", "x"),
    ("/healthz?x=1", "unknown_parameter", "x")])
def test_wrong_parameters(farm, query, code, parameter):
    assert_problem(farm.get(query), 400, code, parameter)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_other_methods(farm, method):
    for path in ("/v1/machines", "/nowhere"):
        answer = requests.request(method, farm.reader_url + path, timeout=10,
                                  data=b"x" * 10 if method in ("POST", "PUT") else None)
        assert_problem(answer, 405, "method_not_allowed")
        assert {part.strip() for part in answer.headers["Allow"].split(",")} == \
            {"GET", "HEAD", "OPTIONS"}


def test_head(farm):
    for path, status in (("/v1/machines", 200), ("/v1/machines/none", 404),
                         ("/v1/machines?limit=0", 400)):
        get, head = farm.get(path), requests.head(farm.reader_url + path, timeout=10)
        assert head.status_code == get.status_code == status
        assert head.content == b""
        for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control"):
            assert head.headers.get(name) == get.headers.get(name), name


def test_conditional_answers(farm):
    first = farm.get("/v1/machines/r-03")
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "no-cache" and etag.startswith('"')
    with requests.Session() as one:  # a 304 has no body: the next answer on the connection must stay readable
        for header in (etag, f'"other", {etag}', f"W/{etag}", "*"):
            answer = one.get(farm.reader_url + "/v1/machines/r-03", timeout=10,
                             headers={"If-None-Match": header})
            assert (answer.status_code, answer.content) == (304, b""), header
            assert answer.headers["ETag"] == etag
            assert answer.headers["Content-Length"] == first.headers["Content-Length"]
            assert one.get(farm.reader_url + "/v1/machines/r-03", timeout=10
                           ).content == first.content
    for header in ('"other"', f"x{etag}", etag.strip('"'), f'"other" {etag}'):
        assert farm.get("/v1/machines/r-03", headers={"If-None-Match": header}).status_code == 200
    connection = http.client.HTTPConnection(farm.reader_url.removeprefix("http://"), timeout=10)
    with contextlib.closing(connection):  # the list may come in several lines
        connection.putrequest("GET", "/v1/machines/r-03")
        for value in ('"x"', f'"y", {etag}'):
            connection.putheader("If-None-Match", value)
        connection.endheaders()
        assert connection.getresponse().status == 304
    farm.accept(farm.ops, {"type": "machine.update", "machine": "r-03", "gpus": 9})
    answer = farm.get("/v1/machines/r-03", headers={"If-None-Match": etag})
    assert answer.status_code == 200 and answer.headers["ETag"] != etag
    assert answer.json()["gpus"] == 9


def test_times_with_fractions_and_offsets(farm, start):
    """A window is widened to whole seconds; the + of an offset may be written as it is."""
    end = start + 7 * HOUR
    offset = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(end + HOUR)) + "+01:00"
    for text, count in ((rfc3339(end), 0), (offset, 0), (offset.replace("+", "%2B"), 0),
                        (rfc3339(end).replace("Z", ".000Z"), 0),
                        (rfc3339(end - 1).replace("Z", ".999999999Z"), 1)):
        assert len(farm.get_json(f"/v1/bookings?client=batch-2&from={text}")["items"]) == count, text
    for text, count in ((rfc3339(start), 0), (rfc3339(start).replace("Z", ".1Z"), 1),
                        (rfc3339(start).replace("Z", ".0Z"), 0)):
        assert len(farm.get_json(f"/v1/bookings?client=batch-2&to={text}")["items"]) == count, text


def serve_tls(folder):
    """(server, file with its certificate): answers each GET with an empty list, over TLS."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # pylint: disable=invalid-name
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"items":[]}')

        def log_message(self, *_):
            pass
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    certificate = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(
        key.public_key()).serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(
        now + timedelta(days=1)).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost")]), False).sign(key, hashes.SHA256())
    write_key_file(folder / "tls.key", key)
    (folder / "tls.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem", folder / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, folder / "tls.pem"


def test_berth_reads_through_tls_and_proxies(farm):
    """`berth` asks https:// readers, and a reader on this host never through a proxy."""
    own = {"BERTH_CLIENT_NAME": "batch-1",
           "BERTH_CLIENT_KEY_FILE": write_key_file(farm.folder / "own.pem", farm.batch_1.key)}
    proxies = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")}

    def listed(status=0, **more):
        return farm.run("berth", "list", "-o", "json", status=status, **own, **more).stdout
    assert "allocations" in listed(**proxies)
    assert "http_proxy" in listed(1, **proxies, BERTH_READER_URL="http://reader.invalid")
    # A host that no_proxy lists is asked itself.
    assert listed(1, **proxies, no_proxy="reader.invalid",
                  BERTH_READER_URL="http://reader.invalid").count("resolve") == 1
    server, certificate = serve_tls(farm.folder)
    url = f"https://localhost:{server.server_address[1]}"
    try:
        listed(**proxies, BERTH_READER_URL=url, BERTH_READER_TLS_CA=certificate)
        assert "certificate" in listed(1, BERTH_READER_URL=url)
    finally:
        server.shutdown()
        server.server_close()


def test_a_warning_of_open_doors(farm):
    """A reader that listens on more than loopback says who can read what."""
    reader = farm.start("berth-reader", environment=farm.environment(
        BERTH_READER_LISTEN="0.0.0.0:0"))
    reader.wait_log("reader listens")
    assert "everybody who can reach this address can read all bookings" in reader.text()
    reader.stop()
    local = farm.start("berth-reader", environment=farm.environment(BERTH_READER_LISTEN="[::1]:0"))
    local.wait_log("reader listens")
    assert "everybody" not in local.text()
    local.stop()


def test_a_booking_is_never_torn(farm, start):
    """A booking read while amends move it between machines: each read shows one complete version."""
    names = ["r-01", "r-02", "r-03", "r-04"]
    first = farm.accept(farm.batch_1, create(start + 99 * HOUR, start + 100 * HOUR,
                                             *(share(name, 1, 1) for name in names)))
    number = first.booking["id"]
    positions, seen = [], []
    for turn in range(40):
        farm.send_later(farm.batch_1, {
            "type": "booking.amend", "booking": number,
            "allocations": [share(name, 1, turn + 2) for name in names[turn % 3:]]}, positions)
        farm.producer.poll(0)
        seen.append(farm.get_json(f"/v1/bookings/{number}"))
    events = farm.events.decisions(farm.flush(positions))
    versions = {event.booking["version"]: event.booking for event in [first, *events]}
    seen.append(farm.get_json(f"/v1/bookings/{number}"))
    assert seen == [versions[booking["version"]] for booking in seen]
    # A GET after an event sees at least that event's version.
    assert seen[-1]["version"] == len(versions) == 41


def test_hostile_connections(farm):
    """Oversized requests and other protocols do not disturb other connections."""
    port = int(farm.reader_url.rpartition(":")[2])

    def exchange(data):
        with socket.create_connection(("127.0.0.1", port), timeout=1) as conn:
            with contextlib.suppress(OSError):  # includes a time-out without an answer
                conn.sendall(data)
                return conn.recv(65536)
        return b""
    for data in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"\0" * 1000,
                 b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\n\r\n",
                 b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100000 + b"\r\n\r\n",
                 b"POST /v1/bookings HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nabc"):
        answer = exchange(data)
        assert not answer.startswith(b"HTTP/1.1 2"), answer[:100]
        assert farm.get_json("/healthz") == {"status": "ok"}
    assert exchange(b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.")


FRAMING = [
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n", status) for lines, status in (
        (b"", 200), (b"Content-Length: 0\r\n", 200), (b"Content-Length: 5\r\n", 200),
        (b"Transfer-Encoding: chunked\r\n", 200), (b"Expect: 100-continue\r\nContent-Length: 5\r\n", 200),
        (b"Content-Length: 0\r\nContent-Length: 0\r\n", 400),
        (b"Content-Length: 0\r\nContent-Length: 5\r\n", 400),
        (b"Content-Length: 5\r\ncontent-length: 5\r\n", 400), (b"Content-Length: 0, 0\r\n", 400),
        (b"Content-Length: -5\r\n", 400), (b"Content-Length: +5\r\n", 400),
        (b"Content-Length: x\r\n", 400), (b"Content-Length:\r\n", 400),
        (b"Content-Length: 99999999999999999999999999\r\n", 200),
        (b"Content-Length : 5\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Host: y\r\n", 400), (b"Range: bytes=0-3\r\n", 200), (b"no header\r\n", 400))] + [
    (b"GET /healthz HTTP/1.1\r\n\r\n", 400), (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
    (b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (b"HEAD /v1/events HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200)]


@pytest.mark.parametrize("request_bytes, status", FRAMING)
def test_framing(farm, request_bytes, status):
    """One answer with one header, and what follows the request is never taken for another request."""
    port = int(farm.reader_url.rpartition(":")[2])
    follows = b"DELETE /x HTTP/1.1\r\nHost: x\r\n\r\n"
    closes = b"Content-Length: 0\r\n\r\n" not in request_bytes and (
        status == 400 or b"Content-Length" in request_bytes or b"Transfer" in request_bytes)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as conn:
        conn.sendall(request_bytes + (follows if closes else b""))
        answer, end = b"", b"\r\n\r\n" if b"HEAD" in request_bytes else b'"}'
        with contextlib.suppress(ConnectionResetError):
            while part := conn.recv(65536):
                answer += part
                if not closes and answer.endswith(end):
                    break
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"HTTP/1." not in head[9:] + body and b"405" not in body
    if request_bytes.startswith(b"HEAD"):
        assert body == b""
    elif b"problem+json" in head:
        assert json.loads(body)["type"].endswith("bad_request")


def test_many_at_once(farm):
    """More concurrent requests than database sessions: all get the same answer."""
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: farm.get("/v1/bookings").content, range(200)))
    assert len(set(answers)) == 1


def test_concurrent_booking_lookups(farm):
    """Concurrent booking lookups share statements; each gets the answer to its own id, also 404."""
    items = {item["id"]: item for item in farm.get_json("/v1/bookings?limit=1000")["items"]}
    asked = [*items, "3", *list(items)[:2], "-1", "12x"] * 60

    def ask(number):
        answer = farm.get(f"/v1/bookings/{number}")
        return answer.json() if answer.status_code == 200 else answer.status_code
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, asked))
    assert answers == [items.get(number, 404) for number in asked]


def test_clients_gone_during_a_lookup(farm):
    """Clients that disconnect, and a reader that stops, while booking lookups are pending."""
    reader = farm.start("berth-reader")
    port = int(reader.wait_log(r"reader listens.* port=(\d+)").group(1))
    path = f"/v1/bookings/{farm.booked[0].booking['id']}"
    expected = farm.get(path).content
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    pid = farm.database.stack.pid(farm.database.kind)

    def ask():
        conn = socket.create_connection(("127.0.0.1", port), timeout=20)
        conn.sendall(request)
        return conn
    with contextlib.ExitStack() as stack:
        assert requests.get(f"http://127.0.0.1:{port}{path}", timeout=10).content == expected
        os.kill(pid, signal.SIGSTOP)
        try:
            for conn in [ask() for _ in range(40)]:
                conn.close()
            staying = [stack.enter_context(ask()) for _ in range(10)]
        finally:
            os.kill(pid, signal.SIGCONT)
        for conn in staying:
            assert conn.recv(65536).endswith(expected)
        # A GET with a body is answered, and the connection is closed.
        with ask() as conn:
            assert conn.recv(65536).endswith(expected)
            conn.sendall(request.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc"))
            assert conn.makefile("rb").read().endswith(expected)
        os.kill(pid, signal.SIGSTOP)
        try:
            late = [stack.enter_context(ask()) for _ in range(10)]
            time.sleep(0.3)
            os.kill(reader.pid, signal.SIGTERM)
            time.sleep(0.3)
        finally:
            os.kill(pid, signal.SIGCONT)
        reader.wait(status=0)
        for conn in late:  # a complete answer or none
            with contextlib.suppress(ConnectionResetError):
                answer = conn.recv(65536)
                assert answer == b"" or answer.endswith(expected)


def test_connection_limit_and_timeout(farm):
    """Idle connections fill the limit: those idle longest make room, the others end at the time-out."""
    reader = farm.start("berth-reader", environment=farm.environment(
        BERTH_READER_CONNECTION_LIMIT=16, BERTH_READER_TIMEOUT_S=4))
    port = int(reader.wait_log(r"reader listens.* port=(\d+)").group(1))
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                for _ in range(16)]
        wait_until(lambda: len(os.listdir(f"/proc/{reader.pid}/fd")) > 16, "all are accepted")
        for _ in range(8):
            late = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            late.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert late.recv(12) == b"HTTP/1.1 200"
        for conn in idle:
            assert conn.recv(1) == b""
    assert reader.stop() < 5


@pytest.mark.parametrize("hard", [20000, 200])
def test_descriptors(farm, hard):
    """The reader raises a low limit of descriptors; if the hard limit forbids it, connections wait."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    command = f"ulimit -Sn 200; ulimit -Hn {min(hard, most)}; exec " + program("berth-reader")
    with open(farm.folder / f"few-{hard}.log", "w+", encoding="utf-8") as log, \
            subprocess.Popen(["sh", "-c", command], stderr=log, stdin=subprocess.DEVNULL,
                             env=farm.environment(BERTH_READER_TIMEOUT_S=3)) as reader, \
            contextlib.ExitStack() as stack:
        stack.callback(reader.terminate)

        def text():
            return (farm.folder / f"few-{hard}.log").read_text()
        wait_until(lambda: "reader listens" in text(), "it listens")
        assert ("fewer connections" in text()) == (hard == 200)
        port = int(re.search(r"reader listens.* port=(\d+)", text()).group(1))
        for _ in range(min(300, soft - 100)):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        answer = requests.get(f"http://127.0.0.1:{port}/v1/farm", timeout=20)
        assert answer.status_code == 200


def test_start_and_stop(farm, new_farm):
    reader = farm.start("berth-reader")
    reader.wait_log("reader listens")
    port = reader.wait_log(r"reader listens.* port=(\d+)").group(1)
    # The health check for service managers.
    farm.run("berth-reader", "--healthcheck", BERTH_READER_LISTEN=f"127.0.0.1:{port}")
    second = farm.start("berth-reader", environment=farm.environment(
        BERTH_READER_LISTEN=f"127.0.0.1:{port}"))
    second.wait(status=2)
    assert "cannot listen" in second.text()
    reader.stop()
    farm.run("berth-reader", "--healthcheck", status=1, BERTH_READER_LISTEN=f"127.0.0.1:{port}")
    # Without tables the reader exits: waiting would not help.
    empty = new_farm().start("berth-reader")
    empty.wait(status=2)
    assert "berth-admin init" in empty.text()


def assert_unavailable(farm, path):
    answer = farm.get(path, limit_s=60)
    problem = assert_problem(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "database" in problem["detail"] and "127.0.0.1" not in problem["detail"]
    assert farm.get_json("/healthz") == {"status": "ok"}


def test_database_dies(farm):
    """Without the database each answer is a 503 with Retry-After; afterwards the reader recovers."""
    path = "/v1/machines/r-00"
    booking = f"/v1/bookings/{farm.booked[0].booking['id']}"
    before = farm.get_json(path)
    farm.database.kill()
    try:
        assert_unavailable(farm, path)
        with ThreadPoolExecutor(8) as pool:  # concurrently, too
            list(pool.map(lambda _: assert_unavailable(farm, booking), range(8)))
    finally:
        farm.database.start()
    wait_until(lambda: farm.get(path).status_code == 200, "it answers again")
    assert farm.get_json(path) == before
    assert farm.get(booking).status_code == 200
    check_farm(farm)


def test_database_stands_still(farm):
    """The reader gives up in bounded time on a database that accepts connections but never answers."""
    if farm.database.kind != "mysql":
        return  # the client library implements the time-outs: one kind of database is enough
    path = "/v1/machines/r-00"
    pid = farm.database.stack.pid(farm.database.kind)
    os.kill(pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        assert_unavailable(farm, path)
        assert time.monotonic() - begin < 20
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: farm.get(path, limit_s=60).status_code == 200, "it answers again")
