"""Waiting for conditions instead of sleeping for guessed times."""

import time

POLL_S = 0.02


class NotInTime(AssertionError):
    """The condition did not become true in time."""


def wait_until(condition, what, limit_s=20.0, poll_s=POLL_S):
    """Polls until condition() is true; returns its value."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise NotInTime(f"{what}: not within {limit_s:g} s")
        time.sleep(poll_s)
