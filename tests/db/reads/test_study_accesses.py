from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.reads.study_accesses import accesses
from db.schema.roles import OWNER, WEB
from db.session import make_engine, session_factory
from db.writes.web_sessions import note_opened
from tests.conftest import Database
from tests.db.samples import arrived, study
from tests.db.schema.test_roles import DENIED, sqlstate


@pytest.fixture
def page(database: Database) -> Iterator[sessionmaker[Session]]:
    engine = make_engine(database.web_url, role=WEB)
    yield session_factory(engine)
    engine.dispose()


def test_who_opened_which_study_is_found_by_study_reader_and_time(
    sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        first, second = (arrived(session, study(f"1.2.{number}", str(number))).study_id for number in range(2))
    for study_id, reader in ((first, "anna"), (second, "anna"), (first, "bea")):
        with page.begin() as session:
            note_opened(session, study_id, reader, "radiologist", "10.0.0.7")
    now = datetime.now(UTC)
    with sessions() as session:
        latest = accesses(session, 10)
        assert [(one.study_id, one.reader) for one in latest] == [(first, "bea"), (second, "anna"), (first, "anna")]
        assert (latest[0].role, latest[0].address) == ("radiologist", "10.0.0.7")
        assert abs(latest[0].at - now) < timedelta(minutes=5)
        assert [one.reader for one in accesses(session, 10, study_ids=[first])] == ["bea", "anna"]
        assert [one.study_id for one in accesses(session, 10, reader="anna")] == [second, first]
        assert accesses(session, 10, since=now + timedelta(hours=1)) == []
        assert len(accesses(session, 1)) == 1
        assert accesses(session, 10, study_ids=[]) == []


def test_nobody_changes_or_removes_it_and_the_page_does_not_read_it(database: Database) -> None:
    for url, role in ((database.owner_url, OWNER), (database.web_url, WEB)):
        engine = make_engine(url, role=role)
        for statement in ("UPDATE study_access SET reader = 'x'", "DELETE FROM study_access", "TRUNCATE study_access"):
            assert sqlstate(engine, statement) == DENIED, (role, statement)
        engine.dispose()
    engine = make_engine(database.web_url, role=WEB)
    assert sqlstate(engine, "SELECT 1 FROM study_access") == DENIED
    engine.dispose()
