"""Connections whose server has to answer in time: one that is silent is cut, and who waits on it learns that at once.

libpq waits for an answer for as long as the connection stands. The kernel ends one whose other end is gone without a
word (`TCP`), but not one that a frozen server, or a proxy that has lost its own connection, still holds open.

Why both ends give up: docs/decisions/0069-a-silent-connection-is-given-up.md.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from psycopg2.extensions import connection, cursor

TCP: Final = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""When the kernel ends a connection, in seconds and milliseconds (libpq, "Parameter Key Words"): about 10 s after the
other end has gone, whoever had the word. The kernel's own limits are two hours, and 15 minutes."""

LOOKS_PER_LIMIT: Final = 20


class Watch:
    """Knows who waits for an answer, and cuts connections on which that has taken too long.

    Args:
        limit_s: how long an answer may take, in seconds.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._waiting: dict[int, tuple[float, connection]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def answering(self, waits: connection) -> Iterator[None]:
        """Watch a connection while something on it waits for an answer."""
        me = threading.get_ident()
        with self._lock:
            self._waiting[me] = time.monotonic() + self._limit_s, waits
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._waiting.pop(me, None)

    def _run(self) -> None:
        while True:
            time.sleep(self._limit_s / LOOKS_PER_LIMIT)
            now = time.monotonic()
            with self._lock:  # which keeps a connection that is cut from being another one meanwhile
                for me, (until, waits) in list(self._waiting.items()):
                    if until < now:
                        del self._waiting[me]
                        _cut(waits)


def answering_within(limit_s: float) -> type[connection]:
    """Return a class of connections that are cut where an answer takes longer than ``limit_s`` seconds.

    Rows that a named cursor fetches later are not watched.
    """
    watch = Watch(limit_s)

    class _Cursor(cursor):  # type: ignore[misc]  # psycopg2 has no types
        def execute(self, *arguments: Any, **options: Any) -> None:
            with watch.answering(self.connection):
                super().execute(*arguments, **options)

        def copy_expert(self, *arguments: Any, **options: Any) -> None:
            with watch.answering(self.connection):
                super().copy_expert(*arguments, **options)

    class _Connection(connection):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.cursor_factory = _Cursor

        def commit(self) -> None:
            with watch.answering(self):
                super().commit()

        def rollback(self) -> None:
            with watch.answering(self):
                super().rollback()

    return _Connection


def _cut(waits: connection) -> None:
    with suppress(OSError, ValueError), socket.fromfd(waits.fileno(), socket.AF_INET, socket.SOCK_STREAM) as held:
        held.shutdown(socket.SHUT_RDWR)
