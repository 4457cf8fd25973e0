"""Migrations while others are at work: who is in the way is waited for, and nobody waits long behind a migration."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, NullPool, create_engine, text

from db import migrate
from db.errors import DatabaseRefused
from db.migrate import check, upgrade
from db.session import driver_url
from tests.conftest import Database


@contextmanager
def at_work(database: Database, statement: str) -> Iterator[Connection]:
    """A transaction that goes on."""
    with create_engine(driver_url(database.owner_url), poolclass=NullPool).connect() as connection:
        connection.execute(text(statement))
        yield connection


def test_a_migration_whose_table_is_held_lets_the_others_pass_says_so_and_is_done_once_it_is_free(
    empty_database: Database,
) -> None:
    upgrade(empty_database.owner_url, "0001")
    told = []
    with at_work(empty_database, "SELECT FROM study") as holder:

        def say(line: str) -> None:
            told.append(line)
            if "waits" in line:
                with at_work(empty_database, "SET LOCAL lock_timeout = 1; SELECT FROM study"):
                    holder.rollback()

        upgrade(empty_database.owner_url, "0002", say)
    assert told == [
        "migration 0002",
        "migration 0002 waits: others hold what it has to lock; again in 0.2 s",
    ]
    assert check(empty_database.owner_url)[0] == "migration 0003 is pending"


def test_a_migration_that_gets_no_lock_for_minutes_is_given_up_and_those_before_it_stay(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_WAITS_MS", (1, 1))
    monkeypatch.setattr(migrate, "LONGEST_PAUSE_S", 0)
    upgrade(empty_database.owner_url, "0001")
    with (
        at_work(empty_database, "LOCK TABLE study_event IN ROW EXCLUSIVE MODE"),
        pytest.raises(DatabaseRefused, match=r"0003 did not get its locks in 2 tries.* run `dlr db upgrade` again"),
    ):
        upgrade(empty_database.owner_url)
    assert check(empty_database.owner_url)[0] == "migration 0003 is pending"
    upgrade(empty_database.owner_url)
    assert check(empty_database.owner_url) == []


def test_no_wait_for_a_lock_is_longer_than_two_seconds_and_most_tries_outlast_an_autovacuum() -> None:
    deadlock_timeout_ms = 1000
    assert max(migrate.LOCK_WAITS_MS) <= 2000
    assert sum(wait > deadlock_timeout_ms for wait in migrate.LOCK_WAITS_MS) > len(migrate.LOCK_WAITS_MS) / 2
