"""The invariants of every farm, written from docs/ and not from the C code.

check_farm(farm) waits until all requests are decided and published, reads both topics and all tables, and
checks:

- each message of the request topic has one decision with its SHA-256, in the order of the log, and
  one event; sequences are dense in each partition; events are byte-equal to the outbox, and so are
  their repeats; keys and headers are as documented; every event fits its JSON Schema;
- clocks never run backwards; request ids are used up once, by the right decisions, with the hash of
  their content; a duplicate's event repeats the first answer;
- bookings, their use of machines over time, and machines are the fold of the accepted events;
- no machine is over-booked, in GPUs or memory, at any instant.

Failures are collected, so that one report shows the whole picture.
"""

import base64
import binascii
import datetime
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass

import pymysql.cursors
from confluent_kafka import TopicPartition
from jsonschema import Draft202012Validator, FormatChecker

from berthtest.events import Event, read_topic
from berthtest.farm import canonical, rfc3339
from berthtest.servers import ROOT
from berthtest.wait import wait_until

# Reasons that do not use up the request id: those of earlier checks (docs/messages.md), and the
# operator's rejection.
BEFORE_ID = {
    "malformed", "unsupported_algorithm", "unknown_key", "key_revoked", "bad_signature",
    "wrong_issuer", "wrong_audience", "expired", "not_yet_valid", "lifetime_too_long",
    "invalid_request", "request_id_reused", "rejected_by_operator"}
UNVERIFIED = {"malformed", "unsupported_algorithm", "unknown_key", "key_revoked", "bad_signature",
              "rejected_by_operator"}
SHOWN = 15
LOG_APPEND_TIME = 2


class Findings:
    """Collects the differences found by the checks."""

    def __init__(self):
        self.texts = []

    def __call__(self, holds, text):
        if not holds:
            self.texts.append(text() if callable(text) else text)
        return holds

    def report(self):
        if self.texts:
            more = len(self.texts) - SHOWN
            raise AssertionError("\n".join(
                ["the farm is not as it must be:", *self.texts[:SHOWN],
                 *([f"… and {more} more"] if more > 0 else [])]))


def millis(text):
    """RFC 3339 in UTC to milliseconds since 1970."""
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in text else "%Y-%m-%dT%H:%M:%SZ"
    moment = datetime.datetime.strptime(text, form).replace(tzinfo=datetime.timezone.utc)
    since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return since // datetime.timedelta(milliseconds=1)


def ceil_s(ms):
    return -(-ms // 1000) * 1000


def load_validator(name):
    schema = json.loads((ROOT / "schemas" / f"event-{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


VALIDATORS = {f"berth.request.{name}": load_validator(name) for name in ("accepted", "rejected")}


@dataclass
class Picture:
    """A snapshot of both topics and all tables."""
    farm: object
    requests: dict  # partition: [Message]
    events: dict  # partition: [Event], repeats too
    decisions: dict  # partition: [row], by sequence
    partitions: dict
    machines: dict  # by name
    bookings: dict  # by id
    allocations: list
    request_starts: dict  # partition: first offset left by retention
    event_starts: dict

    def accepted(self):
        """The accepted events without duplicates and repeats."""
        for part, events in self.events.items():
            seen = set()
            for event in events:
                if event.sequence not in seen and event.accepted and not event.duplicate_of:
                    yield event
                seen.add(event.sequence)


def settle(farm, limit_s=60.0):
    """Waits until every request is decided and its event is in the topic."""
    reader = farm.events.consumer

    def decided():
        rows = {row["part"]: row for row in farm.rows("SELECT * FROM request_partition")}
        for part, row in rows.items():
            end = reader.get_watermark_offsets(TopicPartition(farm.request_topic, part),
                                               timeout=20)[1]
            if row["next_offset"] < end:
                return None
        return rows
    rows = wait_until(decided, "all requests are decided", limit_s)
    for part, row in rows.items():
        contract = farm.events.contracts[part]
        farm.events.wait(lambda c=contract, r=row: c.last >= r["last_seq"],
                         f"partition {part} is published to {row['last_seq']}", limit_s)


def take_picture(farm):
    """Reads all tables in one snapshot, then both topics."""
    conn = farm.database.connect(farm.database_name)
    try:
        with conn.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")

            def rows(query):
                cursor.execute(query)
                return list(cursor.fetchall())
            partitions = {row["part"]: row for row in rows("SELECT * FROM request_partition")}
            decisions = {part: [] for part in partitions}
            for row in rows("SELECT * FROM decision ORDER BY part, seq"):
                decisions[row["part"]].append(row)
            machines = {row["name"]: row for row in rows("SELECT * FROM machine")}
            bookings = {row["id"]: row for row in rows("SELECT * FROM booking")}
            allocations = rows("SELECT * FROM allocation ORDER BY booking, machine, start_ms")
    finally:
        conn.close()
    requests = read_topic(farm.broker.bootstrap, farm.request_topic)
    events = read_topic(farm.broker.bootstrap, farm.event_topic)
    return Picture(farm, requests,
                   {part: [Event(message) for message in messages]
                    for part, messages in events.items()},
                   decisions, partitions, machines, bookings, allocations,
                   starts(farm, farm.request_topic), starts(farm, farm.event_topic))


def starts(farm, topic):
    """First offset of each partition; retention may have removed earlier messages."""
    return {part: farm.events.consumer.get_watermark_offsets(TopicPartition(topic, part),
                                                             timeout=20)[0]
            for part in range(farm.partitions)}


# ---- messages, decisions, events -----------------------------------------------------------------

def check_decisions(picture, wrong):
    """Each message has one decision with its hash and time; sequences are dense and in log order."""
    for part, messages in picture.requests.items():
        decisions, row = picture.decisions[part], picture.partitions[part]
        wrong([d["seq"] for d in decisions] == list(range(1, len(decisions) + 1)),
              lambda p=part: f"partition {p}: sequences of decisions are not 1, 2, 3 …")
        old = [d for d in decisions if d["log_offset"] < picture.request_starts[part]]
        held = decisions[len(old):]
        wrong([d["log_offset"] for d in held] == [m.offset for m in messages],
              lambda p=part, d=held, m=messages:
              f"partition {p}: {len(m)} messages, {len(d)} decisions, or not in their order")
        clock = old[-1]["time_ms"] if old else 0
        for message, decision in zip(messages, held):
            where = f"request {part}:{message.offset}"
            wrong(decision["message_sha256"] == hashlib.sha256(message.value or b"").digest(),
                  f"{where}: the decision has another SHA-256")
            if message.timestamp_type == LOG_APPEND_TIME:
                clock = max(clock, message.timestamp_ms)
            wrong(decision["time_ms"] == clock,
                  f"{where}: decided at {decision['time_ms']}, appended so that now is {clock}")
            check_content(message, decision, where, wrong)
        if decisions and wrong(row["last_seq"] == len(decisions),
                               f"partition {part}: last_seq {row['last_seq']}"):
            last = decisions[-1]
            wrong(row["next_offset"] > last["log_offset"]
                  and row["last_sha256"] == last["message_sha256"]
                  and row["clock_ms"] == last["time_ms"]
                  and 0 <= row["published_seq"] <= row["last_seq"],
                  f"partition {part}: its row does not end where its decisions end: {row}")


def payload_of(token):
    """A token's payload, unverified."""
    part = token.split(b".")[1]
    return json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))


def check_content(message, decision, where, wrong):
    """The row records the message's request id and the hash of its content."""
    if decision["request_id"] is None:
        wrong(decision["content_sha256"] is None, f"{where}: a content hash without an id")
        return
    try:
        payload = payload_of(message.value)
    except (ValueError, IndexError, binascii.Error):
        wrong(False, f"{where}: uses up an id but is no token")
        return
    content = hashlib.sha256(canonical({"request": payload["request"], "sub": payload["sub"]}))
    wrong(decision["request_id"] == payload["jti"] and decision["client"] == payload["iss"]
          and decision["content_sha256"] == content.digest(),
          f"{where}: client, request id or content hash of the row are not the message's")


def check_events(picture, wrong):
    """Events and their repeats equal the outbox; keys and headers are as documented."""
    for part, events in picture.events.items():
        outbox = {d["seq"]: d for d in picture.decisions[part]}
        # Messages removed by retention cannot be compared.
        last = events[0].sequence - 1 if events and picture.event_starts[part] > 0 else 0
        for event in events:
            seq = event.sequence
            wrong(seq <= last + 1, lambda s=seq, p=part, n=last: f"event {p}-{s} follows {p}-{n}")
            last = max(last, seq)
            row = outbox.get(seq)
            if wrong(row is not None, f"event {part}-{seq} has no decision"):
                wrong(event.value == row["event"], f"event {part}-{seq} is not its row's")
                check_envelope(event, picture.partitions[part]["epoch"], wrong)
        gone = picture.event_starts[part] > 0 and not events
        wrong(gone or last == len(outbox), f"partition {part}: events to {last}, decisions to {len(outbox)}")
        for row in outbox.values():
            check_row(picture.farm, part, row, wrong)


def check_envelope(event, epoch, wrong):
    headers, key = event.message.headers, event.message.key
    subject = event.json.get("subject")
    wrong(key == (subject.encode() if subject else None), f"event {event.id} has the key {key}")
    wrong(headers.get("content-type") == b"application/cloudevents+json; charset=UTF-8"
          and headers.get("ce_type") == event.json["type"].encode()
          and headers.get("ce_id") == event.id.encode()
          and 1 <= event.epoch <= epoch, f"event {event.id} has the headers {headers}")


def check_row(farm, part, row, wrong):
    """The row's other columns agree with its event."""
    event = json.loads(row["event"])
    ident, data = f"{part}-{row['seq']}", event["data"]
    fault = next(VALIDATORS[event["type"]].iter_errors(event), None)
    wrong(fault is None, lambda: f"event {ident} does not fit its schema: {fault.message} at "
          f"{fault.json_path}")
    reason = data.get("reason")
    wrong((event["id"], event["source"], event["sequence"])
          == (ident, f"berth://{farm.name}/requests/{part}", f"{row['seq']:019d}"),
          f"event {ident} has a wrong id, source or sequence")
    wrong(millis(event["time"]) == row["time_ms"], f"event {ident}: time {event['time']}")
    wrong((row["outcome"], row["reason"], row["subject"])
          == (event["type"].rpartition(".")[2], reason, event.get("subject")),
          f"event {ident} and its row differ in outcome, reason or subject")
    wrong((data["request"]["partition"], data["request"]["offset"]) == (part, row["log_offset"]),
          f"event {ident} answers another request")
    uses_id = "duplicate_of" not in data and reason not in BEFORE_ID
    # An amend that leaves an empty window is found only after the booking is looked up.
    empty_window = reason == "invalid_request" and data["request"].get("type") == "booking.amend" \
        and data["pointer"] in ("/request/start", "/request/end")
    wrong(empty_window or (row["request_id"] is not None) == uses_id,
          f"event {ident}: request id used up wrongly")
    verified = reason not in UNVERIFIED or "duplicate_of" in data
    wrong((row["client"] is not None) == verified and row["client"] == data["request"].get("client")
          and verified == ("sha256" not in data["request"]),
          f"event {ident}: says what it must not say of its sender, or not what it must")
    if not verified:
        wrong(data["request"]["sha256"] == row["message_sha256"].hex()
              and set(data["request"]) == {"partition", "offset", "sha256"},
              f"event {ident}: what it says of an unverified message")


def check_duplicates(picture, wrong):
    """A duplicate has the first answer's type and data, and names the first answer."""
    def essence(event):
        data = {key: value for key, value in event["data"].items() if key != "duplicate_of"}
        data["request"] = {key: value for key, value in data["request"].items()
                           if key not in ("partition", "offset")}
        return event["type"], event.get("subject"), data
    by_id = {f"{part}-{row['seq']}": row for part, rows in picture.decisions.items() for row in rows}
    for ident, row in by_id.items():
        event = json.loads(row["event"])
        first = event["data"].get("duplicate_of")
        if first is None:
            continue
        origin = by_id.get(first)
        if wrong(origin is not None and origin["request_id"] is not None,
                 f"event {ident} repeats {first}, which used no id up"):
            wrong(essence(event) == essence(json.loads(origin["event"]))
                  and origin["request_id"] == event["data"]["request"]["id"],
                  f"event {ident} is not what {first} was")


# ---- the fold of the events ----------------------------------------------------------------------

class Use:
    """One booking's use of machines over time: {machine: [[start, end, (gpus, memory)]]}."""

    def __init__(self):
        self.spans = defaultdict(list)

    def cut(self, at_ms):
        """Removes all use from at_ms on."""
        for machine, spans in self.spans.items():
            self.spans[machine] = [[start, min(end, at_ms), amount]
                                   for start, end, amount in spans if start < at_ms]

    def add(self, machine, start_ms, end_ms, amount):
        self.spans[machine].append([start_ms, end_ms, amount])

    def joined(self):
        """Merges adjacent spans with equal use."""
        result = {}
        for machine, spans in self.spans.items():
            joined = []
            for start, end, amount in sorted(spans):
                if joined and joined[-1][1] == start and joined[-1][2] == amount:
                    joined[-1][1] = end
                elif start < end:
                    joined.append([start, end, amount])
            if joined:
                result[machine] = joined
        return result


@dataclass
class Step:
    """One version of a booking."""
    now_ms: int
    event: Event
    booking: dict
    previous: dict | None


def bookings_of(event, wrong):
    """The booking versions in an accepted event, each with its `previous`: the one that the request was
    about, or one for each occurrence of a series; and the displaced ones."""
    booking, series = event.data.get("booking"), event.data.get("series")
    found = [{**item} for item in event.data.get("displaced", ())]
    if series is not None:
        found += [{**booking, **{key: value for key, value in item.items() if key != "booking"},
                   "id": item["booking"]} for item in series["occurrences"] if "booking" in item]
    elif booking is not None:
        found.append({**booking, "previous": event.data.get("previous")})
    pairs = [(state.pop("previous", None), state) for state in found]
    wrong(series is None or pairs[0] == (event.data.get("previous"), booking)
          and booking.get("series") == series["id"],
          f"event {event.id}: its booking is not the first of its series")
    return pairs


def steps_of_bookings(picture, wrong):
    """{booking id: its versions 1, 2, 3 …}"""
    found = defaultdict(dict)
    for event in picture.accepted():
        now_ms = millis(event.json["time"])
        for previous, booking in bookings_of(event, wrong):
            ident, version = booking["id"], booking["version"]
            wrong(version not in found[ident], f"booking {ident} has version {version} twice")
            found[ident][version] = Step(now_ms, event, booking, previous)
    result = {}
    for ident, versions in found.items():
        wrong(sorted(versions) == list(range(1, len(versions) + 1)),
              f"booking {ident} has the versions {sorted(versions)}")
        result[ident] = [versions[version] for version in sorted(versions)]
    return result


def check_previous(step, state, cut_ms, wrong):
    """A change tells the state before it and, of a booking that had begun, from when on it counts
    (cut_ms; None: it had not begun)."""
    data, ident = step.event.data, step.booking["id"]
    if state is not None:
        wrong(step.previous == {name: state[name] for name in step.previous or state},
              f"booking {ident} was {state} before {step.event.id}, not {step.previous}")
    if ident == data.get("booking", {}).get("id"):
        wrong(data.get("effective_from") == (cut_ms and rfc3339(cut_ms // 1000)),
              f"event {step.event.id} counts from {data.get('effective_from')}")


def fold_booking(ident, steps, wrong):
    """A booking's last state and its use over time."""
    use, state = Use(), None
    first = steps[0]
    occurrence, made = ident // 4096 >> 32, first.event.sequence * 4096 + first.event.partition
    wrong(first.event.data["request"]["type"] == "booking.create" and first.previous is None
          and ident == (occurrence << 32) * 4096 + made
          and first.booking.get("series") in (made, None if occurrence == 0 else made),
          f"booking {ident} was not made by its first event {first.event.id}")
    for step in steps:
        ceil_ms = ceil_s(step.now_ms)
        begun = state is not None and millis(state["start"]) < ceil_ms
        check_previous(step, state, ceil_ms if begun else None, wrong)
        wrong(not begun or step.booking["start"] == state["start"],
              f"booking {ident} had begun and got another start")
        state = step.booking
        over = state["state"] != "booked"
        wrong(not over or state["state"] == ("released" if begun else "cancelled"),
              f"booking {ident} is {state['state']} after {step.event.id}")
        use.cut(ceil_ms if begun else -1)
        if not over:
            start_ms = ceil_ms if begun else millis(state["start"])
            for item in state["allocations"]:
                use.add(item["machine"], start_ms, millis(state["end"]),
                        (item["gpus"], item["memory_gib"]))
    return state, use


def check_bookings(picture, wrong):
    """Bookings and allocations equal the fold of the accepted events."""
    steps = steps_of_bookings(picture, wrong)
    wrong(set(steps) == set(picture.bookings), "the bookings are others than those of the events: "
          f"{sorted(set(steps) ^ set(picture.bookings))[:10]}")
    names = {row["id"]: name for name, row in picture.machines.items()}
    stored = defaultdict(Use)
    for row in picture.allocations:
        wrong(row["machine"] in names and row["booking"] in picture.bookings,
              f"an allocation without its booking or machine: {row}")
        if row["live"]:
            stored[row["booking"]].add(names.get(row["machine"]), row["start_ms"], row["end_ms"],
                                       (row["gpus"], row["memory_gib"]))
    for ident in set(steps) & set(picture.bookings):
        state, use = fold_booking(ident, steps[ident], wrong)
        row = picture.bookings[ident]
        wrong((row["client"], row["user_name"], row["state"], row["version"], row["series"])
              == (state["client"], state["user"], state["state"], len(steps[ident]),
                  state.get("series"))
              and (row["start_ms"], row["end_ms"]) == (millis(state["start"]), millis(state["end"])),
              f"booking {ident}: the row is {row}, by its events it is {state}")
        wrong(stored[ident].joined() == use.joined(),
              f"booking {ident}: its rows use {stored[ident].joined()}, by its events "
              f"{use.joined()}")


def check_machines(picture, wrong):
    """Each machine equals its newest event."""
    newest = {}
    for event in picture.accepted():
        machine = event.data.get("machine")
        if machine and newest.get(machine["name"], {"version": 0})["version"] < machine["version"]:
            newest[machine["name"]] = machine
    wrong(set(newest) == set(picture.machines), "the machines are others than those of the events")
    for name in set(newest) & set(picture.machines):
        machine, row = newest[name], picture.machines[name]
        wrong(row["version"] >= machine["version"] and row["id"] == machine["id"]
              and (row["gpus"], row["memory_gib"], row["state"], json.loads(row["labels"]))
              == tuple(machine[key] for key in ("gpus", "memory_gib", "state", "labels")),
              f"machine {name}: the row is {row}, its newest event says {machine}")
    versions = {row["id"]: row["version"] for row in picture.machines.values()}
    for row in picture.allocations:
        wrong(row["machine_version"] <= versions.get(row["machine"], 0),
              f"an allocation is newer than its machine: {row}")


def check_capacity(picture, wrong):
    """Sweeps over the live rows of each machine: use never exceeds capacity. Before a machine's last
    change of capacity its largest capacity ever counts."""
    most = defaultdict(lambda: (0, 0))
    for event in picture.accepted():
        machine = event.data.get("machine")
        if machine:
            most[machine["name"]] = tuple(map(max, most[machine["name"]],
                                              (machine["gpus"], machine["memory_gib"])))
    changes = defaultdict(list)
    for row in picture.allocations:
        if row["live"]:
            changes[row["machine"]].append((row["start_ms"], row["gpus"], row["memory_gib"]))
            changes[row["machine"]].append((row["end_ms"], -row["gpus"], -row["memory_gib"]))
    for name, row in picture.machines.items():
        gpus = memory = 0
        points = sorted(changes[row["id"]])
        for index, (at_ms, more_gpus, more_memory) in enumerate(points):
            gpus, memory = gpus + more_gpus, memory + more_memory
            if index + 1 < len(points) and points[index + 1][0] == at_ms:
                continue
            now = (row["gpus"], row["memory_gib"])
            # The use lasts until the next point, which may be after the change.
            until = points[index + 1][0] if index + 1 < len(points) else at_ms
            limit = now if until > row["capacity_changed_ms"] else most[name]
            wrong(gpus <= limit[0] and memory <= limit[1],
                  f"machine {name} is over-booked from {at_ms} on: {gpus} GPUs and {memory} GiB of "
                  f"{limit}")


def check_client(picture, client, gpus_at_once, wrong):
    """Sweeps over the live rows of a client's bookings on all machines. The limit must be older than
    the bookings."""
    changes = defaultdict(int)
    for row in picture.allocations:
        if row["live"] and picture.bookings[row["booking"]]["client"] == client:
            changes[row["start_ms"]] += row["gpus"]
            changes[row["end_ms"]] -= row["gpus"]
    held = most = 0
    for at_ms in sorted(changes):
        held += changes[at_ms]
        most = max(most, held)
        wrong(held <= gpus_at_once, f"client {client} holds {held} GPUs from {at_ms} on")
    return most


CHECKS = (check_decisions, check_events, check_duplicates, check_bookings, check_machines,
          check_capacity)


def check_farm(farm, audit=True, limit_s=60.0):
    """Runs every check and returns the snapshot. Needs a running worker unless everything is decided
    and published. Nothing may send requests meanwhile."""
    settle(farm, limit_s)
    picture = take_picture(farm)
    wrong = Findings()
    for check in CHECKS:
        check(picture, wrong)
    for process in farm.processes:
        for line in process.worry():
            wrong(False, f"{process.log.name}: {line}")
    wrong.report()
    if audit:
        farm.audit()
    return picture
