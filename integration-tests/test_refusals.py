"""Database servers that run but refuse: read-only, out of connections, out of disk space.

The workers log the refusal once, wait until it ends, and go on."""

import contextlib
import os
import re
import subprocess
import time

import pymysql
import pytest

from berthtest.farm import Farm
from berthtest.faults import HALF, REPEATS, Trials, load_for, patient
from berthtest.servers import Database, wipe_stack
from berthtest.wait import wait_until

pytestmark = patient


def run_sql(database, *statements):
    with contextlib.closing(database.connect()) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def two_workers(farm, name, say):
    workers = [farm.start_worker(), farm.start_worker()]
    load = load_for(farm, workers, name)
    return load, Trials(farm, load, workers, say)


def nothing_is_decided(farm, seconds):
    """No decision for so many seconds although requests wait. Events of earlier commits may arrive."""
    def quiet():
        count = len(farm.events.events)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            farm.events.pump(0.05)
        return len(farm.events.events) == count
    wait_until(quiet, "nothing is decided", 2 * seconds + 1)


def warnings_since(worker, mark):
    return [line for line in worker.text()[mark:].splitlines() if " level=warn " in line]


def test_read_only(farm, say):
    database = farm.database
    name = "super_read_only" if database.kind == "mysql" else "read_only"
    load, trials = two_workers(farm, "read-only", say)
    for _ in range(HALF):
        marks = [len(worker.text()) for worker in trials.workers]
        with trials.fault(f"server set to {name}"):
            try:
                run_sql(database, f"SET GLOBAL {name} = 1")
                load.send(100)
                farm.flush(load.positions)
                wait_until(lambda m=marks: any(warnings_since(*pair) for pair in
                                               zip(trials.workers, m)), "a worker says so")
                nothing_is_decided(farm, 3)
            finally:
                run_sql(database, "SET GLOBAL read_only = 0")  # super_read_only goes off with it
        for worker, mark in zip(trials.workers, marks):
            warnings = warnings_since(worker, mark)
            assert len(warnings) <= 3, "\n".join(warnings)
    trials.finish()


def fill_connections(database, count):
    """Connections held by another program."""
    return [pymysql.connect(
        host=database.host, port=database.port, user=database.environment["BERTH_READER_DB_USER"],
        password=open(database.environment["BERTH_READER_DB_PASSWORD_FILE"], encoding="ascii").read(),
        connect_timeout=10) for _ in range(count)]


def test_too_many_connections(farm, say):
    database = farm.database
    load, trials = two_workers(farm, "connections", say)
    for _ in range(HALF):
        marks = [len(worker.text()) for worker in trials.workers]
        with trials.fault("too many connections"):
            others = fill_connections(database, 14)
            try:
                run_sql(database, "SET GLOBAL max_connections = 10")
                for row in farm.rows("SELECT id FROM information_schema.processlist WHERE"
                                     " user = 'berth' AND db = %s", farm.database_name):
                    with contextlib.suppress(pymysql.MySQLError):
                        farm.rows(f"KILL {row['id']}")
                load.send(100)
                farm.flush(load.positions)
                for worker, mark in zip(trials.workers, marks):
                    worker.wait_log("Too many connections|database session lost", since=mark)
                nothing_is_decided(farm, 2)
            finally:
                for conn in others:
                    conn.close()
                run_sql(database, "SET GLOBAL max_connections = 100")
        for worker, mark in zip(trials.workers, marks):
            warnings = warnings_since(worker, mark)
            assert len(warnings) <= 3, "\n".join(warnings)
    trials.finish()


# ---- no space left on the database's disk --------------------------------------------------------

DISK_MIB = 400
# A server without space for its binary log retries once a minute.
SERVER_LIMIT_S = 150
NOBODY_LISTENS = 2003  # CR_CONN_HOST_ERROR


def can_mount():
    """Whether this process may mount file systems; root in a container often may not."""
    probe = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
                           capture_output=True, text=True, check=False)
    return probe.returncode == 0 and os.geteuid() == 0


class SmallDisk:
    """A database server with its data on a small file system in memory."""

    def __init__(self, servers, kind, binlog_too):
        name = f"full-{kind}-{'binlog' if binlog_too else 'data'}"
        folder = servers.folder / name
        # Unless the test fills the binary log too, the log is on another file system.
        more = "" if binlog_too else f" --log-bin={folder}/binlog"
        self.stack = servers.another(name, kind,
                                     STACK_DB_ARGS=f"--innodb-log-file-size=16M{more}")
        self.place = folder / kind
        self.place.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", self.place],
                       check=True)
        self.filler = self.place / "filler"
        try:
            self.stack.run("start-db")
            self.database = Database(self.stack)
            run_sql(self.database, "CREATE DATABASE probe", "CREATE TABLE probe.room (n INT)")
        except BaseException:
            self.close()
            raise

    def fill(self):
        """Fills the file system."""
        with self.filler.open("ab", buffering=0) as out:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        out.write(b"x" * size)

    def free(self):
        """Frees the space and waits until the server writes again. Some servers exit when they cannot
        write; they are restarted as by a supervisor. Returns the number of restarts."""
        self.filler.unlink(missing_ok=True)
        ended = 0
        deadline = time.monotonic() + SERVER_LIMIT_S
        while True:
            try:
                run_sql(self.database, "INSERT INTO probe.room VALUES (1)")
                return ended
            except pymysql.MySQLError as error:
                assert time.monotonic() < deadline, f"the server does not write again: {error}"
                if error.args[0] == NOBODY_LISTENS:
                    self.stack.run("start-db")
                    ended += 1
                time.sleep(0.2)

    def close(self):
        wipe_stack(self.stack)


@contextlib.contextmanager
def farm_on_small_disk(servers, kind, folder, binlog_too):
    if not can_mount():
        pytest.skip("CANNOT MOUNT A FILE SYSTEM HERE (root with CAP_SYS_ADMIN can): what happens "
                    "when the database's disk is full IS NOT TESTED")
    disk = SmallDisk(servers, kind, binlog_too)
    try:
        farm = Farm(servers.broker, disk.database, folder)
        try:
            yield farm.init(), disk
        finally:
            farm.close()
    finally:
        disk.close()


def fill_until_refused(farm, load, disk, worker):
    """Fills the file system and sends requests until the server has used its preallocated space."""
    mark = len(worker.text())
    disk.fill()

    def refused():
        load.send(200)
        farm.flush(load.positions)
        farm.events.pump(0.2)
        return re.search(r"level=warn .*database session lost.*", worker.text()[mark:])
    return wait_until(refused, "the worker meets the full disk", 60).group()


@pytest.mark.parametrize("kind", ("mysql", "mariadb"))
def test_disk_full(servers, kind, tmp_path, say):
    with farm_on_small_disk(servers, kind, tmp_path, binlog_too=False) as (farm, disk):
        worker = farm.start_worker()
        load = load_for(farm, [worker], "disk-full")
        trials = Trials(farm, load, [worker], say)
        ended = 0
        for _ in range(HALF):
            mark = len(worker.text())
            with trials.fault("disk of the database full"):
                try:
                    print(fill_until_refused(farm, load, disk, worker))
                    nothing_is_decided(farm, 2)
                finally:
                    ended += disk.free()
            # Small transactions may succeed in between; the next refusal is then logged again.
            warnings = warnings_since(worker, mark)
            assert len(warnings) <= 20, "\n".join(warnings)
        say("times that the server itself ended on a full disk", ended)
        trials.finish()


@pytest.mark.skipif("REPEATS < 2", reason="the server itself waits for a minute: make faults")
@pytest.mark.parametrize("kind", ("mysql", "mariadb"))
def test_binary_log_on_a_full_disk(servers, kind, tmp_path, say):
    """Without space for the binary log a COMMIT hangs in the server, which retries once a minute."""
    with farm_on_small_disk(servers, kind, tmp_path, binlog_too=True) as (farm, disk):
        worker = farm.start_worker()
        load = load_for(farm, [worker], "binlog-full")
        trials = Trials(farm, load, [worker], say, limit_s=150)
        ended, seconds = 0, []
        for _ in range(max(1, REPEATS // 10)):
            with trials.fault("disk of the database and its binary log full"):
                try:
                    print(fill_until_refused(farm, load, disk, worker))
                finally:
                    begin = time.monotonic()
                    ended += disk.free()
                    seconds.append(round(time.monotonic() - begin, 1))
        say("seconds until the server wrote again", seconds)
        say("times that the server itself ended on a full disk", ended)
        trials.finish()
