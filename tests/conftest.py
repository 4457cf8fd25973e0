"""Real servers for every test: one PostgreSQL and one Redis for a run, a database of each for every test."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest
from hypothesis import settings as hypothesis_settings
from psycopg2 import sql
from psycopg2.extras import wait_select
from redis import Redis
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling, LoadScopeScheduling

from db.schema.roles import OWNER, READER, ROLES, SHADOW, WEB, WRITER
from tests import shared
from tests.servers import REDIS_DATABASES, both, running
from worker.services.embedded_postgres import SUPERUSER, EmbeddedPostgres
from worker.services.embedded_redis import EmbeddedRedis
from worker.services.home import Home
from worker.settings import get_settings

# Networks this small are quicker on one thread, and each core has a process that runs tests. PyTorch reads this when it
# is imported, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A terminal's width that the environment has, as under pytest, would decide what commands print.
os.environ.pop("COLUMNS", None)

TEMPLATE = "migrated"
END_TO_END = "tests/end_to_end/"
TUTORIAL = "tests/end_to_end/test_tutorial.py"
"""It starts a service as its reader does."""

# How long an example takes says how busy the machine is, so none has a deadline.
hypothesis_settings.register_profile("short", deadline=None, max_examples=20)
hypothesis_settings.register_profile("long", deadline=None, max_examples=500)
hypothesis_settings.load_profile("short")


_servers = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shared.begin()


def pytest_sessionstart(session: pytest.Session) -> None:
    option = session.config.option
    if not hasattr(session.config, "workerinput") and getattr(option, "numprocesses", None) and not option.collectonly:
        _servers.enter_context(both())


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


class ByFile(LoadFileScheduling):
    """The tests of a file are run by one process, which makes what they share once; so are those of the one service.

    The marker ``xdist_group`` would say so too, had pytest 9.2 not taken from xdist 3.8 what it did it by.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return END_TO_END if file.startswith(END_TO_END) and file != TUTORIAL else file


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _servers.close()
        shared.end()


@dataclass(frozen=True)
class Database:
    """One test's database, as each role sees it."""

    owner_url: str
    writer_url: str
    reader_url: str
    superuser_url: str
    web_url: str
    shadow_url: str


NewDatabase = Callable[[], AbstractContextManager[Database]]
"""Makes a database, which is dropped in the end."""


@pytest.fixture(autouse=True)
def _settings_of_this_test_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nobody's environment and nobody's running ``dlr up`` reach a test."""
    for name in list(os.environ):
        if name.startswith("DLR_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DLR_HOME", str(tmp_path / "dlr-home"))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The run's PostgreSQL. Whoever needs the settings of an installation starts one of their own."""
    with running(EmbeddedPostgres) as server:
        yield server


@pytest.fixture
def empty_database(_copy_of: Callable[[str], AbstractContextManager[Database]]) -> Iterator[Database]:
    """A new database with nothing in it, which dlr_owner owns."""
    with _copy_of("template1") as database:
        yield database


@pytest.fixture(params=["LATIN1", "SQL_ASCII", "EUC_JP"])
def narrow_database(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A new database with nothing in it, whose encoding has some letters alone."""
    name, words = f"test_{uuid4().hex}", "LOCALE_PROVIDER libc LOCALE 'C'"
    with postgres.as_superuser() as cursor:
        cursor.execute(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0 ENCODING '{request.param}' {words}")
        yield Database(*(postgres.url(user, name) for user in (OWNER, WRITER, READER, SUPERUSER, WEB, SHADOW)))
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(new_database: NewDatabase) -> Iterator[Database]:
    """A new database with the schema in it."""
    with new_database() as database:
        yield database


@pytest.fixture(scope="session")
def new_database(_copy_of: Callable[[str], AbstractContextManager[Database]], _template: str) -> NewDatabase:
    """Makes such databases, for a test that needs several."""
    return partial(_copy_of, _template)


@pytest.fixture(scope="session")
def _template(postgres: EmbeddedPostgres) -> str:
    """Migrated once a run and then copied, which is quicker than to migrate for each test."""

    def migrate(_folder: Path) -> None:
        from db.migrate import upgrade

        postgres.create_database(TEMPLATE)
        upgrade(postgres.url(OWNER, TEMPLATE))

    shared.made_once("template", migrate)
    return TEMPLATE


@pytest.fixture(scope="session")
def _copy_of(postgres: EmbeddedPostgres) -> Iterator[Callable[[str], AbstractContextManager[Database]]]:
    """Makes a copy of a template, as `EmbeddedPostgres.create_database` would, and drops it.

    The copy is of files: to write one into the log costs three times the time. A drop goes on beside the next test,
    since it waits for a checkpoint; the one after it waits for it, so that they do not pile up on the disk.
    """
    with postgres.as_superuser() as cursor, closing(_asynchronous(postgres)) as behind:
        dropping = behind.cursor()

        @contextmanager
        def copy_of(template: str) -> Iterator[Database]:
            name = f"test_{uuid4().hex}"
            words = {
                "name": sql.Identifier(name),
                "owner": sql.Identifier(OWNER),
                "template": sql.Identifier(template),
                "roles": sql.SQL(", ").join(map(sql.Identifier, ROLES)),
            }
            cursor.execute(
                sql.SQL("CREATE DATABASE {name} OWNER {owner} TEMPLATE {template} STRATEGY file_copy").format(**words)
            )
            cursor.execute(
                sql.SQL(
                    "REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO {roles}"
                ).format(**words)
            )
            try:
                yield Database(*(postgres.url(user, name) for user in (OWNER, WRITER, READER, SUPERUSER, WEB, SHADOW)))
            finally:
                wait_select(behind)
                dropping.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**words))

        yield copy_of
        wait_select(behind)


def _asynchronous(server: EmbeddedPostgres) -> "psycopg2.extensions.connection":
    """Connect the superuser, whose statements are waited for with `wait_select`."""
    connection = psycopg2.connect(server.url(SUPERUSER, "postgres"), async_=True)
    wait_select(connection)
    return connection


@pytest.fixture(scope="session")
def _redis(worker_id: str) -> Iterator[str]:
    """The URL of this process's own database of the run's Redis."""
    number = int(worker_id.removeprefix("gw")) if worker_id != "master" else 0
    with running(EmbeddedRedis) as server:
        yield server.url().removesuffix("/0") + f"/{number % REDIS_DATABASES}"


@pytest.fixture
def redis_url(_redis: str) -> str:
    """A Redis with nothing in it."""
    with Redis.from_url(_redis) as client:
        for key in client.scan_iter():
            client.delete(key)
    return _redis


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of one test's own, to look into, stop or lose."""
    server = EmbeddedRedis(Home(tmp_path / "home"))
    server.start()
    yield server
    server.stop()
