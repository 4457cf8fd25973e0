"""What is an outage and what a defect, asked of a real server: every SQLSTATE that PostgreSQL has, and real faults."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg2 import OperationalError, errorcodes
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from db.migrate import check, upgrade
from db.outages import DATABASE_AWAY, OUTAGES, DatabaseAway, is_of_a_right, outage_of
from db.probe import try_write
from db.schema.roles import OWNER, WRITER
from db.session import make_engine, session_factory
from db.writes import ledger, outbox
from tests import outages
from tests.conftest import Database
from tests.db.samples import study
from worker.services.embedded_postgres import EmbeddedPostgres
from worker.services.home import Home
from worker.settings import Settings

SQLSTATES = sorted({state for state in errorcodes.__dict__.values() if isinstance(state, str) and len(state) == 5})

OUTAGE_CLASSES = ("08", "25006", "28", "3D", "40001", "40P01", "53", "55P03", "57", "58", "XX")
OUTAGES_OF_THE_SETUP = ("3F000", "42501", "42703", "42704", "42883", "42P01", "42P10")
DEFECT_CLASSES = ("0A", "21", "22", "23", "25P02", "42601", "42804", "42846", "44", "54", "P0")

RAISED = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}', MESSAGE = 'a ' || 'value'; END $$"
RAISED_AT_COMMIT = """
CREATE TEMP TABLE given (value int);
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}', MESSAGE = 'a ' || 'value'; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON given DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse();
INSERT INTO given VALUES (1)
"""


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    engine = make_engine(database.superuser_url, role=None)
    yield engine
    engine.dispose()


def raised(engine: Engine, statement: str) -> SQLAlchemyError | None:
    try:
        with session_factory(engine).begin() as session:
            session.execute(text(statement))
    except SQLAlchemyError as error:
        return error
    return None


def processes(engine: Engine, count: int) -> set[int]:
    connections = [engine.connect() for _ in range(count)]
    found = {connection.scalar(text("SELECT pg_backend_pid()")) for connection in connections}
    for connection in connections:
        connection.close()
    return found


@pytest.mark.parametrize("statement", [RAISED, RAISED_AT_COMMIT], ids=["in a statement", "at commit"])
def test_each_sqlstate_is_an_outage_or_a_defect_as_the_table_says(engine: Engine, statement: str) -> None:
    found = {state: raised(engine, statement.format(state)) for state in SQLSTATES if state[:2] not in ("00", "01")}
    wrong = {
        state: type(error).__name__
        for state, error in found.items()
        if (state.startswith((*OUTAGE_CLASSES, *OUTAGES_OF_THE_SETUP)) and not isinstance(error, DatabaseAway))
        or (state.startswith(DEFECT_CLASSES) and (error is None or isinstance(error, DatabaseAway)))
    }
    assert wrong == {}
    for state, error in found.items():
        assert "a value" not in str(error)
        if isinstance(error, DatabaseAway):
            assert error.sqlstate == state
            assert state in error.sentence


def test_each_outage_of_the_table_has_its_reason() -> None:
    assert all(len(state) in (2, 5) and len(meaning) > 20 for state, meaning in OUTAGES.items())


@pytest.mark.parametrize("state", ["25006", "53100", "57014"])
def test_a_session_that_met_an_outage_is_thrown_away_with_the_others_of_its_pool(engine: Engine, state: str) -> None:
    before = processes(engine, 3)
    assert isinstance(raised(engine, RAISED.format(state)), DatabaseAway)
    assert not before & processes(engine, 3)


def test_a_right_that_is_missing_is_told_with_what_it_is_on(database: Database, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"REVOKE INSERT ON study_event FROM {WRITER}"))
    writer = make_engine(database.writer_url)
    with pytest.raises(DatabaseAway) as caught, session_factory(writer).begin() as session:
        ledger.record_study(session, study())
    writer.dispose()
    assert is_of_a_right(caught.value)
    assert "(table study_event)" in caught.value.sentence
    assert "dlr db upgrade" in caught.value.sentence
    assert not is_of_a_right(DatabaseAway(OperationalError(), "away"))


def test_a_session_that_met_a_defect_is_kept(engine: Engine) -> None:
    before = processes(engine, 1)
    assert not isinstance(raised(engine, RAISED.format("22012")), DatabaseAway)
    assert processes(engine, 1) == before


def test_a_pool_that_was_filled_while_the_database_was_read_only_writes_once_it_is_not(database: Database) -> None:
    engine = make_engine(database.writer_url)
    sessions = session_factory(engine)
    with outages.away(database, outages.OUTAGES["read-only"]):
        assert len(processes(engine, 4)) == 4
        with pytest.raises(DatabaseAway, match="read-only") as caught, sessions.begin() as session:
            ledger.record_study(session, study())
        assert caught.value.sqlstate == "25006"
        assert len(processes(engine, 4)) == 4
    with pytest.raises(DatabaseAway), sessions.begin() as session:
        ledger.record_study(session, study())
    for uid in ("1.2.3", "1.2.4", "1.2.5", "1.2.6"):
        with sessions.begin() as session:
            assert ledger.record_study(session, study(uid)).change == "new"
    engine.dispose()


def _terminated(session: Session) -> None:
    session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def _time_limit(session: Session) -> None:
    session.execute(text("SET LOCAL statement_timeout = 10"))
    session.execute(text("SELECT pg_sleep(60)"))


def _idle_limit(session: Session) -> None:
    session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 10"))
    with make_engine(session.get_bind().engine.url.render_as_string(False)).connect() as other:
        mine = {"pid": session.scalar(text("SELECT pg_backend_pid()"))}
        while other.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid"), mine):
            other.rollback()
    session.execute(text("SELECT 1"))


def _lock(session: Session) -> None:
    session.execute(text("SET LOCAL lock_timeout = 10; LOCK TABLE study IN EXCLUSIVE MODE"))
    with session_factory(make_engine(session.get_bind().engine.url.render_as_string(False))).begin() as other:
        other.execute(text("SET LOCAL lock_timeout = 10"))
        ledger.record_study(other, study())


FAULTS: dict[str, tuple[Callable[[Session], None], str | None]] = {
    "its process was ended": (_terminated, "57P01"),
    "a statement took too long": (_time_limit, "57014"),
    "it was idle in a transaction": (_idle_limit, "25P03"),
    "somebody holds a lock": (_lock, "55P03"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_session_is_an_outage(sessions: sessionmaker[Session], fault: str) -> None:
    provoke, sqlstate = FAULTS[fault]
    with pytest.raises(DatabaseAway) as caught, sessions.begin() as session:
        provoke(session)
    assert caught.value.sqlstate in (sqlstate, None)
    with sessions.begin() as session:
        assert ledger.record_study(session, study()).change == "new"


UNREACHABLE: dict[str, tuple[str, str | None]] = {
    "nobody listens": ("postgresql://dlr_writer:x@127.0.0.1:1/dlr", None),
    "another password": ("postgresql://dlr_writer:x@{address}/{name}", "28000"),
    "no password": ("postgresql://dlr_writer@{address}/{name}", "28000"),
    "no such user": ("postgresql://nobody:x@{address}/{name}", "28000"),
    "no such database": ("{writer}/none", "3D000"),
    "no such option": ("{writer}/{name}?nonsense=1", None),
    "a name that is none": ("postgresql://dlr_writer:x@no-such-host.invalid/dlr", None),
}


@pytest.mark.parametrize("why", UNREACHABLE)
def test_a_connection_that_can_not_be_made_is_an_outage(database: Database, why: str) -> None:
    writer, name = database.writer_url.rsplit("/", 1)
    url, sqlstate = UNREACHABLE[why]
    with pytest.raises(DatabaseAway) as caught:
        make_engine(url.format(writer=writer, name=name, address=writer.rsplit("@", 1)[1])).connect()
    assert caught.value.sqlstate == sqlstate


REFUSED = {
    "the database has no connection left": ("no connections left", "53300"),
    "the database is closed": ("closed", "55000"),
    "the database has another name": ("gone", "3D000"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_refused_connection_is_told_by_its_reason(database: Database, why: str) -> None:
    outage, sqlstate = REFUSED[why]
    with outages.away(database, outages.OUTAGES[outage]), pytest.raises(DatabaseAway) as caught:
        make_engine(database.writer_url).connect()
    assert caught.value.sqlstate == sqlstate
    assert sqlstate in caught.value.sentence


SAID_AT_CONNECTING = {
    "FATAL:  sorry, too many clients already": "53300",
    "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute": "53300",
    'FATAL:  too many connections for role "dlr_writer"': "53300",
    "FATAL:  no more connections allowed (max_client_conn)": "53300",
    'FATAL:  role "dlr_writer" is not permitted to log in': "28000",
    'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "dlr_writer", database "dlr", no encryption': "28000",
    "FATAL:  the database system is starting up": "57P03",
    "FATAL:  the database system is in recovery mode": "57P03",
    'FATAL:  permission denied for database "dlr"': "42501",
    "FATAL:  das Datenbanksystem startet": None,
    "Connection refused": None,
}
"""What PostgreSQL 15 and 18, and PgBouncer 1.18, say."""


@pytest.mark.parametrize("said", SAID_AT_CONNECTING)
def test_what_a_server_says_at_connecting_is_read_for_its_sqlstate(said: str) -> None:
    error = OperationalError(f'connection to server at "10.0.0.2", port 5432 failed: {said}\n')
    meaning = outage_of(error, is_lost=True)
    assert meaning is not None
    assert DatabaseAway(error, meaning).sqlstate == SAID_AT_CONNECTING[said]


def test_a_refused_role_and_an_exhausted_pool_are_waited_for(database: Database) -> None:
    with pytest.raises(DATABASE_AWAY):
        make_engine(database.reader_url).connect()
    engine = make_engine(database.writer_url)
    engine.pool._timeout = 0.01  # type: ignore[attr-defined]
    held = [engine.connect() for _ in range(15)]
    with pytest.raises(DATABASE_AWAY):
        engine.connect()
    for connection in held:
        connection.close()
    engine.dispose()


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("SELECT CAST(:x AS integer)", {"x": "none"}),
        ("SELECT 1 / :x", {"x": 0}),
        (
            "INSERT INTO study_event (study_id, event) VALUES (:x, 'done')",
            {"x": "8f5ae3c4-7ff5-4f0c-b3a5-000000000000"},
        ),
        ("SELEKT :x", {"x": 1}),
        ("SELECT :x", {"x": object()}),
        ("SELECT CAST(CAST(repeat(:x, 300000000) AS text) AS jsonb)", {"x": '"'}),
    ],
)
def test_a_defect_is_no_outage(sessions: sessionmaker[Session], statement: str, values: dict[str, object]) -> None:
    with pytest.raises(SQLAlchemyError) as caught, sessions.begin() as session:
        session.execute(text(statement), values)
    assert not isinstance(caught.value, DATABASE_AWAY)


@pytest.mark.slow
def test_a_standby_refuses_each_write_as_an_outage_and_takes_it_once_it_is_the_primary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedPostgres(Home(tmp_path / "home"))
    server.start()
    upgrade(server.url(OWNER))
    engine = make_engine(server.url(WRITER))
    sessions = session_factory(engine)
    with sessions.begin() as session:
        before = ledger.record_study(session, study())
    server.stop()
    (server.home.path / "postgres" / "data" / "standby.signal").touch()
    monkeypatch.setattr(EmbeddedPostgres, "_bootstrap", lambda _: None)  # which writes
    server.start()
    try:
        engine = make_engine(server.url(WRITER))
        sessions = session_factory(engine)
        writes: dict[str, Callable[[Session], object]] = {
            "a study": lambda session: ledger.record_study(session, study("1.2.4")),
            "a study that is known": lambda session: ledger.record_study(session, study()),
            "a refusal": lambda session: try_write(session),
            "a claim": lambda session: ledger.claim(session, [before.study_id], 3, lease_s=5),
            "what is stranded": ledger.requeue_expired,
            "a destination": lambda session: outbox.switch_on(session, "webhook"),
        }
        for name, write in writes.items():
            with pytest.raises(DatabaseAway) as caught, sessions.begin() as session:
                write(session)
            assert caught.value.sqlstate == "25006", name
        processes(engine, 3)
        with server.as_superuser() as cursor:
            cursor.execute("SELECT pg_promote()")
        for write in writes.values():
            with sessions.begin() as session:
                write(session)
    finally:
        engine.dispose()
        server.stop()


def test_of_several_servers_the_one_that_can_be_written_is_taken(database: Database) -> None:
    url = make_url(database.writer_url)
    hosts = "&".join(f"host={host}" for host in ("127.0.0.1:1", f"{url.host}:{url.port}"))
    both = f"postgresql://{url.username}:{url.password}@/{url.database}?{hosts}&target_session_attrs=read-write"
    settings = Settings(database_url=both)
    engine = make_engine(settings.require_database_url())
    with session_factory(engine).begin() as session:
        assert ledger.record_study(session, study()).change == "new"
    engine.dispose()
    with outages.away(database, outages.OUTAGES["read-only"]), pytest.raises(DatabaseAway):
        engine.connect()


def test_a_schema_that_is_up_to_date_is_so_in_a_read_only_database_too(database: Database) -> None:
    with outages.away(database, outages.OUTAGES["read-only"]):
        upgrade(database.owner_url)
        assert check(database.writer_url) == []
