"""`berth-admin import`: the old web API's three tables become machines and bookings, by signed
requests; each row that cannot be imported is reported; the old API's reads show the imported rows."""

import contextlib
import itertools
import json
import os
import re
import subprocess
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pymysql
import pytest
import requests

from berthtest.check import check_farm
from berthtest.farm import write_key_file
from berthtest.process import program
from berthtest.wait import wait_until

PARIS = ZoneInfo("Europe/Paris")
PAGE = Path(__file__).resolve().parent.parent / "docs/from-the-flask-api.md"
TABLES = """
CREATE TABLE Ressource (id INT PRIMARY KEY, quantiteGPU INT, quantiteMemoire INT);
CREATE TABLE Reservation (id INT PRIMARY KEY, date_debut DATETIME, date_fin DATETIME,
    nomUtilisateur VARCHAR(300)) CHARACTER SET latin1;
CREATE TABLE RessourceReserve (idRessource INT, idReservation INT, nbGPU INT, nbmemoire INT);
"""


def local(moment):
    """A local time without a zone, as the old system stored it."""
    return moment.astimezone(PARIS).strftime("%Y-%m-%d %H:%M:%S")


def odd_nights():
    """Half past two in the next nights in which the clocks of Paris skip an hour and repeat one."""
    day = datetime.now(timezone.utc).replace(tzinfo=None, hour=2, minute=30, second=0,
                                             microsecond=0) + timedelta(days=2)
    skipped = twice = None
    while not (skipped and twice):
        first, second = (day.replace(tzinfo=PARIS, fold=fold).utcoffset() for fold in (0, 1))
        if first < second:
            skipped = skipped or day
        elif first > second:
            twice = twice or day
        day += timedelta(days=1)
    return skipped, twice


class Old:
    """A database of the old web API."""

    def __init__(self, farm, tables=TABLES):
        self.farm = farm
        self.name = f"old{farm.id}"
        farm.database.create(self.name)
        for statement in filter(str.strip, tables.split(";")):
            self.execute(statement)

    def execute(self, statement, *values):
        with contextlib.closing(self.farm.database.connect(self.name)) as conn, \
                conn.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def add(self, table, *rows):
        for row in rows:
            self.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", *row)

    def take(self, *options, status=0, **environment):
        """Runs the import as the farm's admin."""
        return self.farm.admin_command("import", "--from-database", self.name, *options,
                                       status=status, **{**signer(self.farm, self.farm.ops),
                                                         **environment})

    def report(self, *options, status=0):
        """The report as {(kind, ressource, reservation): item}, and its counts."""
        said = json.loads(self.take(*options, "-o", "json", status=status).stdout)
        items = {(item["kind"], item["ressource"], item["reservation"]): item
                 for item in said["items"]}
        assert len(items) == len(said["items"])
        for kind, counts in said["counts"].items():
            seen = Counter(item["outcome"] for item in said["items"]
                           if item["kind"] == kind.removesuffix("s"))
            assert {name: count for name, count in counts.items() if count} == dict(seen)
        return items


def signer(farm, client):
    path = farm.folder / f"{client.name}-private.pem"
    if not path.exists():
        write_key_file(path, client.key)
    return {"BERTH_CLIENT_NAME": client.name, "BERTH_CLIENT_KID": client.kid,
            "BERTH_CLIENT_KEY_FILE": path}


@pytest.fixture(name="served")
def fixture_served(farm):
    farm.start_worker()
    farm.start_reader()
    yield farm
    farm.database.drop(f"old{farm.id}")


def outcomes(items, kind):
    """{old id: (outcome, reason)}"""
    column = "ressource" if kind == "machine" else "reservation"
    return {item[column]: (item["outcome"], item.get("reason"))
            for item in items.values() if item["kind"] == kind}


def fill(old):
    """Valid rows and every kind of invalid row."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    day = (now + timedelta(days=1)).replace(minute=0, second=0)
    skipped, twice = odd_nights()
    hours = timedelta(hours=1)

    def window(begin, end):
        return local(day + begin * hours), local(day + end * hours)
    old.add("Ressource", (1, 12, 16), (2, 8, 64), (7, 4, 32), (9, -1, 5), (10, None, 8),
            (5000, 2, 8))
    old.add(
        "Reservation",
        (1, "2020-02-07 13:00:00", "2020-02-07 17:00:00", "Remi"),
        (2, *window(0, 2), "Rémi"),
        (3, *window(1, 3), "Anna"),                # over-booked: 7 + 6 of 12 GPUs
        (4, *window(2, 4), "Anna"),                # begins when 2 ends
        (5, *reversed(window(5, 6)), "Anna"),
        (6, *window(5, 5), "Anna"),
        (7, *window(5, 6), ""),
        (8, *window(5, 6), "x" * 200),
        (9, local(now - hours), local(now + 3 * hours), "Jean"),  # already running
        (10, str(skipped), str(skipped + 2 * hours), "Anna"),
        (11, str(twice - 2 * hours), str(twice), "Anna"),
        (12, *window(5, 6), "Anna"),               # holds nothing yet
        (13, *window(5, 6), "Anna"),
        (14, *window(5, 6), "Anna"),
        (15, *window(5, 6), "Anna"),
        (16, *window(5, 6), "Anna"),
        (17, None, window(5, 6)[1], "Anna"),
        (18, local(day + timedelta(days=1500)), local(day + timedelta(days=1501)), "Anna"),
        (20, *window(5, 6), "Anna"),
        (21, *window(5, 6), "Anna"),
        (22, *window(7, 8), "Anna"),               # each of the next three overlaps another
        (23, *window(7, 8), "Anna"),
        (24, *window(7, 8), "Anna"),
        (25, *window(7, 8), None))
    old.add("RessourceReserve", (1, 1, 12, 16), (1, 2, 7, 3), (2, 2, 8, 64), (1, 3, 6, 1),
            (1, 4, 12, 16), (1, 5, 1, 1), (7, 9, 4, 32), (1, 13, 1, 1), (99, 13, 1, 1),
            (2, 13, 0, 0), (7, 14, 1, 1), (7, 14, 1, 2), (1, 15, -1, 1), (2, 16, 9, 1),
            (5000, 20, 2, 8), (9, 21, 1, 1), (7, 22, 3, 1), (1, 23, 1, 1), (7, 23, 3, 1),
            (1, 24, 12, 1), (1, 404, 1, 1), (None, 12, 1, 1))
    return now, day


MACHINES = {1: ("taken", None), 2: ("taken", None), 7: ("taken", None),
            9: ("rejected", "invalid_amount"), 10: ("rejected", "invalid_amount"),
            5000: ("taken", None)}
BOOKINGS = {
    1: ("over", "booking_over"), 2: ("taken", None), 3: ("rejected", "insufficient_capacity"),
    4: ("taken", None), 5: ("rejected", "reversed_dates"), 6: ("rejected", "reversed_dates"),
    7: ("rejected", "invalid_user"), 8: ("rejected", "invalid_user"), 9: ("taken", None),
    10: ("rejected", "nonexistent_time"), 11: ("rejected", "ambiguous_time"), 12: ("taken", None),
    13: ("taken", None), 14: ("taken", None), 15: ("rejected", "invalid_amount"),
    16: ("rejected", "exceeds_machine"), 17: ("rejected", "invalid_date"),
    18: ("rejected", "too_far_ahead"), 20: ("taken", None), 21: ("rejected", "unknown_machine"),
    22: ("taken", None), 23: ("rejected", "insufficient_capacity"), 24: ("taken", None),
    25: ("rejected", "invalid_user")}


def check_old_reads(farm, old, items):
    """The old API's reads return the imported rows of the old tables, except for booking ids and the
    start of bookings that had already begun."""
    ids = {number: int(item["subject"].split("/")[1]) for (kind, _, number), item in items.items()
           if kind == "booking" and "subject" in item}
    machines = {row["id"]: row for row in farm.get_json("/Ressource/")["Ressources"]}
    names = {row["name"]: row["id"] for row in farm.get_json("/v1/machines")["items"]}
    assert set(names) == {"gpu-01", "gpu-02", "gpu-07", "gpu-5000"}
    machine_ids = {number: names[f"gpu-{number:02d}"] for number in (1, 2, 7, 5000)}
    assert [machine_ids[number] for number in (1, 2, 7)] == [1, 2, 7]
    for row in old.execute("SELECT * FROM Ressource WHERE id IN (1, 2, 7, 5000)"):
        assert machines[machine_ids[row["id"]]] == {**row, "id": machine_ids[row["id"]]}
    assert len(machines) == 4

    seen = {row["id"]: row for row in farm.get_json("/Reservation/")["Reservations"]}
    assert set(seen) == set(ids.values())
    for row in old.execute("SELECT * FROM Reservation WHERE id IN %s", list(ids)):
        now = seen[ids[row["id"]]]
        assert now["nomUtilisateur"] == row["nomUtilisateur"]
        for name in ("date_debut", "date_fin"):
            if (row["id"], name) != (9, "date_debut"):
                assert parsedate_to_datetime(now[name]) == row[name].replace(tzinfo=PARIS)
        assert farm.get_json(f"/Reservation/{ids[row['id']]}/") == now

    held = Counter()
    for row in old.execute("SELECT * FROM RessourceReserve WHERE idReservation IN %s", list(ids)):
        if row["idRessource"] in machine_ids and row["nbGPU"] + row["nbmemoire"] > 0:
            key = machine_ids[row["idRessource"]], ids[row["idReservation"]]
            held[key, "gpus"] += row["nbGPU"]
            held[key, "memory"] += row["nbmemoire"]
    said = {}
    for row in farm.get_json("/RessourceReserve/")["RessourceReserve"]:
        key = row["idRessource"], row["idReservation"]
        said[key, "gpus"], said[key, "memory"] = row["nbGPU"], row["nbmemoire"]
    assert said == dict(held)


def test_the_old_data_is_taken(served):
    old = Old(served)
    now, _ = fill(old)
    options = ("--zone", "Europe/Paris")

    before = served.message_count()
    planned = old.report(*options, "--dry-run", status=3)
    assert served.message_count() == before
    booking = planned["booking", None, 2]
    assert booking["outcome"] == "planned" and booking["request"] == "flask-reservation-2"
    assert booking["claims"]["sub"] == "Rémi" and booking["claims"]["iss"] == "ops"
    assert [share["machine"] for share in booking["claims"]["request"]["allocations"]] == \
        ["gpu-01", "gpu-02"]
    assert planned["machine", 7, None]["claims"]["request"] == {
        "type": "machine.register", "machine": "gpu-07", "gpus": 4, "memory_gib": 32, "id": 7}

    items = old.report(*options, status=3)
    assert outcomes(items, "machine") == MACHINES
    assert outcomes(items, "booking") == BOOKINGS
    shares = {key[1:]: item["reason"] for key, item in items.items() if key[0] == "allocation"}
    assert shares == {(99, 13): "broken_reference", (2, 13): "zero_amounts",
                      (1, 404): "broken_reference", (None, 12): "broken_reference"}
    assert all(item["outcome"] in ("taken", "planned") or item["detail"] for item in items.values())
    assert "now on" in items["booking", None, 9]["detail"]
    assert "added up" in items["booking", None, 14]["detail"]
    assert "exists twice" in items["booking", None, 11]["detail"]
    assert "5 GPUs" in items["booking", None, 3]["detail"]
    running = served.get_json(f"/v1/bookings/{items['booking', None, 9]['subject'].split('/')[1]}")
    assert datetime.fromisoformat(running["start"].replace("Z", "+00:00")) >= now
    assert running["user"] == "Jean" and running["client"] == "ops"
    check_old_reads(served, old, items)
    check_farm(served)

    # A second import gets the same answers and books nothing twice.
    state = served.get_json("/v1/bookings"), served.get_json("/v1/machines")
    again = old.report(*options, status=3)
    for kind, first in (("machine", MACHINES), ("booking", BOOKINGS)):
        assert outcomes(again, kind) == {
            number: ("taken_before" if outcome == "taken" else outcome, reason)
            for number, (outcome, reason) in first.items()}
    assert {key: item.get("subject") for key, item in again.items()} == \
        {key: item.get("subject") for key, item in items.items()}
    assert (served.get_json("/v1/bookings"), served.get_json("/v1/machines")) == state
    assert "first answer stands" in again["booking", None, 3]["detail"]

    # The import does not overwrite later changes.
    old.execute("UPDATE Reservation SET date_fin = date_fin + INTERVAL 1 HOUR WHERE id IN (3, 4)")
    changed = old.report(*options, status=3)
    assert outcomes(changed, "booking")[4] == ("rejected", "request_id_reused")
    assert f"taken before as {items['booking', None, 4]['subject']}" in \
        changed["booking", None, 4]["detail"]
    assert "rejected before (insufficient_capacity)" in changed["booking", None, 3]["detail"]
    assert (served.get_json("/v1/bookings"), served.get_json("/v1/machines")) == state
    check_farm(served)


NUMBERS = {  # type: (what is written, what it means; None: it is rejected)
    "DECIMAL(10,2)": [("8.00", 8), ("8.50", None), ("-1", None)],
    "FLOAT": [("8", 8), ("0.5", None), ("1e30", None)],
    "DOUBLE": [("8", 8), ("65535", 65535)],
    "BIGINT(20) UNSIGNED ZEROFILL": [("8", 8), ("18446744073709551615", None)],
    "BIT(16)": [(8, 8), (12345, 12345)],
    "CHAR(9)": [("8", 8), (" 8 ", 8), ("8.0", 8), ("+8", None), ("8 GPUs", None), ("", None)],
    "VARBINARY(9)": [("8", 8), (b"\xff", None), (b"8\x1b", None)],
    "ENUM('4', '8')": [("8", 8)],
    "YEAR": [("2001", 2001)],
}
DATES = {
    "DATE": [("2030-02-07", "2030-02-07T00:00:00Z")],
    "DATETIME(6)": [("2030-02-07 13:00:00", "2030-02-07T13:00:00Z"),
                    ("2030-02-07 13:00:00.5", None)],
    "TIMESTAMP(3)": [("2030-02-07 13:00:00", "2030-02-07T13:00:00Z")],
    "VARCHAR(40)": [("2030-02-07T13:00:00", "2030-02-07T13:00:00Z"), ("7 Feb 2030", None)],
    "BIGINT": [(1896699600, None)],
}
USERS = {
    "VARCHAR(300) CHARACTER SET utf16": [("Rémi 🍣", "Rémi 🍣")],
    "CHAR(20) CHARACTER SET latin1": [("Rémi", "Rémi")],
    "BLOB": [("Rémi 🍣", "Rémi 🍣"), ("Rémi".encode("latin1"), None)],
    "BINARY(8)": [("Remi", "Remi")],
    "BIGINT": [(12, "12")],
    "ENUM('Rémi')": [("Rémi", "Rémi")],
}


def add_columns(old, table, types, fixed):
    """A column c0, c1, … of each type, with a row for each of its values, ids from 1 on."""
    columns = ", ".join(f"c{i} {type_} NULL" for i, type_ in enumerate(types))
    old.execute(f"ALTER TABLE {table} ADD COLUMN ({columns})")
    rows = itertools.zip_longest(*types.values(), fillvalue=(None, None))
    for number, row in enumerate(rows, 1):
        names = ", ".join(f"c{i}" for i in range(len(types)))
        marks = ", ".join(["%s"] * (len(types) + len(fixed)))
        old.execute(f"INSERT INTO {table} (id, {', '.join(fixed)}, {names}) VALUES ({number}, {marks})",
                    *fixed.values(), *(value for value, _ in row))


def test_columns_of_any_type(farm):
    """The value is taken, or the reason tells what the column holds."""
    booking = {"date_debut": "2030-02-07 13:00:00", "date_fin": "2040-02-07 17:00:00",
               "nomUtilisateur": "Remi"}
    places = [
        (NUMBERS, "Ressource", "quantiteGPU", {"quantiteMemoire": 64},
         lambda claims: claims["request"]["gpus"]),
        (DATES, "Reservation", "date_debut", booking, lambda claims: claims["request"]["start"]),
        (USERS, "Reservation", "nomUtilisateur", booking, lambda claims: claims["sub"])]
    for types, table, column, fixed, meaning in places:
        old = Old(farm)
        try:
            add_columns(old, table, types, fixed)
            for index, (type_, values) in enumerate(types.items()):
                items = old.report("--dry-run", "--column", f"{table}.{column}=c{index}",
                                   status=None)
                for number, (value, wanted) in enumerate(values, 1):
                    item = items[("machine", number, None) if table == "Ressource"
                                 else ("booking", None, number)]
                    seen = meaning(item["claims"]) if "claims" in item else None
                    assert seen == wanted, f"{type_} {value!r}: {item}"
                    assert seen is not None or re.search("expected|not UTF-8", item["detail"])
        finally:
            farm.database.drop(old.name)


def test_what_begins_between_two_runs(served):
    old = Old(served)
    start = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=25)
    old.add("Ressource", (3, 8, 64))
    old.add("Reservation", (1, start.strftime("%Y-%m-%d %H:%M:%S"),
                            (start + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S"), "Remi"))
    old.add("RessourceReserve", (3, 1, 8, 64))
    first = old.report("--name-format", "node%d.farm")["booking", None, 1]
    assert first["outcome"] == "taken" and "detail" not in first
    number = first["subject"].split("/")[1]
    assert served.get_json(f"/v1/bookings/{number}")["start"] == f"{start:%Y-%m-%dT%H:%M:%SZ}"
    assert served.get_json("/v1/machines/node3.farm")["id"] == 3
    wait_until(lambda: time.time() > start.timestamp() - 9, "it counts as begun", 60)
    again = old.report("--name-format", "node%d.farm")["booking", None, 1]
    assert (again["outcome"], again["subject"]) == ("taken_before", first["subject"])
    check_farm(served)


def test_other_names_another_account_and_a_dump(served, tmp_path):
    """SQLAlchemy's table names, renamed columns, TIMESTAMP columns and a separate account; then the
    same from a dump."""
    old = Old(served, """
CREATE TABLE machines (ID BIGINT, gpus SMALLINT, quantite_memoire INT);
CREATE TABLE reservation (id INT, `date debut` TIMESTAMP NULL, date_fin TIMESTAMP NULL,
    nom_utilisateur VARCHAR(80));
CREATE TABLE ressource_reserve (id_ressource INT, id_reservation INT, nb_gpu INT, nbMemoire INT);
""")
    start = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
    with contextlib.closing(served.database.connect(old.name)) as conn, conn.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute("INSERT INTO reservation VALUES (1, %s, %s, 'Zoë')",
                       (start.replace(tzinfo=None), start.replace(tzinfo=None) +
                        timedelta(hours=2)))
    old.add("machines", (2, 8, 64))
    old.add("ressource_reserve", (2, 1, 4, 16))

    told = old.take(status=2).stderr
    assert "no table Ressource: looked for Ressource, Reservation and RessourceReserve" in told
    assert "machines, reservation, ressource_reserve" in told and "--tables" in told
    tables = ("--tables", "machines,Reservation,RessourceReserve")
    told = old.take(*tables, status=2).stderr
    assert "table machines has no column quantiteGPU" in told and "ID, gpus, quantite_memoire" in told
    names = (*tables, "--column", "Ressource.quantiteGPU=gpus", "--column",
             "Reservation.date_debut=date debut")

    # From a dump, with a separate account and password on a named server.
    dump = tmp_path / "flask.sql"
    root = [f"--host={served.database.host}", f"--port={served.database.port}",
            f"--user={served.database.environment['STACK_DB_ROOT_USER']}",
            f"--password={served.database.password.strip()}", "--protocol=tcp"]
    dumped = subprocess.run(["mysqldump", *root, "--skip-lock-tables", "--column-statistics=0",
                             old.name], capture_output=True, text=True, check=False)
    if dumped.returncode != 0:  # MariaDB's mysqldump lacks the option
        dumped = subprocess.run(["mysqldump", *root, "--skip-lock-tables", old.name],
                                capture_output=True, text=True, check=True)
    dump.write_text(dumped.stdout)
    for table in ("machines", "reservation", "ressource_reserve"):
        old.execute(f"DROP TABLE {table}")
    with dump.open() as stream:
        subprocess.run(["mysql", *root, old.name], stdin=stream, check=True, capture_output=True)
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("s3cret old one\n")
    reader = f"flask{served.id}"
    old.execute(f"CREATE USER '{reader}'@'{served.database.host}' IDENTIFIED BY 's3cret old one'")
    old.execute(f"GRANT SELECT ON `{old.name}`.* TO '{reader}'@'{served.database.host}'")
    source = ("--from-host", served.database.host, "--from-port", served.database.port,
              "--from-user", reader)
    if served.database.kind == "mysql":
        # The account has MySQL's default plugin, which encrypts the password for the server.
        source += ("--from-public-key", served.database.stack.folder / "mysql/data/public_key.pem")
    try:
        told = old.take(*names, *source, status=1).stderr
        assert "read the old database: " in told and "denied" in told
        # A TIMESTAMP is an instant, whatever --zone says.
        done = old.take(*names, *source, "--from-password-file", password, "--zone", "Asia/Tokyo",
                        "-o", "tsv")
    finally:
        old.execute(f"DROP USER '{reader}'@'{served.database.host}'")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0] == ["kind", "ressource", "reservation", "outcome", "reason", "subject",
                       "request", "detail"]
    assert rows[1] == ["machine", "2", "-", "taken", "-", "machine/gpu-02", "flask-ressource-2",
                       "-"]
    assert rows[2][:5] == ["booking", "-", "1", "taken", "-"]
    assert "machines: 1 taken\n" in done.stderr and "bookings: 1 taken\n" in done.stderr
    booking = served.get_json(f"/v1/bookings/{rows[2][5].split('/')[1]}")
    assert booking["start"] == f"{start:%Y-%m-%dT%H:%M:%SZ}" and booking["user"] == "Zoë"
    assert booking["allocations"] == [{"machine": "gpu-02", "gpus": 4, "memory_gib": 16}]
    text = old.take(*names).stdout.splitlines()
    assert text[0].split() == ["KIND", "RESSOURCE", "RESERVATION", "OUTCOME", "REASON", "IN",
                               "BERTH", "REQUEST", "DETAIL"]
    assert "taken_before" in text[1] and "taken_before" in text[2]
    check_farm(served)


def test_import_usage_errors(farm):
    old = Old(farm)
    try:
        for words in (("--zone", "Mars/Phobos"), ("--name-format", "gpu"), ("--wait", "5"),
                      ("--name-format", "gpu %d"), ("--name-format", "%d-%d"),
                      ("--name-format", "%s"), ("--name-format", "%100d"), ("--tables", "a,b"),
                      ("--tables", "a,b,c,d"), ("--column", "Ressource.gpus=x"),
                      ("--column", "quantiteGPU=x"), ("--from-host", "h", "--from-socket", "s"),
                      ("--from-port", "0"), ("flask",)):
            done = old.take(*words, status=2)
            assert done.stdout == "" and done.stderr.startswith("berth-admin: "), words
        farm.admin_command("import", status=2, **signer(farm, farm.ops))
        told = old.take(status=2, **signer(farm, farm.batch_1)).stderr
        assert "batch-1 is no admin" in told
        assert "client add nobody" in old.take(status=5, BERTH_CLIENT_NAME="nobody").stderr
        assert "client.key_file" in old.take(status=2, BERTH_CLIENT_KEY_FILE="").stderr
        assert "farm.name is other" in old.take(status=2, BERTH_FARM_NAME="other").stderr
        # An old system without rows, and no worker to decide.
        assert old.report() == {}
        old.add("Ressource", (1, 1, 1))
        before = farm.message_count()
        told = old.take(status=1, BERTH_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1").stderr
        assert "run it again, nothing is taken twice: cannot reach Kafka" in told
        assert farm.message_count() == before == 0
        items = old.report("--wait", "1s", status=4)
        assert items["machine", 1, None]["outcome"] == "unknown"
        farm.start_worker()
        assert old.report()["machine", 1, None]["outcome"] == "taken_before"
        check_farm(farm)
    finally:
        farm.database.drop(old.name)


FLASK_SQL = """
CREATE TABLE `Ressource` (`id` int NOT NULL AUTO_INCREMENT, `quantiteGPU` int, `quantiteMemoire` int,
    PRIMARY KEY (`id`));
CREATE TABLE `Reservation` (`id` int NOT NULL AUTO_INCREMENT, `date_debut` datetime,
    `date_fin` datetime, `nomUtilisateur` varchar(80), PRIMARY KEY (`id`));
CREATE TABLE `RessourceReserve` (`idRessource` int NOT NULL, `idReservation` int NOT NULL,
    `nbGPU` int, `nbmemoire` int, PRIMARY KEY (`idRessource`, `idReservation`));
INSERT INTO `Ressource` VALUES (1,12,16),(5,12,8);
INSERT INTO `Reservation` VALUES (1,'2020-02-07 13:00:00','2020-02-07 17:00:00','Remi'),
    (2,'%s','%s','Remi');
INSERT INTO `RessourceReserve` VALUES (1,1,7,3),(5,2,7,3);
"""


def test_the_page_can_be_followed(served):
    """Runs every shell block of docs/from-the-flask-api.md in order in one shell."""
    farm = served
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert len(blocks) == 7
    start = datetime.now(PARIS) + timedelta(days=2)
    (farm.folder / "flask.sql").write_text(
        FLASK_SQL % (local(start), local(start + timedelta(hours=4))))
    (farm.folder / ".my.cnf").write_text(
        f"[client]\nhost={farm.database.host}\nport={farm.database.port}\nprotocol=tcp\n"
        f"user={farm.database.environment['STACK_DB_ROOT_USER']}\n"
        f"password={farm.database.password.strip()}\n")
    ops, batch = (signer(farm, client) for client in (farm.ops, farm.batch_1))
    config = farm.folder / "berth/berth.conf"
    config.parent.mkdir()
    config.write_text("".join(
        f"{prefix}client.{key} = {settings['BERTH_CLIENT_' + key.upper()]}\n"
        for prefix, settings in (("", batch), ("profile.ops.", ops))
        for key in ("name", "kid", "key_file")))
    environment = farm.environment(
        PATH=f"{Path(program('berth')).parent}:{os.environ['PATH']}", db_host=farm.database.host,
        ops_key=ops["BERTH_CLIENT_KEY_FILE"])
    script = "set -euxo pipefail\n" + "".join(blocks)
    # The farm's key ids are not thumbprints, so berth-admin needs them stated.
    script = script.replace("--set client.name=ops", "--set client.name=ops --set client.kid="
                            + ops["BERTH_CLIENT_KID"])
    with contextlib.closing(farm.database.connect()) as conn, conn.cursor() as cursor:
        try:
            done = subprocess.run(["bash", "-c", script], cwd=farm.folder, env=environment,
                                  capture_output=True, text=True, timeout=120, check=False)
        finally:
            cursor.execute("DROP DATABASE IF EXISTS flask")
    assert done.returncode == 0, done.stdout + done.stderr
    machines = {item["name"]: item for item in farm.get_json("/v1/machines")["items"]}
    assert set(machines) == {"gpu-01", "gpu-05", "gpu-11", "gpu-12"}
    assert (machines["gpu-05"]["id"], machines["gpu-11"]["id"]) == (5, 11)
    assert machines["gpu-12"]["gpus"] == 8
    bookings = farm.get_json("/v1/bookings")["items"]
    assert Counter((item["user"], item["state"]) for item in bookings) == \
        {("Remi", "booked"): 3, ("Remi", "cancelled"): 1}
    moved = [item for item in bookings if item["client"] == "ops"]
    assert [item["allocations"] for item in moved] == [
        [{"machine": "gpu-05", "gpus": 7, "memory_gib": 3}]]
    check_farm(farm)


def test_old_posts_name_the_replacement(served):
    """For each path on the page, GET answers and POST names the replacement."""
    served.register("gpu-01", id=1)
    paths = re.findall(r"^\| `GET (/R[^`]*)`", PAGE.read_text(), re.M)
    posts = re.findall(r"^\| `POST (/R[^`]*)`", PAGE.read_text(), re.M)
    assert len(paths) == len(posts) == 7 and set(paths) >= set(posts) - {""}
    for path in paths:
        url = path.replace("{id}", "1")
        assert served.get(url).status_code == (404 if "eservation/1" in url else 200), url
    for path in posts:
        answer = requests.post(served.reader_url + path.replace("{id}", "1"), json={}, timeout=10)
        assert answer.status_code == 405
        assert "docs/from-the-flask-api.md" in answer.json()["detail"]
