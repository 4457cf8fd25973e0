"""Clients of Redis: of one server, or of the primary that its Sentinels name."""

import socket
from collections.abc import Mapping
from typing import Final

from redis import Redis

from worker.broker.sentinels import primary_pool
from worker.settings import sentinel_address

TIMEOUT_S = 5.0
"""How long Redis may take to connect or to answer, in seconds."""

KEEPALIVE: Final[Mapping[int, int]] = {
    socket.TCP_KEEPIDLE: 5,
    socket.TCP_KEEPINTVL: 2,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 10_000,
}
"""When the kernel ends a connection, in seconds and milliseconds (tcp(7)): about 10 s after the other end has gone
without a word, whoever had the word. The kernel's own limits are two hours, and 15 minutes."""


def connect(url: str, timeout_s: float | None = TIMEOUT_S) -> Redis:
    """Return a client; it connects on first use, and each time to who is the primary then.

    Args:
        url: as ``DLR_REDIS_URL`` has it.
        timeout_s: of each answer; ``None``: it may take as long as it takes.
    """
    limits = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s or TIMEOUT_S,
        "socket_keepalive_options": KEEPALIVE,
    }
    if sentinel_address(url) is None:
        return Redis.from_url(url, **limits)
    return Redis.from_pool(primary_pool(url, **limits))
