"""Whoever fails to sign in waits longer each time, so that no password is guessed."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from worker.outages.backoff import backoff_s

FIRST_WAIT_S = 1.0
FORGOTTEN_S = 3600.0
MOST_KEYS = 10_000


@dataclass(slots=True)
class _Tries:
    count: int = 0
    last: float = 0.0
    until: float = 0.0


@dataclass(slots=True)
class Throttle:
    """Counts tries by key, such as an account's name or an address; safe for threads.

    Attributes:
        free: tries without a wait; the first wait is a second, and each next one twice as long.
        longest_wait_s: the longest wait, in seconds.
        clock: seconds, monotonic.
    """

    free: int
    longest_wait_s: float
    clock: Callable[[], float] = time.monotonic
    _tries: "OrderedDict[str, _Tries]" = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def wait_s(self, *keys: str) -> float:
        """Count a try under these keys and return 0; or return how many seconds nobody may try, and count nothing."""
        now = self.clock()
        with self._lock:
            wait = max((self._tries[key].until - now for key in keys if key in self._tries), default=0.0)
            if wait > 0:
                return wait
            for key in keys:
                self._count(self._tries.setdefault(key, _Tries()), now)
                self._tries.move_to_end(key)
            while len(self._tries) > MOST_KEYS:
                self._tries.popitem(last=False)
        return 0.0

    def passed(self, *keys: str) -> None:
        """Forget the tries of these keys: somebody knew the password."""
        with self._lock:
            for key in keys:
                self._tries.pop(key, None)

    def _count(self, tries: _Tries, now: float) -> None:
        if now - tries.last > FORGOTTEN_S:
            tries.count = 0
        tries.count, tries.last = tries.count + 1, now
        if tries.count > self.free:
            tries.until = now + backoff_s(tries.count - self.free, FIRST_WAIT_S, self.longest_wait_s)
