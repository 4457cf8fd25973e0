"""Redis's append-only file, rewritten so that no identifier stays on the broker's disk.

A job that an integrator pushes names a study, and the append-only file keeps each command until it is rewritten. Once
such messages are acknowledged, a rewrite is requested; it runs in the background.
"""

import logging
import threading
import time

from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from worker.broker.connections import connect

logger = logging.getLogger(__name__)

REWRITE_INTERVAL_S = 1.0
"""Shortest time between two rewrites of the append-only file."""

REST_FACTOR = 10.0
"""How many times longer Redis rests than it rewrites: a file that holds a long queue is rewritten less often."""

POLL_S = 0.05
"""How often it is asked whether a rewrite has ended, in seconds."""


class AofRewriter:
    """Asks Redis to rewrite its append-only file, some time after it was told that there is something to forget."""

    def __init__(self, url: str, interval_s: float = REWRITE_INTERVAL_S) -> None:
        self._url = url
        self._interval_s = interval_s
        self._due = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def request(self) -> None:
        """Ask for a rewrite; many calls make one. Returns at once."""
        self._due.set()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="aof-rewriter", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        client = connect(self._url, timeout_s=None)
        while self._due.wait():
            self._due.clear()
            try:
                client.bgrewriteaof()
            except NoPermissionError:
                logger.warning(
                    "Redis does not let this user rewrite its append-only file: grant +bgrewriteaof, or "
                    "identifiers of pushed jobs stay in that file until Redis rewrites it by itself"
                )
                return
            except RedisError:
                self._due.set()
                client.connection_pool.disconnect()
            time.sleep(max(self._interval_s, REST_FACTOR * _rewriting_s(client)))


def _rewriting_s(client: "Redis") -> float:
    """Wait until Redis has rewritten its append-only file, and say how long that took, in seconds."""
    started = time.monotonic()
    try:
        while client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(POLL_S)
    except RedisError:
        return 0.0
    return time.monotonic() - started
