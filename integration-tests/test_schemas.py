"""schemas/: codec and JSON Schema validator agree on every document of the corpus and on thousands of
damaged ones; numbers and names in the schemas equal the code's."""

import ast
import copy
import datetime
import hashlib
import itertools
import json
import os
import random
import re
import subprocess
import zoneinfo
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

import schema_check
from berthtest.pages import blocks, python_in

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "schemas" / "corpus"
BIN = Path(os.environ.get("BERTH_BIN", ROOT / "build" / "bin"))
SCHEMA_FILES = sorted((ROOT / "schemas").glob("*.schema.json"))
SEED = int(os.environ.get("TEST_SEED", "20261124"))
DAMAGED = int(os.environ.get("TEST_DOCUMENTS", "6000"))


def documents(kind):
    return sorted((CORPUS / "claims" / kind).glob("*.json"))


def faults_table():
    rows = [line.split("\t") for line in
            (CORPUS / "claims" / "faults.tsv").read_text(encoding="utf-8").splitlines()
            if not line.startswith("#")]
    return {file: (pointer, why) for file, pointer, why in rows}


@pytest.fixture(scope="module", name="claims_check")
def fixture_claims_check():
    """Runs the codec: [bytes] → [verdict]."""
    tool = BIN.parent / "tools" / "claims_check"
    assert tool.is_file(), f"{tool} is missing: `make all` builds it"

    def check_files(paths):
        done = subprocess.run([tool, *paths], capture_output=True, check=True, timeout=60)
        verdicts = [json.loads(line) for line in done.stdout.splitlines()]
        assert [Path(verdict["file"]) for verdict in verdicts] == list(paths)
        return verdicts

    def check_lines(payloads):
        assert not any(b"\n" in payload for payload in payloads)
        done = subprocess.run([tool, "-"], input=b"".join(p + b"\n" for p in payloads),
                              capture_output=True, check=True, timeout=60)
        verdicts = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(verdicts) == len(payloads)
        return verdicts

    check_files.lines = check_lines
    return check_files


# ---- the schemas themselves ---------------------------------------------------------------------

@pytest.mark.parametrize("path", SCHEMA_FILES, ids=lambda path: path.name)
def test_schema_is_valid_and_so_are_its_examples(path):
    schema = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == "urn:berth:schema:" + path.name.removesuffix(".schema.json")
    assert schema["examples"]
    validate = {"request-claims": schema_check.validate_claims,
                "problem": schema_check.validate_problem}.get(
                    path.name.removesuffix(".schema.json"), schema_check.validate_event)
    for example in schema["examples"]:
        validate(example)


def parts(node, place=""):
    """The schemas inside a schema: (place, schema). Conditions describe no type."""
    if isinstance(node, dict):
        if not place.endswith(("/properties", "/$defs")):
            yield place, node
        for name, item in node.items():
            if name not in ("examples", "if", "then", "else", "not", "allOf"):
                yield from parts(item, f"{place}/{name}")
    elif isinstance(node, list):
        for item in node:
            yield from parts(item, f"{place}[]")


@pytest.mark.parametrize("path", SCHEMA_FILES, ids=lambda path: path.name)
def test_generators_find_types(path):
    """Each number has a width and each object a name, for the types that generators make; and what
    workers write can grow without a new type."""
    found, titles = json.loads(path.read_text(encoding="utf-8")), []
    for place, part in parts(found):
        if part.get("type") == "integer":
            narrow = part.get("maximum", 2**63) < 2**31
            assert part.get("format") == ("int32" if narrow else "int64"), place
        if {"enum", "const", "x-extensible-enum"} & set(part):
            assert part.get("type") == "string", place
            assert "enum" not in part or "claims" in path.name, place
        if "properties" in part or re.search(r"/\$defs/[^/]+$", place):
            assert re.fullmatch("[A-Z][A-Za-z]*", part.get("title", "")), place
            titles.append(part["title"])
        # Alternatives within an object would give a type for each; `if`, `not` and lists of types do not.
        assert "anyOf" not in part and ("oneOf" not in part or "properties" not in part), place
    assert titles and len(set(titles)) == len(titles)


def test_formats_are_checked():
    """Without rfc3339-validator and jsonpointer, `format` would silently mean nothing."""
    assert {"date-time", "json-pointer", "uri"} <= set(Draft202012Validator.FORMAT_CHECKER.checkers)


def number(node):
    """The value of a numeric expression in a C header: digits, *, parentheses."""
    if isinstance(node, ast.Constant):
        return node.value
    assert isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)
    return number(node.left) * number(node.right)


def limits():
    text = (ROOT / "core" / "limits.h").read_text(encoding="utf-8")
    text += (ROOT / "lib/codec/claims.h").read_text(encoding="utf-8")
    text += (ROOT / "lib/base/zone.h").read_text(encoding="utf-8")
    found = re.findall(r"^#define +(\w+) +(.+)$", text, re.M)
    return {name: number(ast.parse(re.sub(r"INT64_C", "", value), mode="eval").body)
            for name, value in found if not name.endswith("_H")}


def test_numbers_are_those_of_the_code():
    limit = limits()
    claims = schema_check.schema("request-claims")
    defs, top = claims["$defs"], claims["properties"]
    labels = defs["labels"]
    pairs = [
        (defs["name"]["maxLength"], "LIMIT_NAME_LEN"),
        (top["aud"]["maxLength"], "LIMIT_FARM_NAME_LEN"),
        (top["jti"]["maxLength"], "LIMIT_REQUEST_ID_LEN"),
        (top["sub"]["maxLength"], "LIMIT_USER_CHARS"),
        (labels["maxProperties"], "LIMIT_LABELS"),
        (labels["propertyNames"]["maxLength"], "LIMIT_LABEL_KEY_LEN"),
        (labels["additionalProperties"]["maxLength"], "LIMIT_LABEL_VALUE_CHARS"),
        (defs["allocations"]["maxItems"], "LIMIT_ALLOCATIONS"),
        (defs["machine_register"]["properties"]["id"]["maximum"], "LIMIT_CHOSEN_MACHINE_ID"),
        (defs["gpus"]["maximum"], "LIMIT_GPUS"),
        (defs["memory_gib"]["maximum"], "LIMIT_MEMORY_GIB"),
        (defs["seconds"]["maximum"], "LIMIT_TIME_S"),
        (defs["booking_create"]["properties"]["duration_s"]["maximum"], "LIMIT_TIME_S"),
        (defs["booking_id"]["maximum"], "CLAIMS_BOOKING_ID_MAX"),
        (defs["booking_cancel"]["properties"]["series"]["maximum"], "CLAIMS_BOOKING_ID_MAX"),
        (defs["any"]["properties"]["count"]["maximum"], "LIMIT_ALLOCATIONS"),
        (defs["repeat"]["properties"]["count"]["maximum"], "LIMIT_OCCURRENCES"),
        (defs["repeat"]["properties"]["zone"]["maxLength"], "ZONE_NAME_LEN"),
        (schema_check.SERIES_SHARES, "LIMIT_SERIES_SHARES"),
        (schema_check.DEPTH_MAX, "CLAIMS_DEPTH_MAX"),
    ]
    accepted = schema_check.schema("event-accepted")["$defs"]
    rejected = schema_check.schema("event-rejected")["properties"]["data"]["properties"]
    rejected_defs = schema_check.schema("event-rejected")["$defs"]
    pairs += [
        (accepted["gpus"]["maximum"], "LIMIT_GPUS"),
        (accepted["memory_gib"]["maximum"], "LIMIT_MEMORY_GIB"),
        (accepted["user"]["maxLength"], "LIMIT_USER_CHARS"),
        (accepted["booking_id"]["maximum"], "CLAIMS_BOOKING_ID_MAX"),
        (accepted["series_id"]["maximum"], "CLAIMS_BOOKING_ID_MAX"),
        (accepted["allocations"]["maxItems"], "LIMIT_ALLOCATIONS"),
        (accepted["series"]["properties"]["occurrences"]["maxItems"], "LIMIT_OCCURRENCES"),
        (schema_check.schema("event-accepted")["properties"]["data"]["properties"]["displaced"]
         ["maxItems"], "LIMIT_DISPLACED"),
        (accepted["partition"]["maximum"] + 1, "LIMIT_PARTITIONS"),
        (rejected_defs["gpus"]["maximum"], "LIMIT_GPUS"),
        (rejected_defs["memory_gib"]["maximum"], "LIMIT_MEMORY_GIB"),
        (rejected["machines_free"]["maxItems"], "LIMIT_ALLOCATIONS"),
        (rejected["in_use"]["maxItems"], "LIMIT_LISTED_BOOKINGS"),
        (rejected["detail"]["maxLength"], "LIMIT_DETAIL_LEN"),
    ]
    assert [(value, name) for value, name in pairs] == [(limit[name], name) for _, name in pairs]


def x_macro(path, macro):
    """The rows of an X-macro table: [(id, "name", …)]."""
    text = (ROOT / path).read_text(encoding="utf-8")
    table = re.search(rf"#define {macro}\(X\)(.*?[^\\])\n", text, re.S)[1]
    return [re.findall(r'"([^"]*)"', row) + [row] for row in
            re.findall(r"X\((?:[^()\"]|\"[^\"]*\")*\)", table)]


def test_reasons_are_those_of_the_code():
    in_code = [row[0] for row in x_macro("core/reason.h", "REASON_TABLE")]
    in_schema = schema_check.schema("event-rejected")["properties"]["data"]["properties"]["reason"]
    assert in_schema["x-extensible-enum"] == in_code


def test_request_types_are_those_of_the_code():
    in_code = [row[0] for row in x_macro("core/request.h", "REQUEST_TYPE_TABLE")]
    claims = schema_check.schema("request-claims")
    assert [ref["$ref"] for ref in claims["properties"]["request"]["oneOf"]] == \
        [f"#/$defs/{name.replace('.', '_')}" for name in in_code]
    assert all(claims["$defs"][name.replace(".", "_")]["properties"]["type"]["const"] == name for name in in_code)
    for kind in ("accepted", "rejected"):
        data = schema_check.schema(f"event-{kind}")["properties"]["data"]
        assert data["properties"]["request"]["properties"]["type"]["x-extensible-enum"] == in_code


def test_problems_are_those_of_the_code():
    rows = x_macro("lib/codec/problem.h", "PROBLEM_TABLE")
    in_schema = schema_check.schema("problem")["properties"]["type"]["x-extensible-enum"]
    assert in_schema == ["urn:berth:problem:" + row[0] for row in rows]


def test_shared_definitions_are_the_same():
    """Each schema file is self-contained for clients; definitions present in several must be equal."""
    accepted, rejected = (schema_check.schema(f"event-{kind}")["$defs"]
                          for kind in ("accepted", "rejected"))
    assert all(accepted[name] == rejected[name] for name in set(accepted) & set(rejected))


# ---- claims: codec and validator ----------------------------------------------------------------

def test_every_document_has_its_row():
    files = {f"{path.parent.name}/{path.name}"
             for kind in ("bad", "beyond-schema") for path in documents(kind)}
    assert files == set(faults_table())
    assert len(files) + len(documents("ok")) >= 120


@pytest.mark.parametrize("kind", ["ok", "bad", "beyond-schema"])
def test_corpus(claims_check, kind):
    """ok: everything accepts it. bad: everything refuses it. beyond-schema: the plain validator accepts
    it; the codec and the validator with the additional rules refuse it."""
    paths = documents(kind)
    wrong = []
    for path, verdict in zip(paths, claims_check(paths)):
        payload = path.read_bytes()
        got = (verdict["valid"], not schema_check.claims_faults(payload),
               schema_check.stock_accepts(payload))
        if got != (kind == "ok", kind == "ok", kind != "bad"):
            wrong.append((path.name, "codec, our rules, plain validator:", got, verdict))
    assert not wrong


@pytest.mark.parametrize("kind", ["bad", "beyond-schema"])
def test_corpus_pointers(claims_check, kind):
    table = faults_table()
    paths = documents(kind)
    verdicts = {f"{kind}/{path.name}": verdict["pointer"]
                for path, verdict in zip(paths, claims_check(paths))}
    assert verdicts == {file: pointer for file, (pointer, _) in table.items()
                        if file.startswith(f"{kind}/")}
    assert kind == "bad" or all(why for file, (_, why) in table.items()
                                if file.startswith("beyond-schema/"))


NASTY = [
    None, True, False, 0, -1, 1, 2, 1.0, 0.5, 64, 65, 4095, 4096, 65535, 65536, 16777216, 16777217,
    253402300799, 253402300800, 2**53 - 1, 2**53, 2**63 - 1, 2**63, -2**63, "", "a", "a" * 64,
    "a" * 65, "x" * 128, "x" * 129, "😀" * 128, "up", "draining", "booking.create", "booking.amend",
    "machine.update", "machine.register", "booking.cancel", "gpu-01", "gpu 01", "gpu-01\n", "\0",
    "\x7f", "\u0085", "2026-12-01T02:00:00Z", "2026-12-01T02:00:00+00:00", "2026-02-29T00:00:00Z",
    "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "٣", [], {}, [[]],
    [{}], {"a": "b"}, {"a": 1}, {"": ""}, {"a/b~c": "d"}, ["a"],
    [{"machine": "a", "gpus": 1, "memory_gib": 1}],
    [{"machine": "a", "gpus": 0, "memory_gib": 0}], {"count": 1, "gpus": 1, "memory_gib": 0},
    {"every": "week", "count": 366, "zone": "America/New_York"}, "week", 366, 367,
    {"every": "day", "count": 9, "zone": "UTC"}, "Australia/Lord_Howe", "UTC", "UTC+5", "Etc/GMT+5",
    "2026-03-28T01:30:00Z", "2026-10-24T00:30:00Z", "2899-12-30T00:00:00Z",
    [{"machine": "a", "gpus": 1, "memory_gib": 1}, {"machine": "a", "gpus": 1, "memory_gib": 1}],
]
NAMES = ["iss", "sub", "aud", "iat", "exp", "nbf", "jti", "request", "type", "machine", "gpus",
         "memory_gib", "labels", "id", "state", "displace", "booking", "start", "end",
         "duration_s", "allocations", "any", "repeat", "skip_conflicts", "count", "every", "zone",
         "series", "x", ""]


def places(value, path=()):
    """The paths of all members and items."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value[:3])
    else:
        return
    for key, item in items:
        yield path + (key,)
        yield from places(item, path + (key,))


def damage(document, rng):
    """Replaces, removes or adds one value at a random place."""
    path = rng.choice(list(places(document)))
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    what = rng.randrange(5)
    if what == 0:
        del holder[path[-1]]
    elif what == 1 and isinstance(holder, dict):
        holder[rng.choice(NAMES)] = copy.deepcopy(rng.choice(NASTY))
    else:
        holder[path[-1]] = copy.deepcopy(rng.choice(NASTY))


def test_damaged_documents(claims_check):
    """Codec and validator agree on valid documents with one to three random faults."""
    rng = random.Random(SEED)
    seeds = [json.loads(path.read_bytes()) for path in documents("ok")
             if path.stat().st_size < 3000]
    payloads = []
    while len(payloads) < DAMAGED:
        document = copy.deepcopy(rng.choice(seeds))
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            damage(document, rng)
        payloads.append(json.dumps(document, ensure_ascii=rng.random() < 0.5).encode())
    verdicts = claims_check.lines(payloads)
    wrong = [(payload, verdict, faults) for payload, verdict in zip(payloads, verdicts)
             if verdict["valid"] != (not (faults := schema_check.claims_faults(payload)))]
    assert not wrong, f"TEST_SEED={SEED}"
    valid = sum(verdict["valid"] for verdict in verdicts)
    assert DAMAGED / 20 < valid < DAMAGED * 19 / 20, "the damage proves nothing"


# ---- series: the codec's windows against Python's zoneinfo --------------------------------------

def series_payload(zone, local, **fields):
    """A series without machines. `local` and `end`: local times in the zone, the first window's start
    and end."""
    rules = schema_check.zone(zone)

    def text(reading):
        return schema_check.at_reading(reading, rules).strftime("%Y-%m-%dT%H:%M:%SZ")

    if "end" in fields:
        fields["end"] = text(fields["end"])
    every, count = fields.pop("every"), fields.pop("count")
    return {"iss": "batch-1", "sub": "alice", "aud": "demo", "iat": 1, "exp": 2, "jti": "r",
            "request": {"type": "booking.create", "start": text(local), **fields,
                        "repeat": {"every": every, "count": count, "zone": zone}}}


def expected_windows(request):
    """Windows in claims_check's notation; None if an occurrence would be empty."""
    windows = schema_check.windows(request)
    if any(end <= start for start, end in windows):
        return None
    return ["/".join(t.strftime("%Y-%m-%dT%H:%M:%SZ") for t in window) for window in windows]


def compare_windows(claims_check, payloads):
    verdicts = claims_check.lines([json.dumps(payload).encode() for payload in payloads])
    wrong, empty, compared = [], 0, 0
    for payload, verdict in zip(payloads, verdicts):
        expected = expected_windows(payload["request"])
        if expected is None:
            empty += 1
            if verdict.get("pointer") != "/request/repeat":
                wrong.append((payload["request"], verdict))
        elif verdict.get("windows") != expected:
            got = verdict.get("windows") or []
            wrong.append((payload["request"], verdict.get("pointer"),
                          [pair for pair in zip(got, expected) if pair[0] != pair[1]][:3]))
        else:
            compared += len(expected)
    assert not wrong, wrong[:5]
    return empty, compared


@pytest.mark.parametrize("zone, years", [
    ("Europe/Paris", range(2024, 2031)),
    ("America/New_York", range(2024, 2031)),
    ("Australia/Lord_Howe", range(2024, 2031)),
    ("America/Sao_Paulo", range(2012, 2021)),  # no more daylight saving from 2019 on; at midnight
    ("Africa/Casablanca", range(2024, 2031)),  # twice a year, around Ramadan, the other way round
    ("Asia/Kathmandu", (1985, 2026)),          # 15 minutes in 1986
    ("Pacific/Apia", range(2009, 2014)),       # skipped a whole day
    ("Africa/Monrovia", (1971, 1972)),         # 44.5 minutes
    ("Europe/Dublin", (1970, 2026, 2030)),     # summer is standard time
    ("America/St_Johns", (1987, 1988, 2026)),  # one change by two hours
    ("Antarctica/Troll", (2026, 2027)),        # two hours each year
    ("Asia/Gaza", (2026, 2031, 2060)),         # changes listed for decades
    ("Europe/Paris", (2038, 2100, 2400, 2898)),
    ("UTC", (1970, 2026, 2898)),
])
def test_windows_of_every_day(claims_check, zone, years):
    """Every day of these years, with starts around the hours of clock changes."""
    starts = [(0, 0), (0, 15), (1, 45), (2, 0), (2, 30), (12, 0), (23, 59)]
    payloads = []
    for year in years:
        for hour, minute in starts:
            local = datetime.datetime(year, 1, 2, hour, minute)
            for fields in ({"duration_s": 4500}, {"end": local + datetime.timedelta(hours=8)},
                           {"end": local + datetime.timedelta(minutes=45)}):
                payloads.append(series_payload(zone, local, every="day", count=366, **fields))
    empty, compared = compare_windows(claims_check, payloads)
    assert compared > 366 * len(payloads) // 3 and empty < len(payloads) // 2


def test_windows_in_all_zones(claims_check):
    zones = sorted(name for name in zoneinfo.available_timezones()
                   if re.match("[A-Z]", name))
    assert len(zones) > 300
    rng = random.Random(SEED)
    payloads = []
    for zone in zones:
        for every, count in (("day", 366), ("week", 120)):
            local = datetime.datetime(rng.choice((1970, 1999, 2026, 2033, 2500)), 1, 2,
                                      rng.randrange(24), rng.choice((0, 30)))
            payloads.append(series_payload(zone, local, every=every, count=count, duration_s=5400))
    assert compare_windows(claims_check, payloads)[0] == 0


# ---- events -------------------------------------------------------------------------------------

EVENTS = sorted((CORPUS / "events" / "ok").glob("*.json"))


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_events(path):
    """The encoder's output (compared byte by byte in tests/unit/test_event.c) is valid."""
    schema_check.validate_event(path.read_bytes().removesuffix(b"\n"))


@pytest.mark.parametrize("path", sorted((CORPUS / "events" / "earlier").glob("*.json")),
                         ids=lambda path: path.stem)
def test_events_of_earlier_releases(path):
    """They stay on the topic and in the database: the schemas accept them."""
    event = json.loads(path.read_bytes())
    kind = event["type"].rsplit(".", 1)[1]
    assert schema_check.stock_validator(f"event-{kind}").is_valid(event)


@pytest.mark.parametrize("path", sorted((CORPUS / "events" / "bad").glob("*.json")),
                         ids=lambda path: path.stem)
def test_bad_events(path):
    event = json.loads(path.read_bytes())
    kind = "accepted" if path.name.startswith("accepted") else "rejected"
    assert not schema_check.stock_validator(f"event-{kind}").is_valid(event)


@pytest.mark.parametrize("path", sorted((CORPUS / "events" / "later").glob("*.json")),
                         ids=lambda path: path.stem)
def test_later_events(path):
    """Values that later versions may add: the published schema accepts them, our strict check does not."""
    event = json.loads(path.read_bytes())
    kind = "accepted" if path.name.startswith("accepted") else "rejected"
    assert schema_check.stock_validator(f"event-{kind}").is_valid(event)
    assert schema_check.event_faults(event)


def test_published_schema_allows_new_members():
    """The published schemas allow unknown members, for later versions; our strict check does not."""
    event = json.loads(EVENTS[0].read_bytes())
    event["data"]["request"]["priority"] = 5
    kind = event["type"].rsplit(".", 1)[1]
    assert schema_check.stock_validator(f"event-{kind}").is_valid(event)
    with pytest.raises(schema_check.SchemaFault, match="priority"):
        schema_check.validate_event(event)


# ---- the AsyncAPI document ----------------------------------------------------------------------

def references(value):
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "$ref":
                yield item
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_asyncapi():
    text = (ROOT / "schemas" / "asyncapi.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    assert document["asyncapi"].startswith("3.")
    assert {channel["address"] for channel in document["channels"].values()} == \
        {"berth.requests", "berth.events"}
    for reference in references(document):
        if reference.startswith("#/"):
            target = document
            for part in reference[2:].split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
        else:
            assert (ROOT / "schemas" / reference).is_file(), reference
    content_type = re.search(r'EVENT_CONTENT_TYPE +"([^"]+)"',
                             (ROOT / "lib/codec/event.h").read_text(encoding="utf-8"))[1]
    assert content_type in text


# ---- the documentation --------------------------------------------------------------------------

def test_documented_reasons():
    """docs/messages.md lists the reasons in the order of the checks, with the code's sentences."""
    text = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", text[text.index("## Reasons"):], re.M)
    in_code = [(row[0], row[1]) for row in x_macro("core/reason.h", "REASON_TABLE")]
    assert rows[:len(in_code)] == in_code


def test_documented_fields():
    """docs/messages.md has a row for each field of each request type, in the codec's order."""
    text = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
    defs = schema_check.schema("request-claims")["$defs"]
    for name in ("machine.register", "machine.update", "booking.create", "booking.amend",
                 "booking.cancel"):
        section = re.search(rf"^### {re.escape(name)}\n(.*?)(?=^##)", text, re.M | re.S)[1]
        rows = re.findall(r"^\| `(\w+)` \|", section, re.M)
        assert rows == [field for field in defs[name.replace(".", "_")]["properties"] if field != "type"], name


def test_documented_content_hash(claims_check):
    content_sha256 = python_in("docs/messages.md")["content_sha256"]
    paths = documents("ok")
    for path, verdict in zip(paths, claims_check(paths)):
        assert verdict["content_sha256"] == content_sha256(json.loads(path.read_bytes())), path.name


@pytest.mark.parametrize("last, events, taken", [
    # from the start of the log or a recorded position: no jump is allowed
    (0, [(1, 1), (2, 1), (2, 1), (1, 1), (3, 2)], [1, 2, 3]),
    (0, [(1, 1), (3, 2)], [1, "gap"]),
    (0, [(2, 9)], ["gap"]),
    (41, [(40, 2), (41, 3), (42, 3), (44, 4)], [42, "gap"]),
    # from anywhere: any first event, then one jump with a higher epoch before the first successor
    (None, [(7, 1), (8, 1), (10, 2)], [7, 8, "gap"]),
    (None, [(7, 1), (90, 2), (91, 2)], [7, 90, 91]),
    (None, [(7, 1), (7, 1), (6, 1), (90, 2), (95, 3)], [7, 90, "gap"]),
    (None, [(7, 1), (90, 1)], [7, "gap"]),
    # a repeat with the higher epoch came before the jump, so the epoch proves nothing
    (None, [(7, 1), (6, 2), (90, 2)], [7, "gap"]),
])
def test_documented_follower(last, events, taken):
    names = python_in("docs/messages.md")
    follower, got = names["Follower"](last), []
    for sequence, epoch in events:
        try:
            if follower.take(sequence, epoch):
                got.append(sequence)
        except names["Gap"]:
            got.append("gap")
            break
    assert got == taken


def versions_of_a_booking(short):
    """The events of a booking that was made, amended, and displaced by another partition's update."""
    def event(partition, sequence, kind, **data):
        return {"type": "berth.request.accepted", "id": f"{partition}-{sequence}",
                "data": {"request": {"type": kind}, **data}}
    first = {"id": 4096, "version": 1, "client": "batch-1", "user": "alice", "state": "booked",
             "start": "2026-12-01T02:00:00Z", "end": "2026-12-01T04:00:00Z",
             "allocations": [{"machine": "gpu-01", "gpus": 4, "memory_gib": 64}]}
    second = {**first, "version": 2, "end": "2026-12-01T05:00:00Z"}
    last = {**second, "version": 3, "state": "cancelled", "allocations": []}
    ended = {name: last[name] for name in ("id", "version", "client", "state", "end")} if short \
        else {**last, "previous": {}}
    return last, [event(0, 1, "booking.create", booking=first),
                  event(0, 2, "booking.amend", booking=second, previous={}),
                  event(0, 3, "booking.create", booking=first, duplicate_of="0-1"),
                  event(1, 1, "machine.update", machine={"name": "gpu-01", "version": 9},
                        displaced=[ended])]


@pytest.mark.parametrize("short", [False, True], ids=["whole", "in short"])
def test_documented_state(short):
    """Whatever the order in which events are read, no change of a booking is lost."""
    state_class = python_in("docs/messages.md")["State"]
    last, events = versions_of_a_booking(short)
    for order in itertools.permutations(events):
        state = state_class()
        for event in order:
            state.take(event)
        got = state.bookings[last["id"]]
        assert {name: got[name] for name in last} == last
        assert not state.unknown


def test_documented_state_of_a_series():
    state = python_in("docs/messages.md")["State"]()
    made, ended = (json.loads((CORPUS / "events" / "ok" / f"accepted-booking.{name}.json")
                              .read_bytes()) for name in ("create-series", "cancel-series"))
    state.take(ended)
    state.take(made)
    assert [(ident, booking["id"], booking["version"], booking["state"], booking["user"])
            for ident, booking in state.bookings.items()] == [
                (4268035, 4268035, 2, "released", "alice"),
                (17592190312451, 17592190312451, 2, "cancelled", "alice")]
    assert not state.unknown


def examples_in(path):
    return [json.loads(block) for block in blocks(path, "json")]


@pytest.mark.parametrize("path", ["docs/messages.md", "schemas/README.md"])
def test_documented_examples(path):
    for example in examples_in(path):
        if "specversion" in example:
            schema_check.validate_event(example)
        elif "request" in example:
            schema_check.validate_claims(example)
        else:
            schema_check.validate_problem(example)
