from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.conftest import Database
from tests.db.samples import writing


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    """Sessions of dlr_writer, on a ledger that knows version 1.0 of both models."""
    with writing(database) as made:
        yield made
