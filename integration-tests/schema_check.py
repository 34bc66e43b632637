"""Validates documents against schemas/ and against the rules that JSON Schema cannot express.

A JSON Schema cannot say everything that Berth's codec checks (schemas/README.md lists what it
cannot). `stock_accepts` is the plain validator's verdict on claims; `claims_faults` adds the other
rules and must agree with the codec on every document. `validate_claims` and `validate_event` raise
SchemaFault and are meant for other tests.
"""

import copy
import datetime
import json
import re
import zoneinfo
from functools import lru_cache
from pathlib import Path

from jsonschema import Draft202012Validator, validators

SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"
DEPTH_MAX = 32
SERIES_SHARES = 2048
INT64 = range(-(2**63), 2**63)


class SchemaFault(AssertionError):
    """A document does not fit; the text lists each fault with its JSON pointer."""


class Unreadable(ValueError):
    """The bytes are not a single JSON document that Berth accepts."""


# ---- reading ------------------------------------------------------------------------------------

def _members(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise Unreadable("two members of one name")
    if any("\0" in name for name in names):
        raise Unreadable("a NUL in a member's name")
    return dict(pairs)


def _integer(text):
    if len(text) > 20 or int(text) not in INT64:
        raise Unreadable("an integer beyond 64 bits")
    return int(text)


def _real(text):
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Unreadable("a number beyond 64 bits")
    return value


def _constant(text):
    raise Unreadable(f"{text} is not JSON")


def _check_tree(value, depth=1):
    if isinstance(value, str):
        value.encode()  # half a surrogate pair raises
    elif isinstance(value, (dict, list)):
        if depth > DEPTH_MAX:
            raise Unreadable("nested too deep")
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_tree(name, depth)
            _check_tree(item, depth + 1)


def read(payload):
    """Parses bytes as JSON as strictly as the codec does; raises Unreadable."""
    try:
        value = json.loads(payload.decode("utf-8"), object_pairs_hook=_members,
                           parse_int=_integer, parse_float=_real, parse_constant=_constant)
        _check_tree(value)
    except (ValueError, RecursionError) as error:  # UnicodeError is a ValueError
        raise Unreadable(str(error)) from error
    return value


# ---- schemas ------------------------------------------------------------------------------------

@lru_cache(maxsize=None)
def schema(name):
    """schemas/NAME.schema.json"""
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))


def closed(part):
    """The schema with additionalProperties closed in every object: Berth writes no other member today,
    though consumers must accept new members from later versions."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    out = {name: closed(item) for name, item in part.items()}
    if part.get("type") == "object" and "properties" in part and out.get("additionalProperties", True) is True:
        out["additionalProperties"] = False
    return out


@lru_cache(maxsize=None)
def stock_validator(name):
    """A validator of the schema exactly as published."""
    return Draft202012Validator(schema(name), format_checker=Draft202012Validator.FORMAT_CHECKER)


@lru_cache(maxsize=None)
def strict_validator(name):
    """Requires integers without fraction or exponent, no unlisted member, and no unlisted value of what
    later versions may extend."""
    def is_integer(_, value):
        return isinstance(value, int) and not isinstance(value, bool)

    strict = validators.extend(
        Draft202012Validator, {"x-extensible-enum": Draft202012Validator.VALIDATORS["enum"]},
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer))
    what = schema(name)
    return strict(what if name == "request-claims" else closed(copy.deepcopy(what)),
                  format_checker=Draft202012Validator.FORMAT_CHECKER)


def _pointer(path):
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _schema_faults(name, document):
    return [(_pointer(error.absolute_path), error.message)
            for error in strict_validator(name).iter_errors(document)]


# ---- claims -------------------------------------------------------------------------------------

def stock_accepts(payload):
    """Whether a lenient JSON parser and the plain validator accept a payload's bytes."""
    try:
        document = json.loads(payload)
        return stock_validator("request-claims").is_valid(document)
    except (ValueError, RecursionError):
        return False


def zone(name):
    """The time zone named by a `zone` member; None if the zone database lacks it."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def at(text):
    """A time of a message."""
    return datetime.datetime.fromisoformat(text.removesuffix("Z") + "+00:00")


def at_reading(reading, rules):
    """The instant of a local time in the zone. fold=0 picks the first of two instants, and the offset
    before a gap (PEP 495), as RFC 5545 requires."""
    return reading.replace(tzinfo=rules, fold=0).astimezone(datetime.timezone.utc)


def windows(request):
    """The windows, [(start, end)], of a booking.create with `repeat`, computed independently of the
    codec."""
    repeat = request["repeat"]
    rules, start = zone(repeat["zone"]), at(request["start"])
    step = datetime.timedelta(days={"day": 1, "week": 7}[repeat["every"]])
    length = datetime.timedelta(seconds=request.get("duration_s", 0))
    end = at(request["end"]) if "end" in request else start + length
    out = [(start, end)]
    for index in range(1, repeat["count"]):
        first, last = (at_reading(t.astimezone(rules).replace(tzinfo=None) + index * step, rules)
                       for t in (start, end))
        out.append((first, last if "end" in request else first + length))
    return out


LAST_OF_2899 = datetime.datetime(2899, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc)


def _repeat_rules(request):
    repeat = request["repeat"]
    if zone(repeat["zone"]) is None:
        return [("/request/repeat/zone", "no such zone")]
    machines = request["any"]["count"] if "any" in request else len(request.get("allocations", []))
    if machines * repeat["count"] > SERIES_SHARES:
        return [("/request/repeat/count", "too many machines")]
    try:
        days = {"day": 1, "week": 7}[repeat["every"]] * (repeat["count"] - 1) + 2
        end = at(request["end"]) if "end" in request else \
            at(request["start"]) + datetime.timedelta(seconds=request["duration_s"])
        if max(at(request["start"]), end) + datetime.timedelta(days=days) > LAST_OF_2899:
            return [("/request/repeat", "too late")]
    except OverflowError:
        return [("/request/repeat", "too late")]
    if any(end <= start for start, end in windows(request)):
        return [("/request/repeat", "an occurrence that is empty")]
    return []


def _claims_rules(claims):
    """Checks the rules that the schema only annotates: x-berth-rule and x-berth-distinct."""
    request = claims["request"]
    faults = []
    if "start" in request and "end" in request and request["end"] <= request["start"]:
        faults.append(("/request/end", "not after start"))
    machines = [item["machine"] for item in request.get("allocations", [])]
    for index, machine in enumerate(machines):
        if machine in machines[:index]:
            faults.append((f"/request/allocations/{index}/machine", "named before"))
    if "repeat" in request and not faults:
        faults += _repeat_rules(request)
    return faults


def claims_faults(payload):
    """All faults, [(pointer, message)], of a token's payload: bytes, or a document already read."""
    try:
        claims = read(payload) if isinstance(payload, bytes) else payload
    except Unreadable as error:
        return [("", str(error))]
    return _schema_faults("request-claims", claims) or _claims_rules(claims)


def validate_claims(payload):
    _raise("claims", claims_faults(payload), payload)


# ---- events -------------------------------------------------------------------------------------

def _subject_of(data):
    if "booking" in data:
        return f"booking/{data['booking']['id']}"
    return f"machine/{data['machine']['name']}"


def _series_rules(data):
    if "series" not in data:
        return []
    faults = []
    bookings = [item for item in data["series"]["occurrences"] if "booking" in item]
    ids = [item["booking"] for item in bookings]
    if not bookings or data["booking"]["id"] != ids[0]:
        faults.append(("/data/booking/id", "not the first of the series"))
    if data["booking"].get("series") != data["series"]["id"]:
        faults.append(("/data/booking/series", "not the series"))
    if sorted(set(ids)) != ids:
        faults.append(("/data/series/occurrences", "ids do not ascend"))
    if bookings and any(bookings[0][name] != data["booking"][name]
                        for name in ("version", "state", "start", "end")):
        faults.append(("/data/series/occurrences/0", "not the booking"))
    if any(item["end"] <= item["start"] for item in data["series"]["occurrences"]
           if item.get("state") != "released"):
        faults.append(("/data/series/occurrences", "an empty window"))
    return faults


def _changes(data):
    """What the event changed: [(pointer, state after, `previous`)]. An event of a current worker tells
    what a booking was before whenever it was not new."""
    if "series" in data:
        found = [(f"/data/series/occurrences/{index}", item)
                 for index, item in enumerate(data["series"]["occurrences"]) if "booking" in item]
    else:
        found = [("/data", {**data["booking"], **({"previous": data["previous"]}
                                                 if "previous" in data else {})})] \
            if "booking" in data else []
    found += [(f"/data/displaced/{index}", item)
              for index, item in enumerate(data.get("displaced", []))]
    return [(pointer, item, item.get("previous")) for pointer, item in found]


def _previous_rules(event):
    """`previous` is the version before, and `effective_from` the second from which a change of a
    begun booking counts."""
    data, faults = event["data"], []
    for pointer, state, previous in _changes(data):
        if (previous["version"] if previous else 0) != state["version"] - 1:
            faults.append((f"{pointer}/previous", "not the version before"))
    if "duplicate_of" in data:
        return faults  # the event's time is not that of the decision
    ceil = re.sub(r"[.]\d+Z$", "Z", event["time"])
    if ceil != event["time"]:
        ceil = (at(ceil) + datetime.timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    begun = "previous" in data and data["previous"]["start"] < ceil
    if data.get("effective_from") != (ceil if begun else None):
        faults.append(("/data/effective_from", f"not {ceil if begun else 'absent'}"))
    return faults


def _event_rules(event):
    """Checks that the members of one event agree with each other."""
    partition, sequence = event["id"].split("-")
    request = event["data"]["request"]
    faults = []
    if event["sequence"] != sequence.zfill(19):
        faults.append(("/sequence", "not the id's"))
    if not event["source"].endswith(f"/requests/{partition}"):
        faults.append(("/source", "not the id's partition"))
    if request["partition"] != int(partition):
        faults.append(("/data/request/partition", "not the id's"))
    if event["type"] == "berth.request.accepted" and event["subject"] != _subject_of(event["data"]):
        faults.append(("/subject", "not what data shows"))
    if event["data"].get("duplicate_of") == event["id"]:
        faults.append(("/data/duplicate_of", "itself"))
    machines = [item["machine"] for item in event["data"].get("booking", {}).get("allocations", [])]
    if len(set(machines)) != len(machines):
        faults.append(("/data/booking/allocations", "a machine twice"))
    faults += _series_rules(event["data"]) + _previous_rules(event)
    displaced = [item["id"] for item in event["data"].get("displaced", [])]
    if sorted(set(displaced)) != displaced:
        faults.append(("/data/displaced", "ids do not ascend"))
    return faults


def event_faults(event):
    """All faults, [(pointer, message)], of an event: bytes as published, or a document."""
    if isinstance(event, bytes):
        if b"\n" in event:
            return [("", "more than one line")]
        try:
            event = read(event)
        except Unreadable as error:
            return [("", str(error))]
    kind = re.fullmatch(r"berth\.request\.(accepted|rejected)",
                        str(event.get("type")) if isinstance(event, dict) else "")
    if kind is None:
        return [("/type", "not an event that the worker publishes")]
    return _schema_faults(f"event-{kind[1]}", event) or _event_rules(event)


def validate_event(event):
    _raise("event", event_faults(event), event)


def validate_problem(problem):
    _raise("problem", _schema_faults("problem", problem), problem)


def _raise(what, faults, document):
    if faults:
        lines = "".join(f"\n  at {pointer or 'the top'}: {message}" for pointer, message in faults)
        raise SchemaFault(f"{what} does not fit its schema:{lines}\n{document!r}")
