"""One PostgreSQL and one Redis for a run, whichever processes run its tests."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from unittest import mock

from tests.shared import folder
from worker.services import embedded_postgres
from worker.services.embedded_postgres import EmbeddedPostgres
from worker.services.embedded_redis import EmbeddedRedis
from worker.services.embedded_server import EmbeddedServer
from worker.services.home import Home

Server = TypeVar("Server", bound=EmbeddedServer)

NOT_FOR_KEEPS = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "scram_iterations": "1"}
"""What this PostgreSQL stores is gone with the run, and who knows its passwords need not be slowed down."""

MEMORY = "/dev/shm"  # noqa: S108
ROOM_BYTES = 2 << 30
"""A run takes a tenth of it; a container that has not been asked for more has 64 MiB."""

REDIS_DATABASES = 16
"""Of a Redis; each process has one of its own."""


@contextmanager
def both() -> Iterator[None]:
    """Run both, for the processes that this one starts."""
    with ExitStack() as stack:
        for kind in (EmbeddedPostgres, EmbeddedRedis):
            stack.enter_context(running(kind))
        yield


@contextmanager
def running(kind: type[Server]) -> Iterator[Server]:
    """Give the run's server of a kind; one that runs already is not started, and goes on."""
    there = folder() / kind.__name__
    if there.exists():
        server = kind(Home(there.resolve()))
        server.port = int((there / "run-port").read_text())
        yield server
        return
    with TemporaryDirectory(prefix="dlr-tests-", dir=_memory()) as place:
        server = kind(Home(Path(place) / "home"))
        with mock.patch.dict(embedded_postgres.SETTINGS, NOT_FOR_KEEPS):
            server.start()
        (server.home.path / "run-port").write_text(str(server.port))
        there.symlink_to(server.home.path)
        yield server
        there.unlink()
        server.stop()


def _memory() -> str | None:
    """Where files are in memory, if there is room: each database is 300 of them, and soon gone."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        return None
    return MEMORY
