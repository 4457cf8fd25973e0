"""A collector of audit messages (syslog by TCP), which goes away once it has heard of a patient, and comes back."""

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.faults.planted import PLANTED
from worker.network.port import LOOPBACK

_LOOK_S: Final = 0.1
_MESSAGE: Final = re.compile(rb"<AuditMessage>.*?</AuditMessage>", re.DOTALL)
_RESET: Final = struct.pack("ii", 1, 0)
"""Linger for no time: a connection that is closed so is reset."""


@dataclass
class AuditCollector:
    """What it keeps.

    Attributes:
        log: of the sender; the collector stays away until it says that nobody answers here.
        kept: audit messages.
        was_away: its first connection that held something planted was reset, and nobody answered the next.
    """

    port: int
    log: Path
    kept: list[bytes] = field(default_factory=list)
    was_away: bool = False
    _stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def quoting(self) -> list[bytes]:
        """Messages with something planted, as those of studies have to be."""
        return [message for message in self.kept if PLANTED.search(message)]

    def says(self, kind: str, who: str) -> bool:
        """Whether a message of a kind, such as ``Export``, says what somebody did, and to which study."""
        wanted = (f'originalText="{kind}"'.encode(), f'UserID="{who}"'.encode())
        return any(all(part in message for part in wanted) for message in self.quoting)

    def serve(self) -> None:
        """Take calls until `stop`."""
        self._take(breaks=True)
        missed = f":{self.port} cannot be reached: Connection refused"
        while missed not in self.log.read_text():
            if self._stopped.wait(_LOOK_S):
                return
        self.was_away = True
        self._take(breaks=False)

    def stop(self) -> None:
        """End `serve`."""
        self._stopped.set()

    def _take(self, *, breaks: bool) -> None:
        """Keep what is said; ``breaks``: up to a connection with something planted, which is reset."""
        with socket.create_server((LOOPBACK, self.port)) as server:
            server.settimeout(_LOOK_S)
            while not self._stopped.is_set():
                try:
                    call, _ = server.accept()
                except TimeoutError:
                    continue
                with call, call.makefile("rb") as stream:
                    said = stream.read()
                    if breaks and PLANTED.search(said):
                        call.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        return
                self.kept += _MESSAGE.findall(said)


@contextmanager
def collecting(collector: AuditCollector) -> Iterator[AuditCollector]:
    """Run a collector in a thread."""
    serving = threading.Thread(target=collector.serve)
    serving.start()
    try:
        yield collector
    finally:
        collector.stop()
        serving.join()
