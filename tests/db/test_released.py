"""Ledgers that released versions left, upgraded: nothing differs from a new one, and what they had is served."""

import gzip
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import NullPool, create_engine, text

from db.migrate import PAGE_VIEWS, VIEWS, check
from db.session import driver_url
from tests.command_line import dlr
from tests.conftest import Database
from tests.db.released.freeze import PLACE, pg_dump

RELEASED = sorted(PLACE.glob("*.sql.gz"))


def rows(database: Database, statement: str) -> list[Any]:
    with create_engine(driver_url(database.superuser_url), poolclass=NullPool).connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def schema(database: Database) -> list[str]:
    """Everything but rows and the policies' partitions, which are made as needed; rights included.

    What was dumped and read again has other brackets: (a AND b) AND c.
    """
    sql = pg_dump(database.superuser_url, "--schema-only", "--exclude-table=public.worklist_entry_*")
    return re.sub(r"[()]", "", sql).splitlines()


def load(database: Database, released: Path) -> None:
    with closing(psycopg2.connect(database.superuser_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(gzip.decompress(released.read_bytes()).decode())


SCORES = """
    SELECT study_instance_uid, lesion.lesion_id, model.name, positive_probability FROM study
    JOIN lesion ON lesion.study_id = study.id JOIN prediction ON prediction.lesion_id = lesion.id
    JOIN model ON model.id = model_id WHERE study.is_current ORDER BY 1, 2, 3
"""
SERVED = "SELECT study_instance_uid, lesion_id, model, probability FROM lesion_score ORDER BY 1, 2, 3"


@pytest.mark.parametrize("released", RELEASED, ids=lambda path: path.name.split(".")[0])
def test_a_released_ledger_becomes_as_a_new_one_and_serves_what_it_had(
    released: Path, empty_database: Database, database: Database
) -> None:
    load(empty_database, released)
    scores = rows(empty_database, SCORES)
    assert len(scores) == 4
    done = dlr("db", "upgrade", DLR_DATABASE_OWNER_URL=empty_database.owner_url)
    assert done.returncode == 0, done.stderr
    assert check(empty_database.owner_url) == []
    assert schema(empty_database) == schema(database)
    listed = rows(empty_database, "SELECT study_instance_uid, state::text FROM worklist ORDER BY 1")
    assert listed == [
        ("1.2.1", "done"), ("1.2.2", "partial"), ("1.2.3", "failed"), ("1.2.4", "queued"), ("1.2.5", "queued"),
    ]  # fmt: skip
    assert rows(empty_database, SERVED) == scores
    for view in (*VIEWS, *PAGE_VIEWS):
        assert rows(empty_database, f"SELECT count(*) FROM {view}"), view


def test_the_first_schema_and_that_of_the_version_before_are_kept_small() -> None:
    from benchmarks.faults.former_version import SCHEMA

    assert {"0001", SCHEMA} <= {path.name.split(".")[0] for path in RELEASED}
    assert max(path.stat().st_size for path in RELEASED) < 150_000
