"""Celery's consumer and requests: what they tell Flower, twice a second and not once a message; and soon back."""

from functools import partial
from typing import Any, Final

from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.request import Request as CeleryRequest

FLUSH_S = 0.5
"""How long events of tasks gather before they are sent, in seconds. Celery sends at once what has gathered to 24."""

RECONNECT_S: Final = 1.0
"""How long it waits before it calls a Redis again that is away, in seconds. Celery by itself waits up to 30 s."""


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Celery's consumer; named by the setting ``worker_consumer``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._flush_is_due = False

    def ensure_connected(self, conn: Any) -> Any:
        """Call Redis until it answers."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=RECONNECT_S, interval_step=0, interval_max=RECONNECT_S
        )
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
