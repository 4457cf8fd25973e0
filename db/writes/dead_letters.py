"""Writes that a person asks for: a failed study queued again or put aside, and identifiers removed in the end."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, case, cast, exists, func, or_, select, text, update
from sqlalchemy.orm import Session

from db.schema.images import MarkedImageRow
from db.schema.records import Queued
from db.schema.tables import LesionRow, PathologyRow, StudyRow
from db.schema.verdicts import ReadingRow, VerdictRow
from db.schema.vocabulary import ENDED_STATES, Event, LesionState, StudyState
from db.storable import storable_text
from db.writes.history import note
from db.writes.lesion_states import move_lesions
from db.writes.outbox import forget
from db.writes.worklist import remove_entries

_DEAD = StudyRow.state.in_((StudyState.FAILED, StudyState.PARTIAL))
_LACKS_IMAGES = and_(
    StudyRow.state == StudyState.DONE,
    exists().where(
        LesionRow.study_id == StudyRow.id,
        MarkedImageRow.lesion_id == LesionRow.id,
        MarkedImageRow.state == LesionState.FAILED,
    ),
)
_NO_DIGEST = "0" * 64


def requeue(session: Session, study_id: UUID, by: str = "unknown") -> Queued | None:
    """Queue a failed or partial study again, with all its attempts, because a person asked for it.

    So is one that is done without some image of a lesion: that may be found now, or read. It is off the worklist until
    it has ended again; one that was discarded is so no more. ``None`` for any other study, and for a refused message;
    else what the caller puts on the queue once it has committed.

    Args:
        session: the caller commits.
        study_id: the ledger's.
        by: who asked.
    """
    before = _held(session, study_id, or_(_DEAD, _LACKS_IMAGES), StudyRow.study_instance_uid.is_not(None))
    if before is None:
        return None
    detail = {"by": by, "from": before.state.value, "code": before.error_code, "attempts": before.attempts}
    queued = Queued(study_id, before.priority.value, before.claims)
    session.execute(
        update(StudyRow)
        .where(StudyRow.id == study_id)
        .values(
            state=StudyState.QUEUED,
            attempts=0,
            lease_until=None,
            queued_at=func.now(),
            error_code=None,
            error_reason=None,
            worklist_class=None,
            malignant_probability=None,
            claimed_at=None,
            started_at=None,
            finished_at=None,
            discarded_at=None,
            discard_reason=None,
        )
    )
    move_lesions(session, study_id, LesionState.FAILED, LesionState.WAITING, code=None, reason=None)
    note(session, study_id, Event.REQUEUED, detail)
    return queued


def discard(session: Session, study_id: UUID, reason: str, by: str) -> bool:
    """Put a failed or partial study, or a refused message, aside: a person has dealt with it.

    It leaves ``failed_study``, and the worklist too if it has no scores. It stays on record, and can be queued again.
    ``False`` for any other study, and for one that was discarded before.

    Args:
        session: the caller commits.
        study_id: the ledger's.
        reason: the person's, kept with the study until it is purged; the history does not repeat it.
        by: who asked.
    """
    before = _held(session, study_id, _DEAD, StudyRow.discarded_at.is_(None))
    if before is None:
        return False
    session.execute(
        update(StudyRow)
        .where(StudyRow.id == study_id)
        .values(discarded_at=func.now(), discard_reason=storable_text(reason))
    )
    note(session, study_id, Event.DISCARDED, {"by": by, "from": before.state.value, "code": before.error_code})
    return True


def purgeable(session: Session, before: datetime) -> int:
    """Count what ``purge`` would purge."""
    return session.scalar(select(func.count()).select_from(StudyRow).where(*_old(before))) or 0


def purge(session: Session, before: datetime, by: str, limit: int) -> tuple[int, list[str]]:
    """Remove the identifiers of studies and refused messages that ended before a time; counts and history stay.

    Gone are the UIDs, the accession number, the job and its digest, lesion ids (an ordinal takes their place),
    descriptors, reasons and sites; of the age, whole years stay, and 90 stands for more; of pathology, benign or
    malignant stays, without code and day; of verdicts, remarks and readers go. Revisions that a newer one replaced are
    purged by the time that they arrived.
    Why rows stay: docs/decisions/0012-a-purge-keeps-the-rows.md.

    Args:
        session: the caller commits.
        before: when a study has to have ended.
        by: who asked.
        limit: studies at most; call again until none is left.

    Returns:
        How many were purged, and the paths of their files that no other study on record names.
    """
    ids = session.scalars(
        select(StudyRow.id).where(*_old(before)).order_by(StudyRow.id).limit(limit).with_for_update(skip_locked=True)
    ).all()
    return purge_these(session, ids, {"by": by, "ended_before": before.isoformat()})


def purge_these(session: Session, ids: Sequence[UUID], detail: Mapping[str, str]) -> tuple[int, list[str]]:
    """Remove the identifiers of these studies, as `purge` does, and note in their history what ``detail`` says."""
    if not ids:
        return 0, []
    paths = session.scalars(_PATHS, {"ids": list(ids)}).all()
    of_these = LesionRow.study_id.in_(ids)
    # In two steps: a sender may have called the second lesion "1".
    session.execute(update(LesionRow).where(of_these).values(lesion_id=cast(func.gen_random_uuid(), Text)))
    session.execute(
        update(LesionRow)
        .where(of_these)
        .values(
            lesion_id=cast(LesionRow.ordinal, Text),
            descriptors={},
            error_reason=None,
            site=None,
            age_years=case((LesionRow.age_years >= 90, 90), else_=func.floor(LesionRow.age_years)),
        )
    )
    session.execute(
        update(MarkedImageRow)
        .where(MarkedImageRow.lesion_id.in_(select(LesionRow.id).where(of_these)))
        .values(sop_instance_uid="", error_reason=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(PathologyRow)
        .where(PathologyRow.lesion_id.in_(select(LesionRow.id).where(of_these)))
        .values(histology=None, reported_on=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(StudyRow)
        .where(StudyRow.id.in_(ids))
        .values(
            study_instance_uid=None,
            named_study_uid=None,
            accession_number=None,
            job={},
            content_digest=_NO_DIGEST,
            error_reason=None,
            discard_reason=None,
            traceparent=None,
            site=None,
            study_date=None,
            read_by=None,
            purged_at=func.now(),
        )
    )
    remove_entries(session, ids)
    session.execute(update(ReadingRow).where(ReadingRow.study_id.in_(ids)).values(reader=None))
    session.execute(
        update(VerdictRow)
        .where(VerdictRow.lesion_id.in_(select(LesionRow.id).where(of_these)))
        .values(remark=None)
        .execution_options(synchronize_session=False)
    )
    forget(session, ids)
    for study_id in ids:
        note(session, study_id, Event.PURGED, dict(detail))
    session.flush()
    still_named = on_record(session, paths)
    return len(ids), [path for path in paths if path not in still_named]


def on_record(session: Session, paths: Collection[str]) -> set[str]:
    """Return those paths of files that a study on record names."""
    return set(session.scalars(_NAMED, {"paths": list(paths)})) if paths else set()


_PATHS = text("""
    SELECT DISTINCT path FROM study, jsonb_array_elements_text(
        CASE jsonb_typeof(job #> '{images,paths}') WHEN 'array' THEN job #> '{images,paths}' ELSE '[]' END) AS path
    WHERE id = ANY(CAST(:ids AS uuid[]))
""")
_NAMED = text("""
    SELECT path FROM unnest(CAST(:paths AS text[])) AS path
    WHERE EXISTS (SELECT FROM study WHERE purged_at IS NULL AND job #> '{images,paths}' @> to_jsonb(path))
""")


def _held(session: Session, study_id: UUID, *which: ColumnElement[bool]) -> StudyRow | None:
    return session.scalar(
        select(StudyRow)
        .where(StudyRow.id == study_id, StudyRow.is_current, StudyRow.purged_at.is_(None), *which)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def _old(before: datetime) -> Sequence[ColumnElement[bool]]:
    return (
        StudyRow.purged_at.is_(None),
        or_(~StudyRow.is_current, StudyRow.state.in_(ENDED_STATES)),
        func.coalesce(StudyRow.finished_at, StudyRow.received_at) < before,
    )
