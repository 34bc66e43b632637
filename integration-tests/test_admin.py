"""berth-admin: initialising a farm, clients, keys and the operator's commands."""

import json
import signal
import subprocess

import pytest

from berthtest.farm import private_key, public_pem
from berthtest.process import program
from berthtest.wait import wait_until


def test_init(new_farm):
    farm = new_farm(partitions=4)
    made = farm.admin_json("init", "--farm", farm.name, "--partitions", 4, "--retention", "30d")
    assert made["farm"] == farm.name and made["partitions"] == 4
    assert made["requests_topic"] == farm.request_topic
    again = farm.admin_json("init", "--farm", farm.name, "--partitions", 4)
    assert again == made
    assert farm.admin_json("init", "--farm", farm.name) == made
    assert [row["next_offset"] for row in farm.rows("SELECT * FROM request_partition")] == [0] * 4
    topics = farm.broker.topics()
    assert len(topics[farm.request_topic].partitions) == 4
    assert len(topics[farm.event_topic].partitions) == 4
    for arguments, sentence in [
            (("--farm", "other"), "holds farm"),
            (("--farm", farm.name, "--partitions", 5), "cannot be changed"),
            (("--farm", "No Name"), "1 to 32"),
            ((), "--farm is missing"),
            (("--farm", farm.name, "--partitions", 5000), "1 to 4096")]:
        done = farm.admin_command("init", *arguments, status=2)
        assert sentence in done.stderr and done.stdout == ""


def test_init_resumes_after_an_interruption(new_farm):
    """Interrupts init after it made the topics, or in the middle of the migration."""
    farm = new_farm(partitions=3)
    farm.admin_command("init", "--farm", farm.name, "--partitions", 3)
    with farm.sql.cursor() as cursor:
        cursor.execute("DELETE FROM request_partition")
        cursor.execute("DELETE FROM farm")
        cursor.execute("UPDATE schema_version SET statements_done = 2, applied_at_ms = NULL")
        cursor.execute("DROP TABLE decision")
    done = farm.run("berth-worker", "--healthcheck", status=2)
    assert "berth-admin" in done.stderr
    farm.admin_command("init", "--farm", farm.name, "--partitions", 3)
    assert farm.row("SELECT COUNT(*) AS n FROM request_partition")["n"] == 3
    assert farm.row("SELECT COUNT(*) AS n FROM decision")["n"] == 0


def test_init_refuses_another_farms_topics(new_farm, farm):
    """An emptied database is not initialised again on topics that already hold events."""
    farm.start_worker()
    farm.register("gpu-01")
    other = new_farm()
    other.topic_prefix = farm.topic_prefix
    done = other.admin_command("init", "--farm", farm.name, "--partitions", farm.partitions,
                               status=1)
    assert "has held events already" in done.stderr


def test_topics_must_fit(new_farm):
    from confluent_kafka.admin import NewTopic
    farm = new_farm()
    topic = NewTopic(farm.request_topic, num_partitions=8, replication_factor=1,
                     config={"message.timestamp.type": "CreateTime"})
    farm.broker.admin.create_topics([topic])[farm.request_topic].result()
    done = farm.admin_command("init", "--farm", farm.name, status=1)
    assert "message.timestamp.type=CreateTime" in done.stderr
    assert farm.rows("SELECT * FROM farm") == []


def test_migrate(new_farm):
    farm = new_farm()
    assert farm.admin_json("migrate")["schema_version"] >= 1
    assert farm.admin_json("migrate")["schema_version"] >= 1
    done = farm.admin_command("client", "list", status=0)
    assert "CLIENT" in done.stdout
    with farm.sql.cursor() as cursor:
        cursor.execute("INSERT INTO schema_version VALUES (999, '0999_x.sql', 'x', 1, 1)")
    for command in ("migrate", "status", "client list"):
        assert "newer release" in farm.admin_command(*command.split(), status=1).stderr


def test_clients_and_keys(farm):
    names = [item["client"] for item in farm.admin_json("client", "list")["items"]]
    assert names == ["batch-1", "batch-2", "ops"]
    sorted_names = [item["client"] for item in
                    farm.admin_json("client", "list", "--sort", "-client")["items"]]
    assert sorted_names == names[::-1]
    told = farm.admin_command("client", "list", "--sort", "clint", status=2).stderr
    assert "did you mean client" in told
    farm.admin_command("client", "add", "batch-1", "--role", "submitter")
    farm.admin_command("client", "add", "batch-1", "--role", "admin", status=1)
    farm.admin_command("client", "add", "a b", "--role", "admin", status=2)
    farm.admin_command("client", "add", "x", "--role", "boss", status=2)
    generation = farm.row("SELECT key_generation AS n FROM farm")["n"]
    path = farm.folder / "new.pem"
    path.write_bytes(public_pem(private_key("ES256", "new")))
    kid = farm.admin_json("key", "add", "batch-1", "--public-key", path)["kid"]
    assert len(kid) == 43
    assert farm.admin_json("key", "add", "batch-1", "--public-key", path)["kid"] == kid
    assert farm.row("SELECT key_generation AS n FROM farm")["n"] == generation + 1
    farm.admin_command("key", "add", "ops", "--public-key", path, status=1)
    farm.admin_command("key", "add", "nobody", "--public-key", path, status=5)
    farm.admin_command("key", "add", "ops", "--public-key", farm.folder / "none", status=2)
    farm.admin_command("key", "revoke", "--", kid)
    farm.admin_command("key", "revoke", "--", kid)
    farm.admin_command("key", "revoke", "none", status=5)
    assert farm.row("SELECT key_generation AS n FROM farm")["n"] == generation + 2
    lines = farm.admin_command("key", "list", "-o", "tsv").stdout.splitlines()
    assert lines[0].split("\t")[:3] == ["kid", "client", "algorithm"]
    assert [line.split("\t")[5] != "-" for line in lines[1:] if line.startswith(kid)] == [True]


def test_key_of_a_running_farm(farm):
    """A new key is accepted at once and a revoked key is refused at once."""
    farm.start_worker()
    farm.register("gpu-01")
    extra = farm.add_key("batch-1", "submitter", "ES256", "second", private_key("ES256", "second"))
    request = {"type": "booking.create", "duration_s": 60,
               "allocations": [{"machine": "gpu-01", "gpus": 1, "memory_gib": 1}]}
    assert farm.decide(extra, request).accepted
    farm.admin_command("key", "revoke", "second")
    assert farm.decide(extra, request).json["data"]["reason"] == "key_revoked"


def test_usage(farm):
    for arguments, sentence in [
            (("parttion", "list"), "did you mean 'partition list'"),
            (("client",), "'client add', 'client list'"),
            (("nonsense",), "no command"),
            (("status", "--quite"), "did you mean --quiet"),
            (("status", "-o", "jsn"), "did you mean json"),
            (("client", "add", "x", "--role", "admn"), "did you mean admin"),
            (("partition", "resume"), "PARTITION"),
            (("partition", "resume", "x"), "whole number"),
            (("key", "revoke", "-x3Wk"), "goes behind --"),
            (("reject", "1"), "PARTITION OFFSET")]:
        assert sentence in farm.admin_command(*arguments, status=2).stderr
    problem = farm.admin_json("partition", "resume", "4000", status=5)
    assert problem["type"] == "urn:berth:problem:not_found"
    assert "init" in farm.admin_command("--help").stdout
    for command in ("init", "client add", "key add", "partition resume", "audit"):
        assert "Example" in farm.admin_command(*command.split(), "--help").stdout


def test_output_that_cannot_be_written(farm):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([program("berth-admin"), "client", "list"], env=farm.environment(),
                              stdout=full, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=30)
    assert done.returncode == 1 and "cannot write the output" in done.stderr


def test_partition_commands(farm):
    with farm.sql.cursor() as cursor:
        cursor.execute("UPDATE request_partition SET halted = 'why', halt_cause = 'no_row', epoch = 9"
                       " WHERE part = 2")
    rows = farm.admin_json("partition", "list")["items"]
    assert [row["halted"] for row in rows] == [None, None, "why", None, None, None, None, None]
    assert farm.admin_json("status")["halted_partitions"] == 1
    assert farm.admin_json("partition", "resume", 2, "--ignore-time-until", 7)["was_halted"]
    row = farm.partition_row(2)
    assert (row["halted"], row["halt_cause"]) == ("", None)
    assert (row["progress_epoch"], row["ignore_time_until"]) == (9, 7)
    refused = farm.admin_command("reject", 2, 0, status=2).stderr
    assert "partition 2 has no undecided request" in refused
    farm.publish(b"whatever", partition=2)
    refused = farm.admin_command("reject", 2, 5, status=2).stderr
    assert "partition 2 stands at offset 0" in refused
    assert farm.admin_json("reject", 2, 0)["partition"] == 2
    assert farm.partition_row(2)["reject_offset"] == 0
    with farm.sql.cursor() as cursor:
        cursor.execute("UPDATE request_partition SET last_seq = 3500000000,"
                       " last_sha256 = REPEAT('x', 32) WHERE part = 7")
    assert farm.admin_json("status")["ids_used_percent"] == 81


def test_reject(farm):
    """`berth-admin reject` rejects the request at that offset, whatever its content."""
    position = farm.publish(b"whatever", partition=3)
    farm.admin_command("reject", 3, position[1])
    farm.start_worker()
    event = farm.events.decision(position, 20)
    assert event.json["data"]["reason"] == "rejected_by_operator"


def test_stopped_command_loses_its_locks(farm):
    """A command that is stopped while it holds a partition's row does not keep workers from it."""
    with farm.database.connect(farm.database_name) as holder, holder.cursor() as cursor:
        holder.begin()
        cursor.execute("SELECT part FROM request_partition WHERE part = 2 FOR UPDATE")
        command = farm.start("berth-admin", "partition", "resume", "2")
        # InnoDB refreshes this table only after 0.1 s without a query.
        waiting = wait_until(lambda: farm.rows(
            "SELECT trx_mysql_thread_id AS id FROM information_schema.innodb_trx"
            " WHERE trx_state = 'LOCK WAIT'"), "the command waits for the row", 10, 0.15)
        command.signal(signal.SIGSTOP)
        holder.rollback()
    wait_until(lambda: not farm.rows("SELECT id FROM information_schema.processlist WHERE id = %s",
                                     waiting[0]["id"]), "the command's session is gone", 30)
    command.signal(signal.SIGCONT)
    command.wait(status=1)


@pytest.mark.parametrize("ahead", [False, True])
def test_farm_resume(farm, ahead):
    farm.start_worker()
    farm.register("gpu-01")
    with farm.sql.cursor() as cursor:
        cursor.execute("UPDATE farm SET halted = 'restored', halt_cause = 'database_older'")
        if ahead:
            cursor.execute("UPDATE request_partition SET last_seq = 0, published_seq = 0, "
                           "last_sha256 = NULL WHERE last_seq > 0")
    if ahead:
        done = farm.admin_command("farm", "resume", status=1)
        assert "older copy" in done.stderr
        assert farm.admin_json("status")["halted"] == "restored"
    else:
        assert farm.admin_json("farm", "resume")["was_halted"] == "restored"
        wait_until(lambda: farm.admin_json("status")["halted"] is None, "it goes on")
        assert farm.row("SELECT halt_cause FROM farm")["halt_cause"] is None
