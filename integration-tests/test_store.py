"""Runs the store's tests (tests/store) on an empty database of each real server."""

import re
import subprocess
from pathlib import Path

from berthtest.farm import Farm
from berthtest.process import program

LIMIT_S = 240


def test_store(servers, database, tmp_path, say):
    farm = Farm(servers.broker, database, tmp_path)
    try:
        path = Path(program("berth-admin")).parent.parent / "tools" / "test_store"
        done = subprocess.run([path], env=farm.environment(), capture_output=True, text=True,
                              timeout=LIMIT_S, check=False)
        output = done.stdout + done.stderr
        passed = sum(map(int, re.findall(r"\[  PASSED  \] (\d+) test", output)))
        assert done.returncode == 0 and passed >= 25, output
        for line in re.findall(r"^# (\d+ decisions .*)$", output, re.MULTILINE):
            say("store", f"{database}: {line}")
    finally:
        farm.close()
        database.drop(farm.database_name)
