"""What the ledger says is to be done, and nobody does, comes back to the queue; on a real database and a real Redis."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from redis import Redis
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.schema.records import Queued
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import claim_one, finish_one, result, scored, study, writing
from worker.broker.reconciler import Reconciler, RedisQueues


class Queue:
    """Puts something on the real list, so that the count is right, and remembers what."""

    def __init__(self, url: str) -> None:
        self.redis = Redis.from_url(url)
        self.put: list[UUID] = []

    def __call__(self, study: Queued) -> None:
        self.put.append(study.study_id)
        place = "inference\x06\x166" if study.priority == "routine" else "inference"
        self.redis.lpush(place, str(study.study_id))


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    with writing(database) as sessions:
        yield sessions


@pytest.fixture
def queue(redis_url: str) -> Queue:
    return Queue(redis_url)


@pytest.fixture
def reconciler(sessions: sessionmaker[Session], queue: Queue, redis_url: str) -> Reconciler:
    return Reconciler(sessions, queue, RedisQueues(Redis.from_url(redis_url), ""), lease_s=5.0)


def recorded(sessions: sessionmaker[Session], uid: str = "1.2.3") -> UUID:
    with sessions.begin() as session:
        return ledger.record_study(session, study(uid)).study_id


def claim(sessions: sessionmaker[Session], study_id: UUID, lease_s: float) -> int:
    with sessions.begin() as session:
        claimed = claim_one(session, study_id, 3, lease_s=lease_s)
    assert claimed is not None
    return claimed.attempt


def age(sessions: sessionmaker[Session], seconds: int) -> None:
    with sessions.begin() as session:
        session.execute(text(f"UPDATE study SET queued_at = now() - interval '{seconds} s'"))


def test_a_study_whose_worker_lives_is_left_alone(
    sessions: sessionmaker[Session], reconciler: Reconciler, queue: Queue
) -> None:
    study_id = recorded(sessions)
    claim(sessions, study_id, lease_s=60)
    assert reconciler.reconcile() == 0
    with sessions.begin() as session:
        assert claim_one(session, study_id, 3, lease_s=60) is None
    assert queue.put == []


def test_a_study_whose_worker_is_dead_is_queued_once_and_its_attempt_counts(
    sessions: sessionmaker[Session], reconciler: Reconciler, queue: Queue
) -> None:
    study_id = recorded(sessions)
    claim(sessions, study_id, lease_s=-1)
    assert [reconciler.reconcile(), reconciler.reconcile()] == [1, 0]
    assert queue.put == [study_id]
    assert claim(sessions, study_id, lease_s=60) == 2


def test_a_worker_that_was_only_slow_still_brings_its_result_unless_another_began(
    sessions: sessionmaker[Session], reconciler: Reconciler
) -> None:
    study_id = recorded(sessions)
    with sessions.begin() as session:
        slow = claim_one(session, study_id, 3, lease_s=-1)
    assert slow is not None
    reconciler.reconcile()
    with sessions.begin() as session:
        assert finish_one(session, result(slow, scored()))
    assert reconciler.reconcile() == 0


def test_when_redis_lost_its_messages_every_queued_study_is_put_back(
    sessions: sessionmaker[Session], reconciler: Reconciler, queue: Queue
) -> None:
    ids = {recorded(sessions, f"1.2.{number}") for number in range(5)}
    age(sessions, 60)
    assert reconciler.reconcile() == 5
    assert set(queue.put) == ids
    assert reconciler.reconcile() == 0


def test_a_study_that_was_queued_just_now_is_given_time(
    sessions: sessionmaker[Session], reconciler: Reconciler, queue: Queue
) -> None:
    recorded(sessions)
    assert reconciler.reconcile() == 0
    assert queue.put == []


def test_while_redis_has_a_message_for_each_queued_study_nothing_is_sent_twice(
    sessions: sessionmaker[Session], reconciler: Reconciler, queue: Queue
) -> None:
    for number in range(3):
        queue(Queued(recorded(sessions, f"1.2.{number}"), "routine", 0))
    age(sessions, 3600)
    assert reconciler.reconcile() == 0


def test_a_lost_message_is_missed_though_other_studies_are_at_work(
    sessions: sessionmaker[Session], reconciler: Reconciler, queue: Queue
) -> None:
    for number in range(3):
        at_work = recorded(sessions, f"1.2.{number}")
        claim(sessions, at_work, lease_s=60)
        queue.redis.hset("unacked", str(number), "a message")
    lost = recorded(sessions, "1.9")
    age(sessions, 60)
    assert reconciler.reconcile() == 1
    assert queue.put == [lost]


def test_a_message_that_a_worker_took_and_never_wrote_down_goes_back_to_its_own_list(
    reconciler: Reconciler, queue: Queue
) -> None:
    raw = b'\x00 \n "a message" \xff'
    queue.redis.hset("dlr.taken", "old", b"1 intake\x06\x163\n" + raw)
    queue.redis.hset("dlr.taken", "new", f"{queue.redis.time()[0]} intake\n".encode() + raw)
    assert reconciler.reconcile() == 1
    assert queue.redis.lrange("intake\x06\x163", 0, -1) == [raw]
    assert queue.redis.hkeys("dlr.taken") == [b"new"]
