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


def schemas_in(node, place=""):
    """All schemas of a document: (place, schema)."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from schemas_in(item, f"{place}/{index}")
    elif isinstance(node, dict):
        # Below `properties` the names are those of members.
        if {"type", "enum", "const", "oneOf", "anyOf"} & set(node) and not place.endswith("/properties"):
            yield place, node
        for name, item in node.items():
            if name not in ("example", "examples", "if", "x-extensible-enum"):
                yield from schemas_in(item, f"{place}/{name}")


def test_numbers_have_a_format():
    """Without a format, generators of Java and Go choose 32 bits for an integer."""
    for place, schema in schemas_in(DOCUMENT):
        if schema.get("type") == "integer":
            narrow = schema.get("maximum", 2**63) < 2**31
            assert schema.get("format") == ("int32" if narrow else "int64"), place
        elif schema.get("type") == "number":
            assert schema.get("format") == "double", place


def test_generated_types_have_names():
    """Each object, and each list of objects, is a component: generators invent names for others, which
    change with the order of the document. No two components share a name, nor has one the name of
    the client itself: oapi-codegen writes all types into one package."""
    names = [name.lower() for kind in DOCUMENT["components"].values() for name in kind]
    assert len(names) == len(set(names))
    assert not set(names) & {"client", "clientoption", "configuration", "apiclient", "error"}
    for place, schema in schemas_in(DOCUMENT):
        if "properties" in schema:
            assert re.fullmatch(r"/components/schemas/\w+", place), place
    text = json.dumps(DOCUMENT)
    unused = [name for kind, items in DOCUMENT["components"].items() for name in items
              if f'"#/components/{kind}/{name}"' not in text]
    assert not unused


def test_answers_may_grow():
    """Generated clients refuse an unknown value of an enum, and some refuse an unknown member unless
    the schema allows it: a reader that is newer than its client would break the client."""
    for place, schema in schemas_in(DOCUMENT["components"]["schemas"]):
        assert "enum" not in schema, place
        assert schema.get("type"), place
        if "properties" in schema:
            assert schema.get("additionalProperties") is True, place


def test_operations():
    operations = [item["get"] for item in DOCUMENT["paths"].values()]
    identifiers = [operation["operationId"] for operation in operations]
    assert len(set(identifiers)) == len(identifiers)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(len(operation["tags"]) == 1 for operation in operations)
    assert {operation["tags"][0] for operation in operations} == tags
    assert DOCUMENT["security"] == []


def test_the_problem_is_that_of_its_schema():
    own = json.loads((ROOT / "schemas/problem.schema.json").read_text())
    assert {name: value for name, value in own.items() if name not in ("$schema", "$id", "title")} \
        == DOCUMENT["components"]["schemas"]["Problem"]


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
