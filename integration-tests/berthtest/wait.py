"""Waiting for conditions. Nothing in these tests sleeps for a time that somebody guessed."""

import time

POLL_S = 0.02


class NotInTime(AssertionError):
    """A condition did not become true."""


def wait_until(condition, what, limit_s=20.0, poll_s=POLL_S):
    """Polls until condition() gives something true, and returns that."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise NotInTime(f"{what}: not within {limit_s:g} s")
        time.sleep(poll_s)
