"""GET /v1/events: every event once and in order, from any position, for many listeners."""

import contextlib
import json
import resource
import socket
import time
from urllib.parse import urlencode

import pytest
import requests

from berthtest.farm import create, share
from berthtest.pages import python_in
from berthtest.sse import Listener
from berthtest.wait import wait_until

HOUR = 3600


@pytest.fixture(scope="module", name="farm")
def fixture_farm(module_farm):
    farm = module_farm
    farm.reader = farm.start_reader()
    farm.register("e-00", "e-01", "e-02", "e-03", gpus=60000)
    return farm


def bookings(farm, count, machine="e-00", client=None):
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    return farm.decide_all([(client or farm.batch_1,
                             create(start, start + HOUR, share(machine, 1, 0)))
                            for _ in range(count)], limit_s=60)


@contextlib.contextmanager
def listening(farm, *arguments, **params):
    listener = Listener(farm.reader_url, *arguments, **params)
    try:
        yield listener
    finally:
        listener.close()


def test_events_as_they_happen(farm):
    with listening(farm) as listener:
        wait_until(lambda: listener.last_id, "the first position arrives")
        first = listener.last_id
        events = bookings(farm, 20)
        sent = listener.wait_for(20)
        assert listener.answer.headers["Content-Type"] == "text/event-stream"
        assert listener.answer.headers["Cache-Control"] == "no-cache"
        assert listener.retry == 3000
    assert [item.data.encode() for item in sent] == \
        [event.value for event in sorted(events, key=lambda event: event.sequence)]
    assert {item.type for item in sent} == {"berth.request.accepted"}
    part = events[0].partition
    before, after = (list(map(int, text.split(","))) for text in (first, sent[-1].id))
    assert len(after) == 8 and after[part] == before[part] + 20
    assert [value for p, value in enumerate(after) if p != part] == \
        [value for p, value in enumerate(before) if p != part]


def test_start_from_the_readers_state(farm):
    """docs/messages.md: position, then lists, then events; whatever is decided in between is not lost."""
    state = python_in("docs/messages.md")["State"]()
    held, *others = bookings(farm, 3)

    def pages(path):
        after = {}
        while after is not None:
            page = farm.get_json(f"{path}?{urlencode({'limit': 2, **after})}")
            yield from page["items"]
            after = {"after": page["next"]} if "next" in page else None

    with listening(farm) as listener:
        position = wait_until(lambda: listener.last_id, "the first position arrives")
    farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": held.booking["id"]})
    for machine in pages("/v1/machines"):
        state.machines[machine["name"]] = machine
    for booking in pages("/v1/bookings"):
        state.merge(booking)
    farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": others[0].booking["id"]})
    last = bookings(farm, 2)[-1]
    with listening(farm, after=position) as listener:
        for item in listener.wait_for(4):
            state.take(json.loads(item.data))
    assert state.bookings == {booking["id"]: booking for booking in pages("/v1/bookings")}
    assert last.booking["id"] in state.bookings and not state.unknown


def test_resume_exactly(farm):
    """Resuming after any id, on any reader, gives each later event once."""
    with listening(farm) as listener:
        wait_until(lambda: listener.last_id, "the first position arrives")
        begin = listener.last_id
        for machine in ("e-00", "e-01", "e-02", "e-03"):
            bookings(farm, 5, machine)
        whole = [(item.id, item.data) for item in listener.wait_for(20)]
    second = farm.start("berth-reader")
    port = second.wait_log(r"reader listens.* port=(\d+)").group(1)
    for url in (farm.reader_url, f"http://127.0.0.1:{port}"):
        for at in (0, 7, 19):
            position = begin if at == 0 else whole[at - 1][0]
            for how in ({"after": position}, {"last_event_id": position}):
                again = Listener(url, **how)
                if at < 20:
                    again.wait_for(20 - at)
                again.close()
                assert sorted(item.data for item in again.sent) == \
                    sorted(data for _, data in whole[at:])
    second.stop()
    # From position 0, read from the database: each decision of each partition in order.
    with listening(farm, after=",".join(["0"] * 8)) as listener:
        total = farm.row("SELECT COUNT(*) AS n FROM decision")["n"]
        sent = listener.wait_for(total)
        for part in range(8):
            sequences = [json.loads(item.data)["sequence"] for item in sent
                         if json.loads(item.data)["id"].startswith(f"{part}-")]
            assert list(map(int, sequences)) == list(range(1, len(sequences) + 1))


def test_filters(farm):
    with listening(farm, machine="e-01") as of_machine, \
            listening(farm, client="batch-2") as of_client, \
            listening(farm, outcome="rejected") as rejected:
        for listener in (of_machine, of_client, rejected):
            wait_until(lambda listener=listener: listener.last_id, "the first position arrives")
        first = bookings(farm, 2, "e-01")
        second = bookings(farm, 2, "e-02", farm.batch_2)
        refused = farm.decide(farm.batch_1, {"type": "booking.cancel", "booking": 3})
        changed = farm.accept(farm.ops, {"type": "machine.update", "machine": "e-01",
                                         "labels": {"a": "b"}})
        assert {item.data.encode() for item in of_machine.wait_for(3)} == \
            {event.value for event in [*first, changed]}
        assert {item.data.encode() for item in of_client.wait_for(2)} == \
            {event.value for event in second}
        assert [item.data.encode() for item in rejected.wait_for(1)] == [refused.value]
        assert rejected.sent[0].type == "berth.request.rejected"


def test_filters_compare_fields_not_text(farm):
    """Labels and user are free text and must not match a client or machine filter, live or resumed,
    from the reader's memory or from the database."""
    farm.register("e-own", "e-text", gpus=60000)
    text = '"client":"batch-2","machine":"e-own","subject":"machine/e-own" client=batch-2'
    labels = {"client": "batch-2", "machine": "e-own", "name": "e-own", "user": "batch-2",
              "subject": "machine/e-own", "type": "berth.request.rejected",
              "outcome": "rejected", "note": text}
    filters = [{"client": "batch-2"}, {"machine": "e-own"}, {"outcome": "rejected"},
               {"client": "batch-2", "machine": "e-own"}]
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    with contextlib.ExitStack() as stack:
        live = [stack.enter_context(listening(farm, **params)) for params in filters]
        for listener in live:
            wait_until(lambda listener=listener: listener.last_id, "the first position arrives")
        begin = live[0].last_id
        # Events with misleading texts, which no filter may pass; sent before the wanted events.
        for client, request in (
                (farm.ops, {"type": "machine.update", "machine": "e-text", "labels": labels}),
                (farm.ops, {"type": "machine.register", "machine": "e-texts", "gpus": 1,
                            "memory_gib": 1, "labels": labels}),
                (farm.batch_1, create(start, start + HOUR, share("e-text", 1)))):
            farm.accept(client, request, user=text)
        own = farm.accept(farm.batch_2, create(start, start + HOUR, share("e-own", 1)), user=text)
        refused = farm.decide(farm.batch_2, create(start, start + HOUR, share("e-own", 60001)),
                              user=text)
        assert not refused.accepted
        wanted = [{own.value, refused.value}, {own.value, refused.value}, {refused.value},
                  {own.value, refused.value}]

        def check(listeners):
            for listener, values in zip(listeners, wanted, strict=True):
                assert {item.data.encode() for item in listener.wait_for(len(values))} == values
        check(live)
        # A listener without a filter gets them all.
        everything = stack.enter_context(listening(farm, after=begin))
        assert len(everything.wait_for(5)) == 5
        check([stack.enter_context(listening(farm, after=begin, **params)) for params in filters])
        # Push the events out of the reader's memory in each of their partitions.
        for machine in ("e-own", "e-text", "e-texts"):
            farm.decide_all([(farm.batch_1, create(start, start + HOUR, share(machine, 0, 1)))]
                            * 1100, limit_s=60)
        filters = [{**params, "client": "batch-2"} for params in filters]
        check([stack.enter_context(listening(farm, after=begin, **params)) for params in filters])


def as_earlier(event):
    """The bytes of an amend's or cancel's event as an earlier release wrote them."""
    data = {name: value for name, value in event.data.items() if name != "previous"}
    return json.dumps({**event.json, "data": data}, separators=(",", ":")).encode()


def test_machine_listener_gets_departures(farm):
    """A machine's listener also gets events by which a booking leaves the machine (cancelled, moved,
    displaced): live, resumed, and from the database."""
    start = int(time.time()) // HOUR * HOUR + 48 * HOUR
    farm.register("e-left", "e-other", gpus=8)

    def told(listener, count):
        return [item.data.encode() for item in listener.wait_for(count)]
    with listening(farm, machine="e-left", outcome="accepted") as here, \
            listening(farm, machine="e-other") as there:
        for listener in (here, there):
            wait_until(lambda listener=listener: listener.last_id, "the first position arrives")
        begin = here.last_id
        made = [farm.accept(farm.batch_1, create(start + hour * HOUR, start + (hour + 1) * HOUR,
                                                 share("e-left", 8, 1))) for hour in range(3)]
        ids = [event.booking["id"] for event in made]
        gone = [farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": ids[0]}),
                farm.accept(farm.batch_1, {"type": "booking.amend", "booking": ids[1],
                                           "allocations": [share("e-other", 8, 1)]})]
        both = farm.accept(farm.batch_1, create(
            start + 5 * HOUR, start + 6 * HOUR, share("e-left", 4, 1), share("e-other", 8, 1)))
        shrunk = farm.accept(farm.ops, {"type": "machine.update", "machine": "e-other", "gpus": 1,
                                        "displace": True})
        assert {item["id"] for item in shrunk.data["displaced"]} == {ids[1], both.booking["id"]}
        wanted = {event.value for event in [*made, *gone, both, shrunk]}
        assert set(told(here, 7)) == wanted
        assert set(told(there, 3)) == {gone[1].value, both.value, shrunk.value}
    with listening(farm, machine="e-left", outcome="accepted", after=begin) as later:
        assert set(told(later, 7)) == wanted
    # Push the events out of the reader's memory in e-left's partition.
    farm.decide_all([(farm.batch_1, create(start, start + HOUR, share("e-left", 9)))] * 1100,
                    limit_s=60)
    with listening(farm, machine="e-left", outcome="accepted", after=begin) as later:
        assert set(told(later, 7)) == wanted
    # Events of earlier releases do not say what a booking left: the reader looks it up.
    earlier = [as_earlier(event) for event in gone]
    for event, value in zip(gone, earlier):
        farm.rows("UPDATE decision SET event = %s WHERE part = %s AND seq = %s", value,
                  event.partition, event.sequence)
    with listening(farm, machine="e-left", outcome="accepted", after=begin) as later:
        assert set(told(later, 7)) == {event.value for event in (*made, both, shrunk)} | {*earlier}


@pytest.mark.parametrize("params, wrong", [
    ({"after": "00,0,0,0,0,0,0,0"}, "after"), ({"after": ""}, "after"),
    ({"after": "1,2"}, "after"), ({"after": "x"}, "after"), ({"after": "1,1,1,1,1,1,1,"}, "after"),
    ({"after": ",".join(["999999999"] * 8)}, "after"), ({"after": "-1,0,0,0,0,0,0,0"}, "after"),
    ({"outcome": "maybe"}, "outcome"), ({"machine": "a b"}, "machine"), ({"user": "x"}, "user")])
def test_wrong_parameters(farm, params, wrong):
    answer = requests.get(farm.reader_url + "/v1/events", params=params, timeout=10)
    assert answer.status_code == 400 and answer.json()["parameter"] == wrong


def test_empty_last_event_id(farm):
    """An EventSource that has seen no id may send an empty one; a position in the header wins."""
    for last, after in (("", None), ("", ",".join(["0"] * 8))):
        params = {"after": after} if after else None
        with requests.get(farm.reader_url + "/v1/events", timeout=10, stream=True, params=params,
                          headers={"Last-Event-ID": last}) as answer:
            assert answer.status_code == 200
            if after:
                assert f"id: {after}" in next(answer.iter_content(4096)).decode()
    answer = requests.get(farm.reader_url + "/v1/events", timeout=10, headers={"Last-Event-ID": "x"},
                          params={"after": ",".join(["0"] * 8)})
    assert answer.status_code == 400


def test_head_ends(farm):
    answer = requests.head(farm.reader_url + "/v1/events", timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/event-stream"


def test_heartbeats(farm):
    """A quiet stream sends heartbeats, so that proxies and clients keep the connection."""
    with listening(farm, client="nobody") as listener:
        wait_until(lambda: listener.last_id, "the first position arrives")
        begin = listener.last_id
        bookings(farm, 1)
        wait_until(lambda: listener.comments, "a comment comes", 25)
        # The position moves past filtered events, so a resume does not read them again.
        wait_until(lambda: listener.last_id != begin, "the position moves", 5)
        assert listener.sent == []


def test_bound_of_listeners(farm):
    reader = farm.start("berth-reader", environment=farm.environment(
        BERTH_READER_LISTENERS_MAX=2))
    port = reader.wait_log(r"reader listens.* port=(\d+)").group(1)
    url = f"http://127.0.0.1:{port}"
    first, second = Listener(url), Listener(url)
    third = requests.get(url + "/v1/events", timeout=10)
    assert third.status_code == 503 and third.headers["Retry-After"]
    assert third.json()["type"] == "urn:berth:problem:too_many_connections"
    assert requests.get(url + "/healthz", timeout=10).status_code == 200
    # A shutdown ends the streams at once.
    assert reader.stop() < 5
    wait_until(lambda: first.ended and second.ended, "the streams end")


def test_slow_listener_is_dropped(farm):
    """A listener that does not read is cut off after the time-out and does not delay the others."""
    reader = farm.start("berth-reader", environment=farm.environment(
        BERTH_READER_TIMEOUT_S=2))
    port = int(reader.wait_log(r"reader listens.* port=(\d+)").group(1))
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", port))
    total = farm.row("SELECT MAX(last_seq) AS n FROM request_partition")["n"]
    assert total > 0
    slow.sendall(b"GET /v1/events?after=0,0,0,0,0,0,0,0 HTTP/1.1\r\nHost: x\r\n\r\n")
    with contextlib.closing(Listener(f"http://127.0.0.1:{port}")) as quick:
        wait_until(lambda: quick.last_id, "the first position arrives")
        for _ in range(6):
            bookings(farm, 400)
        quick.wait_for(2400, 60)

        def cut_off():
            with open(f"/proc/{reader.pid}/net/tcp", encoding="ascii") as table:
                mine = f"{slow.getsockname()[1]:04X}"
                return not any(line.split()[2].endswith(f":{mine}") and line.split()[3] == "01"
                               for line in list(table)[1:])
        wait_until(cut_off, "the slow one is cut off", 30)
        assert not quick.ended
    slow.close()
    reader.stop()


def test_a_reader_starts_after_retention(farm):
    """A reader started after retention removed most of the event log serves new and old events."""
    begin = ",".join(["0"] * 8)
    last = max(bookings(farm, 5), key=lambda event: event.sequence)
    farm.broker.delete_records(farm.event_topic, last.partition, last.message.offset - 1)
    reader = farm.start("berth-reader")
    port = reader.wait_log(r"reader listens.* port=(\d+)").group(1)
    url = f"http://127.0.0.1:{port}"
    with contextlib.closing(Listener(url)) as live, \
            contextlib.closing(Listener(url, after=begin)) as all_of_it:
        wait_until(lambda: live.last_id, "the first position arrives")
        events = bookings(farm, 3)
        assert [item.data.encode() for item in live.wait_for(3)] == \
            [event.value for event in sorted(events, key=lambda event: event.sequence)]
        total = farm.row("SELECT COUNT(*) AS n FROM decision")["n"]
        all_of_it.wait_for(total)
    reader.stop()


def test_database_and_broker_die(farm):
    """A listener resumes after database and broker were killed, without missing an event."""
    with listening(farm) as listener:
        wait_until(lambda: listener.last_id, "the first position arrives")
        begin = listener.last_id
    farm.broker.kill()
    farm.database.kill()
    # A browser comes again after a stream that ends, and never after another status.
    for accept, status in (("text/event-stream", 200), ("*/*", 503)):
        answer = requests.get(farm.reader_url + "/v1/events", timeout=30, headers={"Accept": accept})
        assert answer.status_code == status
        if status == 200:
            assert answer.headers["Content-Type"] == "text/event-stream"
            assert answer.text.startswith("retry: 3000\n: ") and answer.text.endswith("\n\n")
    farm.database.start()
    farm.broker.start()
    events = bookings(farm, 3)
    with listening(farm, after=begin) as listener:
        sent = listener.wait_for(3, 60)
        assert {item.data.encode() for item in sent} >= {event.value for event in events}
        more = bookings(farm, 2)
        wait_until(lambda: {event.value for event in more} <=
                   {item.data.encode() for item in listener.sent}, "live again", 60)


def test_many_listeners(farm):
    """Each of two thousand listeners gets each event."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(2000, hard - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, count + 500)), hard))
    # All come from one address, as behind a proxy.
    reader = farm.start("berth-reader", environment=farm.environment(
        BERTH_READER_CONNECTIONS_PER_ADDRESS=2500))
    port = int(reader.wait_log(r"reader listens.* port=(\d+)").group(1))
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                 for _ in range(count)]
        for conn in conns:
            conn.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        heads = [b""] * count
        for index, conn in enumerate(conns):
            while b"id: " not in heads[index]:
                part = conn.recv(65536)
                assert part, heads[index]
                heads[index] += part
        events = bookings(farm, 3)
        begin = time.monotonic()
        last = max(events, key=lambda event: event.sequence).json["id"].encode()
        for index, conn in enumerate(conns):
            text = b""
            while b'"id":"' + last + b'"' not in text:
                part = conn.recv(65536)
                assert part, (index, text)
                text += part
            assert text.count(b"data: ") == 3
        print(f"{count} listeners had 3 events {time.monotonic() - begin:.1f} s after the last "
              "was decided")
    reader.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
