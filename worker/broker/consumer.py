"""Celery's consumer and requests: what they tell Flower, twice a second and not once a message; and soon back."""

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from celery.signals import worker_shutting_down
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.request import Request as CeleryRequest

from worker.outages.redis_answers import REFUSALS
from worker.outages.retry import kind_of

logger = logging.getLogger(__name__)

FLUSH_S = 0.5
"""How long events of tasks gather before they are sent, in seconds. Celery sends at once what has gathered to 24."""

RECONNECT_S: Final = 1.0
"""How long it waits before it calls a Redis again that is away, in seconds. Celery by itself waits up to 30 s."""


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Celery's consumer; named by the setting ``worker_consumer``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._flush_is_due = False

    def start(self) -> None:
        """Consume until the worker ends. A fault that ends it ends its tasks too, which may be waiting for a server."""
        try:
            super().start()
        except Exception as fault:
            logger.error("the worker exits: %s", kind_of(fault))
            worker_shutting_down.send(sender=self.hostname, sig=None, how="Warm", exitcode=os.EX_SOFTWARE)
            raise

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Connect anew, after a moment."""
        super().on_connection_error_before_connected(exc)
        _wait_for(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Connect anew, after a moment where Redis answers, but that it cannot."""
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, REFUSALS):
            _wait_for(exc)

    def ensure_connected(self, conn: Any) -> Any:
        """Call Redis until it answers, and say why it is waited for."""
        call = partial(conn.ensure_connection, interval_start=RECONNECT_S, interval_step=0, interval_max=RECONNECT_S)

        def ensure_connection(told: Callable[[Exception, float], object], *args: Any, **kwargs: Any) -> Any:
            def tell(error: Exception, seconds: float) -> None:
                logger.warning("waiting %.0f s: %s", seconds, kind_of(error))
                told(error, seconds)

            return call(tell, *args, **kwargs)

        conn.ensure_connection = ensure_connection
        return super().ensure_connected(conn)

    def on_send_event_buffered(self) -> None:
        """Have the events sent in a moment."""
        if self.hub and not self._flush_is_due:
            self._flush_is_due = True
            self.hub.call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        self._flush_events()


class Request(CeleryRequest):  # type: ignore[misc]
    """A message at work; named by each task."""

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002  Celery's name
        """Tell Flower of a change: of a failure the name and not its places in the code, and of earlier attempts."""
        fields.pop("traceback", None)
        if "retries" in self.delivery_info:
            fields["retries"] = self.delivery_info["retries"]
        super().send_event(type, **fields)


def _wait_for(error: Exception) -> None:
    logger.warning("waiting %.0f s: %s", RECONNECT_S, kind_of(error))
    time.sleep(RECONNECT_S)
