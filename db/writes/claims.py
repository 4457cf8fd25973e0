"""Writes while a study is worked on: claimed, given back, queued again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Interval,
    Table,
    Uuid,
    any_,
    bindparam,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from db.schema.records import Claim, Claimed, Queued
from db.schema.tables import StudyRow
from db.schema.vocabulary import (
    ATTEMPTS_EXHAUSTED,
    OPEN_STATES,
    Event,
    LesionState,
    Priority,
    StudyState,
    WorklistClass,
)
from db.writes.history import note, note_all
from db.writes.lesion_states import move_lesions

# The table and not its class: a statement that holds any of its class takes the way of SQLAlchemy's ORM.
_STUDIES = cast("Table", StudyRow.__table__)

_LEASE_EXPIRED = (_STUDIES.c.state == StudyState.RUNNING) & or_(
    _STUDIES.c.lease_until.is_(None), _STUDIES.c.lease_until < func.now()
)

_QUEUED_AS_STRANDED = (_STUDIES.c.state == StudyState.QUEUED) & _STUDIES.c.lease_until.is_not(None)

AT_WORK = (_STUDIES.c.is_current.is_(True), or_(_STUDIES.c.state == StudyState.RUNNING, _QUEUED_AS_STRANDED))
"""With a study's last attempt, the fence of every result. A study that was queued again because its worker was not
heard of, and that nobody has claimed since, still takes that worker's result."""

UNCOUNTED = _STUDIES.c.claims - _STUDIES.c.attempts
"""As in `db.schema.records.Queued`."""

_CLAIMABLE = (
    _STUDIES.c.study_instance_uid.is_not(None),
    _STUDIES.c.is_current,
    or_(_STUDIES.c.state == StudyState.QUEUED, _LEASE_EXPIRED),
)

# An array, and not a list of parameters, so that a statement is the same for any number of studies.
_ASKED = _STUDIES.c.id == any_(bindparam("ids", type_=ARRAY(Uuid())))

_START = (
    update(_STUDIES)
    .where(_ASKED)
    .values(
        state=StudyState.RUNNING,
        attempts=_STUDIES.c.attempts + 1,
        claims=_STUDIES.c.claims + 1,
        claimed_at=func.now(),
        lease_until=func.now() + bindparam("lease", type_=Interval()),
        started_at=func.coalesce(_STUDIES.c.started_at, func.now()),
    )
    .returning(
        _STUDIES.c.id,
        _STUDIES.c.claims,
        _STUDIES.c.attempts,
        _STUDIES.c.job,
        _STUDIES.c.priority,
        _STUDIES.c.study_instance_uid,
        (func.now() - _STUDIES.c.received_at).label("since_received"),
        (func.now() - func.coalesce(_STUDIES.c.queued_at, _STUDIES.c.received_at)).label("since_queued"),
        _STUDIES.c.traceparent,
    )
)

_START_NEW = _START.where(
    _STUDIES.c.id.in_(
        select(_STUDIES.c.id)
        .where(_ASKED, *_CLAIMABLE, _STUDIES.c.attempts == 0)
        .order_by(_STUDIES.c.id)
        .with_for_update()
        .scalar_subquery()
    )
)


def claim(
    session: Session,
    study_ids: Collection[UUID],
    max_attempts: int,
    *,
    lease_s: float,
    worker: str | None = None,
    suspects_too: bool = True,
) -> Claimed:
    """Start an attempt at each study. Commit before the work starts, so that one that kills its worker is counted.

    The claim is a lease: its worker prolongs it while it lives (``extend_leases``). A study that runs under a lease is
    left to its worker; once the lease has run out it is claimed anew, and the former worker's result is refused
    (``finish``). A study that was started ``max_attempts`` times is set ``failed`` (``attempts_exhausted``) instead.

    Args:
        session: the caller commits.
        study_ids: the ledger's; one that is not there, has ended, is at work elsewhere, or was replaced by another
            revision is passed over.
        max_attempts: starts of a study before it is failed.
        lease_s: seconds until a worker that says nothing more counts as dead.
        worker: who claims them, for the studies' history: a process of a host.
        suspects_too: whether a study that was started before and did not end is claimed too; its worker may have died
            of it.
    """
    claims = _started(session, _START_NEW, study_ids, lease_s)
    rest = set(study_ids) - claims.keys()
    started = Claimed({})
    if rest:
        started = _claim_started(session, rest, max_attempts, lease_s, suspects_too=suspects_too)
        claims |= started.claims
    note_all(
        session,
        [(one.study_id, Event.CLAIMED, {"attempt": one.attempt, "worker": worker}) for one in claims.values()],
    )
    return replace(started, claims=claims)


def _claim_started(
    session: Session,
    study_ids: Collection[UUID],
    max_attempts: int,
    lease_s: float,
    *,
    suspects_too: bool,
) -> Claimed:
    """Claim studies that were started before and did not end, or fail them, or say which they are."""
    found = session.execute(
        select(StudyRow.id, StudyRow.attempts, StudyRow.claims)
        .where(_ASKED, *_CLAIMABLE, _STUDIES.c.attempts > 0)
        .order_by(StudyRow.id)
        .with_for_update(),
        {"ids": list(study_ids)},
    ).all()
    if not suspects_too:
        return Claimed({}, suspects=frozenset(study.id for study in found))
    exhausted = [study for study in found if study.attempts >= max_attempts]
    for study in exhausted:
        _exhaust(session, study.id, study.attempts, study.claims)
    wanted = [study.id for study in found if study.attempts < max_attempts]
    claims = _started(session, _START, wanted, lease_s) if wanted else {}
    return Claimed(claims, exhausted=frozenset(study.id for study in exhausted))


def _started(
    session: Session, start: ReturningUpdate[Any], study_ids: Collection[UUID], lease_s: float
) -> dict[UUID, Claim]:
    started = session.execute(start, {"ids": list(study_ids), "lease": timedelta(seconds=lease_s)})
    return {
        study.id: Claim(
            study_id=study.id,
            attempt=study.claims,
            job=study.job,
            priority=study.priority.value,
            study_instance_uid=study.study_instance_uid,
            since_received=study.since_received,
            since_queued=study.since_queued,
            traceparent=study.traceparent,
            starts=study.attempts,
        )
        for study in started
    }


def extend_leases(session: Session, claims: Mapping[UUID, int], lease_s: float) -> int:
    """Prolong the leases of a worker's studies in flight, by id and attempt; say how many are still its."""
    if not claims:
        return 0
    # Locked in one order by everybody, so that no two transactions wait for each other.
    held = (
        select(StudyRow.id)
        .where(
            tuple_(StudyRow.id, StudyRow.claims).in_(list(claims.items())),
            StudyRow.is_current,
            StudyRow.state == StudyState.RUNNING,
        )
        .order_by(StudyRow.id)
        .with_for_update()
    )
    extended = session.execute(
        update(StudyRow)
        .where(StudyRow.id.in_(held.scalar_subquery()))
        .values(lease_until=_lease(lease_s))
        .returning(StudyRow.id)
    )
    return len(extended.all())


def requeue_expired(session: Session, limit: int = 100) -> list[Queued]:
    """Queue studies again whose worker has not been heard of since its lease ran out.

    Safe on every host at once: each study is taken by one.

    Returns:
        Each, for the caller to put on the queue once it has committed.
    """
    found = (
        select(StudyRow.id).where(StudyRow.is_current, _LEASE_EXPIRED).limit(limit).with_for_update(skip_locked=True)
    )
    taken = session.execute(
        update(StudyRow)
        .where(StudyRow.id.in_(found))
        .values(state=StudyState.QUEUED, queued_at=func.now())
        .returning(StudyRow.id, StudyRow.priority, StudyRow.claims, UNCOUNTED.label("uncounted"))
    ).all()
    for row in taken:
        note(session, row.id, Event.STRANDED, {"attempt": row.claims})
    return [Queued(row.id, row.priority.value, row.uncounted) for row in taken]


def requeue_lost(session: Session, older_than_s: float, limit: int) -> list[Queued]:
    """Take studies that have been queued for longer, to put them on the queue again: Redis has lost messages.

    Those that were put on the queue the longest ago are taken, ``limit`` at most. A study whose message is there after
    all is then on the queue twice, which changes nothing.

    Returns:
        Each, the most urgent first.
    """
    found = (
        select(StudyRow.id)
        .where(
            StudyRow.is_current,
            StudyRow.state == StudyState.QUEUED,
            StudyRow.queued_at < func.now() - timedelta(seconds=older_than_s),
        )
        .order_by(StudyRow.queued_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = session.execute(
        update(StudyRow)
        .where(StudyRow.id.in_(found))
        .values(queued_at=func.now())
        .returning(StudyRow.id, StudyRow.priority, StudyRow.received_at, UNCOUNTED.label("uncounted"))
    ).all()
    urgency = list(Priority)
    ordered = sorted(taken, key=lambda row: (urgency.index(row.priority), row.received_at))
    return [Queued(row.id, row.priority.value, row.uncounted) for row in ordered]


def count_open(session: Session) -> tuple[int, int]:
    """Return how many current studies are queued, and how many are running."""
    counted = session.execute(
        select(
            func.count().filter(StudyRow.state == StudyState.QUEUED),
            func.count().filter(StudyRow.state == StudyState.RUNNING),
        ).where(StudyRow.is_current, StudyRow.state.in_(OPEN_STATES))
    ).one()
    return counted[0], counted[1]


def fail_attempt(session: Session, study_id: UUID, attempt: int, code: str, detail: str | None = None) -> None:
    """End an attempt without a result: the study is queued again, the attempt counts.

    Why is noted in the study's history; ``detail`` may be the places of a traceback, and never its text.
    """
    session.execute(
        update(StudyRow)
        .where(*_under_attempt(study_id, attempt))
        .values(state=StudyState.QUEUED, lease_until=None, queued_at=func.now())
    )
    note(session, study_id, Event.ATTEMPT_FAILED, {"attempt": attempt, "code": code, "detail": detail})


def release(session: Session, study_id: UUID, attempt: int) -> bool:
    """Give a study back to the queue: its worker is well, and something it needs is away.

    The attempt does not count: waiting for a server uses up no study. ``False`` when the attempt is no longer the
    study's.
    """
    released = session.scalar(
        update(StudyRow)
        .where(*_under_attempt(study_id, attempt))
        .values(
            state=StudyState.QUEUED,
            attempts=func.greatest(StudyRow.attempts - 1, 0),
            lease_until=None,
            queued_at=func.now(),
        )
        .returning(StudyRow.id)
    )
    if released is None:
        return False
    note(session, study_id, Event.RELEASED, {"attempt": attempt})
    return True


def _under_attempt(study_id: UUID, attempt: int) -> Sequence[ColumnElement[bool]]:
    return (StudyRow.id == study_id, StudyRow.claims == attempt, *AT_WORK)


def _lease(seconds: float) -> ColumnElement[datetime]:
    return func.now() + timedelta(seconds=seconds)


def _exhaust(session: Session, study_id: UUID, attempts: int, claims: int) -> None:
    reason = f"the study was started {attempts} times and never ended"
    session.execute(
        update(StudyRow)
        .where(StudyRow.id == study_id)
        .values(
            state=StudyState.FAILED,
            error_code=ATTEMPTS_EXHAUSTED,
            error_reason=reason,
            worklist_class=WorklistClass.NEEDS_ATTENTION,
            finished_at=func.now(),
        )
    )
    move_lesions(session, study_id, LesionState.WAITING, LesionState.FAILED, code=ATTEMPTS_EXHAUSTED, reason=reason)
    note(session, study_id, Event.FAILED, {"code": ATTEMPTS_EXHAUSTED, "attempt": claims})
