"""``dlr db upgrade --plan``: what would be done, beside whom; nothing is done."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from sqlalchemy import NullPool, text

from db.migrate import check, upgrade
from db.schema.impact import REVISION
from db.session import make_engine
from tests.command_line import dlr
from tests.conftest import Database
from tests.waiting import until


def plan(database: Database) -> tuple[dict[str, Any], int]:
    done = dlr("db", "upgrade", "--plan", "--format", "json", DLR_DATABASE_OWNER_URL=database.owner_url)
    return json.loads(done.stdout), done.returncode


@contextmanager
def program(database: Database, name: str) -> Iterator[None]:
    """A program that is connected under a name, and is gone afterwards."""
    connection = psycopg2.connect(database.writer_url, application_name=name)
    yield
    connection.close()
    until(lambda: name not in str(plan(database)[0]["connected"]), 30)


def test_of_an_empty_database_it_names_every_migration_and_leaves_it_empty(empty_database: Database) -> None:
    found, status = plan(empty_database)
    assert (found["current"], found["expected"], status) == (None, REVISION, 0)
    assert [step["revision"] for step in found["steps"]] == [f"{number:04}" for number in range(1, int(REVISION) + 1)]
    assert check(empty_database.owner_url)[0] == "migration 0001 is pending"


def test_beside_workers_of_the_version_before_it_says_what_each_migration_does_and_that_they_go_on(
    empty_database: Database,
) -> None:
    upgrade(empty_database.owner_url, "0017")
    with program(empty_database, "dlr (schema 0017)"):
        found, status = plan(empty_database)
    assert status == 0
    assert found["connected"] == [{"schema": "0017", "connections": 1}]
    assert found["workers_go_on"]
    assert found["steps"][0] == {
        "revision": "0018",
        "kind": "expand",
        "locks": [],
        "workers_go_on": True,
        "does": "A lesion says how the scores of its images became one; "
        "the comments on the highest category know 4 alone.",
        "grows_with": None,
    }
    assert check(empty_database.owner_url)[0] == "migration 0018 is pending"


def test_where_a_migration_takes_away_what_programs_at_work_need_they_are_to_be_stopped_first(
    empty_database: Database,
) -> None:
    upgrade(empty_database.owner_url, "0016")
    with program(empty_database, "dlr"):
        told = dlr("db", "upgrade", "--plan", DLR_DATABASE_OWNER_URL=empty_database.owner_url)
    assert told.returncode == 3
    assert "0017" in told.stdout
    assert "programs of an earlier version are connected (1 of the connections)" in told.stderr
    told = dlr("db", "upgrade", "--plan", DLR_DATABASE_OWNER_URL=empty_database.owner_url)
    assert told.returncode == 0
    assert "no program of an earlier version is connected" in told.stderr


def test_programs_say_for_which_schema_they_are_made_and_an_upgraded_database_has_nothing_to_come(
    database: Database,
) -> None:
    with make_engine(database.writer_url, poolclass=NullPool).connect():
        found, status = plan(database)
    assert found["connected"] == [{"schema": REVISION, "connections": 1}]
    assert (found["current"], found["steps"], status) == (REVISION, [], 0)
    told = dlr("db", "upgrade", "--plan", DLR_DATABASE_OWNER_URL=database.owner_url)
    assert "the schema is up to date" in told.stderr


def test_a_schema_of_a_later_version_is_refused(database: Database) -> None:
    with make_engine(database.owner_url, role=None, poolclass=NullPool).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    told = dlr("db", "upgrade", "--plan", DLR_DATABASE_OWNER_URL=database.owner_url)
    assert told.returncode == 1
    assert "a migration that this version of the software does not know" in told.stderr


def test_a_format_without_the_plan_is_wrong_usage(database: Database) -> None:
    told = dlr("db", "upgrade", "--format", "json", DLR_DATABASE_OWNER_URL=database.owner_url)
    assert told.returncode == 2
