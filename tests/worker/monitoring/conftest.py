from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.session import make_engine, session_factory
from tests.conftest import Database
from tests.db.samples import register


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    """Sessions of dlr_writer, on a ledger that knows two versions of both models, 1.0 of which is a demo."""
    engine = make_engine(database.writer_url)
    factory = session_factory(engine)
    with factory.begin() as session:
        register(session)
        register(session, "2.0", notice=None)
    yield factory
    engine.dispose()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write a file, and return where it is."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
