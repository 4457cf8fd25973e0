"""Celery's Redis transport, with the gate at its mouth and a broom behind it.

The gate (`worker.gate`) sees every message before Celery does. The broom: a job that an integrator pushes names a
study, and Redis's append-only file keeps each command until it is rewritten; once such messages are acknowledged, the
file is rewritten in the background, so that no identifier stays on the disk of the broker.
"""

import logging
import threading
import time
from functools import cached_property
from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from worker.gate import QUEUE_OF_TASK, SUBMIT_STUDY, pass_gate
from worker.settings import get_settings

logger = logging.getLogger(__name__)

TASK_QUEUES = frozenset(QUEUE_OF_TASK.values())
"""The queues that the gate guards; the others are Celery's own, for replies to `celery inspect` and to Flower."""

SWEEP_INTERVAL_S = 1.0
"""Shortest time between two rewrites of the append-only file."""


class Broom:
    """Asks Redis to rewrite its append-only file, some time after it was told that there is something to forget."""

    def __init__(self, url: str, interval_s: float = SWEEP_INTERVAL_S) -> None:
        self._url = url
        self._interval_s = interval_s
        self._due = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def sweep_soon(self) -> None:
        """Ask for a rewrite; many calls make one. Returns at once."""
        self._due.set()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="aof-broom", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        client = Redis.from_url(self._url)
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
            except ResponseError:
                self._due.set()
            except RedisError:
                self._due.set()
            time.sleep(self._interval_s)


class QoS(kombu_redis.QoS):
    """kombu's bookkeeping of unacknowledged messages, which tells the broom of each job that was taken."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message; what it named may be forgotten now."""
        message = self._delivered.get(delivery_tag)
        super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        if message is not None and message.delivery_info.get("routing_key") == QUEUE_OF_TASK[SUBMIT_STUDY]:
            self.channel.broom.sweep_soon()


class Channel(kombu_redis.Channel):
    """kombu's channel, reading through the gate."""

    QoS = QoS

    @property
    def broom(self) -> Broom:
        """The broom of this connection."""
        transport: Transport = self.connection
        return transport.broom

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous=asynchronous)  # type: ignore[no-untyped-call]
        client.set_response_callback("BRPOP", self._through_gate)
        return client

    def _through_gate(self, response: Any, **_options: Any) -> Any:
        if not response:
            return None
        destination, item = response
        queue = destination.decode().removeprefix(self.global_keyprefix or "").rsplit(self.sep, 1)[0]
        if queue not in TASK_QUEUES:
            return destination, item
        return destination, pass_gate(item, queue, get_settings().max_message_bytes)


class Transport(kombu_redis.Transport):
    """Redis as a Celery broker whose senders are not trusted."""

    Channel = Channel

    @cached_property
    def broom(self) -> Broom:
        """The broom of this connection; it starts when there is something to sweep."""
        return Broom(get_settings().require_redis_url())


def use_this_transport() -> None:
    """Let ``redis://`` and ``rediss://`` mean this transport in this process.

    Celery's setting ``broker_transport`` would do for a worker, but Flower reads that name and knows no such broker.
    """
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
