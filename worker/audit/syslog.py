"""Syslog messages (RFC 5424) to a collector: by TLS (RFC 5425), TCP (RFC 6587, octets counted) or UDP (RFC 5426)."""

import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Protocol
from urllib.parse import urlsplit

from worker.errors import Code, SetupRefused, Unavailable

PRIORITY: Final = 10 * 8 + 5
"""Facility 10 (security/authorization), severity 5 (notice): PS3.15, A.6.1."""

MESSAGE_ID: Final = "DICOM+RFC3881"
APPLICATION: Final = "dlr"
BOM: Final = b"\xef\xbb\xbf"
LONGEST_DATAGRAM: Final = 65507
"""Bytes of a UDP datagram over IPv4."""


class Transport(StrEnum):
    """How messages go."""

    TLS = "tls"
    TCP = "tcp"
    UDP = "udp"


class Sends(Protocol):
    """Sends one message.

    Raises:
        Unavailable: ``collector_unavailable``.
    """

    def __call__(self, message: bytes, /) -> None:
        """Send it."""


@dataclass(frozen=True, slots=True)
class Collector:
    """Where messages go.

    Attributes:
        timeout_s: how long a connection may last, with all that is sent over it.
        tls: how the collector is verified, and what it is shown.
    """

    transport: Transport
    host: str
    port: int
    timeout_s: float
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}://{host}:{self.port}"

    @contextmanager
    def connected(self) -> Iterator[Sends]:
        """Hold a connection, over which messages go one after the other.

        Raises:
            Unavailable: ``collector_unavailable``; nobody answers there, or its certificate is not trusted.
        """
        ends_at = time.monotonic() + self.timeout_s
        with _told(f"{self}"):
            if self.transport is Transport.UDP:
                connection = _udp(self.host, self.port)
            else:
                connection = socket.create_connection((self.host, self.port), self.timeout_s)
        with connection:
            if self.tls is not None:
                with _told(f"{self}, by TLS"):
                    connection = self.tls.wrap_socket(connection, server_hostname=self.host)
            with connection:
                yield lambda message: self._send(connection, message, ends_at)
                self._finish(connection, ends_at)

    def _send(self, connection: socket.socket, message: bytes, ends_at: float) -> None:
        with _told(f"{self}"):
            if self.transport is Transport.UDP:
                connection.send(message[:LONGEST_DATAGRAM])
                return
            if _is_closed(connection):
                raise ConnectionResetError("the collector has ended the connection")
            connection.settimeout(_left_s(ends_at))
            connection.sendall(b"%d %b" % (len(message), message))

    def _finish(self, connection: socket.socket, ends_at: float) -> None:
        """Say that there is no more, and wait until the collector has read so far: syslog has no answers.

        One that does not end its side in time has taken the messages as far as can be known.
        """
        if self.transport is Transport.UDP:
            return
        with _told(f"{self}"):
            try:
                connection.settimeout(_left_s(ends_at))
                if isinstance(connection, ssl.SSLSocket):
                    connection = connection.unwrap()
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)
            except (TimeoutError, ssl.SSLError):
                return


def parse_collector(url: str, timeout_s: float, tls: ssl.SSLContext) -> Collector:
    """Read ``tls://host:port``, ``tcp://`` or ``udp://``; the port is 6514 by default, or 514 for the latter.

    Raises:
        SetupRefused: ``setting_invalid``.
    """
    parts = urlsplit(url)
    try:
        transport, port = Transport(parts.scheme), parts.port
    except ValueError:
        transport, port = None, None
    if transport is None or not parts.hostname or parts.username or parts.path.strip("/"):
        reason = "DLR_AUDIT_COLLECTOR has to be such as tls://collector.hospital.example:6514, or tcp:// or udp://"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    return Collector(
        transport,
        parts.hostname,
        port or (514 if transport is Transport.UDP else 6514),
        timeout_s,
        tls if transport is Transport.TLS else None,
    )


def syslog_message(text: str, at: datetime, host: str) -> bytes:
    """Return a message as RFC 5424 has it, without structured data; ``at`` has a time zone."""
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = f"<{PRIORITY}>1 {moment} {_token(host, 255)} {APPLICATION} {os.getpid()} {MESSAGE_ID} - "
    return head.encode("ascii") + BOM + text.encode("utf-8", "replace")


def _token(text: str, most: int) -> str:
    """Return printable US-ASCII without spaces, or the nil value."""
    return "".join(letter for letter in text if "!" <= letter <= "~")[:most] or "-"


def _udp(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    connection = socket.socket(family, kind, protocol)
    connection.connect(address)
    return connection


def _left_s(ends_at: float) -> float:
    left_s = ends_at - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the connection has lasted too long")
    return left_s


def _is_closed(connection: socket.socket) -> bool:
    """Whether the collector has ended the connection, which a write would not tell. It never says anything itself."""
    timeout = connection.gettimeout()
    connection.settimeout(0)
    try:
        return connection.recv(1) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    finally:
        connection.settimeout(timeout)


@contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"the collector {where} cannot be reached: {error.strerror or type(error).__name__}"
        raise Unavailable(Code.COLLECTOR_UNAVAILABLE, reason) from None
