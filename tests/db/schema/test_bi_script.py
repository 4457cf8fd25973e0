"""deploy/postgres/bi.sql and the page that tells of it: what a reporting tool sees, and what it does not."""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, NullPool, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from db.migrate import PAGE_VIEWS, VIEWS, downgrade, upgrade
from db.schema.metadata import TABLES
from db.schema.roles import OWNER, READER, SHADOW, WEB, WRITER
from db.session import driver_url
from tests.conftest import Database
from tests.db.samples import ended, lesion, read, scored, study, writing
from tests.places import ROOT
from worker.services.embedded_postgres import DATABASE, SUPERUSER, EmbeddedPostgres, _binaries
from worker.services.home import Home

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "deploy" / "postgres" / "bi.sql"
PAGE = (ROOT / "docs" / "bi.md").read_text("utf-8")
UID, ACCESSION, LESION, DOCTOR = "1.2.3.4.5", "ACC-77", "left breast of Mary Roe", "dr.house"
ARRIVED = datetime(2026, 3, 1, 23, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of this file's own, since roles are of a server; with a study that has every identifier."""
    server = EmbeddedPostgres(Home(tmp_path_factory.mktemp("server") / "home"))
    server.start()
    upgrade(server.url(OWNER))
    urls = Database(*(server.url(role) for role in (OWNER, WRITER, READER, SUPERUSER, WEB, SHADOW)))
    with writing(urls) as sessions, sessions.begin() as session:
        marked = study(UID, lesions=(lesion(LESION),), accession_number=ACCESSION)
        read(session, ended(session, marked, scored(LESION)).study_id, DOCTOR, "5", agrees=True)
        session.execute(text("UPDATE study SET received_at = :at, finished_at = :at"), {"at": ARRIVED})
    yield server
    server.stop()


def run_script(server: EmbeddedPostgres, *options: str, role: str = SUPERUSER) -> None:
    command = [_binaries() / "psql", "--no-psqlrc", "-q", "-d", server.url(role), *options, "-f", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def tool(server: EmbeddedPostgres) -> Engine:
    """The user of the page, after the script has run twice, as after an upgrade."""
    for _ in range(2):
        run_script(server, "-v", "zone=Europe/Berlin")
    return user_of_the_page(server, "superset")


def user_of_the_page(server: EmbeddedPostgres, name: str, group: str = "dlr_bi") -> Engine:
    """Make a user as the page says, under another name or in another group, and connect as it."""
    [user] = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    with server.as_superuser(DATABASE) as cursor:
        cursor.execute(user.replace("superset", name).replace("dlr_bi", group))
        cursor.execute(f"ALTER ROLE {name} PASSWORD 'a'")
    url = re.sub(r"//[^@]*@", f"//{name}:a@", server.url(READER))
    return create_engine(driver_url(url), poolclass=NullPool)


def rows(tool: Engine, query: str) -> list[tuple[object, ...]]:
    with tool.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_a_user_of_the_page_has_its_time_zone_its_time_limit_and_no_right_to_write(tool: Engine) -> None:
    for setting, value in (
        ("TimeZone", "Europe/Berlin"), ("statement_timeout", "1min"), ("default_transaction_read_only", "on"),
    ):  # fmt: skip
        assert rows(tool, f"SHOW {setting}") == [(value,)]
    members = "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = 'superset'::regrole"
    assert rows(tool, members) == [("dlr_bi",)]


def test_metabase_s_user_sees_what_superset_s_sees(server: EmbeddedPostgres, tool: Engine) -> None:
    metabase = user_of_the_page(server, "metabase")
    assert inspect(metabase).get_view_names("bi") == inspect(tool).get_view_names("bi")
    assert rows(metabase, "SELECT count(*) FROM bi.study") == rows(tool, "SELECT count(*) FROM bi.study") == [(1,)]


def test_a_tool_that_needs_accession_numbers_reads_the_public_views_and_no_table(
    server: EmbeddedPostgres, tool: Engine
) -> None:
    assert "with `GRANT dlr_reader` in place of `dlr_bi`" in PAGE
    with_numbers = user_of_the_page(server, "with_numbers", READER)
    assert rows(with_numbers, "SELECT accession_number FROM worklist") == [(ACCESSION,)]
    for view in VIEWS:
        rows(with_numbers, f"SELECT 1 FROM {view}")
    for name in (*PAGE_VIEWS, *(table.name for table in TABLES.sorted_tables)):
        with pytest.raises(DBAPIError, match="permission denied"):
            rows(with_numbers, f"SELECT 1 FROM public.{name}")


def test_a_tool_sees_its_views_and_nothing_else(tool: Engine) -> None:
    for view in inspect(tool).get_view_names("bi"):
        assert rows(tool, f"SELECT 1 FROM bi.{view} LIMIT 1")
    for name in (*VIEWS, *PAGE_VIEWS, *(table.name for table in TABLES.sorted_tables)):
        with pytest.raises(DBAPIError, match="permission denied"):
            rows(tool, f"SELECT 1 FROM public.{name}")
    with pytest.raises(DBAPIError, match=r"permission denied|read-only"):
        rows(tool, "CREATE TABLE bi.mine (id int)")


def test_no_view_of_a_tool_names_a_patient_or_a_reader(tool: Engine) -> None:
    views = inspect(tool).get_view_names("bi")
    assert views
    seen = [str(row) for view in views for row in rows(tool, f"SELECT to_jsonb(v)::text FROM bi.{view} AS v")]
    assert all(seen)
    assert [one for one in seen if any(name in one for name in (UID, ACCESSION, LESION, "Mary", DOCTOR))] == []


def test_a_time_is_what_the_clock_on_the_wall_said(tool: Engine) -> None:
    [(moment, wall)] = rows(tool, "SELECT received_at, received FROM bi.study")
    assert moment == ARRIVED
    assert wall == datetime(2026, 3, 2, 0, 15)  # noqa: DTZ001  the time of the wall has no zone


def test_each_column_is_described_and_is_text_a_number_a_time_or_yes_or_no(tool: Engine) -> None:
    found = inspect(tool)
    columns = [column for view in found.get_view_names("bi") for column in found.get_columns(view, "bi")]
    assert len(columns) > 50
    assert [column["name"] for column in columns if not column["comment"]] == []
    simple = {"UUID", "TEXT", "BOOLEAN", "INTEGER", "SMALLINT", "DOUBLE_PRECISION", "TIMESTAMP"}
    assert {type(column["type"]).__name__ for column in columns} <= simple


def test_every_chart_of_the_page_is_a_query(tool: Engine) -> None:
    charts = re.findall(r"^\| [^|]+ \| `(\w+)`(?:, filter `([^`]+)`)? \| ([^|]+) \| `([^`]+)` \|$", PAGE, re.MULTILINE)
    assert len(charts) > 4
    for view, condition, dimensions, metric in charts:
        groups = ", ".join(re.findall(r"`(\w+)`", dimensions))
        rows(tool, f"SELECT {groups}, {metric} FROM bi.{view} WHERE {condition or 'true'} GROUP BY {groups}")


def test_another_time_zone_takes_the_place_of_the_first(server: EmbeddedPostgres, tool: Engine) -> None:
    run_script(server, "-v", "zone=Asia/Tokyo")
    [(wall,)] = rows(tool, "SELECT received FROM bi.study")
    assert wall == datetime(2026, 3, 2, 8, 15)  # noqa: DTZ001


def test_an_owner_who_may_create_a_role_runs_it_too_and_a_step_down_asks_for_the_schema_to_go(tmp_path: Path) -> None:
    server = EmbeddedPostgres(Home(tmp_path / "home"))
    server.start()
    try:
        upgrade(server.url(OWNER))
        with server.as_superuser(DATABASE) as cursor:
            cursor.execute("ALTER ROLE dlr_owner CREATEROLE")
        for _ in range(2):
            run_script(server, "-v", "zone=UTC", role=OWNER)
        with pytest.raises(DBAPIError, match="DependentObjectsStillExist"):
            downgrade(server.url(OWNER), "0012")
        [dropped] = re.findall(r"-c '(DROP SCHEMA .*)'", PAGE)
        with server.as_superuser(DATABASE) as cursor:
            cursor.execute(f"SET ROLE dlr_owner; {dropped}")
        downgrade(server.url(OWNER), "0012")
        upgrade(server.url(OWNER))
        run_script(server, "-v", "zone=UTC", role=OWNER)
    finally:
        server.stop()
