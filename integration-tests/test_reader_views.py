"""The reader's computed views: timelines, availability, usage, histories; and the old API's reads."""

import gzip
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import pytest
import requests

from berthtest.farm import create, rfc3339, share
from berthtest.wait import wait_until

HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture(scope="module", name="start")
def fixture_start():
    return int(time.time()) // DAY * DAY + 3 * DAY


@pytest.fixture(scope="module", name="farm")
def fixture_farm(module_farm, start):
    """v-00 … v-03 with 8 GPUs each; v-00 and v-01 full for the first two hours, v-02 half full."""
    farm = module_farm
    farm.start_reader()
    farm.register("v-00", "v-01", "v-02", labels={"gpu": "a100", "rack": 'b"7'})
    farm.register("v-03", labels={"gpu": "h100"})
    farm.full = [farm.accept(farm.batch_1, create(start, start + 2 * HOUR, share(name, 8, 16)))
                 for name in ("v-00", "v-01")]
    farm.half = farm.accept(farm.batch_2, create(start, start + 2 * HOUR, share("v-02", 4, 60)))
    return farm


def query(path, **params):
    return requests.Request("GET", "http://x" + path, params=params).prepare().path_url


def problem_of(farm, path, status):
    answer = farm.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_machines_by_label(farm):
    def names(**params):
        return [machine["name"] for machine in farm.get_json(query("/v1/machines", **params))["items"]]
    assert names(label="gpu=a100") == ["v-00", "v-01", "v-02"]
    assert names(label=["gpu=a100", 'rack=b"7']) == ["v-00", "v-01", "v-02"]
    assert names(label=["gpu=h100", 'rack=b"7']) == []
    assert names(label="gpu=a1") == [] and names(label="pu=a100") == []
    for wrong in ("gpu", "=a", "g u=x", ["gpu=a", "gpu=b"]):
        assert problem_of(farm, query("/v1/machines", label=wrong), 400)["parameter"] == "label"


def test_timeline(farm, start):
    path = query("/v1/machines/v-02/timeline", **{"from": rfc3339(start - HOUR),
                                                  "to": rfc3339(start + 3 * HOUR)})
    answer = farm.get_json(path)
    assert answer["bookings"] == [{
        "booking": farm.half.booking["id"], "client": "batch-2",
        "user": farm.half.booking["user"], "start": rfc3339(start), "end": rfc3339(start + 2 * HOUR),
        "gpus": 4, "memory_gib": 60}]
    assert [(step["start"], step["end"], step["gpus"], step["memory_gib"])
            for step in answer["free"]] == [
        (rfc3339(start - HOUR), rfc3339(start), 8, 64),
        (rfc3339(start), rfc3339(start + 2 * HOUR), 4, 4),
        (rfc3339(start + 2 * HOUR), rfc3339(start + 3 * HOUR), 8, 64)]
    # Windows are half-open: a booking that ends at the window's start is outside.
    later = query("/v1/machines/v-02/timeline", **{"from": rfc3339(start + 2 * HOUR)})
    assert farm.get_json(later)["bookings"] == []
    assert problem_of(farm, "/v1/machines/none/timeline", 404)["type"].endswith("not_found")
    for params, wrong in (({"from": "tomorrow"}, "from"), ({"to": rfc3339(1000)}, "to"),
                          ({"from": "2026-12-01T02:00:00"}, "from")):
        answer = problem_of(farm, query("/v1/machines/v-02/timeline", **params), 400)
        assert answer["parameter"] == wrong


def test_bookings_by_window_and_user(farm, start):
    ids = sorted(event.booking["id"] for event in [*farm.full, farm.half])

    def found(**params):
        return [item["id"] for item in farm.get_json(query("/v1/bookings", **params))["items"]]
    window = {"from": rfc3339(start + HOUR), "to": rfc3339(start + HOUR + 1)}
    assert found(**window) == ids
    assert found(**window, client="batch-2") == [farm.half.booking["id"]]
    assert found(**window, machine="v-01") == [farm.full[1].booking["id"]]
    assert found(**window, user="nobody' OR 1=1") == []
    assert found(**window, user=farm.half.booking["user"]) == ids
    assert found(**{"from": rfc3339(start + 2 * HOUR)}) == []
    assert found(to=rfc3339(start)) == []
    assert found(to=rfc3339(start), machine="v-01") == []
    assert problem_of(farm, query("/v1/bookings", **{"from": rfc3339(start), "to": rfc3339(start)}),
                      400)["parameter"] == "to"


def availability(farm, **params):
    return farm.get_json(query("/v1/availability", **params))


def test_availability(farm, start):
    asked = {"gpus": 8, "duration": "1h", "from": rfc3339(start), "limit": 2}
    one = availability(farm, **asked)
    assert one["matching"] == 4 and one["from"] == rfc3339(start)
    assert [(window["start"], [share["machine"] for share in window["allocations"]])
            for window in one["windows"]] == [
        (rfc3339(start), ["v-03"]), (rfc3339(start + HOUR), ["v-03"])]
    assert [(item["machine"], item["start"]) for item in one["machines"]] == [
        ("v-03", rfc3339(start)), ("v-00", rfc3339(start + 2 * HOUR))]
    # Four machines at once: from when the last of them is free.
    assert availability(farm, **asked, count=4)["windows"][0] == {
        "start": rfc3339(start + 2 * HOUR), "end": rfc3339(start + 3 * HOUR),
        "allocations": [share(f"v-0{number}", 8, 0) for number in range(4)]}
    # Memory is limiting, too.
    memory = availability(farm, **(asked | {"gpus": 1, "memory_gib": 5}), label="gpu=a100")
    assert memory["windows"][0]["start"] == rfc3339(start + 2 * HOUR)
    # Best fit: the machine with the least free GPUs first.
    assert availability(farm, **(asked | {"gpus": 2}))["windows"][0]["allocations"] == [
        share("v-02", 2, 0)]
    named = availability(farm, **asked, machine="v-01")
    assert named["matching"] == 1
    assert named["windows"][0]["start"] == rfc3339(start + 2 * HOUR)
    # No answer: beyond the horizon, never, too few machines.
    assert availability(farm, **asked, count=4, horizon="2h")["windows"] == []
    never = availability(farm, **(asked | {"gpus": 9}))
    assert never["windows"] == never["machines"] == [] and "9 GPUs" in never["detail"]
    assert availability(farm, **asked, count=5)["windows"] == []
    assert availability(farm, **asked, machine="none")["windows"] == []
    for params, wrong in (({"gpus": 1}, "duration"), ({"duration": "1h"}, "gpus"),
                          ({"gpus": 1, "duration": "60"}, "duration"),
                          ({"gpus": 1, "duration": "1h", "count": 65}, "count"),
                          ({"gpus": 1, "duration": "1h", "machine": "v-00", "count": 2}, "machine")):
        assert problem_of(farm, query("/v1/availability", **params), 400)["parameter"] == wrong


def test_availability_ends_where_booking_does(farm):
    """No offered window begins beyond the worker's horizon."""
    last = int(time.time()) + 2 * 366 * DAY
    asked = {"gpus": 1, "duration": "1h", "limit": 9}
    for where in ({}, {"machine": "v-03"}):
        found = availability(farm, **asked, **where, horizon="1d",
                             **{"from": rfc3339(last - 5 * HOUR)})
        assert 5 <= len(found["windows"]) <= 6 and "detail" not in found
        assert found["machines"]
        never = availability(farm, **asked, **where, **{"from": rfc3339(last + HOUR)})
        assert never["windows"] == never["machines"] == []
        assert "too far ahead" in never["detail"]


def test_the_last_day_that_can_be_written(farm):
    """A window without an end is cut at the year 9999, the last that RFC 3339 can write."""
    begin, end = "9999-12-31T00:00:00Z", "9999-12-31T23:59:59Z"
    for path in ("/v1/usage", "/v1/machines/v-03/timeline"):
        found = farm.get_json(query(path, **{"from": begin}))
        assert (found["from"], found["to"]) == (begin, end)
    assert availability(farm, gpus=1, duration="1h", **{"from": begin})["until"] == end


def test_availability_is_the_workers_answer(farm, start):
    """The offered window can be booked; after that the answer is a different one."""
    asked = {"gpus": 5, "memory_gib": 1, "duration": "90m", "from": rfc3339(start + 5 * DAY),
             "limit": 1}
    for _ in range(6):
        offered = availability(farm, **asked, count=2)["windows"][0]
        names = [share["machine"] for share in offered["allocations"]]
        booked = farm.decide(farm.batch_1, {
            "type": "booking.create", "start": offered["start"], "end": offered["end"],
            "allocations": [share(name, 5, 1) for name in names]})
        assert booked.accepted, booked.data
        again = availability(farm, **asked, count=2)["windows"][0]
        assert (again["start"], again["allocations"]) != (offered["start"], offered["allocations"])
    refused = farm.decide(farm.batch_1, {
        "type": "booking.create", "start": rfc3339(start + 5 * DAY), "duration_s": 5400,
        "allocations": [share("v-00", 5, 1), share("v-01", 5, 1)]})
    assert refused.data["reason"] == "insufficient_capacity"
    both = [availability(farm, **asked, machine=name)["windows"][0]["start"]
            for name in ("v-00", "v-01")]
    assert refused.data["next_available"] == max(both)


def test_usage(farm, start):
    usage = farm.get_json(query("/v1/usage", **{"from": rfc3339(start + HOUR),
                                                "to": rfc3339(start + 3 * HOUR)}))
    assert usage["unit"] == "gpu_hours"
    assert usage["farm"] == {"booked": 20.0, "offered": 64.0}
    assert usage["machines"] == [
        {"machine": "v-00", "booked": 8.0, "offered": 16.0},
        {"machine": "v-01", "booked": 8.0, "offered": 16.0},
        {"machine": "v-02", "booked": 4.0, "offered": 16.0},
        {"machine": "v-03", "booked": 0.0, "offered": 16.0}]
    assert usage["clients"] == [{"client": "batch-1", "booked": 16.0},
                                {"client": "batch-2", "booked": 4.0}]
    # Six minutes are written as 0.1 hours.
    short = farm.get(query("/v1/usage", **{"from": rfc3339(start), "to": rfc3339(start + 360)}))
    assert '{"machine":"v-02","booked":0.4,"offered":0.8}' in short.text


def test_availability_of_a_machine_that_is_not_up(farm):
    """A machine set down is not offered, even if the reader has cached it as up."""
    farm.register("v-down", gpus=1, labels={"only": "this"})
    asked = {"gpus": 1, "duration": "1h", "limit": 1}
    assert availability(farm, **asked, machine="v-down")["windows"]
    farm.accept(farm.ops, {"type": "machine.update", "machine": "v-down", "state": "draining"})
    named = availability(farm, **asked, machine="v-down")
    assert named["windows"] == named["machines"] == [] and named["matching"] == 0
    assert named["detail"].startswith("v-down is draining")
    labelled = availability(farm, **asked, label="only=this")
    assert labelled["windows"] == labelled["machines"] == []
    farm.accept(farm.ops, {"type": "machine.update", "machine": "v-down", "state": "retired"})


def test_availability_after_a_database_that_went_back(farm, start):
    """After a fail-over that lost commits, the reader forgets the newer versions that it knows."""
    farm.register("v-back", gpus=1)
    asked = {"gpus": 1, "duration": "1h", "limit": 1, "machine": "v-back",
             "from": rfc3339(start + 9 * DAY)}
    farm.accept(farm.batch_1, create(start + 9 * DAY, start + 9 * DAY + HOUR, share("v-back", 1, 0)))
    assert availability(farm, **asked)["windows"][0]["start"] == rfc3339(start + 9 * DAY + HOUR)
    with farm.database.connect(farm.database_name) as session, session.cursor() as cursor:
        def set_booked(live, version):
            cursor.execute("UPDATE machine SET version = version + %s WHERE name = 'v-back'",
                           [version])
            cursor.execute("UPDATE allocation SET live = %s WHERE machine ="
                           " (SELECT id FROM machine WHERE name = 'v-back')", [live])

        set_booked(0, -1)
        cursor.execute("SELECT id FROM information_schema.processlist"
                       " WHERE user = 'berth_reader' AND db = %s", [farm.database_name])
        for lost, in cursor.fetchall():
            cursor.execute("KILL %s", [lost])
        assert availability(farm, **asked)["windows"][0]["start"] == rfc3339(start + 9 * DAY)
        set_booked(1, 1)


def test_slow_query_delays_no_other_request(farm):
    """One blocked database query does not delay other requests: no lock is held across a query."""
    for name in ("v-kept", "v-slow"):
        farm.register(name, gpus=1, labels={"only": name})
    asked = {"gpus": 1, "duration": "1h", "limit": 1}
    assert availability(farm, **asked, machine="v-kept")["windows"]
    # Another test has restarted the database.
    wait_until(lambda: farm.get("/v1/machines/v-slow").status_code == 200, "quick ones are answered")
    with farm.database.connect(farm.database_name) as session, session.cursor() as cursor, \
            ThreadPoolExecutor(1) as waiting:
        cursor.execute("LOCK TABLES allocation WRITE")
        slow = waiting.submit(availability, farm, **asked, machine="v-slow")
        wait_until(lambda: farm.rows(
            "SELECT id FROM information_schema.processlist WHERE info LIKE %s AND id <> CONNECTION_ID()"
            " AND state LIKE 'Waiting for table%%'", "%FROM allocation %"),
            "the question waits for the table")
        # A cached machine, a label without machines, and another route.
        for path in (query("/v1/availability", **asked, machine="v-kept"),
                     query("/v1/availability", **asked, label="only=nothing"), "/v1/machines/v-slow"):
            assert farm.get(path, limit_s=5).status_code == 200
        assert not slow.done()
        cursor.execute("UNLOCK TABLES")
        assert slow.result(10)["windows"]


def test_pages_of_a_machine(farm, start):
    """A booking amended while running has several allocations on a machine but is listed once."""
    farm.register("v-page")
    running = farm.accept(farm.batch_1, {"type": "booking.create", "duration_s": 7200,
                                         "allocations": [share("v-page", 1, 1)]}).booking["id"]
    later = [farm.accept(client, create(start + hour * HOUR, start + (hour + 1) * HOUR,
                                        share("v-page", 8, 1))).booking["id"]
             for hour, client in enumerate((farm.batch_1, farm.ops, farm.batch_1))]
    gpus = itertools.cycle((2, 1))

    def amended():
        farm.accept(farm.batch_1, {"type": "booking.amend", "booking": running,
                                   "allocations": [share("v-page", next(gpus), 1)]})
        return farm.row(f"SELECT COUNT(*) AS n FROM allocation WHERE booking = {running}"
                        " AND live = 1")["n"] >= 3
    wait_until(amended, "it was amended in three seconds")

    def listed(**params):
        found, page = [], {"next": None}
        while "next" in page:
            page = farm.get_json(query("/v1/bookings", machine="v-page", after=page["next"], **params))
            assert len(page["items"]) <= params["limit"]
            found += [item["id"] for item in page["items"]]
        return found
    for limit in range(1, 7):
        assert listed(limit=limit) == [running, *later]
        assert listed(limit=limit, client="batch-1") == [running, later[0], later[2]]
        assert listed(limit=limit, **{"from": rfc3339(start + HOUR)}) == later[1:]
        assert listed(limit=limit, to=rfc3339(start + 1)) == [running, later[0]]


def test_history(farm, start):
    """A booking's decisions in order: created, amended, displaced by a machine update."""
    farm.register("v-hist")
    made = farm.accept(farm.batch_1, create(start, start + HOUR, share("v-hist", 8, 1)))
    number = made.booking["id"]
    amended = farm.accept(farm.batch_1, {"type": "booking.amend", "booking": number,
                                         "end": rfc3339(start + 2 * HOUR)})
    displaced = farm.accept(farm.ops, {"type": "machine.update", "machine": "v-hist", "gpus": 4,
                                       "displace": True})
    assert [item["id"] for item in displaced.data["displaced"]] == [number]
    items = farm.get_json(f"/v1/bookings/{number}/decisions")["items"]
    assert [json.dumps(item) for item in items] == [
        json.dumps(json.loads(event.value)) for event in (made, amended, displaced)]
    assert problem_of(farm, "/v1/bookings/3/decisions", 404)["type"].endswith("not_found")


def test_history_of_an_occurrence(farm, start):
    """An occurrence's history has the series' decisions that changed this occurrence, but no decisions
    on other occurrences and no updates of its machine, whatever text they contain."""
    farm.register("v-series", gpus=8)
    made = farm.accept(farm.batch_1, {
        **create(start, start + HOUR, share("v-series", 8)),
        "repeat": {"every": "day", "count": 4, "zone": "UTC"}})
    first, second, third, last = (item["booking"]
                                  for item in made.data["series"]["occurrences"])
    text = f'{{"id":{third},{{"booking":{third},"occurrences":[{{"booking":{third}}}]'
    farm.accept(farm.ops, {"type": "machine.update", "machine": "v-series",
                           "labels": {"id": str(third), "booking": str(third), "note": text}})
    farm.accept(farm.batch_1, {"type": "booking.amend", "booking": second,
                               "end": rfc3339(start + 26 * HOUR)}, user=text)
    gone = farm.accept(farm.batch_1, {"type": "booking.cancel", "series": first})
    assert third in [item["booking"] for item in gone.data["series"]["occurrences"]]
    for booking in (third, last):
        items = farm.get_json(f"/v1/bookings/{booking}/decisions")["items"]
        assert [item["id"] for item in items] == [made.json["id"], gone.json["id"]]


def test_follow_a_partition(farm):
    event = farm.half
    part, last = event.data["request"]["partition"], int(json.loads(event.value)["sequence"])
    farm.decide_all([(farm.batch_1, {"type": "booking.cancel", "booking": 4096 * 999 + part})] * 60)
    answer = farm.get(f"/v1/partitions/{part}/decisions?after={last - 1}&limit=1")
    assert event.value in answer.content
    after, seen = 0, []
    while True:
        page = farm.get_json(f"/v1/partitions/{part}/decisions?after={after}&limit=2")
        seen += [int(item["sequence"]) for item in page["items"]]
        if "next" not in page:
            break
        after = page["next"]
    assert seen == list(range(1, len(seen) + 1)) and len(seen) >= last
    # As many as requested, however many queries the reader needs.
    for limit in (1, 24, 25, 26, 50, 51, 1000):
        page = farm.get_json(f"/v1/partitions/{part}/decisions?limit={limit}")
        assert [int(item["sequence"]) for item in page["items"]] == seen[:limit]
        assert page.get("next") == (str(limit) if limit < len(seen) else None)
    assert problem_of(farm, "/v1/partitions/8/decisions", 404)["type"].endswith("not_found")
    assert problem_of(farm, "/v1/partitions/x/decisions", 404)["type"].endswith("not_found")


def test_compression(farm, start):
    for hour in range(5):  # a short list is not cut
        farm.accept(farm.batch_1, create(start + (9 * 24 + hour) * HOUR,
                                         start + (9 * 24 + hour + 1) * HOUR, share("v-03", 8, 1)))
    plain = farm.get("/v1/bookings", headers={"Accept-Encoding": "identity"})
    packed = farm.get("/v1/bookings", headers={"Accept-Encoding": "gzip"}, stream=True)
    raw = packed.raw.read(decode_content=False)
    assert packed.headers["Content-Encoding"] == "gzip" and len(raw) < len(plain.content)
    assert gzip.decompress(raw) == plain.content
    assert packed.headers["ETag"] != plain.headers["ETag"]
    for tag in (packed.headers["ETag"], plain.headers["ETag"]):
        encoding = "gzip" if tag == packed.headers["ETag"] else "identity"
        assert farm.get("/v1/bookings", headers={"Accept-Encoding": encoding, "If-None-Match": tag}
                        ).status_code == 304
    for refused in ("gzip;q=0", "gzip; q=0.0", "br", "*", "notgzip"):
        answer = farm.get("/v1/bookings", headers={"Accept-Encoding": refused})
        assert "Content-Encoding" not in answer.headers, refused
    assert farm.get("/v1/bookings", headers={"Accept-Encoding": "br, gzip;q=0.5"}
                    ).headers["Content-Encoding"] == "gzip"


def test_other_origins(farm):
    """CORS: pages of the named origins may read, also with the old API's request headers; others not."""
    ours, other = {"Origin": "https://farm.example"}, {"Origin": "https://other.example"}
    asked = "access-control-allow-origin, access-control-allow-methods"
    answer = farm.get("/v1/machines", headers=ours)
    assert answer.status_code == 200 and "Access-Control-Allow-Origin" not in answer.headers
    for setting in ("*", "https://a.example https://farm.example"):
        reader = farm.start("berth-reader", environment=farm.environment(
            BERTH_READER_CORS_ORIGIN=setting))
        url = f"http://127.0.0.1:{reader.wait_log(r'reader listens.* port=([0-9]+)').group(1)}"
        allowed = "*" if setting == "*" else ours["Origin"]
        assert ("every web page" in reader.text()) == (setting == "*")
        answer = requests.get(url + "/v1/machines", timeout=10, headers=ours)
        assert answer.headers["Access-Control-Allow-Origin"] == allowed
        assert "Origin" in answer.headers["Vary"]
        answer = requests.get(url + "/v1/machines", timeout=10, headers=other)
        assert answer.headers.get("Access-Control-Allow-Origin") == ("*" if setting == "*" else None)
        for path in ("/Ressource/", "/v1/machines"):
            preflight = requests.options(url + path, timeout=10, headers={
                **ours, "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": asked})
            assert preflight.status_code == 204 and preflight.content == b""
            assert preflight.headers["Access-Control-Allow-Origin"] == allowed
            assert preflight.headers["Access-Control-Allow-Headers"] == asked
            assert "GET" in preflight.headers["Access-Control-Allow-Methods"]
        reader.stop()


def test_old_api(farm, start):
    machines = {machine["name"]: machine for machine in farm.get_json("/v1/machines")["items"]}
    v_00, v_02 = machines["v-00"]["id"], machines["v-02"]["id"]
    half = farm.half.booking["id"]
    for slash in ("", "/"):
        listed = farm.get_json(f"/Ressource{slash}")["Ressources"]
        assert {"id": v_00, "quantiteGPU": 8, "quantiteMemoire": 64} in listed
        assert listed == sorted(listed, key=lambda item: item["id"])
        assert farm.get_json(f"/Ressource/{v_00}{slash}") == {
            "id": v_00, "quantiteGPU": 8, "quantiteMemoire": 64}
        one = {"date_debut": datetime.fromtimestamp(start, timezone.utc).strftime(
            "%a, %d %b %Y %H:%M:%S GMT"), "id": half, "nomUtilisateur": farm.half.booking["user"]}
        answer = farm.get_json(f"/Reservation/{half}{slash}")
        assert parsedate_to_datetime(answer["date_fin"]).timestamp() == start + 2 * HOUR
        assert answer == one | {"date_fin": answer["date_fin"]}
        assert answer in farm.get_json(f"/Reservation{slash}")["Reservations"]
        allocation = {"idRessource": v_02, "idReservation": half, "nbGPU": 4, "nbmemoire": 60}
        for path in ("/RessourceReserve", f"/RessourceReserve/idReservation/{half}",
                     f"/RessourceReserve/idRessource/{v_02}"):
            assert allocation in farm.get_json(path + slash)["RessourceReserve"], path
        assert farm.get_json(f"/RessourceReserve/idReservation/{half}{slash}") == {
            "RessourceReserve": [allocation]}
        for path in ("/Ressource/4095", "/Reservation/3", "/RessourceReserve/idRessource/4095",
                     "/RessourceReserve/idReservation/3", "/Reservation/x"):
            assert problem_of(farm, path + slash, 404)["type"] == "urn:berth:problem:not_found"
    # Browser libraries add a parameter to bypass caches.
    assert farm.get_json(f"/Ressource/{v_00}/?_=1795531074")["id"] == v_00
    post = requests.post(farm.reader_url + "/Reservation/", json={"x": 1}, timeout=10)
    assert post.status_code == 405 and "berth book" in post.json()["detail"]
    assert farm.get("/Ressource/").headers["Content-Type"] == "application/json"
    assert requests.head(farm.reader_url + "/Ressource/", timeout=10).status_code == 200


def test_old_api_omits_cancelled_bookings(farm, start):
    booked = farm.accept(farm.batch_1, create(start, start + HOUR, share("v-03", 1, 1)))
    number = booked.booking["id"]
    assert farm.get(f"/Reservation/{number}").status_code == 200
    farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": number})
    problem_of(farm, f"/Reservation/{number}", 404)
    problem_of(farm, f"/RessourceReserve/idReservation/{number}", 404)
    assert number not in [item["id"] for item in farm.get_json("/Reservation/")["Reservations"]]


def test_page_of_long_events(new_farm):
    """A page of long events is cut by size and names the position of the next page."""
    farm = new_farm().init()
    farm.start_reader()
    for seq in range(1, 61):
        farm.sql.query("INSERT INTO decision (part, seq, log_offset, message_sha256, outcome, time_ms, "
                       f"event) VALUES (3, {seq}, {seq}, REPEAT('x', 32), 'accepted', 1, CONCAT("
                       f"'{{\"sequence\":\"{seq}\",\"pad\":\"', REPEAT('y', 300000), '\"}}'))")
    after, pages = 0, []
    while after is not None:
        answer = farm.get(f"/v1/partitions/3/decisions?limit=1000&after={after}")
        assert len(answer.content) < 12_000_000
        pages.append([int(item["sequence"]) for item in answer.json()["items"]])
        after = answer.json().get("next")
    assert sum(pages, []) == list(range(1, 61)) and len(pages) == 3


def test_old_api_lists_in_pieces(new_farm, start):
    """Lists longer than one statement's limit: ordered by id, each item once; also for one machine."""
    farm = new_farm().init()
    farm.start_reader()
    farm.sql.query("INSERT INTO machine (id, name, gpus, memory_gib, labels, state, version, "
                   "capacity_changed_ms) VALUES "
                   "(1, 'p-1', 8, 64, '{}', 'up', 1, 0), (2, 'p-2', 8, 64, '{}', 'up', 1, 0)")
    count, begin, end = 27001, start * 1000, (start + HOUR) * 1000
    for first in range(0, count, 3000):
        ids = range(first + 1, min(first + 3000, count) + 1)
        farm.sql.query("INSERT INTO booking (id, client, user_name, start_ms, end_ms, state, version) "
                       "VALUES " + ",".join(f"({number * 4096}, 'batch-1', 'u', {begin}, {end}, "
                                            "'booked', 1)" for number in ids))
        farm.sql.query("INSERT INTO allocation (booking, machine, start_ms, end_ms, gpus, memory_gib,"
                       " live, machine_version) VALUES " +
                       ",".join(f"({number * 4096}, {1 if number % 9 else 2}, {begin}, {end}, 1, 1, "
                                "1, 1)" for number in ids))

    def ids_of(path, name, key="idReservation"):
        return [item[key] // 4096 for item in farm.get_json(path)[name]]
    every = list(range(1, count + 1))
    assert ids_of("/Reservation/", "Reservations", "id") == every
    assert ids_of("/RessourceReserve/", "RessourceReserve") == every
    for machine in (1, 2):
        assert ids_of(f"/RessourceReserve/idRessource/{machine}", "RessourceReserve") == \
            [number for number in every if machine == (1 if number % 9 else 2)]


def test_ready(farm):
    assert farm.get_json("/readyz") == {"status": "ok"}
    farm.database.kill()
    try:
        assert farm.get("/readyz", limit_s=60).status_code == 503
        assert farm.get("/Ressource/", limit_s=60).status_code == 503
    finally:
        farm.database.start()


def test_series(farm, start):
    made = farm.accept(farm.batch_1, {
        "type": "booking.create", "start": rfc3339(start + 9 * DAY), "duration_s": HOUR,
        "any": {"count": 1, "gpus": 2, "memory_gib": 0},
        "repeat": {"every": "day", "count": 4, "zone": "Europe/Paris"}})
    number = made.data["series"]["id"]
    items = farm.get_json(f"/v1/series/{number}")["items"]
    assert [(item["id"], item["start"], item["series"]) for item in items] == [
        (occurrence["booking"], occurrence["start"], number)
        for occurrence in made.data["series"]["occurrences"]]
    assert farm.get_json(f"/v1/bookings/{items[2]['id']}") == items[2]
    for path in ("/v1/series/3", "/v1/series/x", f"/v1/series/{items[1]['id']}"):
        problem_of(farm, path, 404)


def test_clients(farm, start):
    listed = {item["client"]: item for item in farm.get_json("/v1/clients")["items"]}
    assert {"batch-1", "batch-2", "ops"} <= set(listed)
    assert listed["ops"]["role"] == "admin" and listed["batch-1"]["limits"] == {}
    farm.admin_command("client", "limit", "batch-2", "--gpus-at-once", "6",
                       "--gpu-hours-ahead", "100")
    farm.admin_command("farm", "limit", "--booking", "2d")
    one = farm.get_json("/v1/clients/batch-2")
    assert one["limits"] == {"booking_s": 2 * DAY, "gpus_at_once": 6, "gpu_hours_ahead": 100}
    assert one["use"] == {"gpus_now": 0, "gpus_at_once": 4, "gpu_hours_ahead": 8}
    farm.accept(farm.batch_2, create(start + HOUR, start + 3 * HOUR, share("v-03", 2, 1)))
    assert farm.get_json("/v1/clients/batch-2")["use"] == {
        "gpus_now": 0, "gpus_at_once": 6, "gpu_hours_ahead": 12}
    refused = farm.decide(farm.batch_2, create(start + HOUR, start + 2 * HOUR, share("v-03", 1, 1)))
    assert refused.data["reason"] == "limit_exceeded"
    assert refused.data["limit"] == {"name": "gpus_at_once", "limit": 6, "used": 6, "asked": 1}
    problem_of(farm, "/v1/clients/nobody", 404)
    assert [item["client"] for item in farm.get_json("/v1/clients?limit=1&after=batch-1")["items"]
            ] == ["batch-2"]
    farm.admin_command("farm", "limit", "--booking", "none")
