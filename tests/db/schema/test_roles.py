from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, NullPool, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from db.errors import RoleRefused
from db.migrate import VIEWS, check, upgrade
from db.schema.metadata import TABLES
from db.session import make_engine
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import ended as record_result
from tests.db.samples import scored, study
from worker.services.embedded_postgres import EmbeddedPostgres
from worker.services.home import Home

DENIED = "42501"


def sqlstate(engine: Engine, statement: str) -> str | None:
    """Run a statement and undo it; return the SQLSTATE with which it was refused."""
    with engine.connect() as connection:
        try:
            connection.execute(text(statement))
        except DBAPIError as error:
            return str(getattr(error.orig, "pgcode", None))
        return None


@pytest.fixture
def reader(database: Database, sessions: sessionmaker[Session]) -> Engine:
    with sessions.begin() as session:
        record_result(session, study(), scored())
    return make_engine(database.reader_url, role=None, poolclass=NullPool)


def test_a_reader_sees_every_view(reader: Engine) -> None:
    empty = dict.fromkeys(("failed_study", "pathology_result", "downgraded_cancer", "lesion_verdict"), 0)
    several = {"restratification_summary": 4, "reading_order_tier": 5, "study_history": 3, "lesion_score": 2}
    counts = {"model_card": 2, **several, **empty}
    with reader.connect() as connection:
        seen = {view: len(connection.execute(text(f"SELECT * FROM {view}")).all()) for view in VIEWS}
    assert seen == {view: counts.get(view, 1) for view in VIEWS}


def test_a_reader_can_do_nothing_else(reader: Engine) -> None:
    for statement in (
        "UPDATE worklist SET state = 'done'",
        "DELETE FROM failed_study",
        "UPDATE study_history SET event = 'never'",
        "DELETE FROM study_history",
        "UPDATE study_result SET state = 'done'",
        "CREATE TABLE mine (id int)",
        "SET ROLE dlr_writer",
        "SELECT study_event_is_append_only()",
    ):
        assert sqlstate(reader, statement) in {DENIED, "55000"}, statement  # denied, or not a view to write to


def test_a_writer_drops_and_alters_no_table(writer: Engine) -> None:
    for table in TABLES.tables:
        for statement in ("DROP TABLE {}", "ALTER TABLE {} ADD x int"):
            assert sqlstate(writer, statement.format(table)) == DENIED, (table, statement)


def test_a_writer_keeps_its_hands_off_the_history_and_the_schema(writer: Engine) -> None:
    for statement in (
        "UPDATE study_event SET event = 'never'",
        "UPDATE alembic_version SET version_num = '0'",
        "CREATE TABLE mine (id int)",
        "DROP VIEW worklist",
        "ALTER TYPE priority ADD VALUE 'never'",
        "SET ROLE dlr_owner",
    ):
        assert sqlstate(writer, statement) == DENIED, statement


@pytest.mark.parametrize("who", ["owner_url", "superuser_url"])
def test_nobody_changes_the_history_not_even_its_owner(
    database: Database, sessions: sessionmaker[Session], who: str
) -> None:
    with sessions.begin() as session:
        ledger.record_study(session, study())
    engine = make_engine(getattr(database, who), role=None, poolclass=NullPool)
    for statement in ("UPDATE study_event SET event = 'never'", "DELETE FROM study_event", "TRUNCATE study_event"):
        assert sqlstate(engine, statement) == DENIED, statement
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM study_event WHERE event = 'received'")) == 1


def test_a_replica_session_does_not_get_around_the_trigger(database: Database, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ledger.record_study(session, study())
    engine = make_engine(database.superuser_url, role=None, poolclass=NullPool)
    for statement in ("UPDATE study_event SET event = 'never'", "DELETE FROM study_event", "TRUNCATE study_event"):
        assert sqlstate(engine, f"SET LOCAL session_replication_role = replica; {statement}") == DENIED, statement


@pytest.fixture
def bare_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of its own, on which the roles do not exist yet."""
    server = EmbeddedPostgres(Home(tmp_path_factory.mktemp("bare")))  # roles are of a server, not of a database
    server.start()
    with server.as_superuser() as cursor:
        cursor.execute("DROP DATABASE dlr")
        cursor.execute("DROP ROLE dlr_owner, dlr_writer, dlr_reader, dlr_web, dlr_shadow")
    yield server
    server.stop()


def managed(server: EmbeddedPostgres, user: str, rights: str) -> str:
    """Return the URL of a user, who owns a database and is no superuser."""
    with server.as_superuser() as cursor:
        cursor.execute(f"CREATE ROLE {user} LOGIN {rights} PASSWORD 'a'")
        cursor.execute(f"CREATE DATABASE {user} OWNER {user}")
    url = make_url(server.url("postgres", user)).set(username=user, password="a")
    return url.render_as_string(hide_password=False)


def test_missing_roles_are_created_by_a_user_who_may_and_what_another_lacks_is_named_to_him(
    bare_server: EmbeddedPostgres,
) -> None:
    with pytest.raises(RoleRefused, match="CREATE ROLE dlr_owner NOLOGIN; CREATE ROLE dlr_writer NOLOGIN; CREATE ROLE"):
        upgrade(managed(bare_server, "plain", ""))
    url = managed(bare_server, "administrator", "CREATEROLE")
    upgrade(url)
    assert check(url) == []
    with make_engine(url, poolclass=NullPool).connect() as connection:
        assert connection.scalar(text("SELECT CURRENT_USER")) == "dlr_writer"
        login = connection.scalars(text("SELECT rolcanlogin FROM pg_roles WHERE rolname LIKE 'dlr%'")).all()
        assert login == [False] * 5
    guest = managed(bare_server, "guest", "")
    with bare_server.as_superuser("guest") as cursor:  # the roles are there, and the schema is somebody else's
        cursor.execute("ALTER DATABASE guest OWNER TO postgres; GRANT dlr_owner TO guest")
    with pytest.raises(RoleRefused, match="GRANT USAGE, CREATE ON SCHEMA public TO dlr_owner"):
        upgrade(guest)
