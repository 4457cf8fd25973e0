"""A server that does not answer is given up in time, and one whose client is silent lets go of its locks."""

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from db.outages import DatabaseAway
from db.session import make_engine, session_factory
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import study
from tests.waiting import pace, until

LIMIT_S = pace(1)
LOCKED = text("SELECT 1 FROM study WHERE id = :id FOR UPDATE NOWAIT")


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    engine = make_engine(database.writer_url, answers_within_s=LIMIT_S)
    yield engine
    engine.dispose()


def silent(engine: Engine, statement: str = "SELECT pg_sleep(60)") -> float:
    """Return how long it took until an answer that does not come was given up."""
    started = time.monotonic()
    with pytest.raises(DatabaseAway) as away, session_factory(engine).begin() as session:
        session.execute(text(statement))
    assert away.value.meaning == "it does not answer"
    return time.monotonic() - started


def test_an_answer_that_takes_too_long_is_an_outage_and_the_next_question_goes_to_another_session(
    engine: Engine,
) -> None:
    assert LIMIT_S <= silent(engine) < 30
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_a_commit_that_takes_too_long_is_one_too(database: Database) -> None:
    engine = make_engine(database.superuser_url, role=None, answers_within_s=LIMIT_S)
    slow = """
        CREATE TEMP TABLE given (value int);
        CREATE FUNCTION pg_temp.slow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON given DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION pg_temp.slow();
        INSERT INTO given VALUES (1)
    """
    assert LIMIT_S <= silent(engine, slow) < 30
    engine.dispose()


def test_one_that_comes_in_time_is_waited_for_again_and_again(engine: Engine) -> None:
    with engine.connect() as connection:
        sessions = {
            connection.scalar(text("SELECT pg_backend_pid() FROM pg_sleep(:s)"), {"s": LIMIT_S / 3}) for _ in range(5)
        }
    assert len(sessions) == 1


def test_a_command_of_a_person_waits_as_long_as_it_takes(database: Database) -> None:
    engine = make_engine(database.writer_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "0"
        connection.execute(text("SELECT pg_sleep(:s)"), {"s": 2 * LIMIT_S})
    engine.dispose()


def test_what_a_client_had_locked_is_free_once_it_is_silent_for_too_long(engine: Engine, database: Database) -> None:
    others = make_engine(database.writer_url)
    with session_factory(others).begin() as session:
        key = {"id": ledger.record_study(session, study()).study_id}

    def is_free() -> bool:
        try:
            with others.begin() as connection:
                connection.execute(LOCKED, key)
        except DBAPIError:
            return False
        return True

    frozen = engine.connect()
    frozen.execute(LOCKED, key)
    assert not is_free()
    until(is_free)
    with pytest.raises(DatabaseAway, match=r"25P03|does not answer"):
        frozen.execute(text("SELECT 1"))
    frozen.close()
    others.dispose()


def test_nothing_of_that_stays_in_a_session(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.rollback()
        raw = connection.connection.driver_connection
        assert raw is not None
        with raw.cursor() as cursor:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            assert cursor.fetchone() == ("0",)
