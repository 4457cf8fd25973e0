"""Writes while a study is worked on: claimed, given back, queued again."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from db.history import note
from db.models import LesionRow, StudyRow
from db.records import Claim, FailedPlace
from db.vocabulary import ATTEMPTS_EXHAUSTED, OPEN_STATES, Event, LesionState, StudyState, WorklistClass


def claim(session: Session, study_id: UUID, max_attempts: int, *, failed_place: FailedPlace) -> Claim | None:
    """Start an attempt at a study. Commit before the work starts, so that one that kills its worker is counted.

    A study that already runs is claimed anew: its former worker may be dead, and if it is not, its result is refused
    (``finish``). A study that was started ``max_attempts`` times is set ``failed`` (``attempts_exhausted``) instead,
    at the place that the caller's rule gives for its priority.

    Returns:
        The claim, or ``None`` when there is nothing to do: no such study, ended, another revision took its place, or
        its attempts are used up.
    """
    study = session.execute(
        select(StudyRow)
        .where(StudyRow.id == study_id, StudyRow.is_current, StudyRow.state.in_(OPEN_STATES))
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
    study.started_at = study.started_at or func.now()
    session.flush()
    note(session, study_id, Event.CLAIMED, {"attempt": study.claims})
    return Claim(study_id, study.claims, study.job, study.priority.value, study.study_instance_uid)


def current_priority(session: Session, study_id: UUID, attempt: int) -> str | None:
    """Return the priority of a study that runs under this attempt, and hold it still until the caller commits.

    Read it in the transaction of ``finish``, to place the study by a priority that was raised while it ran. ``None``
    when the attempt is no longer the study's.
    """
    priority = session.scalar(select(StudyRow.priority).where(*under_attempt(study_id, attempt)).with_for_update())
    return None if priority is None else priority.value


def fail_attempt(session: Session, study_id: UUID, attempt: int, code: str, detail: str | None = None) -> None:
    """Note in the study's history why an attempt ended without a result; ``detail`` may be a traceback."""
    note(session, study_id, Event.ATTEMPT_FAILED, {"attempt": attempt, "code": code, "detail": detail})


def release(session: Session, study_id: UUID, attempt: int) -> bool:
    """Give a study back to the queue: its worker is well, and something it needs is away.

    The attempt does not count: waiting for a server uses up no study. ``False`` when the attempt is no longer the
    study's.
    """
    released = session.scalar(
        update(StudyRow)
        .where(*under_attempt(study_id, attempt))
        .values(state=StudyState.QUEUED, attempts=func.greatest(StudyRow.attempts - 1, 0))
        .returning(StudyRow.id)
    )
    if released is None:
        return False
    note(session, study_id, Event.RELEASED, {"attempt": attempt})
    return True


def requeue(session: Session, study_id: UUID) -> bool:
    """Queue a failed or partial study again, with all its attempts, because a person asked for it.

    It is off the worklist until it has ended again. ``False`` for any other study, and for a refused message.
    """
    queued = session.scalar(
        update(StudyRow)
        .where(
            StudyRow.id == study_id,
            StudyRow.is_current,
            StudyRow.study_instance_uid.is_not(None),
            StudyRow.state.in_((StudyState.FAILED, StudyState.PARTIAL)),
        )
        .values(
            state=StudyState.QUEUED,
            attempts=0,
            error_code=None,
            error_reason=None,
            worklist_class=None,
            worklist_order=None,
            malignant_probability=None,
            claimed_at=None,
            started_at=None,
            finished_at=None,
        )
        .returning(StudyRow.id)
    )
    if queued is None:
        return False
    session.execute(
        update(LesionRow)
        .where(LesionRow.study_id == study_id, LesionRow.state == LesionState.FAILED)
        .values(state=LesionState.WAITING, error_code=None, error_reason=None)
    )
    note(session, study_id, Event.REQUEUED)
    return True


def under_attempt(study_id: UUID, attempt: int) -> Sequence[ColumnElement[bool]]:
    """Return the conditions under which a study still runs under this attempt: the fence of every result."""
    return (
        StudyRow.id == study_id,
        StudyRow.is_current.is_(True),
        StudyRow.state == StudyState.RUNNING,
        StudyRow.claims == attempt,
    )


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
