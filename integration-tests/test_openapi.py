"""schemas/openapi.json describes the reader: schemathesis checks a running one."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from berthtest.farm import create, share
from berthtest.servers import ROOT

HOUR = 3600
DOCUMENT = json.loads((ROOT / "schemas/openapi.json").read_text())


@pytest.fixture(scope="module", name="farm")
def fixture_farm(module_farm):
    farm = module_farm
    farm.start_reader()
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    farm.register("gpu-01", labels={"gpu": "h100"})
    farm.register("gpu-02")
    farm.booked = farm.accept(farm.batch_1, create(start, start + HOUR, share("gpu-01", 4, 8)))
    farm.decide(farm.batch_1, create(start, start + HOUR, share("gpu-01", 5, 8)))
    return farm


def test_the_document_is_served(farm):
    assert farm.get_json("/openapi.json") == DOCUMENT


def test_every_route_is_described():
    """The same paths and query parameters as in the reader's table of routes."""
    text = (ROOT / "reader/routes.c").read_text()
    names = dict(re.findall(r'X\((\w+), "(\w+)"\)', (ROOT / "reader/call.h").read_text()))
    macros = {"PAGE": {"limit", "after"}, "WINDOW": {"from", "to"}}
    routes = {}
    for path, words in re.findall(r'\{"([^"]+)", handle_\w+,\s+\w+,([^{}]*)\}', text):
        routes[path] = {names[name] for name in re.findall(r"BIT\((\w+)\)", words)}.union(
            *(macros[name] for name in re.findall(r"\b(PAGE|WINDOW)\b", words)))
    assert len(routes) > 20

    def queries(operation):
        found = set()
        for parameter in operation.get("parameters", []):
            if "$ref" in parameter:
                parameter = DOCUMENT["components"]["parameters"][parameter["$ref"].split("/")[-1]]
            if parameter["in"] == "query":
                found.add(parameter["name"])
        return found
    assert {path: queries(item["get"]) for path, item in DOCUMENT["paths"].items()} == routes


def test_schemathesis(farm):
    """Examples, edge cases and random data, right and wrong; every check of schemathesis."""
    # schemathesis cannot read an endless answer; test_reader_events.py tests /v1/events.
    done = subprocess.run(
        [Path(sys.executable).parent / "schemathesis", "--config-file",
         ROOT / "integration-tests/schemathesis.toml", "run", ROOT / "schemas/openapi.json",
         "--url", farm.reader_url, "--checks", "all", "--exclude-path", "/v1/events",
         "--max-examples", "40", "--seed", "1", "--workers", "2", "--no-color"],
        capture_output=True, text=True, timeout=280, check=False, cwd=farm.folder)
    print(done.stdout[-4000:])
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
