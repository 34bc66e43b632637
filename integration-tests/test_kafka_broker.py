"""The worker's broker port against a real broker: the checks of tests/tools/kafka_broker_*.c, each
with separate topics and a separate consumer group."""

import os
import shlex
import subprocess

import pytest

from berthtest.process import program
from berthtest.servers import ROOT

LIMIT_S = 240
CHECKS = {
    "kafka_broker_consume": [
        "order", "values", "seek", "pause", "rebalance", "start-later", "resubscribe", "lost",
        "out-of-range", "before", "unreadable", "broker-killed"],
    "kafka_broker_publish": [
        "publish", "reset", "refused", "full", "tail", "shape", "settings", "broker-killed"],
}
FIGURES = ["speed"]  # for information: checks nothing


def tool(name):
    return os.path.join(os.path.dirname(os.path.dirname(program(name))), "tools", name)


def stack(folder, command):
    return (f"STACK_DIR={shlex.quote(str(folder))} "
            f"{shlex.quote(str(ROOT / 'dev/stack'))} {command} >&2")


@pytest.mark.parametrize("name", CHECKS)
def test_all_checks_are_run(name):
    listed = subprocess.run([tool(name)], capture_output=True, text=True, check=True, timeout=20)
    assert sorted(listed.stdout.split()) == sorted(CHECKS[name] + FIGURES)


@pytest.mark.parametrize("name, check", [(name, c) for name, all in CHECKS.items() for c in all])
def test_kafka_broker(broker, name, check):
    environment = {
        **os.environ, "BERTH_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
        "BERTH_CHECK_KILL_BROKER": stack(broker.stack.folder, "kill-kafka"),
        "BERTH_CHECK_START_BROKER": stack(broker.stack.folder, "start-kafka")}
    try:
        done = subprocess.run([tool(name), check], env=environment, capture_output=True, text=True,
                              timeout=LIMIT_S, check=False)
    finally:
        if check == "broker-killed":
            broker.start()
    assert done.returncode == 0, f"{done.stderr[-4000:]}\n{done.stdout[-2000:]}"
