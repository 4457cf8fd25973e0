"""A lease lasts while its worker lives, and not longer."""

import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session, sessionmaker

from db.session import make_engine, session_factory
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import claim_one, finish_one, register, result, scored, study
from tests.waiting import pace, until
from worker.scoring.leases import LeaseKeeper


@pytest.fixture
def sessions(database: Database) -> sessionmaker[Session]:
    return session_factory(make_engine(database.writer_url))


@pytest.fixture
def lease_keeper(sessions: sessionmaker[Session]) -> Iterator[LeaseKeeper]:
    lease_keeper = LeaseKeeper(sessions, lease_s=pace(1.2))
    yield lease_keeper
    lease_keeper.stop()


def stranded(sessions: sessionmaker[Session]) -> int:
    with sessions() as session:
        count: int = session.scalar(text("SELECT count(*) FROM study WHERE lease_until < clock_timestamp()"))
        return count


def test_a_lease_is_prolonged_while_a_study_is_in_hand_and_runs_out_after(
    sessions: sessionmaker[Session], lease_keeper: LeaseKeeper
) -> None:
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study()).study_id
    assert lease_keeper.take(study_id)
    with sessions.begin() as session:
        claim = claim_one(session, study_id, 3, lease_s=lease_keeper.lease_s)
    assert claim is not None
    lease_keeper.claimed(study_id, claim.attempt)
    now = text("SELECT clock_timestamp()")
    with sessions() as session:
        given = session.scalar(now) + timedelta(seconds=lease_keeper.lease_s)
        until(lambda: session.scalar(now) > given)
    assert stranded(sessions) == 0
    lease_keeper.put_back(study_id)
    until(lambda: stranded(sessions) == 1)


def test_it_lasts_though_the_server_is_so_far_away_that_a_heartbeat_takes_half_of_it(
    database: Database, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study()).study_id
    engine = make_engine(database.writer_url)
    lease_keeper = LeaseKeeper(session_factory(engine), lease_s=pace(2))
    far_away = partial(time.sleep, lease_keeper.lease_s / 2 - pace(0.1))
    event.listen(engine, "commit", lambda _: far_away())  # as the network does, before each answer
    try:
        assert lease_keeper.take(study_id)
        with sessions.begin() as session:
            claim = claim_one(session, study_id, 3, lease_s=lease_keeper.lease_s)
        assert claim is not None
        lease_keeper.claimed(study_id, claim.attempt)
        ends = time.monotonic() + 3 * lease_keeper.lease_s
        while time.monotonic() < ends:
            assert stranded(sessions) == 0
    finally:
        lease_keeper.stop()


def test_a_study_is_taken_in_hand_once(lease_keeper: LeaseKeeper, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study()).study_id
    assert lease_keeper.take(study_id)
    assert not lease_keeper.take(study_id)
    lease_keeper.put_back(study_id)
    assert lease_keeper.take(study_id)


def test_what_is_given_back_is_queued_again_uncounted_and_its_late_result_is_refused(
    lease_keeper: LeaseKeeper, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        register(session)
        ids = [ledger.record_study(session, study(f"1.2.{number}")).study_id for number in range(2)]
    claims = []
    for study_id in ids:
        lease_keeper.take(study_id)
        with sessions.begin() as session:
            claims.append(claim_one(session, study_id, 3, lease_s=lease_keeper.lease_s))
        lease_keeper.claimed(study_id, claims[-1].attempt)
    lease_keeper.put_back(ids[1])
    assert lease_keeper.give_back() == 1
    with sessions.begin() as session:
        states = session.execute(text("SELECT state, attempts FROM study ORDER BY study_instance_uid")).all()
        assert not finish_one(session, result(claims[0], scored()))
    assert [tuple(row) for row in states] == [("queued", 0), ("running", 1)]
