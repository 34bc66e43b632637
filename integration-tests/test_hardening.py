"""How programs and libraries are linked, and that no core dump holds a private key."""

import os
import resource
import signal
import subprocess

import pytest

from berthtest.cli import Cli
from berthtest.process import program

PROGRAMS = ("berth", "berth-admin", "berth-worker", "berth-reader")


def readelf(path, *options):
    return subprocess.run(["readelf", "--wide", *options, path], capture_output=True, text=True,
                          check=True).stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_are_hardened(name):
    path = program(name)
    segments = readelf(path, "--segments")
    assert "Elf file type is DYN" in segments  # position-independent
    assert "GNU_RELRO" in segments
    stack = [line for line in segments.splitlines() if "GNU_STACK" in line]
    assert len(stack) == 1 and stack[0].split()[-2] == "RW"
    assert "BIND_NOW" in readelf(path, "--dynamic")
    symbols = readelf(path, "--dyn-syms")
    assert "__stack_chk_fail" in symbols and "__snprintf_chk" in symbols  # _FORTIFY_SOURCE
    with open(path, "rb") as file:
        content = file.read()
    # The debug information records how files were compiled.
    assert b"-fstack-clash-protection" in content
    if b"x86-64" in subprocess.run(["readelf", "-h", path], capture_output=True,
                                   check=True).stdout:
        assert b"-fcf-protection" in content


def dumps_core(command, environment):
    """Whether the process leaves a core dump when it is aborted, with no limit on its size."""
    def no_limit():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=environment, preexec_fn=no_limit) as child:
        assert child.stdout.readline()  # it runs
        with open(f"/proc/{child.pid}/limits", encoding="ascii") as file:
            limit = next(line.split()[4] for line in file if line.startswith("Max core file size"))
        child.send_signal(signal.SIGABRT)
        _, status = os.waitpid(child.pid, 0)
        child.returncode = status
        return os.WCOREDUMP(status), limit


def test_keys_are_in_no_core_dump(module_farm, tmp_path):
    cli = Cli(module_farm, module_farm.batch_1)
    environment = {**module_farm.environment(**cli.settings), "TMPDIR": str(tmp_path)}
    environment = {name: str(value) for name, value in environment.items()}
    # It prints its header and waits for lines.
    dumped, limit = dumps_core(
        [program("berth"), "submit", "-o", "tsv", "--line-buffered"], environment)
    assert (dumped, limit) == (False, "0")
    # Without precautions there is no such limit.
    assert dumps_core(["sh", "-c", "echo; exec cat"], environment)[1] == "unlimited"
