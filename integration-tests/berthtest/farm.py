"""A farm for one test or module: database, topics, clients, keys, workers and a reader."""

import contextlib
import itertools
import json
import os
import re
import subprocess
import time
import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jwt
import pymysql.cursors
import requests
from confluent_kafka import KafkaError, KafkaException, Producer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from berthtest.events import EventConsumer, read_topic
from berthtest.process import Process, program
from berthtest.wait import wait_until

COMMAND_LIMIT_S = 60
PARTITIONS = 8
numbers = itertools.count(1)


@lru_cache(maxsize=None)
def private_key(algorithm, number=0):
    """A private key, generated once for each (algorithm, name): generating keys is slow."""
    del number
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM,
                                         serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


@dataclass(frozen=True)
class Client:
    """A client with one key, to sign requests."""
    name: str
    role: str
    algorithm: str
    kid: str
    key: object


def rfc3339(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def share(machine, gpus=1, memory_gib=8):
    return {"machine": machine, "gpus": gpus, "memory_gib": memory_gib}


def tomorrow():
    """The next full hour plus one day, in seconds since 1970."""
    return int(time.time()) // 3600 * 3600 + 24 * 3600


def create(start_s, end_s, *allocations):
    """A booking.create; times in seconds since 1970."""
    return {"type": "booking.create", "start": rfc3339(start_s), "end": rfc3339(end_s),
            "allocations": list(allocations)}


def route(request, request_id):
    """A request's destination by docs/messages.md: {"key": …} or {"slot": …}."""
    kind = request.get("type")
    if kind in ("booking.amend", "booking.cancel"):
        made = request.get("booking", request.get("series"))
        if isinstance(made, int):
            return {"slot": made % 4096}
    if kind in ("machine.register", "machine.update") and "machine" in request:
        return {"key": request["machine"]}
    allocations = request.get("allocations")
    if isinstance(allocations, list) and allocations and "machine" in allocations[0]:
        return {"key": allocations[0]["machine"]}
    return {"key": request_id}


class Farm:
    """See the module. `folder`: the test's folder for logs, keys and other files."""

    def __init__(self, broker, database, folder, partitions=PARTITIONS):
        self.broker = broker
        self.database = database
        self.folder = folder
        self.partitions = partitions
        self.id = f"{os.getpid()}x{next(numbers)}"
        self.name = f"farm-{self.id}"
        self.database_name = f"berth{self.id}"
        self.topic_prefix = f"farm{self.id}."
        self.clients = {}
        self.processes = []
        self.reader_url = None
        self.consumers = []
        self._events = self._producer = self._sql = None
        database.create(self.database_name)

    # ---- life ----------------------------------------------------------------------------------

    def init(self, *options):
        """Initialises the farm, with an admin and two submitters with keys."""
        self.admin_command("init", "--farm", self.name, "--partitions", self.partitions, *options)
        self.add_client("ops", "admin", "ES256")
        self.add_client("batch-1", "submitter", "ES256")
        self.add_client("batch-2", "submitter", "RS256")
        return self

    def close(self):
        """Stops the farm's programs and removes the farm: thousands of partitions of old farms would
        slow the broker down."""
        for process in self.processes:
            process.end()
        for consumer in self.consumers:
            consumer.close()
        if self._sql is not None:
            self._sql.close()
        self.broker.admin.delete_topics([self.request_topic, self.event_topic])  # completes later
        self.database.drop(self.database_name)

    @property
    def request_topic(self):
        return f"{self.topic_prefix}requests"

    @property
    def event_topic(self):
        return f"{self.topic_prefix}events"

    # ---- programs ------------------------------------------------------------------------------

    def environment(self, **more):
        """The environment of Berth's programs: this farm's settings and none of the caller's."""
        stack = self.database.environment
        own = {key: value for key, value in os.environ.items() if not key.startswith("BERTH_")}
        return {
            **own, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder), "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
            "BERTH_FARM_NAME": self.name,
            "BERTH_FARM_TOPIC_PREFIX": self.topic_prefix,
            # Farms on one cluster need separate groups.
            "BERTH_WORKER_GROUP": f"{self.topic_prefix}worker",
            "BERTH_KAFKA_BOOTSTRAP_SERVERS": self.broker.bootstrap,
            "BERTH_DB_NAME": self.database_name,
            **{key: stack[key] for key in (
                "BERTH_DB_HOST", "BERTH_DB_PORT", "BERTH_DB_USER", "BERTH_DB_PASSWORD_FILE",
                "BERTH_ADMIN_DB_USER", "BERTH_ADMIN_DB_PASSWORD_FILE", "BERTH_READER_DB_USER", "BERTH_READER_DB_PASSWORD_FILE")},
            "BERTH_READER_LISTEN": "127.0.0.1:0",
            **({"BERTH_READER_URL": self.reader_url} if self.reader_url else {}),
            **{key: str(value) for key, value in more.items()},
        }

    def run(self, name, *arguments, status=0, stdin=None, limit_s=COMMAND_LIMIT_S, **environment):
        """Runs a program and checks its exit status (None: any)."""
        done = subprocess.run([program(name), *map(str, arguments)], input=stdin,
                              stdin=subprocess.DEVNULL if stdin is None else None,
                              env=self.environment(**environment), capture_output=True, text=True,
                              timeout=limit_s, check=False)
        assert status is None or done.returncode == status, (
            f"{name} {' '.join(map(str, arguments))}: exit status {done.returncode}, not {status}"
            f"\nstdout: {done.stdout}\nstderr: {done.stderr}")
        return done

    def admin_command(self, *arguments, status=0, **environment):
        return self.run("berth-admin", *arguments, status=status, **environment)

    def admin_json(self, *arguments, status=0):
        """berth-admin's -o json output."""
        return json.loads(self.admin_command(*arguments, "-o", "json", status=status).stdout)

    def audit(self, status=0):
        return self.admin_command("audit", status=status)

    def start(self, name, *arguments, environment=None, wrapper=()):
        log = self.folder / f"{name}-{len(self.processes)}.log"
        process = Process(name, arguments, environment or self.environment(), log, wrapper)
        self.processes.append(process)
        return process

    def start_worker(self, *arguments, ready=True, wrapper=(), **environment):
        """Starts a worker; `ready` waits until it has joined the group, not until it owns partitions."""
        settings = {"BERTH_WORKER_NAME": f"worker-{len(self.processes)}", **environment}
        worker = self.start("berth-worker", *arguments, environment=self.environment(**settings),
                            wrapper=wrapper)
        if ready:
            worker.wait_log("worker ready")
        return worker

    def start_reader(self, *arguments, **environment):
        reader = self.start("berth-reader", *arguments, environment=self.environment(**environment))
        port = reader.wait_log(r"reader listens.* port=(\d+)").group(1)
        self.reader_url = f"http://127.0.0.1:{port}"
        return reader

    # ---- clients and requests ------------------------------------------------------------------

    def add_client(self, name, role, algorithm="ES256", key=None):
        self.admin_command("client", "add", name, "--role", role)
        return self.add_key(name, role, algorithm, f"{name}-key", key)

    def add_key(self, name, role, algorithm, kid, key=None, *options):
        client = Client(name, role, algorithm, kid, key or private_key(algorithm, name))
        path = self.folder / f"{kid}.pem"
        path.write_bytes(public_pem(client.key))
        self.admin_command("key", "add", name, "--kid", kid, "--public-key", path, *options)
        self.clients.setdefault(name, client)
        return client

    @property
    def ops(self):
        return self.clients["ops"]

    @property
    def batch_1(self):
        return self.clients["batch-1"]

    @property
    def batch_2(self):
        return self.clients["batch-2"]

    def claims(self, client, request, **claims):
        """A token's payload; a claim given as None is omitted."""
        now = int(time.time())
        payload = {"iss": client.name, "sub": "alice", "aud": self.name, "iat": now,
                   "exp": now + 600, "jti": str(uuid.uuid4()), "request": request, **claims}
        return {key: value for key, value in payload.items() if value is not None}

    def sign(self, client, request, headers=None, **claims):
        """A request signed by PyJWT."""
        return jwt.encode(self.claims(client, request, **claims), client.key,
                          algorithm=client.algorithm, headers={"kid": client.kid, **(headers or {})})

    @property
    def producer(self):
        if self._producer is None:
            self._producer = Producer({
                "bootstrap.servers": self.broker.bootstrap, "partitioner": "murmur2_random",
                "acks": "all", "enable.idempotence": True, "linger.ms": 1,
                "message.timeout.ms": 60000, "reconnect.backoff.max.ms": 200, "log_level": 0,
                "queue.buffering.max.messages": 1000000})
        return self._producer

    def forget_producer(self):
        """Replaces the producer after a topic's change, which an old one would notice only minutes later."""
        self._producer = None

    def publish_later(self, value, positions, key=None, partition=None):
        """Gives a message to the producer and appends a slot to `positions`, filled with its
        (partition, offset) on delivery."""
        index = len(positions)
        positions.append(None)

        def delivered(error, message):
            place = (message.partition(), message.offset())
            positions[index] = error or (place if place[1] is not None else (*place, value))
        where = {} if partition is None else {"partition": partition}
        self.producer.produce(self.request_topic, value, key, on_delivery=delivered, **where)

    def flush(self, positions, limit_s=60.0):
        """Waits until all given messages are in the topic; returns their (partition, offset)."""
        deadline = time.monotonic() + limit_s
        while any(position is None for position in positions):
            self.producer.poll(0.05)
            assert time.monotonic() < deadline, "messages are not delivered"
        for index, position in enumerate(positions):
            if isinstance(position, KafkaError):
                raise KafkaException(position)
            if position[1] is None:  # a retry of an appended message: the report has no offset
                part, _, value = position
                positions[index] = (part, self.offset_of(part, value))
        return positions

    def offset_of(self, part, value):
        """(partition, offset) of the first message with these bytes in a request partition."""
        wanted = value if isinstance(value, bytes) else value.encode()
        return next(message.offset for message in read_topic(
            self.broker.bootstrap, self.request_topic)[part] if message.value == wanted)

    def publish(self, value, key=None, partition=None):
        """Publishes one message of any bytes; returns its (partition, offset)."""
        positions = []
        self.publish_later(value, positions, key, partition)
        return self.flush(positions)[0]

    def send_later(self, client, request, positions, **claims):
        """Signs a request and gives it to the producer, without waiting; returns its request id."""
        claims.setdefault("jti", str(uuid.uuid4()))
        token = self.sign(client, request, **claims)
        self.publish_token(token, request, claims["jti"], positions)
        return claims["jti"]

    def publish_token(self, token, request, request_id, positions):
        """Gives a signed request to the producer, for its right partition."""
        where = route(request, request_id)
        partition = where["slot"] % self.partitions if "slot" in where else None
        self.publish_later(token, positions, where.get("key"), partition)

    def send(self, client, request, **claims):
        """Signs and publishes a request as clients do; returns its (partition, offset)."""
        positions = []
        self.send_later(client, request, positions, **claims)
        return self.flush(positions)[0]

    @property
    def events(self):
        """The test's consumer of the event topic, from its beginning."""
        if self._events is None:
            self._events = self.new_consumer()
        return self._events

    def use_consumer(self, consumer):
        """Replaces the test's consumer after its position was lost."""
        self._events = consumer

    def new_consumer(self, from_beginning=True):
        consumer = EventConsumer(self.broker.bootstrap, self.event_topic, self.partitions,
                                 from_beginning)
        self.consumers.append(consumer)
        return consumer

    def decide(self, client, request, limit_s=20.0, **claims):
        """Publishes a request; returns its event."""
        return self.events.decision(self.send(client, request, **claims), limit_s)

    def decide_all(self, batch, limit_s=60.0):
        """decide() for many requests: [(client, request)] or [(client, request, claims)]."""
        positions = []
        for client, request, *claims in batch:
            self.send_later(client, request, positions, **(claims[0] if claims else {}))
        return self.events.decisions(self.flush(positions), limit_s)

    def accept(self, client, request, limit_s=20.0, **claims):
        """decide(), requiring acceptance."""
        event = self.decide(client, request, limit_s, **claims)
        assert event.accepted, event.json
        return event

    def register(self, *names, gpus=8, memory_gib=64, **more):
        """Registers machines; returns their events."""
        events = self.decide_all([
            (self.ops, {"type": "machine.register", "machine": name, "gpus": gpus,
                        "memory_gib": memory_gib, **more}) for name in names])
        assert all(event.accepted for event in events), [event.json for event in events]
        return events

    # ---- database and reader -------------------------------------------------------------------

    @property
    def sql(self):
        """A database session in autocommit mode, reopened if the server has closed it."""
        if self._sql is not None:
            with contextlib.suppress(pymysql.MySQLError):
                self._sql.ping(reconnect=False)
                return self._sql
        self._sql = self.database.connect(self.database_name)
        return self._sql

    def rows(self, query, *values):
        """The rows of a query, as dictionaries."""
        with self.sql.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(query, values or None)
            return list(cursor.fetchall())

    def halted(self):
        """The halted partitions and their texts."""
        return {row["part"]: row["halted"] for row in
                self.rows("SELECT part, halted FROM request_partition") if row["halted"]}

    def message_count(self):
        """The number of messages on the request topic."""
        return sum(map(len, read_topic(self.broker.bootstrap, self.request_topic).values()))

    def row(self, query, *values):
        found = self.rows(query, *values)
        assert len(found) == 1, f"{query}: {len(found)} rows"
        return found[0]

    def partition_row(self, part):
        return self.row("SELECT * FROM request_partition WHERE part = %s", part)

    def decision_row(self, position):
        return self.row("SELECT * FROM decision WHERE part = %s AND log_offset = %s", *position)

    def allocation_rows(self, booking):
        return self.rows("SELECT a.*, m.name FROM allocation a JOIN machine m ON m.id = a.machine"
                         " WHERE a.booking = %s ORDER BY m.name, a.start_ms", booking)

    def owners(self):
        """{partition: name of the last worker to claim it}."""
        return {row["part"]: row["owner"]
                for row in self.rows("SELECT part, owner FROM request_partition")}

    def wait_owned(self, *workers, limit_s=30.0):
        """Waits until these workers together own all partitions and each owns at least one."""
        names = {re.search(r"worker ready.*worker=(\S+)", worker.text()).group(1)
                 for worker in workers}
        wait_until(lambda: set(self.owners().values()) == names,
                   f"{', '.join(sorted(names))} own all partitions", limit_s)

    def get(self, path, limit_s=10.0, **options):
        """A GET on the reader."""
        return requests.get(self.reader_url + path, timeout=limit_s, **options)

    def get_json(self, path):
        answer = self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()


def write_key_file(path, key):
    """Writes a private key file, readable by its owner only as `berth` requires."""
    path = Path(path)
    path.touch(mode=0o600)
    path.write_bytes(private_pem(key))
    return path


def canonical(value):
    """Canonical JSON, sorted and without blanks: the input of content hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
