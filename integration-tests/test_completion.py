"""Completion in real shells: what TAB makes of a line."""

import os
import pty
import select
import subprocess
import time

import pytest

from berthtest.process import program

LIMIT_S = 60
SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"],
          "fish": ["fish", "--no-config", "-i"]}
LOAD = {"bash": 'source <({} completion bash)', "zsh": 'eval "$({} completion zsh)"',
        "fish": "{} completion fish | source"}


class Shell:
    """An interactive shell on a terminal, with the programs on PATH and their completion loaded."""

    def __init__(self, name, environment, folder):
        self.controller, terminal = pty.openpty()
        path = os.path.dirname(program("berth")) + ":" + os.environ["PATH"]
        environment = {**environment, "PATH": path, "HOME": str(folder), "TERM": "dumb", "PS1": "> "}
        self.child = subprocess.Popen(["setsid", "--ctty", *SHELLS[name]], stdin=terminal,
                                      stdout=terminal, stderr=terminal, env=environment)
        os.close(terminal)
        self.seen = ""
        if name == "zsh":
            self.send("autoload -Uz compinit; compinit -u\n")
        for one in ("berth", "berth-admin"):
            self.send(LOAD[name].format(one) + "\n")
        self.send("echo rea''dy\n")
        self.wait("ready")

    def send(self, text):
        os.write(self.controller, text.encode())

    def wait(self, text):
        """Waits until the terminal shows the text."""
        until = time.monotonic() + LIMIT_S
        while text not in self.seen:
            ready, _, _ = select.select([self.controller], [], [], max(0, until - time.monotonic()))
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.controller, 65536).decode(errors="replace")

    def completes(self, line, word):
        """TAB after the line inserts the rest of the word."""
        self.seen = ""
        self.send(line + "\t")
        self.wait(word)
        self.send("\x15\n")  # forget the line

    def close(self):
        self.child.kill()
        self.child.wait()
        os.close(self.controller)


def words_of(environment, name, *words):
    done = subprocess.run([program(name), "__complete", *map(str, words)], env=environment,
                          capture_output=True, text=True, check=True, timeout=60)
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


@pytest.fixture(scope="module", name="served")
def fixture_served(module_farm):
    module_farm.start_worker()
    module_farm.start_reader()
    module_farm.register("gpu-01")
    module_farm.register("gpu-77")
    request = {"type": "booking.create", "duration_s": 3600, "allocations": []}
    assert module_farm.decide(module_farm.batch_1, request).accepted
    return module_farm


def test_what_is_completed(served, tmp_path):
    environment = served.environment()
    config = tmp_path / "berth.conf"
    config.write_text("profile.ops.client.name = ops\nprofile.lab.client.name = lab\n")
    assert words_of(environment, "berth", "--profile", "ops", "machine", "")[:2] == ["add", "update"]
    assert words_of(environment, "berth", "-o", "json", "li") == ["list"]
    assert words_of(environment, "berth", "machine", "show", "gpu-") == ["gpu-01", "gpu-77"]
    assert words_of(environment, "berth", "list", "--machine=gpu-7") == ["--machine=gpu-77"]
    assert words_of(environment, "berth", "--config", config, "--profile", "") == ["ops", "lab"]
    assert words_of(environment, "berth", "book", "--tz", "Europe/Pari") == ["Europe/Paris"]
    assert words_of(environment, "berth", "list", "--client", "batch") == ["batch-1", "batch-2"]
    assert words_of(environment, "berth", "list", "--state", "") == ["booked", "cancelled", "released"]
    assert words_of(environment, "berth", "verify", "--key", "") == [":files"]
    assert words_of(environment, "berth-admin", "client", "limit", "o") == ["ops"]
    assert words_of(environment, "berth-admin", "partition", "resume", "") == \
        [str(number) for number in range(served.partitions)]
    assert words_of(environment, "berth-admin", "--set", "log.level=debug", "client", "") == \
        ["add", "list", "limit"]
    assert len(words_of(environment, "berth", "cancel", "")) == 1
    # Nothing answers: nothing is offered, and nothing is said.
    nobody = {**environment, "BERTH_READER_URL": "http://127.0.0.1:1"}
    assert words_of(nobody, "berth", "show", "") == []


@pytest.mark.parametrize("name", SHELLS)
def test_shells(served, tmp_path, name):
    shell = Shell(name, served.environment(), tmp_path)
    try:
        shell.completes("berth --profile ops machine resu", "resume")
        shell.completes("berth machine show gpu-7", "gpu-77")
        shell.completes("berth list --state relea", "released")
        shell.completes("berth-admin client lim", "limit")
    finally:
        shell.close()


def test_zsh_before_compinit(served):
    done = subprocess.run(["zsh", "-f", "-c", f'eval "$({program("berth")} completion zsh)"'],
                          env=served.environment(), capture_output=True, text=True, check=True,
                          timeout=60)
    assert (done.stdout, done.stderr) == ("", "")
