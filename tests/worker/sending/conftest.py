"""A ledger with both models, a storage, and a port for the other side."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.conftest import Database
from tests.db.samples import writing
from worker.network.port import free_port


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    with writing(database) as sessions:
        yield sessions


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


@pytest.fixture
def port(tmp_path: Path) -> int:
    return free_port(tmp_path / "port")
