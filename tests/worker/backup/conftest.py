"""Two installations: one that has something to lose, and an empty machine."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, text

from db.session import make_engine
from db.writes import outbox
from tests.conftest import Database
from tests.db.samples import arrived, claimed, ended, lesion, read, refused, scored, study, writing
from tests.worker.inference.samples import registry_with_both
from worker.durable_files import write_private
from worker.settings import Settings, get_settings

PATHS = ("received/1/a.dcm", "own/b.dcm")
ACCOUNTS = b'{"accounts": {"anna": {"role": "reader", "hash": "$argon2id$of-anna"}}}'


@dataclass(frozen=True)
class Installation:
    """One machine: its folder, its database, and how its commands are told of them."""

    home: Path
    database: Database

    @property
    def variables(self) -> dict[str, str]:
        return {
            "DLR_HOME": str(self.home),
            "DLR_DATABASE_URL": self.database.writer_url,
            "DLR_DATABASE_OWNER_URL": self.database.owner_url,
        }

    def settings(self, monkeypatch: pytest.MonkeyPatch, **changes: str) -> Settings:
        for name, value in {**self.variables, **changes}.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        return get_settings()

    def rows(self, statement: str) -> list[Any]:
        engine = make_engine(self.database.superuser_url, role=None, poolclass=NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def do(self, *statements: str) -> None:
        """Do what an administrator does."""
        engine = make_engine(self.database.superuser_url, role=None, poolclass=NullPool, autocommit=True)
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def everything(self) -> dict[str, list[Any]]:
        """The rows of every table, the states of the sequences, and who may do what."""
        tables = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        found = {table: self.rows(f"SELECT t::text FROM {table} AS t ORDER BY 1") for (table,) in tables}
        found["sequences"] = self.rows("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1")
        found["rights"] = self.rows(
            "SELECT relname, grantee::regrole::text, privilege_type FROM pg_class, aclexplode(relacl) "
            "WHERE relnamespace = 'public'::regnamespace AND grantee <> relowner ORDER BY 1, 2, 3"
        )
        found["worklist"] = self.rows("SELECT w::text FROM worklist AS w")
        return found


def with_files(uid: str, *paths: str, **changes: Any) -> Any:
    return study(uid, uid, job={"images": {"kind": "files", "paths": list(paths)}}, **changes)


def fill(database: Database) -> None:
    """Studies in every state, one of them read, with a correction, a refusal and a delivery."""
    with writing(database) as sessions, sessions.begin() as session:
        outbox.switch_on(session, "pacs")
        done = ended(session, with_files("1.2.1", *PATHS), scored(bm=0.9))
        ended(session, with_files("1.2.2", lesions=(lesion("L1"), lesion("L2"))), scored("L1"), refused("L2"))
        ended(session, with_files("1.2.3"), refused())
        read(session, done.study_id, "bea", "4A")
        arrived(session, with_files("1.2.4", "own/b.dcm", priority="stat"))
        at_work = arrived(session, with_files("1.2.5"))
        claimed(session, at_work.study_id)
        outbox.make_deliveries(session, "pacs", 100)


@pytest.fixture
def full(database: Database, tmp_path: Path) -> Installation:
    """A ledger with five studies, an account, and the files of the studies."""
    home = tmp_path / "full"
    home.mkdir()
    fill(database)
    write_private_in(home / "secrets" / "web-accounts.json", ACCOUNTS)
    for path in PATHS:
        write_private_in(home / "storage" / path, path.encode())
    return Installation(home, database)


@pytest.fixture
def both_models(full: Installation) -> None:
    """Both models are in the full installation's registry, and active."""
    registry_with_both(full.home)
    (full.home / "registry").rename(full.home / "models")


def write_private_in(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, content)


@pytest.fixture
def empty(empty_database: Database, tmp_path: Path) -> Installation:
    """A machine with nothing on it but a database without tables."""
    home = tmp_path / "empty"
    home.mkdir()
    return Installation(home, empty_database)


Back = Callable[..., Path]
"""Makes a backup of the full installation, and returns the archive."""


@pytest.fixture
def back_up(full: Installation, monkeypatch: pytest.MonkeyPatch) -> Back:
    from worker.backup.create import create

    def make(**changes: Any) -> Path:
        options = {"digests": True} | changes
        return create(full.settings(monkeypatch), **options)

    return make
