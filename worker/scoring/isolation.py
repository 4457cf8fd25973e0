"""Who may be at work beside whom: a study that may have killed its worker is tried again with nobody beside it.

When a worker dies, every study that it had at hand has lost an attempt, and one of them at most is to blame. Each is
tried again alone: the innocent end there, and only the guilty one uses up its attempts.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Isolation:
    """Lets any number of threads work together, or one alone. Who wants to be alone goes before later others."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._alone = False
        self._want_alone = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work beside others; wait while somebody is alone or waits for it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._want_alone)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Work with nobody beside; wait until the others have ended."""
        with self._changed:
            self._want_alone += 1
            try:
                self._changed.wait_for(lambda: not self._alone and not self._together)
            finally:
                self._want_alone -= 1
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
