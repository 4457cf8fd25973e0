"""Waiting for a condition: with a deadline that is longer where the machine is slower, and never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.shared import slowness

T = TypeVar("T")

LOOK_S = 0.02

BUSY = 4
"""How many times longer something may take because the machine does something else, which nobody can measure before."""


def pace(seconds: float) -> float:
    """How long here for what takes ``seconds`` on a fast machine: a pause, a lease or a time limit of a test's own."""
    return seconds * slowness()


def patience(seconds: float) -> float:
    """How long to wait here for what takes ``seconds`` at most on a fast machine that has nothing else to do."""
    return pace(seconds) * BUSY


def until(
    found: Callable[[], T], within_s: float = 30.0, *, every_s: float = LOOK_S, said: Callable[[], str] = str
) -> T:
    """Ask until the answer is true, and return it.

    Args:
        found: what is asked; it is asked once more when the time is over.
        within_s: on a fast machine; see `patience`.
        every_s: the pause between two questions.
        said: what there is to say of the wait when it fails.

    Raises:
        AssertionError: the answer is not true in time.
    """
    deadline = time.monotonic() + patience(within_s)
    while True:
        is_over = time.monotonic() > deadline
        answer = found()
        if answer:
            return answer
        if is_over:
            raise AssertionError(f"not after {patience(within_s):.0f} s; {said()}")
        time.sleep(every_s)
