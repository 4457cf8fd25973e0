"""Writes while a study is worked on: claimed, given back, queued again."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from db.history import note
from db.models import LesionRow, StudyRow
from db.records import Claim, FailedPlace
from db.vocabulary import ATTEMPTS_EXHAUSTED, OPEN_STATES, Event, LesionState, Priority, StudyState, WorklistClass

_STRANDED = (StudyRow.state == StudyState.RUNNING) & or_(
    StudyRow.lease_until.is_(None), StudyRow.lease_until < func.now()
)

_QUEUED_AS_STRANDED = (StudyRow.state == StudyState.QUEUED) & StudyRow.lease_until.is_not(None)


def claim(
    session: Session,
    study_id: UUID,
    max_attempts: int,
    *,
    lease_s: float,
    failed_place: FailedPlace,
    worker: str | None = None,
) -> Claim | None:
    """Start an attempt at a study. Commit before the work starts, so that one that kills its worker is counted.

    The claim is a lease: its worker prolongs it while it lives (``extend_leases``). A study that runs under a lease is
    left to its worker; once the lease has run out it is claimed anew, and the former worker's result is refused
    (``finish``). A study that was started ``max_attempts`` times is set ``failed`` (``attempts_exhausted``) instead,
    at the place that the caller's rule gives for its priority.

    Args:
        session: the caller commits.
        study_id: the ledger's.
        max_attempts: starts of a study before it is failed.
        lease_s: seconds until a worker that says nothing more counts as dead.
        failed_place: the worklist's rule.
        worker: who claims it, for the study's history: a process of a host.

    Returns:
        The claim, or ``None`` when there is nothing to do: no such study, ended, at work elsewhere, another revision
        took its place, or its attempts are used up.
    """
    study = session.execute(
        select(StudyRow)
        .where(StudyRow.id == study_id, StudyRow.is_current, or_(StudyRow.state == StudyState.QUEUED, _STRANDED))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if study is None or study.study_instance_uid is None:
        return None
    if study.attempts >= max_attempts:
        _exhaust(session, study, failed_place)
        return None
    study.state = StudyState.RUNNING
    study.attempts += 1
    study.claims += 1
    study.claimed_at = func.now()
    study.lease_until = _lease(lease_s)
    study.started_at = study.started_at or func.now()
    session.flush()
    note(session, study_id, Event.CLAIMED, {"attempt": study.claims, "worker": worker})
    return Claim(study_id, study.claims, study.job, study.priority.value, study.study_instance_uid)


def extend_leases(session: Session, claims: Mapping[UUID, int], lease_s: float) -> int:
    """Prolong the leases of the studies, by id and attempt, that a worker has at hand; say how many are still its."""
    if not claims:
        return 0
    extended = session.execute(
        update(StudyRow)
        .where(
            tuple_(StudyRow.id, StudyRow.claims).in_(list(claims.items())),
            StudyRow.is_current,
            StudyRow.state == StudyState.RUNNING,
        )
        .values(lease_until=_lease(lease_s))
        .returning(StudyRow.id)
    )
    return len(extended.all())


def take_stranded(session: Session, limit: int = 100) -> list[tuple[UUID, str]]:
    """Queue studies again whose worker has not been heard of since its lease ran out.

    Safe on every host at once: each study is taken by one.

    Returns:
        (id, priority) of each, for the caller to put on the queue once it has committed.
    """
    found = select(StudyRow.id).where(StudyRow.is_current, _STRANDED).limit(limit).with_for_update(skip_locked=True)
    taken = session.execute(
        update(StudyRow)
        .where(StudyRow.id.in_(found))
        .values(state=StudyState.QUEUED, queued_at=func.now())
        .returning(StudyRow.id, StudyRow.priority, StudyRow.claims)
    ).all()
    for row in taken:
        note(session, row.id, Event.STRANDED, {"attempt": row.claims})
    return [(row.id, row.priority.value) for row in taken]


def take_unqueued(session: Session, older_than_s: float, limit: int) -> list[tuple[UUID, str]]:
    """Take studies that have been queued for longer, to put them on the queue again: Redis has lost messages.

    Those that were put on the queue the longest ago are taken, ``limit`` at most. A study whose message is there after
    all is then on the queue twice, which changes nothing.

    Returns:
        (id, priority) of each, the most urgent first.
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
        .returning(StudyRow.id, StudyRow.priority, StudyRow.received_at)
    ).all()
    urgency = list(Priority)
    ordered = sorted(taken, key=lambda row: (urgency.index(row.priority), row.received_at))
    return [(row.id, row.priority.value) for row in ordered]


def count_open(session: Session) -> tuple[int, int]:
    """Return how many current studies are queued, and how many are running."""
    counted = session.execute(
        select(
            func.count().filter(StudyRow.state == StudyState.QUEUED),
            func.count().filter(StudyRow.state == StudyState.RUNNING),
        ).where(StudyRow.is_current, StudyRow.state.in_(OPEN_STATES))
    ).one()
    return counted[0], counted[1]


def was_started(session: Session, study_id: UUID) -> bool:
    """Tell whether a study was started before and did not end: its worker may have died of it."""
    return bool(session.scalar(select(StudyRow.attempts > 0).where(StudyRow.id == study_id)))


def current_priority(session: Session, study_id: UUID, attempt: int) -> str | None:
    """Return the priority of a study that runs under this attempt, and hold it still until the caller commits.

    Read it in the transaction of ``finish``, to place the study by a priority that was raised while it ran. ``None``
    when the attempt is no longer the study's.
    """
    priority = session.scalar(select(StudyRow.priority).where(*under_attempt(study_id, attempt)).with_for_update())
    return None if priority is None else priority.value


def fail_attempt(session: Session, study_id: UUID, attempt: int, code: str, detail: str | None = None) -> None:
    """End an attempt without a result: the study is queued again, the attempt counts.

    Why is noted in the study's history; ``detail`` may be the places of a traceback, and never its text.
    """
    session.execute(
        update(StudyRow)
        .where(*under_attempt(study_id, attempt))
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
        .where(*under_attempt(study_id, attempt))
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


def under_attempt(study_id: UUID, attempt: int) -> Sequence[ColumnElement[bool]]:
    """Return the conditions under which this attempt is the study's last: the fence of every result.

    A study that was queued again because its worker was not heard of, and that nobody has claimed since, still takes
    that worker's result.
    """
    return (
        StudyRow.id == study_id,
        StudyRow.is_current.is_(True),
        or_(StudyRow.state == StudyState.RUNNING, _QUEUED_AS_STRANDED),
        StudyRow.claims == attempt,
    )


def _lease(seconds: float) -> ColumnElement[datetime]:
    return func.now() + timedelta(seconds=seconds)


def _exhaust(session: Session, study: StudyRow, failed_place: FailedPlace) -> None:
    worklist_class, study.worklist_order = failed_place(study.priority.value)
    study.worklist_class = WorklistClass(worklist_class)
    study.state = StudyState.FAILED
    study.error_code = ATTEMPTS_EXHAUSTED
    study.error_reason = f"the study was started {study.attempts} times and never ended"
    study.finished_at = func.now()
    session.flush()
    session.execute(
        update(LesionRow)
        .where(LesionRow.study_id == study.id, LesionRow.state == LesionState.WAITING)
        .values(state=LesionState.FAILED, error_code=ATTEMPTS_EXHAUSTED, error_reason=study.error_reason)
    )
    note(session, study.id, Event.FAILED, {"code": ATTEMPTS_EXHAUSTED, "attempt": study.claims})
