"""One PostgreSQL and one Redis for a run, whichever processes run its tests."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar
from unittest import mock

from tests.shared import folder
from worker.services import postgres
from worker.services.embedded import EmbeddedServer
from worker.services.home import Home
from worker.services.postgres import EmbeddedPostgres
from worker.services.redis import EmbeddedRedis

Server = TypeVar("Server", bound=EmbeddedServer)

NOT_FOR_KEEPS = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "scram_iterations": "1"}
"""What this PostgreSQL stores is gone with the run, and who knows its passwords need not be slowed down."""

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
    server = kind(Home(folder() / kind.__name__))
    port = server.home.path / "run-port"
    if port.exists():
        server.port = int(port.read_text())
        yield server
        return
    with mock.patch.dict(postgres.SETTINGS, NOT_FOR_KEEPS):
        server.start()
    port.write_text(str(server.port))
    yield server
    server.stop()
    port.unlink()
