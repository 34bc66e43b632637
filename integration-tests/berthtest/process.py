"""Berth's programs, run by the tests."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from berthtest.servers import ROOT
from berthtest.wait import wait_until

START_LIMIT_S = 20
STOP_LIMIT_S = 25


def program(name):
    """The path of a program: in $BERTH_BIN, else in build/bin."""
    return str(Path(os.environ.get("BERTH_BIN") or ROOT / "build/bin").absolute() / name)


class Process:
    """A long-running program with its log in a file."""

    def __init__(self, name, arguments, environment, log, wrapper=()):
        """`wrapper`: command and arguments that run the program; `pid` is then the wrapper's."""
        self.name = name
        self.log = log
        # If the tests are killed, the kernel kills the program too.
        tied = ["setpriv", "--pdeathsig", "KILL"]
        command = [*tied, *map(str, wrapper), *(tied if wrapper else ()), program(name)]
        with log.open("ab") as out:
            self.child = subprocess.Popen(
                [*command, *map(str, arguments)],
                env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True)
        self.pid = self.child.pid

    def text(self):
        return self.log.read_text(errors="replace")

    def tail(self, lines=40):
        return "\n".join(self.text().splitlines()[-lines:])

    def running(self):
        return self.child.poll() is None

    def wait_log(self, pattern, limit_s=START_LIMIT_S, since=0):
        """Waits for a matching line in the log; returns the match. `since`: characters to skip."""
        regex = re.compile(pattern, re.M)

        def look():
            match = regex.search(self.text(), since)
            if not match and not self.running():
                raise AssertionError(f"{self.name} ended with {self.child.returncode} before "
                                     f"{pattern!r}; its log:\n{self.tail()}")
            return match
        try:
            return wait_until(look, f"{self.name} logs {pattern!r}", limit_s)
        except AssertionError as problem:
            raise AssertionError(f"{problem}; the end of its log:\n{self.tail()}") from None

    def signal(self, number):
        if self.running():
            os.kill(self.pid, number)

    def kill(self):
        """Sends SIGKILL and waits for the exit."""
        self.signal(signal.SIGKILL)
        self.child.wait(STOP_LIMIT_S)

    def stop(self, status=0):
        """Sends SIGTERM, waits and checks the exit status. Returns the seconds taken."""
        begin = time.monotonic()
        self.signal(signal.SIGTERM)
        self.wait(status)
        return time.monotonic() - begin

    def wait(self, status=0, limit_s=STOP_LIMIT_S):
        """Waits for the exit and checks its status."""
        try:
            code = self.child.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)
            raise AssertionError(f"{self.name} does not end within {limit_s} s; the end of its "
                                 f"log:\n{self.tail()}") from None
        assert code == status, f"{self.name} ended with {code}; its log:\n{self.tail()}"

    def end(self):
        """Clean-up at the end of a test, in any state."""
        self.signal(signal.SIGCONT)
        self.kill()

    def worry(self):
        """Forbidden lines in the log: bugs and sanitizer reports."""
        return [line for line in self.text().splitlines()
                if "bug=1" in line or "Assertion" in line or "Sanitizer" in line]
