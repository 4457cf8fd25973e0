"""How many requests somebody may make: a token bucket for each, so that one program leaves room for the others."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

MOST_KEYS: Final = 10_000
"""Of whom is kept how many requests they made; who has not been heard of the longest is forgotten first."""

AT_ONCE: Final = 2.0
"""Requests that may come at once, in seconds of the rate."""


@dataclass(slots=True)
class RateLimit:
    """Counts requests by key; safe for threads.

    Attributes:
        per_s: requests a second, in the long run.
        clock: seconds, monotonic.
    """

    per_s: float
    clock: Callable[[], float] = time.monotonic
    _left: "OrderedDict[str, tuple[float, float]]" = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def wait_s(self, key: str) -> float:
        """Count a request and return 0; or return after how many seconds there is room for one, and count nothing."""
        now, most = self.clock(), max(1.0, self.per_s * AT_ONCE)
        with self._lock:
            left, since = self._left.get(key, (most, now))
            left = min(most, left + (now - since) * self.per_s)
            wait = 0.0 if left >= 1 else (1 - left) / self.per_s
            self._left[key] = (left if wait else left - 1, now)
            self._left.move_to_end(key)
            while len(self._left) > MOST_KEYS:
                self._left.popitem(last=False)
        return wait
