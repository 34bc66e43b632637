"""Runs the store's tests (tests/store) on an empty database of each real server."""

import contextlib
import re
import subprocess
from pathlib import Path

from berthtest.farm import Farm
from berthtest.process import program

LIMIT_S = 240


def own_account(database, name, folder):
    """An account with all rights on the database, for it makes and drops tables; as settings."""
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text("all rights")
    with contextlib.closing(database.connect()) as conn, conn.cursor() as cursor:
        account = f"'{name}'@'{database.host}'"
        how = "WITH mysql_native_password BY" if database.kind == "mysql" else "BY"
        cursor.execute(f"CREATE USER {account} IDENTIFIED {how} 'all rights'")
        cursor.execute(f"GRANT ALL PRIVILEGES ON `{name}`.* TO {account}")
    return {"BERTH_DB_USER": name, "BERTH_DB_PASSWORD_FILE": password}


def test_store(servers, database, tmp_path, say):
    farm = Farm(servers.broker, database, tmp_path)
    name = farm.database_name
    try:
        account = own_account(database, name, tmp_path)
        path = Path(program("berth-admin")).parent.parent / "tools" / "test_store"
        done = subprocess.run([path], env=farm.environment(**account), capture_output=True, text=True,
                              timeout=LIMIT_S, check=False)
        output = done.stdout + done.stderr
        passed = sum(map(int, re.findall(r"\[  PASSED  \] (\d+) test", output)))
        assert done.returncode == 0 and passed >= 25, output
        for line in re.findall(r"^# (\d+ decisions .*)$", output, re.MULTILINE):
            say("store", f"{database}: {line}")
    finally:
        farm.close()
        with contextlib.closing(database.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"DROP USER IF EXISTS '{name}'@'{database.host}'")
