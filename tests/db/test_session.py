import traceback

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from db.errors import RoleRefused
from db.reads import study_queries
from db.schema.tables import StudyRow
from db.session import make_engine, session_factory
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import digest, study

IDENTIFIER = "1.2.840.99999.4711"


@pytest.mark.parametrize("who", ["writer_url", "superuser_url"])
def test_every_connection_acts_as_the_writer_in_utc(database: Database, who: str) -> None:
    engine = make_engine(getattr(database, who))
    for _ in range(2):
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT CURRENT_USER")) == "dlr_writer"
            assert connection.scalar(text("SHOW TIME ZONE")) == "UTC"
            connection.rollback()
            assert connection.scalar(text("SELECT CURRENT_USER")) == "dlr_writer"
    engine.dispose()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_text_is_sent_whole_whatever_encoding_the_environment_names(
    database: Database, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    sessions = session_factory(make_engine(database.writer_url))
    with sessions.begin() as session:
        ledger.record_study(session, study("1.1", accession_number="\xdc\u68c0\U0001f642"))
        assert [found.study_instance_uid for found in study_queries.study_details(session, "\xdc\u68c0\U0001f642")] == [
            "1.1"
        ]


def test_a_login_user_who_is_not_a_member_of_the_role_is_refused(database: Database) -> None:
    with pytest.raises(RoleRefused, match="GRANT dlr_writer TO"):
        make_engine(database.reader_url).connect()


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_the_driver_is_psycopg2_whatever_the_url_names(database: Database, scheme: str) -> None:
    engine = make_engine(database.writer_url.replace("postgresql", scheme, 1))
    with engine.connect() as connection:
        assert connection.dialect.driver == "psycopg2"
    engine.dispose()


def test_an_error_of_the_server_repeats_no_value_of_a_row(sessions: sessionmaker[Session]) -> None:
    row = {"study_instance_uid": IDENTIFIER, "content_digest": digest("a"), "job": {}, "source": "queue"}
    with sessions() as session:
        session.add(StudyRow(**row))
        session.flush()
        session.add(StudyRow(**row))
        with pytest.raises(IntegrityError) as caught:
            session.flush()
    assert IDENTIFIER not in "".join(traceback.format_exception(caught.value))
    assert "UniqueViolation (SQLSTATE 23505) uq_study_study_instance_uid_revision" in str(caught.value)


def test_an_error_about_a_value_does_not_repeat_the_value(sessions: sessionmaker[Session]) -> None:
    with sessions() as session, pytest.raises(DBAPIError) as caught:
        session.execute(text("SELECT CAST(:uid AS integer)"), {"uid": IDENTIFIER})
    assert IDENTIFIER not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_is_away_is_an_operational_error(database: Database) -> None:
    url = database.writer_url.rsplit("@", 1)[0] + "@127.0.0.1:1/dlr"
    with pytest.raises(OperationalError):
        make_engine(url).connect()


def test_a_connection_that_the_server_dropped_is_replaced(database: Database) -> None:
    engine = make_engine(database.writer_url)
    factory = session_factory(engine)
    with factory.begin() as session:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
    with make_engine(database.superuser_url, role=None).connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    with factory.begin() as session:
        assert ledger.record_study(session, study()).change == "new"
    engine.dispose()
