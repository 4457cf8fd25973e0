"""Clients of Redis: of one server, or of the primary that its Sentinels name."""

from redis import Redis

from worker.broker.sentinels import primary_pool
from worker.settings import sentinel_address

TIMEOUT_S = 5.0
"""How long Redis may take to connect or to answer, in seconds."""


def connect(url: str, timeout_s: float | None = TIMEOUT_S) -> Redis:
    """Return a client; it connects on first use, and each time to who is the primary then.

    Args:
        url: as ``DLR_REDIS_URL`` has it.
        timeout_s: of each answer; ``None``: it may take as long as it takes.
    """
    limits = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s or TIMEOUT_S}
    if sentinel_address(url) is None:
        return Redis.from_url(url, **limits)
    return Redis.from_pool(primary_pool(url, **limits))
