"""The ledger, as intake writes it."""

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.session import make_engine, session_factory
from tests.conftest import Database


@pytest.fixture
def sessions(database: Database) -> sessionmaker[Session]:
    return session_factory(make_engine(database.writer_url))
