"""``dlr worklist policy apply``, killed, and two at once: the list is wholly of the one policy or of the other."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.orm import Session, sessionmaker

from db.session import make_engine
from tests import command_line
from tests.conftest import Database
from tests.db.samples import arrived, claimed, ended, finish_one, lesion, result, scored, study, writing
from tests.waiting import patience
from worker.clinical.reading_order.policy import built_in_document

pytestmark = pytest.mark.slow

STUDIES = 40
BATCH = 4
CASES = (("5", 0.9, 0.9), ("4A", 0.9, 0.9), ("4A", 0.9, 0.1), ("4A", 0.1, 0.1), ("2", 0.1, 0.1))
SITE = built_in_document("suspicion/2").replace('name = "suspicion"\nversion = 2', 'name = "site"\nversion = 1')

# The process that applies a policy ends as if its machine had: once so many studies are placed, or when all are.
PROGRAM = """
import os, signal, sys
from worker.scoring import reading_policy
from worker.cli.main import main

dies_at, reading_policy.PAGE = int(sys.argv.pop(1)), {batch}
whole, activate = reading_policy.apply_policy, reading_policy.reading_order.activate_policy

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def apply_policy(sessions, policy, document, by, told):
    return whole(sessions, policy, document, by, lambda done: die() if 0 <= dies_at <= done else told(done))

def activate_policy(session, key, by):
    done = activate(session, key, by)
    return die() if dies_at == {studies} + 1 else done

reading_policy.apply_policy, reading_policy.reading_order.activate_policy = apply_policy, activate_policy
main()
"""
NEVER, ALL_PLACED, BEFORE_THE_COMMIT = -1, STUDIES, STUDIES + 1


def started(database: Database, policy: object, dies_at: int = NEVER) -> "subprocess.Popen[str]":
    program = PROGRAM.format(batch=BATCH, studies=STUDIES)
    return subprocess.Popen(
        [sys.executable, "-c", program, str(dies_at), "worklist", "policy", "apply", str(policy), "--yes"],
        env=command_line.clean_environment(DLR_DATABASE_URL=database.writer_url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(command: "subprocess.Popen[str]") -> tuple[int, str]:
    _, said = command.communicate(timeout=patience(60))
    return command.returncode, said


def applied(database: Database, policy: object) -> bool:
    done = command_line.dlr("worklist", "policy", "apply", policy, "--yes", DLR_DATABASE_URL=database.writer_url)
    return done.returncode == 0


@pytest.fixture
def listed(database: Database) -> Iterator[sessionmaker[Session]]:
    with writing(database) as sessions:
        for number in range(STUDIES):
            birads, lh, bm = CASES[number % len(CASES)]
            with sessions.begin() as session:
                record = study(f"1.2.{number}", str(number), lesions=(lesion(birads=birads),))
                ended(session, record, scored(lh=lh, bm=bm - number / 1000, birads=birads))
        yield sessions


def the_list(sessions: sessionmaker[Session]) -> list[tuple[Any, ...]]:
    with sessions() as session:
        query = "SELECT study_id, tier, place_reason, policy FROM worklist ORDER BY position"
        return [tuple(row) for row in session.execute(text(query))]


def order_under(sessions: sessionmaker[Session], label: str) -> list[UUID]:
    assert {policy for *_, policy in the_list(sessions)} == {label}
    return [study_id for study_id, *_ in the_list(sessions)]


def the_policies(sessions: sessionmaker[Session]) -> list[tuple[str, str]]:
    with sessions() as session:
        query = "SELECT label, state::text FROM reading_order_policy ORDER BY id"
        return [(label, state) for label, state in session.execute(text(query))]


def places_on_disk(database: Database) -> int:
    """Rows of places under whatever policy, wherever they are."""
    with make_engine(database.superuser_url, role=None, poolclass=NullPool).connect() as connection:
        tables = connection.scalars(
            text(r"SELECT oid::regclass::text FROM pg_class WHERE relname LIKE 'worklist\_entry%' AND relkind = 'r'")
        ).all()
        assert tables
        return sum(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables)


def a_worker_goes_on(sessions: sessionmaker[Session], number: int) -> UUID:
    """A study arrives, is scored and placed, without waiting for a lock."""
    with sessions.begin() as session:
        session.execute(text("SET LOCAL lock_timeout = '10s'"))
        recorded = arrived(session, study(f"1.2.{number}", str(number)))
        assert finish_one(session, result(claimed(session, recorded.study_id), scored(lh=0.9, bm=0.99)))
        return recorded.study_id


@pytest.mark.parametrize(
    "dies_at",
    [BATCH, random.randrange(BATCH + 1, STUDIES), ALL_PLACED, BEFORE_THE_COMMIT],
    ids=["at the first batch", "at any batch", "at the last batch", "at the switch"],
)
def test_one_that_is_killed_leaves_the_list_as_it_was_and_the_next_one_leaves_nothing_of_it(
    database: Database, listed: sessionmaker[Session], dies_at: int
) -> None:
    before = the_list(listed)
    status, said = end(started(database, "outcome/1", dies_at))
    assert status == -signal.SIGKILL, said
    assert the_list(listed) == before
    assert the_policies(listed) == [("suspicion/2", "active"), ("outcome/1", "building")]
    new = a_worker_goes_on(listed, STUDIES)
    assert [row for row in the_list(listed) if row[0] != new] == before
    assert applied(database, "outcome/1")
    after = order_under(listed, "outcome/1")
    assert len(after) == STUDIES + 1
    assert places_on_disk(database) == STUDIES + 1
    assert [state for _, state in the_policies(listed)] == ["retired", "retired", "active"]
    a_worker_goes_on(listed, STUDIES + 1)
    assert applied(database, "suspicion/2")
    was = {study_id for study_id, *_ in before}
    assert [study_id for study_id in order_under(listed, "suspicion/2") if study_id in was] == [
        row[0] for row in before
    ]
    assert places_on_disk(database) == STUDIES + 2


def test_one_that_was_killed_is_given_up_by_applying_another(
    database: Database, listed: sessionmaker[Session], tmp_path: Path
) -> None:
    (tmp_path / "site.toml").write_text(SITE)
    before = [row[:3] for row in the_list(listed)]
    assert end(started(database, "outcome/1", BATCH))[0] == -signal.SIGKILL
    assert applied(database, tmp_path / "site.toml")
    assert [row[:3] for row in the_list(listed)] == before
    assert places_on_disk(database) == STUDIES
    assert "building" not in dict(the_policies(listed)).values()


@pytest.mark.parametrize("other", ["outcome/1", "site/1"])
def test_of_two_at_once_one_orders_the_list_and_the_other_says_so(
    database: Database, listed: sessionmaker[Session], tmp_path: Path, other: str
) -> None:
    (tmp_path / "site.toml").write_text(SITE)
    both = [started(database, "outcome/1"), started(database, tmp_path / "site.toml" if other == "site/1" else other)]
    ends = [end(one) for one in both]
    assert 0 in [status for status, _ in ends]
    for status, said in ends:
        assert status == 0 or (status == 1 and "reading_order_superseded" in said), said
    [active] = {policy for *_, policy in the_list(listed)}
    assert [label for label, state in the_policies(listed) if state == "active"] == [active]
    assert len(order_under(listed, active)) == STUDIES
    assert places_on_disk(database) == STUDIES
    assert "building" not in dict(the_policies(listed)).values()
