"""/metrics of worker and reader: Prometheus accepts the text, and the values are correct."""

import contextlib
import json
import re
import time
from collections import Counter

import pytest
import requests
import yaml

from berthtest.farm import create, share
from berthtest.metrics import metrics_url, promtool, scrape
from berthtest.servers import ROOT
from berthtest.wait import wait_until

HOUR = 3600
# For tests that do not depend on the kind of database.
ON_ONE = pytest.mark.parametrize("database", ["mysql"], indirect=True)
LISTEN = {"BERTH_WORKER_METRICS_LISTEN": "127.0.0.1:0"}
STAGES = ("authenticate", "warm", "lock", "decide", "write", "commit", "publish")
LABELS = {"partition", "type", "outcome", "reason", "state", "cause", "route", "status"}


def start_worker(farm, **environment):
    worker = farm.start_worker(**LISTEN, **environment)
    return worker, metrics_url(worker)


def scrape_when(url, condition, what, limit_s=20.0):
    """Scrapes until the condition holds; returns that scrape."""
    def look():
        found = scrape(url)
        return found if condition(found) else None
    return wait_until(look, what, limit_s)


def all_published(farm):
    """A condition: no partition has undecided requests or unpublished events."""
    def condition(found):
        return all(len(values := found.by("partition", name)) == farm.partitions
                   and not any(values.values())
                   for name in ("berth_request_lag", "berth_unpublished_decisions"))
    return condition


def some_requests(farm):
    """Decides requests with several types, outcomes and reasons."""
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    farm.register("m-1", "m-2", gpus=4)
    booked = farm.decide_all([
        (farm.batch_1, create(start, start + HOUR, share(machine, 3))) for machine in
        ("m-1", "m-1", "m-2", "m-3")])
    assert [event.accepted for event in booked] == [True, False, True, False]
    farm.accept(farm.batch_1, {"type": "booking.cancel", "booking": booked[0].booking["id"]})
    farm.decide(farm.batch_1, {"type": "booking.cancel", "booking": 77})
    farm.decide(farm.batch_2, {"type": "nonsense"})
    farm.events.decision(farm.publish(b"no token at all"))


def assert_well_formed(found):
    """Names, units and labels, also by promtool's rules."""
    assert promtool("check", "metrics", text=found.text) == ""
    for name, kind in found.types.items():
        assert name.startswith("berth_")
        assert name.endswith("_total") == (kind == "counter"), name
        assert found.help[name].endswith("."), name
        allowed = {"version"} if name == "berth_build_info" else LABELS
        assert found.labels(name) <= allowed, name
    for (name, pairs), value in found.samples.items():
        if dict(pairs).get("le") == "+Inf":
            plain = frozenset(pair for pair in pairs if pair[0] != "le")
            assert found.samples[name.replace("_bucket", "_count"), plain] == value


def test_worker_counts_what_it_decides(farm):
    _, url = start_worker(farm)
    begin = time.time()
    some_requests(farm)
    rows = farm.rows("SELECT reason, event FROM decision")
    found = scrape_when(url, lambda found: all_published(farm)(found)
                        and found.value("berth_decision_seconds_count") >= len(rows),
                        "all is published")
    assert_well_formed(found)

    wanted = Counter("accepted" if row["reason"] is None else "rejected" for row in rows)
    assert found.by("outcome", "berth_decisions_total") == wanted
    assert found.by("reason", "berth_decisions_total", outcome="rejected") == \
        Counter(row["reason"] for row in rows if row["reason"] is not None)
    for name, outcome, reason, count in (
            ("machine.register", "accepted", "none", 2), ("booking.create", "accepted", "none", 2),
            ("booking.create", "rejected", "insufficient_capacity", 1),
            ("booking.create", "rejected", "unknown_machine", 1),
            ("booking.cancel", "accepted", "none", 1),
            ("booking.cancel", "rejected", "unknown_booking", 1),
            ("machine.update", "accepted", "none", 0),
            ("unknown", "rejected", "invalid_request", 1), ("unknown", "rejected", "malformed", 1)):
        assert found.value("berth_decisions_total", type=name, outcome=outcome,
                           reason=reason) == count, (name, reason)

    assert found.value("berth_decision_seconds_count") == len(rows)
    assert 0 < found.value("berth_decision_seconds_sum") < len(rows) * (time.time() - begin)
    assert found.value("berth_batch_messages_sum") == len(rows)
    batches = found.value("berth_batch_messages_count")
    assert 0 < batches <= len(rows)
    for stage in STAGES:
        assert found.value(f"berth_batch_{stage}_seconds_count") >= batches
        assert 0 < found.value(f"berth_batch_{stage}_seconds_sum") < time.time() - begin
    for name in ("database_reconnects", "producer_resets", "group_rejoins", "kafka_disconnects"):
        assert found.value(f"berth_{name}_total") == 0
    assert found.value("berth_database_up") == 1
    assert found.value("berth_farm_halted", cause="none") == 0
    assert found.value("berth_farm_partitions") == farm.partitions
    assert found.by("state", "berth_partitions")["running"] == farm.partitions
    assert abs(found.value("berth_loop_timestamp_seconds") - time.time()) < 5
    epochs = {row["part"]: row["epoch"] for row in farm.rows("SELECT * FROM request_partition")}
    assert found.by("partition", "berth_partition_epoch") == \
        {str(part): epoch for part, epoch in epochs.items()}


@ON_ONE
def test_timelines_are_loaded_once(farm):
    first, url = start_worker(farm)
    farm.register("m-1")
    start = int(time.time()) // HOUR * HOUR + 24 * HOUR
    first.stop()
    _, url = start_worker(farm)
    for number in range(3):
        farm.accept(farm.batch_1, create(start, start + HOUR, share("m-1")))
        found = scrape_when(url, lambda found, count=number + 1:
                            found.value("berth_batch_messages_sum") == count, "it is counted")
        assert found.value("berth_timelines_loaded_total") == 1
        assert found.value("berth_timelines_reused_total") == number


def test_halted_partition_and_its_lag(farm):
    farm.start_worker().wait_log("to=running")
    farm.register("m-1")
    worker = farm.processes[-1]
    worker.stop()
    position = [farm.publish(b"no token", partition=5) for _ in range(3)][0]
    farm.sql.query("UPDATE request_partition SET halted = 'for the test' WHERE part = 5")
    farm.sql.query("UPDATE request_partition SET next_offset = 100 WHERE part = 6")
    _, url = start_worker(farm)

    found = scrape_when(url, lambda found: found.by("state", "berth_partitions").get("halted") == 2
                        and found.by("state", "berth_partitions")["running"] == 6,
                        "two partitions are halted")
    halted = found.by("partition", "berth_partition_halted")
    assert {part for part, value in halted.items() if value} == {"5", "6"}
    assert found.value("berth_partition_halted", partition="4", cause="none") == 0
    assert found.value("berth_partition_halted", partition="5", cause="other") == 1
    assert found.value("berth_partition_halted", partition="6", cause="request_log_replaced") == 1
    assert len(halted) == farm.partitions
    assert set(found.by("partition", "berth_partition_waiting").values()) == {0}
    assert_well_formed(found)

    farm.admin_command("partition", "resume", 5)
    found = scrape_when(url, lambda found: found.value("berth_partition_halted", partition="5",
                                                       cause="none") == 0
                        and found.value("berth_request_lag", partition="5") == 0,
                        "partition 5 goes on")
    assert farm.decision_row(position)["reason"] == "malformed"
    assert found.by("cause", "berth_partition_halted", partition="6") == {"request_log_replaced": 1}


@ON_ONE
def test_lag_of_a_backlog(farm):
    """A partition blocked on a foreign lock reports its lag."""
    _, url = start_worker(farm)
    farm.register("m-1")
    scrape_when(url, all_published(farm), "all is published")
    with contextlib.closing(farm.database.connect(farm.database_name)) as holder:
        holder.begin()
        holder.query("SELECT * FROM request_partition WHERE part = 2 FOR UPDATE")
        for _ in range(7):
            farm.publish(b"no token", partition=2)
        found = scrape_when(url, lambda found: found.value("berth_request_lag", partition="2") == 7
                            and found.total("berth_batch_rollbacks_total"),
                            "the lag of partition 2 is seen", 40)
        scrape_when(url, lambda found: found.value("berth_partition_waiting", partition="2",
                                                   cause="locked") == 1, "it waits", 80)
    assert found.total("berth_batch_rollbacks_total", cause="db_lock_timeout") >= 1
    found = scrape_when(url, all_published(farm), "the backlog is decided", 40)
    assert found.total("berth_partition_waiting") == 0


def test_lost_session_is_counted(farm):
    _, url = start_worker(farm)
    farm.register("m-1")
    session = farm.row("SELECT connection_id FROM request_partition WHERE part = 0")
    farm.sql.query(f"KILL {session['connection_id']}")
    found = scrape_when(url, lambda found: found.value("berth_database_reconnects_total") == 1
                        and found.value("berth_database_up") == 1, "the session is opened again")
    assert_well_formed(found)
    farm.register("m-2")


@ON_ONE
def test_two_workers_show_their_own_partitions(farm):
    first, first_url = start_worker(farm)
    second, second_url = start_worker(farm)
    farm.wait_owned(first, second)
    wait_until(lambda: sorted([*scrape(first_url).by("partition", "berth_partition_epoch"),
                               *scrape(second_url).by("partition", "berth_partition_epoch")])
               == [str(part) for part in range(farm.partitions)],
               "each partition is shown by one worker")
    second.stop()
    with pytest.raises(requests.ConnectionError):
        scrape(second_url)
    scrape_when(first_url, lambda found: len(found.by("partition", "berth_partition_epoch"))
                == farm.partitions, "the first worker shows all")


@ON_ONE
def test_worker_listens_only_if_told(farm):
    worker = farm.start_worker()
    worker.wait_log("to=running")
    assert "metrics listen" not in worker.text()
    _, url = start_worker(farm)
    assert requests.get(url[:-1], timeout=10).status_code == 404
    assert requests.post(url, data=b"x", timeout=10).status_code == 405
    head = requests.head(url, timeout=10)
    assert (head.status_code, head.content) == (200, b"")
    taken = url.split("/")[2]
    done = farm.run("berth-worker", status=2, BERTH_WORKER_METRICS_LISTEN=taken)
    assert f"cannot listen at {taken}" in done.stderr


@ON_ONE
def test_worker_that_waits_for_the_database_answers(farm):
    worker = farm.start_worker(ready=False, **LISTEN, BERTH_DB_PORT=1)
    worker.wait_log("cannot start yet")
    found = scrape(metrics_url(worker))
    assert found.value("berth_database_up") == 0
    assert found.value("berth_loop_timestamp_seconds") is None
    assert_well_formed(found)


# ---- the reader --------------------------------------------------------------------------------


def test_reader_counts_its_answers(farm):
    farm.start_reader()
    url = farm.reader_url + "/metrics"
    assert scrape(url).total("berth_http_requests_total") == 0
    farm.start_worker()
    farm.register("m-1", "m-2", gpus=4)
    farm.register("m-3", gpus=16)
    farm.accept(farm.ops, {"type": "machine.update", "machine": "m-3", "state": "draining"})
    etag = farm.get("/v1/machines/m-1").headers["ETag"]
    for path, status in (("/v1/machines/m-2", 200), ("/v1/machines/m-9", 404),
                         ("/v1/machines?x=1", 400), ("/nowhere", 404), ("/Ressource/", 200)):
        assert farm.get(path).status_code == status
    assert farm.get("/v1/machines/m-1", headers={"If-None-Match": etag}).status_code == 304
    assert requests.post(farm.reader_url + "/v1/machines", timeout=10).status_code == 405
    assert requests.options(farm.reader_url + "/v1/machines", timeout=10).status_code == 204

    found = scrape(url)
    assert_well_formed(found)
    wanted = {("/v1/machines/{name}", "200"): 2, ("/v1/machines/{name}", "404"): 1,
              ("/v1/machines/{name}", "304"): 1, ("/v1/machines", "400"): 1,
              ("/v1/machines", "405"): 1, ("other", "404"): 1, ("other", "204"): 1,
              ("/Ressource", "200"): 1, ("/metrics", "200"): 1}
    assert {(labels["route"], labels["status"]): value for (name, pairs), value
            in found.samples.items() if name == "berth_http_requests_total"
            for labels in [dict(pairs)]} == wanted
    counts = found.by("route", "berth_http_request_seconds_count")
    assert counts == {route: sum(value for (name, _), value in wanted.items() if name == route)
                      for route, _ in wanted}
    assert 0 < found.total("berth_http_request_seconds_sum") < 60
    assert found.by("state", "berth_gpus") == {"up": 8, "draining": 16, "retired": 0}
    assert found.by("state", "berth_machines") == {"up": 2, "draining": 1, "retired": 0}
    assert found.value("berth_event_listeners") == 0
    assert found.value("berth_farm_partitions") == farm.partitions
    assert found.value("berth_database_up") == 1
    with requests.get(farm.reader_url + "/v1/events", stream=True, timeout=10) as answer:
        assert answer.status_code == 200
        assert scrape(url).value("berth_event_listeners") == 1
    assert requests.get(url + "?x=1", timeout=10).status_code == 400


def test_reader_reports_lag_without_workers(farm):
    """The reader reports the farm's lag and halts even while no worker runs."""
    farm.start_reader()
    url = farm.reader_url + "/metrics"
    for _ in range(4):
        farm.publish(b"no token", partition=3)
    found = scrape(url)
    assert found.by("partition", "berth_request_lag") == \
        {str(part): 4 if part == 3 else 0 for part in range(farm.partitions)}
    assert set(found.by("partition", "berth_partition_halted").values()) == {0}
    assert found.value("berth_farm_halted", cause="none") == 0
    farm.sql.query("UPDATE request_partition SET halted = 'for the test' WHERE part = 5")
    farm.sql.query("UPDATE request_partition SET halted = 'its log was cut or made again',"
                   " halt_cause = 'no_append_time' WHERE part = 6")
    farm.sql.query("UPDATE farm SET halted = 'for the test'")
    found = scrape(url)
    assert_well_formed(found)
    assert found.value("berth_partition_halted", partition="5", cause="other") == 1
    assert found.value("berth_partition_halted", partition="6", cause="no_append_time") == 1
    assert found.total("berth_partition_halted") == 2
    told = farm.get_json("/v1/farm")
    assert (told["halted"], told["halted_why"]) == (True, "for the test")
    assert told["halted_partitions"] == [
        {"partition": 5, "why": "for the test"},
        {"partition": 6, "why": "its log was cut or made again"}]
    assert found.value("berth_farm_halted", cause="other") == 1
    farm.admin_command("farm", "resume")
    farm.start_worker()
    scrape_when(url, lambda found: found.total("berth_request_lag") == 0, "all is decided")
    assert scrape(url).value("berth_farm_halted", cause="none") == 0


def test_reader_answers_without_the_database(new_farm):
    """Without the database the reader still reports its own counters."""
    farm = new_farm().init()
    farm.start_reader()
    assert farm.get("/v1/farm").status_code == 200
    farm.database.drop(farm.database_name)
    assert farm.get("/v1/farm").status_code >= 500
    found = scrape(farm.reader_url + "/metrics")
    assert found.value("berth_database_up") == 0
    assert found.value("berth_gpus", state="up") is None
    assert found.value("berth_http_requests_total", route="/v1/farm", status="200") == 1
    assert_well_formed(found)
    farm.database.create(farm.database_name)


# ---- documentation, alerts, dashboard ----------------------------------------------------------


def documented():
    """{metric: (type, labels, programs)} from the table in docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text()
    rows = re.findall(r"^\| `(berth_\w+)` \| (\w+) \|([^|]*)\| (\w+) \|", text, re.M)
    assert len(rows) == len({name for name, *_ in rows}) > 30
    return {name: (kind, set(re.findall(r"`(\w+)`", labels)), who)
            for name, kind, labels, who in rows}


@ON_ONE
def test_documentation_lists_what_is_scraped(farm):
    """The page lists exactly the names, types and labels of both programs."""
    farm.start_reader()
    worker, url = start_worker(farm)
    del worker
    some_requests(farm)
    farm.get("/v1/farm")
    scrapes = {"worker": scrape_when(url, all_published(farm), "all is published"),
               "reader": scrape(farm.reader_url + "/metrics")}
    table = documented()
    for who, found in scrapes.items():
        wanted = {name: row for name, row in table.items() if row[2] in (who, "both")}
        assert found.types == {name: kind for name, (kind, *_) in wanted.items()}
        for name, (_, labels, _) in wanted.items():
            assert found.labels(name) == labels, (who, name)


def metrics_in(expression):
    """The metrics in a PromQL expression, without histogram suffixes."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) if "_seconds" in name or "_messages" in name
            else name for name in re.findall(r"\bberth_\w+", expression)}


def labels_in(expression):
    """The labels in a PromQL expression's groupings, joins and selectors."""
    lists = re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", expression)
    asked = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    return {name for names in lists for name in re.findall(r"\w+", names)} | set(asked)


def assert_labels_exist(expression, shown=""):
    """Each label belongs to a metric of the expression or is added by Prometheus. `shown`: a text with
    {{label}} or {{$labels.label}}."""
    table = documented()
    known = {"job", "instance"}.union(*(table[name][1] for name in metrics_in(expression)))
    if "_bucket" in expression:
        known.add("le")
    used = labels_in(expression) | set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)", shown))
    assert used <= known, (expression, used - known)
    return used


def test_labels_of_expressions_are_found():
    assert labels_in('sum by (le, route) (rate(x{status=~"5..",a!="b"}[5m])) / on(job) y') == {
        "le", "route", "status", "a", "job"}
    with pytest.raises(AssertionError):
        assert_labels_exist("sum by (colour) (berth_gpus)")
    with pytest.raises(KeyError):
        assert_labels_exist("berth_no_such_metric")


def test_each_cause_is_used_and_documented():
    words = dict(re.findall(r'X\((\w+), "(\w+)"\)', (ROOT / "db/halt.h").read_text()))
    assert words.pop("NONE") == "none" and len(words) > 10
    worker = "".join(path.read_text() for path in (ROOT / "worker").glob("*.c"))
    assert set(re.findall(r"\bHALT_([A-Z_]+)", worker)) - {"NONE"} == set(words)
    text = (ROOT / "docs/operations.md").read_text()
    table = text.split("| `cause` | the sentence has |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(words.values())


def test_alert_rules():
    folder = ROOT / "packaging/prometheus"
    rules = yaml.safe_load((folder / "berth.rules.yml").read_text())["groups"][0]["rules"]
    names = {rule["alert"] for rule in rules}
    assert f"{len(rules)} rules found" in promtool("check", "rules", folder / "berth.rules.yml")
    promtool("test", "rules", folder / "berth.rules.test.yml")
    tests = yaml.safe_load((folder / "berth.rules.test.yml").read_text())["tests"]
    fired = {test["alertname"] for case in tests for test in case["alert_rule_test"]
             if test.get("exp_alerts")}
    quiet = {test["alertname"] for test in tests[0]["alert_rule_test"]
             if not test.get("exp_alerts")}
    assert names == fired == quiet
    for rule in rules:
        assert_labels_exist(rule["expr"],
                            "".join(re.findall(r"{{ *\$labels[^}]*", str(rule["annotations"]))))
    alerts = set(re.findall(r"^\| `(Berth\w+)` \|", (ROOT / "docs/operations.md").read_text(),
                            re.M))
    assert alerts == names


def test_dashboard(tmp_path):
    """The dashboard's data source is a variable; its queries are valid PromQL on existing metrics."""
    board = json.loads((ROOT / "packaging/grafana/berth.json").read_text())
    assert board["schemaVersion"] == 38 and board["uid"] == "berth"
    assert [(variable["name"], variable["type"]) for variable in board["templating"]["list"]] == \
        [("datasource", "datasource")]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    targets = [target for panel in panels for target in panel["targets"]]
    for part in panels + targets:
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in targets:
        legend = target.get("legendFormat", "")
        assert_labels_exist(target["expr"], legend)
        assert set(re.findall(r"{{(\w+)}}", legend)) - {"instance"} <= labels_in(target["expr"])
    used = set().union(*(metrics_in(target["expr"]) for target in targets))
    assert used == set(documented()), "each metric is on the dashboard"
    rules = [{"record": f"panel:{number}", "expr": target["expr"].replace("$__rate_interval", "5m")}
             for number, target in enumerate(targets)]
    assert not any("$" in rule["expr"] for rule in rules)
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", path)
