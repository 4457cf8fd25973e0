"""An HL7 v2 receiver: ORU^R01 by MLLP (HL7 v2.5.1, implementation guide "Transport", Release 1; TLS where it is set).

A message's control id is the result's, however often it is sent.
"""

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from worker.errors import Code, StudyRefused, Unavailable
from worker.reporting.hl7 import Addressing, control_id_of, hl7_message
from worker.sending.acknowledgement import DEFAULT, Acknowledgement, Verdict, read_acknowledgement
from worker.sending.destination import Deferred, Deliver, Parcel, Sources

CONNECT_S: Final = 10.0
"""How long a receiver may take to take the call, in seconds."""

LARGEST_ANSWER: Final = 64 << 10
"""An acknowledgement has at most so many bytes."""

START, END = b"\x0b", b"\x1c\r"
"""The framing of a message."""

_CHARSET: Final = "utf-8"
_NO_ANSWER: Final = "the receiver gives no whole acknowledgement in time"


@dataclass(frozen=True, slots=True)
class Mllp:
    """A receiver.

    Attributes:
        addressing: what the header of each message says of sender and receiver.
        by_code: what AE and AR mean there, where ERR-3 says nothing.
    """

    name: str
    host: str
    port: int
    timeout_s: float
    sources: Sources
    addressing: Addressing
    tls: ssl.SSLContext | None = None
    by_code: Mapping[str, Verdict] = field(default_factory=lambda: DEFAULT)

    @property
    def where(self) -> str:
        """Its host and port."""
        return f"{self.host}:{self.port}"

    @contextmanager
    def opened(self) -> Iterator[Deliver]:
        """Hold one connection for several results."""
        with self._connected() as connection:
            yield lambda parcel: self._send(connection, parcel)

    def test(self) -> str:
        """Connect, with TLS where it is set, and send nothing: HL7 has no message that is a question alone."""
        with self._connected() as connection:
            by = f", {connection.version()}" if isinstance(connection, ssl.SSLSocket) else ""
        return f"takes connections{by}"

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        try:
            with socket.create_connection((self.host, self.port), CONNECT_S) as plain:
                plain.settimeout(self.timeout_s)
                if self.tls is None:
                    yield plain
                    return
                with self.tls.wrap_socket(plain, server_hostname=self.host) as connection:
                    yield connection
        except OSError:
            reason = "the receiver does not take the call, or not with TLS, or has ended it"
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, reason) from None

    def _send(self, connection: socket.socket, parcel: Parcel) -> None:
        with self.sources(parcel.result) as source:
            message = hl7_message(parcel.result, source, self.addressing)
        try:
            connection.settimeout(self.timeout_s)
            connection.sendall(START + message.encode(_CHARSET) + END)
            answer = _received(connection, time.monotonic() + self.timeout_s)
        except OSError:
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, _NO_ANSWER) from None
        _check(read_acknowledgement(answer, control_id_of(parcel.result), self.by_code))


def _received(connection: socket.socket, until: float) -> str:
    """Return one framed answer, which has to be whole by a time (monotonic)."""
    content = b""
    while END not in content:
        left_s = until - time.monotonic()
        if left_s <= 0 or len(content) > LARGEST_ANSWER:
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, _NO_ANSWER)
        connection.settimeout(left_s)
        part = connection.recv(LARGEST_ANSWER)
        if not part:
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, _NO_ANSWER)
        content += part
    return content.partition(START)[2].partition(END)[0].decode(_CHARSET, "replace")


def _check(answer: Acknowledgement) -> None:
    if answer.verdict is Verdict.NO_ANSWER:
        raise Unavailable(Code.DESTINATION_UNAVAILABLE, answer.sentence)
    if answer.verdict is Verdict.LATER:
        raise Deferred(answer.sentence)
    if answer.verdict is Verdict.REFUSED:
        raise StudyRefused(Code.DESTINATION_REFUSED, answer.sentence)
