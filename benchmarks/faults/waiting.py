"""Waiting for a server or a worker to become as it is to be."""

import socket
import time
from collections.abc import Callable

from worker.network.port import LOOPBACK


def wait_until(found: Callable[[], object], seconds: float, said: Callable[[], str], every_s: float = 0.02) -> float:
    """Ask until the answer is true, and return after how many seconds it was.

    Args:
        found: what is asked.
        seconds: how long it may take.
        said: what there is to say where it takes longer.
        every_s: the pause between two questions.

    Raises:
        TimeoutError: it takes longer.
    """
    started = time.monotonic()
    while not found():
        if time.monotonic() - started > seconds:
            raise TimeoutError(said())
        time.sleep(every_s)
    return time.monotonic() - started


def listens(port: int) -> bool:
    """Say whether somebody takes calls at a port of this machine."""
    with socket.socket() as caller:
        return caller.connect_ex((LOOPBACK, port)) == 0
