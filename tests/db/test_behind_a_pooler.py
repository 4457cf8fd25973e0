"""Behind PgBouncer in transaction mode: each transaction is as it has to be, and nobody inherits anything of it."""

from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.migrate import check, upgrade
from db.outages import DatabaseAway
from db.schema.roles import READER, WRITER
from db.session import make_engine, session_factory
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import study
from tests.pooler import needs_pgbouncer, pooled

pytestmark = needs_pgbouncer

STATE = (
    "SELECT current_user, current_setting('search_path'), current_setting('statement_timeout'), "
    "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), "
    "(SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors), "
    "(SELECT count(*) FROM pg_listening_channels())"
)


def state_of(url: str) -> tuple[object, ...]:
    """What a plain client finds, which says nothing of roles or settings."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(STATE)
            return tuple(cursor.fetchone() or ())
    finally:
        connection.close()


def record(session: Session, uid: str) -> None:
    """Write as a worker does: with its locks and its rights."""
    assert session.scalar(text("SELECT current_user")) == WRITER
    ledger.record_study(session, study(uid))


def test_a_plain_client_of_the_same_pooler_inherits_nothing(database: Database) -> None:
    with pooled(database.superuser_url, "transaction", size=1) as url:
        before = state_of(url)
        engine = make_engine(url)
        with session_factory(engine).begin() as session:
            record(session, "1.1")
        with session_factory(engine)() as session:
            assert session.execute(text("SELECT 1"), execution_options={"yield_per": 1}).scalar() == 1
            session.rollback()
        with session_factory(engine)() as session:
            record(session, "1.2")
            session.rollback()
        assert state_of(url) == before
        assert before[0] == "postgres"
        engine.dispose()


def test_two_roles_that_take_turns_on_one_session_are_never_taken_for_each_other(database: Database) -> None:
    with pooled(database.superuser_url, "transaction", size=1) as url:
        engines = {role: make_engine(url, role) for role in (WRITER, READER)}
        for _ in range(3):
            for role, engine in engines.items():
                with engine.begin() as connection:
                    assert connection.scalar(text("SELECT current_user")) == role
                    assert connection.scalar(text("SHOW TIME ZONE")) == "UTC"
                    assert connection.scalar(text("SHOW search_path")) == "public"
        for engine in engines.values():
            engine.dispose()


def test_more_writers_than_sessions_write_each_study_once(database: Database) -> None:
    with pooled(database.superuser_url, "transaction", size=2) as url:
        sessions = session_factory(make_engine(url))

        def write(number: int) -> None:
            with sessions.begin() as session:
                record(session, f"1.{number % 20}")

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(write, range(60)))
        with sessions() as session:
            assert session.scalar(text("SELECT count(*) FROM study")) == 20


def test_the_schema_is_upgraded_through_it_and_no_lock_stays_in_its_session(empty_database: Database) -> None:
    with pooled(empty_database.superuser_url, "transaction", size=1) as url:
        upgrade(url)
        upgrade(url)
        assert check(url) == []
        assert state_of(url)[0] == "postgres"
        assert state_of(url)[3] == 0


def test_a_pooler_by_the_statement_is_told_as_an_outage(database: Database) -> None:
    with (
        pooled(database.superuser_url, "statement") as url,
        pytest.raises(DatabaseAway),
        session_factory(make_engine(url)).begin() as session,
    ):
        record(session, "1.1")
