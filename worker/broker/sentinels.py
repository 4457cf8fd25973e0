"""Which Redis is the primary, as its Sentinels say, and connections that follow it.

redis-py asks the Sentinels when it connects. After a failover that is not enough: who is connected to a former primary
that is frozen, or cut off from the Sentinels alone, waits for its answer, or has one that nobody will keep. So each
process asks once a second, and cuts its connections to any other server.
"""

import logging
import socket
import threading
import time
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, cast
from weakref import WeakSet

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from worker.broker.letting_go import LetGo
from worker.outages.redis_answers import NO_PRIMARY, NO_SENTINEL, NOT_PRIMARY
from worker.settings import SentinelAddress, sentinel_address

logger = logging.getLogger(__name__)

SENTINEL_TIMEOUT_S: Final = 1.0
"""How long a Sentinel may take to answer, in seconds; another one is asked then."""

LOOK_S: Final = 1.0
"""How often each process asks who the primary is, in seconds."""

Address = tuple[str, int]


class Sentinels(Sentinel):
    """The Sentinels of one Redis."""

    def __init__(self, address: SentinelAddress) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]
        self.address = address
        self.sentinels = [
            Redis(
                host,
                port,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=SENTINEL_TIMEOUT_S,
                socket_connect_timeout=SENTINEL_TIMEOUT_S,
                **address.of_sentinels,
            )
            for host, port in address.sentinels
        ]
        self.watch = Watch(self, address.service)

    def discover_master(self, service_name: str) -> Address:
        """Ask Sentinels until more than half of them have answered, and believe the newest configuration.

        One that was cut off from the others has an older one. Whoever did not answer is asked last the next time.

        Raises:
            MasterNotFoundError: none knows a primary that is up; the reason says whether any answered.
        """
        states: list[dict[str, Any]] = []
        silent: list[Redis] = []
        answered = 0
        for sentinel in list(self.sentinels):
            try:
                state = sentinel.sentinel_masters().get(service_name)  # type: ignore[union-attr]
            except (RedisError, OSError):
                silent.append(sentinel)
                continue
            answered += 1
            if state and state["is_master"] and not (state["is_sdown"] or state["is_odown"]):
                states.append(state)
            if answered > len(self.sentinels) / 2 and states:
                break
        self.sentinels = [*(one for one in self.sentinels if one not in silent), *silent]
        if not states:
            raise MasterNotFoundError(NO_PRIMARY if answered else NO_SENTINEL)
        newest = max(states, key=lambda state: int(state["config-epoch"]))
        return str(newest["ip"]), int(newest["port"])


class Watch:
    """Asks for the primary all the time, once anything is connected, and cuts the connections to other servers."""

    def __init__(self, sentinels: Sentinels, service: str) -> None:
        self._sentinels, self._service = sentinels, service
        self._lock = threading.Lock()
        self._connections: WeakSet[Any] = WeakSet()
        self._thread: threading.Thread | None = None

    def add(self, connection: SentinelManagedConnection) -> None:
        """Watch a connection as long as there is one."""
        with self._lock:
            self._connections.add(connection)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sentinel-watch", daemon=True)
                self._thread.start()

    def look(self) -> None:
        """Look once."""
        try:
            primary = self._sentinels.discover_master(self._service)
        except RedisConnectionError:
            return  # nobody knows better than who is connected
        with self._lock:
            connected = list(self._connections)
        cut = [one for one in connected if one.is_elsewhere(primary)]
        for connection in cut:
            connection.cut()
        if cut:
            logger.warning("Redis: another server is the primary now; %d connections are made anew", len(cut))

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_S)
            try:
                self.look()
            except Exception as error:
                logger.error("a defect of this software", exc_info=error)


class Followed(LetGo, SentinelManagedConnection):
    """A connection to the primary, and to no server that only was it."""

    _cut: socket.socket | None = None
    """What was shut down, and stays until somebody uses the connection again."""

    def connect_to(self, address: Address) -> None:
        """Connect, if that server is the primary itself.

        Raises:
            MasterNotFoundError: it is not, or not yet.
        """
        super().connect_to(address)  # type: ignore[no-untyped-call]
        self._require_primary()
        self.connection_pool.sentinel_manager.watch.add(self)

    def _require_primary(self) -> None:
        try:
            self.send_command("INFO", "replication", check_health=False)  # type: ignore[no-untyped-call]
            said = self.read_response()
        except ResponseError:  # its user may not ask; a replica will refuse what is written
            self.reset_should_reconnect()  # type: ignore[no-untyped-call]
            return
        except RedisError:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise
        if "role:master" not in (said.decode() if isinstance(said, bytes) else str(said)):
            self.disconnect()  # type: ignore[no-untyped-call]
            raise MasterNotFoundError(NOT_PRIMARY)

    def is_elsewhere(self, primary: Address) -> bool:
        """Whether it is connected, and to another server."""
        return self._socket() not in (None, self._cut) and (str(self.host), int(self.port)) != primary

    def cut(self) -> None:
        """End the connection from another thread; who waits for an answer on it learns that at once."""
        connected = self._cut = self._socket()
        if connected is not None:
            with suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # which leaves TLS to who reads

    def _socket(self) -> socket.socket | None:
        return cast("socket.socket | None", self._sock)


class FollowedOverTls(Followed, SentinelManagedSSLConnection):
    """The same over TLS."""


@lru_cache(maxsize=8)
def sentinels_of(url: str) -> Sentinels:
    """Return the Sentinels of a URL, and one watch over them for this process.

    Raises:
        ValueError: it names none.
    """
    address = sentinel_address(url)
    if address is None:
        raise ValueError("names no Sentinels")
    return Sentinels(address)


def primary_pool(url: str, **arguments: Any) -> SentinelConnectionPool:
    """Return a pool of connections to the primary.

    Args:
        url: of its Sentinels.
        arguments: redis-py's, of each connection; they stand before those of the URL.
    """
    sentinels = sentinels_of(url)
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]
        sentinels.address.service,
        sentinels,
        **{
            "connection_class": FollowedOverTls if sentinels.address.tls else Followed,
            **sentinels.address.of_redis,
            **arguments,
        },
    )
