from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from db.session import make_engine, session_factory
from tests.conftest import Database
from tests.db.samples import register


@pytest.fixture
def writer(database: Database) -> Iterator[Engine]:
    engine = make_engine(database.writer_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(writer: Engine) -> sessionmaker[Session]:
    """Sessions of dlr_writer, on a ledger that knows version 1.0 of both models."""
    factory = session_factory(writer)
    with factory.begin() as session:
        register(session)
    return factory
