"""What is looked for, kept for a while under a random word, which an address has in its stead.

So the browser's back button works, and neither its history, a log nor a ``Referer`` holds an identifier. It is kept in
memory, as the key of the sessions is: one process serves the page. See docs/decisions/0045-what-the-page-keeps.md.
"""

import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

MOST_KEPT: Final = 10_000


@dataclass(slots=True)
class Searches:
    """What was looked for lately; safe for threads.

    Attributes:
        kept_s: seconds after which a search is forgotten.
        clock: seconds, monotonic.
    """

    kept_s: float
    clock: Callable[[], float] = time.monotonic
    _kept: "OrderedDict[str, tuple[float, str]]" = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def keep(self, text: str) -> str:
        """Keep a search, in the place of the oldest where there are too many, and return its word."""
        word = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[word] = (self.clock(), text)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return word

    def find(self, word: str) -> str | None:
        """Return what a word stands for; ``None`` if it is forgotten, or was never given."""
        with self._lock:
            since, text = self._kept.get(word, (-math.inf, None))
        return text if self.clock() - since < self.kept_s else None
