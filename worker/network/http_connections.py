"""A browser's connection: how long it may take, and how many of them one address may have.

uvicorn ends a connection that is idle after an answer, and no other: one that never asks, or asks a byte at a time, or
does not take its answer, would keep its place for ever, and 256 of them would keep everybody else out. Its protocol of
h11 is the one that has a limit for the head of a request.
"""

import asyncio
from typing import ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

CONNECTIONS: Final = 256
"""Connections that are served at once; a further one hears that it is too many."""

OF_ONE_ADDRESS: Final = 64
"""How many of them one address may have; a further one is ended. A browser opens six."""

REQUEST_S: Final = 10.0
"""How long a request may be in coming, its body included, in seconds."""

ANSWER_S: Final = 120.0
"""How long an answer may be in being made and taken, in seconds."""


class Connection(H11Protocol):
    """A connection with an end to every wait. Those of a proxy before us all have its address and are not counted.

    Attributes:
        body_s: how long a body may be in coming once its head is there, in seconds; ``None``: no longer than all of it.
    """

    body_s: ClassVar[float | None] = None

    _timer: asyncio.TimerHandle | None = None
    _answering: RequestResponseCycle | None = None
    _coming: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first request."""
        super().connection_made(transport)
        self._within(REQUEST_S)
        if not self.config.forwarded_allow_ips and self._of_this_address() > OF_ONE_ADDRESS:
            transport.abort()

    def handle_events(self) -> None:
        """Take what has come; once a request is whole, wait for its answer to be taken."""
        super().handle_events()
        if self.body_s is not None and self.cycle is not None and self.cycle is not self._coming:
            self._coming = self.cycle
            self._within(self.body_s)
        if self.cycle is not None and not self.cycle.more_body and self.cycle is not self._answering:
            self._answering = self.cycle
            if not self.cycle.response_complete:
                self._within(ANSWER_S)

    def on_response_complete(self) -> None:
        """Wait for the next request, once the end of the answer has been taken."""
        self._within(ANSWER_S if self.transport.get_write_buffer_size() else REQUEST_S)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _within(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _of_this_address(self) -> int:
        here = self.client and self.client[0]
        clients = [one.client for one in self.connections if isinstance(one, H11Protocol)]
        return sum(client is not None and client[0] == here for client in clients)
