"""What each migration says of itself, held against what PostgreSQL has it do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text

from db.migrate import scripts, upgrade
from db.schema.impact import REVISION, Impact, Kind
from db.session import driver_url
from tests.conftest import Database
from tests.db.long_locks import what_grows

MIGRATIONS = {step.revision: step for step in reversed(list(scripts().walk_revisions()))}

STANDING = {"0003", "0004", "0005", "0008", "0011", "0012", "0013", "0015", "0016", "0017"}
"""Migrations that keep a lock the longer, the more rows there are. They are older than the rule, and were made before
anything was released; what each does is its ``grows_with``. No other may."""

_TABLES = """
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'alembic_version'
"""
_LOCKED = f"""
    {_TABLES} AND NOT relispartition AND oid IN (
        SELECT relation FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'
        AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
"""


@dataclass
class Done:
    """What a migration did: the tables that were there before, those it kept locked, and its SQL."""

    on_record: set[str]
    locked: set[str] = field(default_factory=set)
    statements: list[str] = field(default_factory=list)


@contextmanager
def _watched(done: Done) -> Iterator[None]:
    """Look at every transaction of this process before it is committed."""

    def look(connection: Connection) -> None:
        done.locked |= set(connection.exec_driver_sql(_LOCKED).scalars()) & done.on_record

    def hear(_connection: object, _cursor: object, statement: str, *_rest: Any) -> None:
        done.statements.append(statement)

    event.listen(Engine, "commit", look)
    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield
    finally:
        event.remove(Engine, "commit", look)
        event.remove(Engine, "before_cursor_execute", hear)


def _tables(database: Database) -> set[str]:
    with create_engine(driver_url(database.owner_url), poolclass=NullPool).connect() as connection:
        return set(connection.scalars(text(_TABLES)))


def test_each_migration_says_what_it_locks_and_what_grows_with_the_rows_and_no_new_one_does(
    empty_database: Database,
) -> None:
    found, said, growing = {}, {}, set()
    for revision, step in MIGRATIONS.items():
        done = Done(_tables(empty_database))
        with _watched(done):
            upgrade(empty_database.owner_url, revision)
        grows = [line for statement in done.statements for line in what_grows(statement, done.on_record)]
        impact: Impact = step.module.impact
        found[revision] = (tuple(sorted(done.locked)), grows)
        said[revision] = (impact.locks, grows if impact.grows_with else [])
        if impact.grows_with:
            growing.add(revision)
    assert found == said
    assert {revision for revision, (_, grows) in found.items() if grows} == growing == STANDING


@pytest.mark.parametrize(
    ("statement", "grows"),
    [
        ("CREATE INDEX ix ON study (site)", True),
        ("CREATE UNIQUE INDEX ix ON study (site) WHERE is_current", True),
        ("CREATE INDEX CONCURRENTLY ix ON study (site)", False),
        ("CREATE INDEX ix ON made_by_it (site)", False),
        ("ALTER TABLE study ADD COLUMN a text", False),
        ("ALTER TABLE study ADD COLUMN a text NOT NULL DEFAULT 'x', ADD COLUMN b timestamptz DEFAULT now()", False),
        ("ALTER TABLE study ADD COLUMN a uuid DEFAULT gen_random_uuid()", True),
        ("ALTER TABLE study ADD COLUMN a bigint GENERATED ALWAYS AS IDENTITY", True),
        ("ALTER TABLE study ADD CONSTRAINT ck CHECK (num_nonnulls(a, b) = 1)", True),
        ("ALTER TABLE study ADD CONSTRAINT ck CHECK (num_nonnulls(a, b) = 1) NOT VALID", False),
        ("ALTER TABLE study VALIDATE CONSTRAINT ck", False),
        ("ALTER TABLE study ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES model (id)", True),
        ("ALTER TABLE study ADD COLUMN a text, ADD CONSTRAINT uq UNIQUE (a)", True),
        ("ALTER TABLE study ADD CONSTRAINT uq UNIQUE USING INDEX ix", False),
        ("ALTER TABLE study ALTER COLUMN a SET NOT NULL", True),
        ("ALTER TABLE study ALTER COLUMN a TYPE bigint", True),
        ("ALTER TABLE study ALTER COLUMN a SET DEFAULT 1", False),
        ("UPDATE study SET a = 1", True),
        ("WITH b AS (UPDATE study AS s SET a = 1 RETURNING id) SELECT 1", True),
        ("INSERT INTO made_by_it SELECT id FROM study", True),
        ("UPDATE model SET card = '{}'", False),
        ("GRANT UPDATE ON study TO dlr_writer", False),
        ("CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN UPDATE study SET a = 1; END $$", False),
        ("CREATE TRIGGER t AFTER UPDATE ON study FOR EACH ROW EXECUTE FUNCTION f()", False),
        ("LOCK TABLE study", True),
    ],
)
def test_what_takes_the_longer_the_more_rows_a_table_has_is_found(statement: str, grows: bool) -> None:
    assert bool(what_grows(f"SELECT 1; {statement};", {"study", "model"})) == grows


def test_what_takes_something_away_says_that_it_contracts_or_lets_workers_go_on() -> None:
    for step in MIGRATIONS.values():
        assert step.module.impact.workers_go_on or step.module.impact.kind is Kind.CONTRACT, step.revision


def test_the_schema_that_this_software_says_it_is_made_for_is_the_latest() -> None:
    assert max(MIGRATIONS) == REVISION
