"""What a session with the database may not depend on: the server's settings, its name, other text.

All tests run on servers whose sessions begin with other settings than Berth needs: see UNLIKE_BERTH
in berthtest/servers.py.
"""

import contextlib
import subprocess

import pytest

from berthtest.fake_mysql import OK, FakeServer
from berthtest.farm import create, private_key, public_pem, share, tomorrow
from berthtest.process import program

USER = "Łukasz 🍣"
PLACE = "Łódź 🍣"
PASSWORD = "correct horse battery staple"


def test_any_text_comes_back(farm):
    """A user and a label in any script: in the events, the tables and the reader, after an amend."""
    farm.start_worker()
    farm.start_reader()
    event, = farm.register("gpu-01", labels={"ort": PLACE})
    assert event.json["data"]["machine"]["labels"] == {"ort": PLACE}
    start = tomorrow()
    booked = farm.accept(farm.batch_1, create(start, start + 3600, share("gpu-01")), sub=USER)
    booking = booked.json["data"]["booking"]
    assert booking["user"] == USER
    amended = farm.accept(farm.batch_1, {
        "type": "booking.amend", "booking": booking["id"],
        "end": booking["end"]}, sub=USER)
    assert amended.json["data"]["booking"]["version"] == 2
    assert amended.json["data"]["booking"]["user"] == USER
    assert farm.get_json(f"/v1/bookings/{booking['id']}")["user"] == USER
    machine, = farm.get_json("/v1/machines")["items"]
    assert machine["labels"] == {"ort": PLACE}
    assert farm.row("SELECT HEX(user_name) AS it FROM booking")["it"] == USER.encode().hex().upper()
    farm.audit()


def test_blanks_at_the_end_count(farm):
    """Servers' collations ignore them; users who differ in them are two."""
    farm.start_worker()
    farm.start_reader()
    farm.register("gpu-01")
    start = tomorrow()
    for user in ("zoe", "zoe ", "Zoe"):
        farm.accept(farm.batch_1, create(start, start + 3600, share("gpu-01")), sub=user)
    for user in ("zoe", "zoe ", "Zoe"):
        found = farm.get("/v1/bookings", params={"user": user}).json()["items"]
        assert [booking["user"] for booking in found] == [user]
    for path in ("/v1/machines/gpu-01%20", "/v1/decisions/batch-1%20/x", "/v1/clients/ops%20"):
        assert farm.get(path).status_code == 404
    done = farm.admin_command("key", "revoke", "batch-2-key ", status=2)
    assert "key id" in done.stderr
    assert farm.row("SELECT revoked_at_ms AS it FROM client_key WHERE kid = 'batch-2-key'") == {
        "it": None}


# ---- accounts ---------------------------------------------------------------------------------------

def test_who_only_reads_needs_only_select(farm):
    """And a program with its own account needs no other one's password."""
    account = {"BERTH_DB_PASSWORD_FILE": "/nonexistent"}
    for key in ("USER", "PASSWORD_FILE"):
        account[f"BERTH_ADMIN_DB_{key}"] = farm.environment()[f"BERTH_READER_DB_{key}"]
    farm.start_reader(BERTH_DB_PASSWORD_FILE="/nonexistent")
    assert farm.get_json("/v1/machines")["items"] == []
    for command in (["audit"], ["status"], ["client", "list"], ["partition", "list"]):
        farm.admin_command(*command, **account)
    done = farm.admin_command("client", "add", "third", "--role", "admin", status=1, **account)
    assert "INSERT command denied" in done.stderr


def test_a_missing_right_halts_nothing(farm):
    """The worker says what its account lacks and tries again."""
    account = f"`{farm.database_name}`.* {{}} 'berth'@'{farm.database.host}'"
    with farm.sql.cursor() as cursor:
        cursor.execute("REVOKE INSERT ON " + account.format("FROM"))
        worker = farm.start_worker()
        position = farm.send(farm.ops, {"type": "machine.register", "machine": "gpu-01", "gpus": 8,
                                        "memory_gib": 64})
        worker.wait_log("INSERT command denied")
        cursor.execute("GRANT INSERT ON " + account.format("TO"))
        cursor.execute("SELECT id FROM information_schema.processlist"
                       " WHERE user = 'berth' AND db = %s", [farm.database_name])
        for session, in cursor.fetchall():
            cursor.execute("KILL %s", [session])
    assert farm.events.decision(position).accepted
    assert not farm.halted()


# ---- a server that is not what it seems --------------------------------------------------------------

def status_of(port, folder, **settings):
    """Runs `berth-admin status` with a password on a server at this port of 127.0.0.1."""
    path = folder / "password"
    path.touch(mode=0o600)
    path.write_text(PASSWORD)
    environment = {"HOME": str(folder), "BERTH_DB_HOST": "127.0.0.1", "BERTH_DB_PORT": str(port),
                   "BERTH_DB_PASSWORD_FILE": str(path),
                   "BERTH_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", **settings}
    return subprocess.run([program("berth-admin"), "status"], env=environment, capture_output=True,
                          text=True, timeout=60, check=False)


def send_key(session):
    """Continues both plugins with SHA-256 by a key of the server's choice, which encrypts the password."""
    if session.plugin == "caching_sha2_password":
        session.send(b"\1\4")  # the password is not in the server's cache
        session.receive()
    session.send(b"\1" + public_pem(private_key("RS256")))
    session.receive()


@pytest.mark.parametrize("plugin, goes_on", [
    ("mysql_clear_password", None), ("dialog", None), ("sha256_password", send_key),
    ("caching_sha2_password", send_key)])
@pytest.mark.parametrize("asked_later", [False, True])
def test_false_server_learns_no_password(tmp_path, plugin, goes_on, asked_later):
    """Without TLS, who answers at the server's address gets the password neither in clear nor
    encrypted for a key of his own."""
    def dialogue(session):
        if asked_later:
            session.switch(plugin)
        if goes_on:
            goes_on(session)
        session.send(OK)
    with FakeServer("mysql_native_password" if asked_later else plugin, dialogue) as fake:
        done = status_of(fake.port, tmp_path)
    assert done.returncode == 1 and "db.tls_ca" in done.stderr
    assert PASSWORD.encode() not in fake.received
    assert len(fake.received) < 256  # the size of what RSA encrypted


def test_false_server_gets_no_file(tmp_path):
    """A server may answer any statement with the wish for a file of the client's."""
    def dialogue(session):
        session.send(OK)
        session.receive()
        session.send(b"\xfb" + bytes(tmp_path / "password"))
        session.receive()
        session.send(OK)
    with FakeServer("mysql_native_password", dialogue) as fake:
        done = status_of(fake.port, tmp_path)
    assert done.returncode == 1
    assert PASSWORD.encode() not in fake.received


def test_no_password_from_the_environment(tmp_path):
    with FakeServer("mysql_clear_password", lambda session: session.send(OK)) as fake:
        status_of(fake.port, tmp_path, BERTH_DB_PASSWORD_FILE="", MYSQL_PWD=PASSWORD)
    assert PASSWORD.encode() not in fake.received


def test_settings_are_read_back(tmp_path):
    """A proxy that acknowledges SET and keeps the session as it is."""
    def dialogue(session):
        for _ in range(3):
            session.send(OK)
            session.receive()
        session.rows([b"Variable_name", b"Value"], [(b"foreign_key_checks", b"ON"),
                                                    (b"sql_mode", b"NO_BACKSLASH_ESCAPES")])
    with FakeServer("mysql_native_password", dialogue) as fake:
        done = status_of(fake.port, tmp_path)
    assert done.returncode == 1 and "sql_mode is NO_BACKSLASH_ESCAPES" in done.stderr


def test_binary_log_of_statements(new_farm, database):
    """Such a server refuses each of Berth's writes."""
    with contextlib.closing(database.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SET GLOBAL binlog_format = 'STATEMENT'")
        try:
            done = new_farm().admin_command("init", "--farm", "lab", status=1)
        finally:
            cursor.execute("SET GLOBAL binlog_format = 'ROW'")
    assert "binlog_format is STATEMENT" in done.stderr


def test_localhost_is_tcp(farm):
    """The host `localhost` is the server at db.port, not one on a Unix socket."""
    status = farm.admin_command("status", BERTH_DB_HOST="localhost", MYSQL_UNIX_PORT="/nonexistent")
    assert farm.name in status.stdout
    done = farm.admin_command("status", status=1, BERTH_DB_HOST="localhost", BERTH_DB_PORT="1")
    assert "localhost:1" in done.stderr
