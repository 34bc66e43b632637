"""What is printed is checked: output that cannot be written is a failure, and closed descriptors hold no
socket."""

import subprocess

import pytest

from berthtest.process import program

PROGRAMS = ("berth", "berth-admin", "berth-worker", "berth-reader")


def run_shell(environment, redirect, *words):
    """The exit status of a program under the shell's redirection, and what it wrote to stderr."""
    done = subprocess.run(["/bin/sh", "-c", f'"$@" {redirect}', "sh", program(words[0]),
                           *map(str, words[1:])], env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          timeout=60)
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("redirect", [">/dev/full", ">&-"])
def test_prints_of_every_program_are_checked(redirect):
    words = [(name, option) for name in PROGRAMS
             for option in ("--help", "--version", "--print-config")]
    words += [("berth", "help"), ("berth", "book", "--help"), ("berth", "config"),
              ("berth-admin", "key", "add", "--help")]
    words += [("berth", "completion", shell) for shell in ("bash", "zsh", "fish")]
    for line in words:
        status, told = run_shell({"HOME": "/nonexistent"}, redirect, *line)
        assert (status, "cannot write the output" in told) == (1, True), (line, told)
        # With every descriptor closed there is nobody to tell.
        assert run_shell({}, "<&- >&- 2>&-", *line) == (1, ""), line


def test_nothing_is_printed_into_a_socket(farm):
    """Without standard_open the first socket is descriptor 1, and the database reads what is printed."""
    environment = farm.environment(BERTH_CLIENT_NAME="ops", BERTH_CLIENT_KID="ops-key")
    lists = [("berth-admin", *words.split()) for words in
             ("status", "client list", "key list -o json", "partition list -o tsv", "audit")]
    for line in lists:
        for redirect in (">&-", ">/dev/full", "<&- >&-"):
            status, told = run_shell(environment, redirect, *line)
            assert (status, "cannot write the output" in told) == (1, True), (line, redirect, told)


def test_closed_descriptors_of_a_booking(farm):
    farm.start_worker()
    farm.start_reader()
    farm.register("gpu-01")
    path = farm.folder / "closed.pem"
    farm.run("berth", "key", "generate", "--out", path)
    farm.admin_command("key", "add", "batch-1", "--public-key", f"{path}.pub")
    environment = farm.environment(BERTH_CLIENT_NAME="batch-1", BERTH_CLIENT_KEY_FILE=path)
    lines = [("book", "gpu-01:1", "--for", "1h", "--request-id", "closed-1"), ("list", "--all"),
             ("machine", "list", "-o", "tsv"), ("show", "gpu-01", "-o", "json"),
             ("watch", "--from", "beginning", "--count", "1")]
    for line in lines:
        assert run_shell(environment, "<&- >&- 2>&-", "berth", *line) == (1, ""), line
        status, told = run_shell(environment, ">/dev/full", "berth", *line)
        assert (status, "cannot write the output" in told) == (1, True), (line, told)
    assert run_shell(environment, "<&-", "berth", "submit")[0] == 1
