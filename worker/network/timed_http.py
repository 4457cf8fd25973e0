"""HTTP answers that have one time for all of them: status, headers and body.

requests gives its time-out to each read by itself, so that a server which sends a byte now and then is never given up.
To be imported where something is asked; requests is in an extra.
"""

import time
from functools import partial
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from math import inf
from socket import SocketIO, socket
from typing import TYPE_CHECKING, Any, cast

from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from urllib3.connectionpool import HTTPConnectionPool


class TimedAnswers(HTTPAdapter):
    """Lets the time-out for reading be that of a whole answer."""

    def __init__(self, silent_s: float = inf) -> None:
        """Make one; ``silent_s`` is how long a server may be silent within that time, in seconds."""
        self._silent_s = silent_s
        super().__init__()

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> "HTTPConnectionPool":
        """Return the connections to a server, as requests asks for them."""
        pool = cast("HTTPConnectionPool", super().get_connection_with_tls_context(*arguments, **options))
        pool.ConnectionCls = partial(self._connection, type(pool).ConnectionCls)  # type: ignore[assignment]
        return pool

    def _connection(self, kind: Any, **options: Any) -> Any:
        connection = kind(**options)
        connection.response_class = partial(_timed, silent_s=self._silent_s)
        return connection


def _timed(sock: socket, *arguments: Any, silent_s: float, **options: Any) -> HTTPResponse:
    answer = HTTPResponse(sock, *arguments, **options)
    answer.fp = BufferedReader(_Timed(sock, cast("SocketIO", answer.fp.detach()), silent_s))
    return answer


class _Timed(RawIOBase):
    """What comes from a socket until a time: that of its time-out, from now on."""

    def __init__(self, sock: socket, raw: SocketIO, silent_s: float) -> None:
        self._socket = sock
        self._raw = raw
        self._silent_s = silent_s
        self._until = time.monotonic() + (sock.gettimeout() or inf)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        wait_s = min(left, self._silent_s)
        self._socket.settimeout(None if wait_s == inf else wait_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        super().close()
        self._raw.close()
