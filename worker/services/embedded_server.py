"""What both embedded servers are: one process at a time in the home, started and stopped as often as wanted."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from worker.services.home import Home
from worker.services.server_process import ServerProgram


@dataclass
class EmbeddedServer:
    """A server of this home.

    Attributes:
        port: on the loopback interface; 0 before the first start.
    """

    home: Home
    port: int = field(default=0, init=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False, repr=False)
    _program: ServerProgram | None = field(default=None, init=False, repr=False)

    @property
    def is_running(self) -> bool:
        """Whether the server that was started still runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop the server; sessions are ended, what was committed or accepted is kept."""
        if self._process is not None and self._program is not None:
            self._program.stop(self._process)
        self._process = None

    @contextmanager
    def _starting(self, program: ServerProgram, arguments: Sequence[str]) -> "Iterator[subprocess.Popen[bytes]]":
        """The started process, which is stopped again where what is done with it then fails."""
        process = program.start(arguments)
        self._process, self._program = process, program
        try:
            yield process
        except BaseException:
            self.stop()
            raise
