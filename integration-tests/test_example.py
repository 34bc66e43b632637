"""The Python example of the README, as a reader would run it."""

import json
import os
import subprocess
import sys
import time

import pytest

from berthtest.check import check_farm
from berthtest.farm import rfc3339, share, write_key_file
from berthtest.servers import ROOT

EXAMPLE = ROOT / "examples/python/book.py"
HOUR = 3600


def book(farm, client, *arguments, **environment):
    """Runs the example as that client; returns its exit status and its output."""
    key_file = write_key_file(farm.folder / f"{client.kid}.key", client.key)
    settings = {"BERTH_CLIENT_NAME": client.name, "BERTH_CLIENT_KEY_FILE": key_file,
                "BERTH_CLIENT_KID": client.kid, "USER": "alice", **environment}
    done = subprocess.run([sys.executable, EXAMPLE, *map(str, arguments)],
                          env={**os.environ, **farm.environment(**settings)},
                          capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["batch-1", "batch-2"])  # ES256 and RS256
def test_example_books(module_farm, name):
    farm, client, machine = module_farm, module_farm.clients[name], f"example-{name}"
    farm.register(machine, gpus=8, memory_gib=64)
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    window = rfc3339(start), rfc3339(start + HOUR)

    status, out, err = book(farm, client, machine, 8, 32, *window)
    assert status == 0, err
    event = json.loads(out)
    assert event["data"]["booking"]["allocations"] == [share(machine, 8, 32)]
    assert event["data"]["booking"]["user"] == "alice"
    position = event["data"]["request"]["partition"], event["data"]["request"]["offset"]
    assert farm.events.decision(position).json == event

    status, out, err = book(farm, client, machine, 1, 32, *window)
    assert status == 3, err
    assert json.loads(out)["data"]["reason"] == "insufficient_capacity"
    check_farm(farm)


def test_example_names_the_key_by_its_thumbprint(module_farm):
    farm = module_farm
    farm.register("example-thumbprint")
    start = int(time.time()) // HOUR * HOUR + 48 * HOUR
    for client in (farm.batch_1, farm.batch_2):
        farm.admin_command("key", "add", client.name, "--public-key",
                           farm.folder / f"{client.kid}.pem")
        status, _, err = book(farm, client, "example-thumbprint", 1, 1, rfc3339(start),
                              rfc3339(start + HOUR), BERTH_CLIENT_KID="")
        assert status == 0, err
    check_farm(farm)


def test_example_without_a_worker_says_which_request(farm):
    farm.add_client("idle", "submitter")
    status, _, err = book(farm, farm.clients["idle"], "gpu-01", 1, 1, "2030-01-01T00:00:00Z",
                          "2030-01-01T01:00:00Z", BERTH_CLIENT_WAIT_S=1)
    assert status == 4
    assert "no decision yet on request" in err
