"""A network between workers and servers that stalls, resets, half-closes and loses answers.

Only one of two workers connects through the proxy, so the other can take over its partitions.
"""

import time

import pytest

from berthtest.faults import HALF, REPEATS, Trials, load_for, patient
from berthtest.proxy import Proxy, is_commit, is_produce

pytestmark = patient
# Longer and shorter than the group's session timeout (6 s).
STALLS_S = (1.5, 8)


def pick_stall(number):
    return STALLS_S[number % len(STALLS_S)]


def lose_answer(proxy, load, predicate, cut):
    """Loses the answer to the next such request, which the server has executed."""
    lost = proxy.swallow(predicate, cut)
    load.send(100)
    load.farm.flush(load.positions)
    assert lost.wait(20), "no such request came"


def stall(proxy, load, seconds):
    """Passes no bytes for so many seconds."""
    proxy.stall()
    load.send(50)
    load.farm.flush(load.positions)
    time.sleep(seconds)  # the fault itself
    proxy.resume()


def cut(proxy, load):
    assert proxy.cut() > 0
    load.send(20)


def half_close(proxy, load, towards):
    assert proxy.half_close(towards) > 0
    load.send(20)


def two_workers(farm, name, say, **through_proxy):
    workers = [farm.start_worker(**through_proxy), farm.start_worker()]
    load = load_for(farm, workers, name)
    return load, Trials(farm, load, workers, say)


def test_between_worker_and_database(farm, say):
    database = farm.database
    with Proxy((database.host, database.port)) as proxy:
        load, trials = two_workers(farm, "network-database", say,
                                   BERTH_DB_HOST=proxy.host, BERTH_DB_PORT=proxy.port)
        faults = {
            "database: connection cut": lambda n: cut(proxy, load),
            "database: half-closed towards the worker": lambda n: half_close(proxy, load, "client"),
            "database: half-closed towards the server": lambda n: half_close(proxy, load, "server"),
            "database: answer to COMMIT lost, then cut":
                lambda n: lose_answer(proxy, load, is_commit, cut=True),
            "database: answer to COMMIT lost, then silence":
                lambda n: lose_answer(proxy, load, is_commit, cut=False),
            "database: stalled": lambda n: stall(proxy, load, pick_stall(n)),
        }
        if REPEATS == 1 and database.kind == "mysql":
            del faults["database: answer to COMMIT lost, then silence"]  # takes 10 s, with no shorter way
        for number in range(HALF):
            for kind, make in faults.items():
                with trials.fault(kind):
                    make(number)
                # The next fault needs a worker that works through the proxy.
                farm.wait_owned(*trials.workers)
        trials.finish()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_between_worker_and_kafka(farm, say):
    broker = farm.broker
    host, port = broker.proxied.split(":")
    with Proxy((host, int(port)), int(broker.proxy.rpartition(":")[2])) as proxy:
        load, trials = two_workers(farm, "network-kafka", say,
                                   BERTH_KAFKA_BOOTSTRAP_SERVERS=proxy.address)
        faults = {
            "Kafka: connections cut": lambda n: cut(proxy, load),
            "Kafka: half-closed towards the worker": lambda n: half_close(proxy, load, "client"),
            "Kafka: half-closed towards the broker": lambda n: half_close(proxy, load, "server"),
            "Kafka: acknowledgement of events lost, then cut":
                lambda n: lose_answer(proxy, load, is_produce, cut=True),
            "Kafka: acknowledgement of events lost, then silence":
                lambda n: lose_answer(proxy, load, is_produce, cut=False),
            "Kafka: stalled": lambda n: stall(proxy, load, pick_stall(n)),
        }
        for number in range(REPEATS):
            for kind, make in faults.items():
                with trials.fault(kind):
                    make(number)
                farm.wait_owned(*trials.workers)
        trials.finish()
