"""berth-admin audit --follow: silent on a sound farm; reports an over-booking within a second of its
event. The command reads no database, so one kind of database is enough."""

import json
import re
import time

import pytest
from confluent_kafka import Producer

from berthtest.farm import rfc3339, share, write_key_file
from berthtest.wait import wait_until

HOUR = 3600
MACHINES = 20
REQUESTS = 3000
LATE_S = 0.2  # delay of another partition's event, within what --wait allows


@pytest.fixture(scope="module", name="database")
def fixture_database(servers):
    return servers.databases["mariadb"]


class Follower:
    """The live auditor in the background."""

    def __init__(self, farm, *options):
        self.process = farm.start("berth-admin", "audit", "--follow", "-o", "json", *options)
        self.process.wait_log("^following: ")

    def findings(self):
        return [json.loads(line) for line in self.process.text().splitlines()
                if line.startswith("{")]

    def wait(self, kind, limit_s=10.0):
        """Waits for the first finding of a kind and returns it."""
        def find():
            return next((found for found in self.findings() if found["kind"] == kind), None)
        return wait_until(find, f"{kind}: {self.process.tail()}", limit_s)

    def kinds(self):
        return [found["kind"] for found in self.findings()]


class Topic:
    """An event topic written by the test alone; no worker runs."""

    def __init__(self, farm, last=None):
        self.farm = farm
        self.last = last or dict.fromkeys(range(farm.partitions), 0)
        self.base = int(time.time()) // HOUR * HOUR + 2 * HOUR
        self.producer = Producer({"bootstrap.servers": farm.broker.bootstrap, "linger.ms": 0})

    def publish(self, part, data, at_s=None, sequence=None):
        """Publishes an event and returns its id. `at_s`: decision time in seconds since 1970."""
        if sequence is None:
            self.last[part] += 1
            sequence = self.last[part]
        event = {
            "specversion": "1.0", "id": f"{part}-{sequence}",
            "source": f"berth://{self.farm.name}/requests/{part}",
            "type": "berth.request.accepted", "time": rfc3339(at_s or self.base - 2 * HOUR),
            "datacontenttype": "application/json", "sequence": f"{sequence:019}",
            "data": {"request": {"partition": part, "offset": sequence}, **data}}
        self.producer.produce(self.farm.event_topic, json.dumps(event), partition=part,
                              headers={"ce_id": event["id"], "berth-epoch": "1"})
        assert self.producer.flush(20) == 0
        return event["id"]

    def machine(self, part, name, gpus, version=1, **more):
        state = {"state": "up", **more}
        displaced = {"displaced": state.pop("displaced")} if "displaced" in state else {}
        at_s = state.pop("at_s", None)
        return self.publish(part, {"machine": {
            "id": 7, "name": name, "version": version, "gpus": gpus, "memory_gib": 64,
            "labels": {}, **state}, **displaced}, at_s)

    def booking(self, part, number, hours, *shares, version=1, state="booked", at_s=None):
        """`hours`: start and end of the window, in hours after the base."""
        return self.publish(part, {"booking": {
            "id": number, "version": version, "client": "batch-1", "user": "alice", "state": state,
            "start": rfc3339(self.base + hours[0] * HOUR),
            "end": rfc3339(self.base + hours[1] * HOUR), "allocations": list(shares)}}, at_s)


def once(farm, *options, status=0):
    """Runs the command until it has caught up; returns its output lines."""
    done = farm.admin_command("audit", "--follow", "--for", "0s", "-o", "json", *options,
                              status=status)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_quiet_and_alarm(farm, say):
    """A mixed load through two workers raises no alarm; a forged event after it raises one."""
    key_file = write_key_file(farm.folder / "private.pem", farm.ops.key)
    farm.admin_command("key", "add", "ops", "--public-key", farm.folder / "ops-key.pem")

    def load(*arguments):
        return json.loads(farm.run("../tools/load", *arguments, limit_s=60, BERTH_CLIENT_NAME="ops",
                                   BERTH_CLIENT_KEY_FILE=key_file).stdout)
    workers = [farm.start_worker() for _ in range(2)]
    farm.wait_owned(*workers)
    follower = Follower(farm)
    assert load("machines", MACHINES)["failed"] == 0
    assert load("mixed", REQUESTS, MACHINES, 5)["failed"] == 0
    assert load("await", REQUESTS + MACHINES)["events"] == REQUESTS + MACHINES
    for worker in workers:
        worker.stop()
    findings, told = once(farm)
    assert findings == []
    count, machines = re.search(r"following: (\d+) events, (\d+) machines", told).groups()
    assert (int(count), int(machines)) == (REQUESTS + MACHINES, MACHINES), told
    assert follower.findings() == []

    last = {row["part"]: row["last_seq"]
            for row in farm.rows("SELECT part, last_seq FROM request_partition")}
    machine = farm.row("SELECT name, gpus FROM machine WHERE state = 'up' AND gpus > 0"
                       " ORDER BY name LIMIT 1")
    topic = Topic(farm, last)
    forged, elapsed = [], []
    for i in range(3):  # a busy host may delay one of them
        hours = 9000 + 2 * i, 9001 + 2 * i
        forged.append(topic.booking(1, 4096 * (999999 + i) + 1, hours,
                                    share(machine["name"], machine["gpus"] + 1),
                                    at_s=time.time() + 1))
        begin = time.monotonic()
        wait_until(lambda: len(follower.findings()) > i, "an alarm")
        elapsed.append(time.monotonic() - begin)
        alarm = follower.findings()[i]
        assert alarm["kind"] == "overbooked" and alarm["machine"] == machine["name"]
        assert alarm["event"] == forged[i] and alarm["complete"]
        assert alarm["instant"] == rfc3339(topic.base + hours[0] * HOUR)
        assert alarm["use"] == {"gpus": machine["gpus"] + 1, "memory_gib": 8}
        assert alarm["capacity"]["gpus"] == machine["gpus"]
    say("seconds from the event to the alarm", " ".join(f"{seconds:.2f}" for seconds in elapsed))
    assert min(elapsed) < 1.0
    follower.process.stop(143)
    assert follower.kinds() == ["overbooked"] * 3
    findings, _ = once(farm, status=6)
    # One finding for each machine: the first instant at which it is over-booked.
    assert [(found["kind"], found["event"]) for found in findings] == [("overbooked", forged[0])]
    text = farm.admin_command("audit", "--follow", "--for", "0s", status=6).stdout
    assert text.startswith(f"overbooked machine/{machine['name']}: ")
    assert text.endswith(f"by event {forged[0]}\n")


def test_order_of_partitions(farm):
    """Events of several partitions in any order raise no alarm if a later event explains an earlier."""
    topic = Topic(farm)
    topic.booking(0, 1, (0, 2), share("gpu-01", 6))
    topic.machine(1, "gpu-01", 8)
    topic.machine(1, "gpu-02", 8)
    follower = Follower(farm, "--wait", "1s")  # a busy host may be more than half a second late
    topic.booking(1, 2, (1, 3), share("gpu-01", 6))  # before the cancel that made room
    time.sleep(LATE_S)
    topic.booking(2, 1, (0, 2), version=2, state="cancelled")
    topic.booking(0, 3, (4, 6), share("gpu-01", 12))  # before the machine's growth
    time.sleep(LATE_S)
    topic.machine(1, "gpu-01", 12, version=7)
    topic.booking(2, 4, (0, 2), share("gpu-02", 8), version=2)  # before its first version
    time.sleep(LATE_S)
    topic.booking(0, 4, (4, 6), share("gpu-02", 8))
    topic.booking(1, 5, (4, 6), share("gpu-02", 8))
    topic.machine(2, "gpu-02", 4, version=9, displaced=[
        {"id": 5, "version": 2, "client": "batch-1", "state": "cancelled",
         "end": rfc3339(topic.base + 6 * HOUR)},
        {"id": 4, "version": 3, "client": "batch-1", "state": "cancelled",
         "end": rfc3339(topic.base + 2 * HOUR)}])
    topic.machine(0, "gpu-02", 3, version=3)  # an outdated capacity that arrives late
    topic.booking(0, 6, (4, 6), share("gpu-03", 1))  # before the machine's registration
    time.sleep(LATE_S)
    topic.machine(1, "gpu-03", 1)
    time.sleep(LATE_S)
    # A running booking moves to another machine; its past use stays on the first.
    topic.booking(0, 7, (10, 14), share("gpu-03", 1))
    topic.booking(1, 8, (10, 12), share("gpu-02", 4))
    # Amends go to the partition that created the booking, so its versions arrive in order.
    topic.booking(0, 7, (10, 14), share("gpu-02", 4), version=2, at_s=topic.base + 12 * HOUR)
    # The last booking over-books: once its alarm is there, every earlier event has been judged.
    over = topic.booking(0, 9, (11, 12), share("gpu-03", 1), at_s=topic.base + 11 * HOUR)
    alarm = follower.wait("overbooked")
    assert (alarm["event"], alarm["machine"]) == (over, "gpu-03")
    topic.booking(1, 9, (11, 12), version=2, state="cancelled", at_s=topic.base + 11 * HOUR)
    assert follower.wait("cleared")["event"] == over
    assert follower.kinds() == ["overbooked", "cleared"]
    follower.process.stop(143)
    assert once(farm)[0] == []


def test_contradicting_previous(farm):
    """What a change says that it replaced must be what the events before it told; a change of a begun
    booking counts from the event's second on."""
    topic = Topic(farm)
    topic.machine(0, "gpu-01", 64)
    late = topic.base + 60
    state = {"state": "booked", "start": rfc3339(topic.base), "end": rfc3339(topic.base + HOUR),
             "allocations": [share("gpu-01", 4)]}

    def change(number, version, previous, at_s=None, **more):
        return topic.publish(0, {"booking": {
            "id": number, "version": version, "client": "batch-1", "user": "alice", **state},
            "previous": {"version": version - 1, **state, **previous}, **more}, at_s)
    for number in range(1, 7):
        topic.booking(0, number, (0, 1), *state["allocations"])
    change(1, 2, {})
    change(2, 2, {}, late, effective_from=rfc3339(late))
    change(9, 5, {"end": rfc3339(late)})  # the events before it are not on the topic
    damaged = [change(3, 2, {"allocations": [share("gpu-01", 3)]}),
               change(4, 2, {"end": rfc3339(topic.base + 2 * HOUR)}),
               change(5, 3, {"version": 1}),
               change(6, 2, {}, late, effective_from=rfc3339(late + 1))]
    findings, _ = once(farm, status=6)
    assert [(found["kind"], found["at"]) for found in findings] == [
        ("event_foreign", f"0:{int(ident.split('-')[1]) - 1}") for ident in damaged]


def test_shrink_alarms(farm):
    """A capacity below the bookings is reported; use before the last capacity change is not."""
    topic = Topic(farm)
    topic.machine(0, "gpu-01", 8)
    topic.booking(0, 1, (0, 4), share("gpu-01", 8))
    topic.booking(0, 2, (6, 8), share("gpu-01", 3))
    topic.machine(0, "gpu-01", 4, version=4, at_s=topic.base + 4 * HOUR)
    follower = Follower(farm, "--for", "3s")
    shrunk = topic.machine(0, "gpu-01", 2, version=5, at_s=topic.base + 4 * HOUR)
    alarm = follower.wait("overbooked")
    assert alarm["event"] == shrunk and alarm["instant"] == rfc3339(topic.base + 6 * HOUR)
    assert alarm["use"]["gpus"] == 3 and alarm["capacity"]["gpus"] == 2
    follower.process.wait(6)
    assert follower.kinds() == ["overbooked"]


def test_gaps_repeats_and_strangers(farm):
    """Follows the consumer's contract: ignores repeats, reports gaps and messages that are no events."""
    topic = Topic(farm)
    follower = Follower(farm)
    topic.machine(0, "gpu-01", 8)
    for number in range(1, 4):  # if each repeat counted, the machine would be over-booked
        topic.publish(0, {"booking": {"id": number, "version": 1, "client": "c", "user": "u",
                                      "state": "booked", "start": rfc3339(topic.base),
                                      "end": rfc3339(topic.base + HOUR),
                                      "allocations": [share("gpu-01", 8)]}}, sequence=2)
    topic.last[0] = 4
    topic.booking(0, 9, (0, 1), share("gpu-01", 1))
    gap = follower.wait("event_gap")
    assert (gap["at"], gap["first_missing"], gap["last_missing"]) == ("0-3", 3, 4)
    alarm = follower.wait("overbooked")
    assert alarm["use"]["gpus"] == 9 and not alarm["complete"]
    topic.producer.produce(farm.event_topic, b"hello", partition=1)
    assert topic.producer.flush(20) == 0
    assert follower.wait("event_foreign")["at"] == "1:0"
    topic.booking(2, 2 ** 63 - 1, (0, 1), share("gpu-01", 2 ** 40), version=2 ** 63 - 1)
    assert wait_until(lambda: follower.kinds().count("event_foreign") == 2, "damaged event")
    follower.process.stop(143)
    findings, told = once(farm, status=6)
    assert {found["kind"] for found in findings} == {"event_gap", "event_foreign", "overbooked"}
    assert "(and 2 repeats)" in told


def test_machines_removed_by_retention(farm):
    """Machines whose registration was removed by retention are reported once as unverifiable."""
    topic = Topic(farm)
    topic.machine(0, "gpu-01", 8)
    topic.booking(0, 1, (0, 2), share("gpu-01", 8))
    topic.booking(0, 2, (2, 4), share("gpu-01", 8))
    topic.machine(1, "gpu-02", 8)
    farm.broker.delete_records(farm.event_topic, 0, 1)
    follower = Follower(farm)
    topic.booking(0, 3, (0, 2), share("gpu-01", 8))
    topic.booking(0, 4, (0, 2), share("gpu-02", 9))
    alarm = follower.wait("overbooked")
    assert alarm["machine"] == "gpu-02" and not alarm["complete"]
    follower.process.stop(143)
    text = follower.process.text()
    assert "partition 0 begins at offset 1" in text
    assert text.count("machine gpu-01 is not in the events that are left") == 1
    assert follower.kinds() == ["overbooked"]


def test_usage(farm):
    farm.admin_command("audit", "--for", "1s", status=2)
    farm.admin_command("audit", "--follow", status=5, BERTH_FARM_TOPIC_PREFIX="nowhere.")
