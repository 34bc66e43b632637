"""Workers that stop, crash, freeze or are cut off under load: others take over their partitions, and
every check on the farm passes."""

import os
import signal
import socket
import time

import pytest

from berthtest.check import check_farm
from berthtest.faults import HALF, loaded, patient, report
from berthtest.load import Prober, outcomes
from berthtest.wait import wait_until

pytestmark = patient


def parts_of(farm, worker):
    """The partitions last claimed by this worker."""
    name = worker.wait_log(r"worker ready.*worker=(\S+)").group(1)
    return [part for part, owner in farm.owners().items() if owner == name]


def test_sigkill_under_load(farm, say):
    workers, load = loaded(farm, "sigkill")
    seconds = []
    for _ in range(max(2, HALF)):
        load.send(600)
        # While the worker still has part of the log to decide.
        decided = len(farm.events.events)
        progress = load.random.randint(1, 400)
        farm.events.wait(lambda d=decided, p=progress: len(farm.events.events) > d + p,
                         "some requests are decided")
        victim = workers.pop(load.random.randrange(2))
        parts = parts_of(farm, victim)
        victim.kill()
        prober = Prober(farm, parts)
        # The contract also holds for a consumer that starts now, anywhere in the log.
        farm.new_consumer(from_beginning=False)
        workers.append(farm.start_worker())
        load.send(200)
        seconds.append(prober.wait(30))
        load.learn()
    say("seconds until the partitions of a killed worker decided again",
        [round(value, 2) for value in seconds])
    assert max(seconds) < 15
    events = load.finish()
    say("decisions", outcomes(events))
    for consumer in farm.consumers:
        consumer.wait(lambda c=consumer: all(
            contract.last in (None, farm.events.contracts[part].last)
            for part, contract in c.contracts.items()), "late consumers saw the end")
    check_farm(farm)
    report(farm, say, "kill -9 of a worker", seconds)


def test_sigterm_under_load(farm, say):
    workers, load = loaded(farm, "sigterm")
    seconds, stops = [], []
    for _ in range(max(2, HALF)):
        load.send(500)
        leaver = workers.pop(0)
        parts = parts_of(farm, leaver)
        stops.append(leaver.stop(status=0))
        prober = Prober(farm, parts)
        seconds.append(prober.wait(20))
        load.learn()
        workers.append(farm.start_worker())
        farm.wait_owned(*workers)
    say("seconds to stop, and until the partitions decided again",
        [(round(stop, 2), round(value, 2)) for stop, value in zip(stops, seconds)])
    assert max(stops) < 10 and max(seconds) < 5
    load.finish()
    check_farm(farm)
    report(farm, say, "SIGTERM of a worker", seconds)
    # SIGINT acts like SIGTERM.
    os.kill(workers[0].pid, signal.SIGINT)
    workers[0].wait(status=0)


def session_of(farm, part):
    return farm.partition_row(part)["connection_id"]


def transaction(farm, connection, state):
    """InnoDB refreshes information_schema.innodb_trx only after 0.1 s without a query."""
    return wait_until(lambda: farm.rows(
        "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = %s"
        " AND trx_state = %s", connection, state), f"the worker's transaction is {state}", 10, 0.15)


def stop_in_transaction(farm, worker, load, connection):
    """Stops the worker inside a transaction that holds locks: the worker waits for machine rows locked
    by the test, is stopped, and is granted the locks while stopped."""
    with farm.database.connect(farm.database_name) as holder, holder.cursor() as cursor:
        holder.begin()
        cursor.execute("SELECT id FROM machine ORDER BY id FOR UPDATE")
        load.send(300)
        farm.flush(load.positions)
        transaction(farm, connection, "LOCK WAIT")
        worker.signal(signal.SIGSTOP)
        holder.rollback()
    transaction(farm, connection, "RUNNING")


def zombie_round(farm, load, zombie, other):
    """Stops one worker; returns the seconds until other workers decide on its partitions."""
    parts = parts_of(farm, zombie)
    connection = session_of(farm, parts[0])
    load.send(1000)
    stop_in_transaction(farm, zombie, load, connection)
    begin = time.monotonic()
    prober = Prober(farm, parts)
    load.send(300)
    seconds = prober.wait(40)
    farm.wait_owned(other)
    wait_until(lambda: not farm.rows("SELECT id FROM information_schema.processlist WHERE id = %s",
                                     connection), "the zombie's session is gone", 30)
    wait_until(lambda: time.monotonic() - begin > 11, "its wait_timeout is over, too")
    load.learn()
    load.send(300)
    mark = len(zombie.text())
    zombie.signal(signal.SIGCONT)
    load.send(300)
    load.learn()
    # The worker notices the loss, joins again and decides again.
    zombie.wait_log(r"to=running", limit_s=40, since=mark)
    farm.wait_owned(zombie, other)
    load.send(300)
    return seconds


def test_zombie(farm, say):
    """A worker that holds locks is stopped past its group session and its database session while
    another takes over; then the stopped worker is resumed."""
    workers, load = loaded(farm, "zombie")
    seconds = []
    for number in range(HALF):
        seconds.append(zombie_round(farm, load, workers[number % 2], workers[1 - number % 2]))
    say("seconds until the partitions of a stopped worker decided again",
        [round(value, 2) for value in seconds])
    assert max(seconds) < 20
    say("decisions", outcomes(load.finish()))
    check_farm(farm)
    report(farm, say, "SIGSTOP of a worker past its sessions, then SIGCONT", seconds)
    for worker in workers:
        worker.stop()


def test_claimed_by_another_worker(farm):
    """A dead worker's delayed claim is applied late: the owner finds a foreign epoch under its lock, and
    no rebalance will give it the partition back."""
    worker = farm.start_worker()
    first = farm.events.decision(farm.publish(b"garbage", partition=3))
    with farm.sql.cursor() as cursor:
        cursor.execute("UPDATE request_partition SET epoch = epoch + 1 WHERE part = 3")
    second = farm.events.decision(farm.publish(b"garbage", partition=3), limit_s=30)
    worker.wait_log(r"part=3 .*to=lost.*another worker has claimed it")
    worker.wait_log(r"joining the group again")
    assert second.epoch == first.epoch + 2
    check_farm(farm)


def unanswered(farm, program, *arguments, **settings):
    """Starts a program against a server that accepts connections and never answers, and returns it when it
    is connected. `settings` name the server: {} stands for its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        port = server.getsockname()[1]
        process = farm.start(program, *arguments, environment=farm.environment(
            **{key: value.format(port) for key, value in settings.items()}))
        connection, _ = server.accept()
        yield process
        connection.close()


DATABASE = {"BERTH_DB_PORT": "{}"}
KAFKA = {"BERTH_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:{}"}
READER = {"BERTH_READER_URL": "http://127.0.0.1:{}"}


@pytest.mark.parametrize("database", ["mysql"], indirect=True)
def test_a_signal_ends_every_wait(farm):
    """Within 2 s; a busy machine gets 2 s more, less than any of these waits takes."""
    for status, settings, program, *arguments in (
            (0, DATABASE, "berth-reader"), (0, DATABASE, "berth-worker"), (0, KAFKA, "berth-worker"),
            (-signal.SIGTERM, DATABASE, "berth-admin", "status"),
            (-signal.SIGTERM, KAFKA, "berth-admin", "status"),
            (-signal.SIGTERM, KAFKA, "berth-admin", "audit"),
            (-signal.SIGTERM, READER, "berth", "list"),
            (143, KAFKA, "berth", "watch")):
        for process in unanswered(farm, program, *arguments, **settings):
            time.sleep(0.3)  # it may be past the connection, or not: any place must do
            begin = time.monotonic()
            process.signal(signal.SIGTERM)
            process.wait(status)
            assert time.monotonic() - begin < 4, f"{program} {arguments}: {process.tail()}"


@pytest.mark.parametrize("database", ["mysql"], indirect=True)
def test_a_signal_ends_a_wait_for_the_database(farm):
    for program in ("berth-reader", "berth-worker"):
        process = farm.start(program, environment=farm.environment(BERTH_DB_PORT=1))
        process.wait_log("cannot start yet")
        assert process.stop(0) < 4
