"""A ledger with both models, a storage, and a port for the other side."""

from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.session import make_engine, session_factory
from tests.conftest import Database
from tests.db.samples import register
from worker.services.port import free_port


@pytest.fixture
def sessions(database: Database) -> sessionmaker[Session]:
    factory = session_factory(make_engine(database.writer_url))
    with factory.begin() as session:
        register(session)
    return factory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


@pytest.fixture
def port(tmp_path: Path) -> int:
    return free_port(tmp_path / "port")
