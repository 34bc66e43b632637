"""The tests' servers: one broker, one MySQL, one MariaDB, managed by dev/stack.

Every test session starts its servers below var/it, on free ports, so that two sessions in one
checkout do not collide, and removes them at its end. Set BERTH_IT_STACKS=FOLDER to keep the servers
running there and to reuse them the next time.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pymysql
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource,
                                   ResourceType)

from berthtest.wait import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND_LIMIT_S = 150
# The tests' servers give a new session other settings than Berth needs, so that every test fails if a
# program relies on a server's settings: other character sets whatever the client asks for, and for
# each account but the administrator's what init_connect sets.
UNLIKE_BERTH = {
    "autocommit": "1", "completion_type": "'RELEASE'", "foreign_key_checks": "0",
    "sql_auto_is_null": "1", "sql_big_selects": "0", "max_join_size": "1",
    "sql_mode": "'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'",
    "sql_safe_updates": "1", "sql_select_limit": "1", "time_zone": "'+05:45'",
    "unique_checks": "0", "wait_timeout": "4000",
}
SERVER_ARGS = shlex.join([
    "--skip-character-set-client-handshake", "--character-set-server=latin1",
    "--collation-server=latin1_swedish_ci", "--init-connect=SET NAMES latin1, " +
    ", ".join(f"{name} = {value}" for name, value in UNLIKE_BERTH.items()) +
    "; SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY"])


def read_environment(path):
    """The variables exported by a stack.env."""
    values = {}
    for line in path.read_text().splitlines():
        match = re.fullmatch(r"export ([A-Z0-9_]+)=(.*)", line)
        if match:
            values[match.group(1)] = "".join(shlex.split(match.group(2)))
    return values


class Stack:
    """One folder of dev/stack."""

    def __init__(self, folder, kind, **settings):
        self.folder = folder
        self.kind = kind
        self.settings = settings  # STACK_… variables

    def run(self, command, *number):
        environment = {**os.environ, "STACK_DIR": str(self.folder), "STACK_DB": self.kind,
                       "STACK_DB_ARGS": SERVER_ARGS, **self.settings}
        done = subprocess.run([str(ROOT / "dev/stack"), command, *map(str, number)],
                              env=environment, cwd=ROOT, capture_output=True, text=True,
                              timeout=COMMAND_LIMIT_S, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"dev/stack {command} in {self.folder}: {done.stderr}{done.stdout}")

    def environment(self):
        return read_environment(self.folder / "stack.env")

    def pid(self, server):
        return int((self.folder / server / "pid").read_text().split()[0])


class Broker:
    """The Kafka broker, or a cluster of several."""

    def __init__(self, stack):
        self.stack = stack
        environment = stack.environment()
        self.bootstrap = environment["BERTH_KAFKA_BOOTSTRAP_SERVERS"]
        # The second listener and its advertised address.
        self.proxied = environment.get("STACK_KAFKA_PROXIED")
        self.proxy = environment.get("STACK_KAFKA_PROXY")
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def kill(self, *number):
        self.stack.run("kill-kafka", *number)

    def start(self, *number):
        self.stack.run("start-kafka", *number)
        assert self.stack.environment()["BERTH_KAFKA_BOOTSTRAP_SERVERS"] == self.bootstrap

    def topics(self):
        return self.admin.list_topics(timeout=20).topics

    def configure(self, topic, **settings):
        """Changes settings of a topic and waits until they are in force."""
        entries = [ConfigEntry(name.replace("_", "."), value,
                               incremental_operation=AlterConfigOpType.SET)
                   for name, value in settings.items()]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        for future in self.admin.incremental_alter_configs([resource]).values():
            future.result()

        def in_force():
            asked = self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])
            found = next(iter(asked.values())).result()
            return all(found[entry.name].value == entry.value for entry in entries)
        wait_until(in_force, f"{topic} has {settings}")

    def delete_topics(self, names):
        for future in self.admin.delete_topics(names, operation_timeout=20).values():
            future.result()
        wait_until(lambda: not set(names) & set(self.topics()), f"{names} are gone")

    def delete_records(self, topic, part, before):
        """Deletes a partition's messages before the offset, as retention does."""
        place = TopicPartition(topic, part, before)
        for future in self.admin.delete_records([place]).values():
            future.result(20)


class Database:
    """One database server, with an administrator's account."""

    def __init__(self, stack):
        self.stack = stack
        self.kind = stack.kind
        self.environment = stack.environment()
        self.host = self.environment["BERTH_DB_HOST"]
        self.port = int(self.environment["BERTH_DB_PORT"])
        self.password = Path(self.environment["STACK_DB_ROOT_PASSWORD_FILE"]).read_text()

    def __repr__(self):
        return self.kind

    def connect(self, database=None, **options):
        """An administrator's session in autocommit mode."""
        return pymysql.connect(
            host=self.host, port=self.port, user=self.environment["STACK_DB_ROOT_USER"],
            password=self.password, database=database, autocommit=True, charset="utf8mb4",
            **{"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60, **options})

    def create(self, name):
        """Creates a database with dev/stack's grants for Berth's accounts."""
        with contextlib.closing(self.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
            for account in ("berth", "berth_admin", "berth_reader"):
                cursor.execute(f"SHOW GRANTS FOR '{account}'@'{self.host}'")
                for grant, in cursor.fetchall():
                    if " ON `berth`.* " in grant:
                        cursor.execute(grant.replace(" ON `berth`.* ", f" ON `{name}`.* "))

    def drop(self, name):
        with contextlib.closing(self.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def kill(self):
        self.stack.run("kill-db")

    def start(self):
        self.stack.run("start-db")
        assert int(self.stack.environment()["BERTH_DB_PORT"]) == self.port

    def dump(self, name, path):
        """Copies a database's rows; see restore."""
        with contextlib.closing(self.connect(name)) as conn, conn.cursor() as cursor:
            cursor.execute("SHOW TABLES")
            tables = [row[0] for row in cursor.fetchall()]
            cursor.execute(f"CREATE DATABASE `{path}` CHARACTER SET utf8mb4")
            for table in tables:
                cursor.execute(f"CREATE TABLE `{path}`.`{table}` AS SELECT * FROM `{table}`")
        return tables

    def restore(self, name, path):
        """Restores the rows of a dump, like a backup."""
        with contextlib.closing(self.connect(name)) as conn, conn.cursor() as cursor:
            cursor.execute(f"SHOW TABLES FROM `{path}`")
            cursor.execute("SET SESSION foreign_key_checks = 0")
            cursor.execute(f"SHOW TABLES FROM `{path}`")
            for table, in cursor.fetchall():
                cursor.execute(f"DELETE FROM `{table}`")
                cursor.execute(f"INSERT INTO `{table}` SELECT * FROM `{path}`.`{table}`")
            cursor.execute(f"DROP DATABASE `{path}`")


class Servers:
    """All servers of a session. As a context manager it removes them even after a failure."""

    def __init__(self):
        kept = os.environ.get("BERTH_IT_STACKS")
        self.keep = kept is not None
        self.folder = Path(kept, os.environ.get("PYTEST_XDIST_WORKER", "")).absolute() if kept \
            else ROOT / "var/it" / str(os.getpid())
        self.stacks = {"mysql": Stack(self.folder / "mysql", "mysql", STACK_PROXY="1"),
                       "mariadb": Stack(self.folder / "mariadb", "mariadb")}
        self.databases = {}
        self.broker = None

    def __enter__(self):
        if not self.keep:
            remove_leftovers(self.folder.parent)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            # In parallel: each mostly waits for its disk. One broker serves both.
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda job: job[0].run(job[1]),
                              [(self.stacks["mysql"], "up"), (self.stacks["mariadb"], "start-db")]))
        except BaseException:
            self.__exit__()
            raise
        self.broker = Broker(self.stacks["mysql"])
        self.databases = {kind: Database(stack) for kind, stack in self.stacks.items()}
        return self

    def __exit__(self, *_):
        if not self.keep:
            wipe(self.folder)

    def another(self, name, kind, **settings):
        """A stack for a few tests, which remove it with wipe_stack."""
        return Stack(self.folder / name, kind, **settings)


def wipe_stack(stack):
    """Stops a stack and removes it, with the file systems mounted in it."""
    # The data is not needed any more, so killing the servers is enough.
    for command in ("kill-kafka", "kill-db"):
        stack.run(command)
    for line in Path("/proc/mounts").read_text().splitlines():
        where = line.split()[1]
        if where.startswith(f"{stack.folder}/"):
            subprocess.run(["umount", "-l", where], check=True)
    stack.run("wipe")
    shutil.rmtree(stack.folder, ignore_errors=True)


def wipe(folder):
    """Stops the servers in a session's folder and removes it."""
    stacks = [Stack(path.parent, json.loads(path.read_text())["database"])
              for path in folder.glob("*/stack.json")]
    with ThreadPoolExecutor() as pool:
        list(pool.map(wipe_stack, stacks))
    shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(base):
    """Removes the servers of sessions killed with SIGKILL."""
    if not base.is_dir():
        return
    for folder in base.iterdir():
        if folder.name.isdigit() and not Path("/proc", folder.name).exists():
            with contextlib.suppress(RuntimeError):  # another session removes it at the same time
                wipe(folder)
