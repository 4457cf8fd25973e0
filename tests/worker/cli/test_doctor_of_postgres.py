"""What `dlr health` and `dlr doctor` say of a PostgreSQL that answers and is not as it has to be."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db.session import make_engine
from tests.command_line import dlr
from tests.conftest import Database
from tests.outages import OUTAGES, away
from tests.pooler import needs_pgbouncer, pooled


def postgresql(command: str, url: str, redis_url: str) -> tuple[int, dict[str, Any]]:
    done = dlr(command, "--format", "json", DLR_DATABASE_URL=url, DLR_REDIS_URL=redis_url)
    return done.returncode, next(row for row in json.loads(done.stdout) if row["component"] == "PostgreSQL")


@needs_pgbouncer
@pytest.mark.parametrize(("mode", "health"), [("transaction", "ok"), ("statement", "down")])
def test_a_pooler_that_shares_sessions_is_told_and_one_by_the_statement_is_of_no_use(
    database: Database, redis_url: str, mode: str, health: str
) -> None:
    with pooled(database.writer_url, mode) as url:
        _, row = postgresql("doctor", url, redis_url)
    assert row["health"] == health
    assert "to several connections in turn" in row["detail"]
    assert ("pool_mode = transaction" in row["detail"]) == (health == "down")


@needs_pgbouncer
@pytest.mark.parametrize("busy", range(4))
def test_a_pooler_that_goes_round_its_sessions_is_found(database: Database, redis_url: str, busy: int) -> None:
    with pooled(database.writer_url, "transaction", server_round_robin=1) as url, ExitStack() as at_work:
        engine = make_engine(url)
        for _ in range(busy):
            at_work.enter_context(engine.begin()).execute(text("SELECT 1"))
        at_work.close()
        _, row = postgresql("doctor", url, redis_url)
    assert "to several connections in turn" in row["detail"]


@needs_pgbouncer
def test_a_pooler_that_gives_each_connection_a_session_is_as_good_as_none(database: Database, redis_url: str) -> None:
    with pooled(database.writer_url, "session") as url:
        _, row = postgresql("doctor", url, redis_url)
    assert (row["health"], row["detail"]) == ("ok", "answers and accepts writes")


@pytest.mark.slow
@needs_pgbouncer
def test_a_pooler_without_a_session_to_give_is_not_waited_for(database: Database, redis_url: str) -> None:
    with pooled(database.writer_url, "session", size=1) as url:
        status, row = postgresql("doctor", url, redis_url)
    assert (status, row["health"]) == (1, "down")
    assert "pooler" in row["detail"]


@pytest.mark.parametrize("command", ["health", "doctor"])
def test_a_database_that_can_be_read_alone_is_down_and_said_to_be_read_only(
    database: Database, redis_url: str, command: str
) -> None:
    with away(database, OUTAGES["read-only"]):
        status, row = postgresql(command, database.writer_url, redis_url)
    assert (status, row["health"]) == (1, "down")
    assert "read-only" in row["detail"]
    assert "25006" in row["detail"]


@pytest.mark.parametrize("command", ["health", "doctor"])
def test_a_probe_writes_and_leaves_nothing(database: Database, redis_url: str, command: str) -> None:
    _, row = postgresql(command, database.writer_url, redis_url)
    assert (row["health"], row["detail"]) == ("ok", "answers and accepts writes")
    with make_engine(database.writer_url).connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM study")) == 0
        assert connection.scalar(text("SELECT count(*) FROM study_event")) == 0


def test_a_database_that_has_not_every_letter_is_told_and_no_schema_is_made_in_it(
    narrow_database: Database, redis_url: str
) -> None:
    _, row = postgresql("doctor", narrow_database.writer_url, redis_url)
    assert row["health"] == "warning"
    assert "--encoding=UTF8" in row["detail"]
    done = dlr("db", "upgrade", DLR_DATABASE_OWNER_URL=narrow_database.owner_url)
    assert done.returncode == 1
    assert "--encoding=UTF8" in done.stderr
    with make_engine(narrow_database.owner_url, role=None).connect() as connection:
        assert connection.scalar(text("SELECT to_regclass('study')")) is None


def test_a_database_without_a_schema_is_told_as_that(empty_database: Database, redis_url: str) -> None:
    done = dlr("doctor", "--format", "json", DLR_DATABASE_URL=empty_database.writer_url, DLR_REDIS_URL=redis_url)
    found = {row["component"]: row for row in json.loads(done.stdout)}
    assert found["PostgreSQL"]["health"] == "ok"
    assert "dlr db upgrade" in found["schema"]["detail"]


def test_what_a_command_says_of_a_read_only_database_names_it(
    database: Database, redis_url: str, tmp_path: Path
) -> None:
    job = tmp_path / "job.json"
    job.write_text("{}")
    with away(database, OUTAGES["read-only"]):
        done = dlr("submit", job, DLR_DATABASE_URL=database.writer_url, DLR_REDIS_URL=redis_url)
    assert done.returncode == 1
    assert "service_unavailable" in done.stderr
    assert "read-only" in done.stderr
