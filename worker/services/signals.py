"""The end of a process that keeps others running: a first signal unwinds it, a second one hurries it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


class Stopped(BaseException):
    """A first SIGINT or SIGTERM. Not an Exception: no ``except Exception`` on the way may swallow it."""


@contextmanager
def stopped_by_signals(hurry: Event) -> Iterator[None]:
    """Turn the first signal into `Stopped`, which unwinds every ``with`` on the way, and the next into a hurry."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, lambda *_: hurry.set())
        raise Stopped

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
