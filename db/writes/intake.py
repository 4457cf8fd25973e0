"""Writes when a message arrives: studies, their revisions, and messages that are refused."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, defer

from db.schema.records import Recorded, StudyRecord
from db.schema.tables import StudyRow
from db.schema.vocabulary import Change, Event, Priority, StudyState, WorklistClass
from db.storable import storable_json, storable_text
from db.writes.history import note, note_all
from db.writes.revisions import NewRevision, insert_revisions, kept_priority

_URGENCY = list(Priority)
_IS_REFUSED = StudyRow.study_instance_uid.is_(None) & StudyRow.purged_at.is_(None)


def record_study(session: Session, record: StudyRecord) -> Recorded:
    """Record a pushed study, once however often and however concurrently it is pushed.

    Other content under a known Study Instance UID becomes a new revision, queued; the one before it is kept and leaves
    the worklist. The content of an earlier revision, delivered late, changes nothing. Else a more urgent priority is
    taken over, a less urgent one is not, and the history says so. The caller places the study on the worklist in the
    same transaction. Messages that were refused and name this study are retired; so are those that name no study, and
    its accession number.
    """
    recorded = None
    while recorded is None:  # a study that is purged between the two is a new one
        recorded = _insert(session, record, 1, Change.NEW) or _record_known(session, record)
    retire_refused(session, [record])
    return recorded


def _record_known(session: Session, record: StudyRecord) -> Recorded | None:
    """Record a study whose UID is known, so it seemed; ``None`` when it is not."""
    # Held to the end of the transaction: two pushes of one study are recorded one after the other.
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:uid, 0))"), {"uid": record.study_instance_uid})
    revisions = session.scalars(
        select(StudyRow)
        .where(StudyRow.study_instance_uid == record.study_instance_uid)
        .options(defer(StudyRow.job))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    current = next((row for row in revisions if row.is_current), None)
    if current is None:
        return None
    if current.content_digest == record.content_digest:
        return _again(session, record, current)
    for row in revisions:
        if row.content_digest == record.content_digest:
            note(session, current.id, Event.EARLIER_REVISION, {"revision": row.revision})
            return _recorded(current, Change.EARLIER_REVISION, current.priority)
    revision = current.revision + 1
    session.execute(update(StudyRow).where(StudyRow.id == current.id).values(is_current=False))
    note(session, current.id, Event.SUPERSEDED, {"by_revision": revision})
    return _insert(session, record, revision, Change.REVISED, before=current.priority)


def record_refusal(
    session: Session,
    content_digest: str,
    raw: object,
    code: str,
    reason: str,
    source: str,
    *,
    priority: str = Priority.ROUTINE.value,
    study_instance_uid: str | None = None,
    accession_number: str | None = None,
) -> UUID:
    """Keep a message that cannot be a study; the same message again adds an event and no row.

    One that was retired, and comes again, is what its study came to last: it is listed again.

    Args:
        session: the caller commits.
        content_digest: SHA-256 of the message, lower-case hexadecimal.
        raw: the message, JSON of any kind; what ``jsonb`` cannot hold is kept as escaped text.
        code: why it was refused.
        reason: the same as a sentence, without values of the message.
        source: the way in.
        priority: the message's, where it could be read.
        study_instance_uid: the message's, where it names a valid one.
        accession_number: the same.

    Returns:
        The ledger's id of the message.
    """
    study_id: UUID | None = session.scalar(
        insert(StudyRow)
        .values(
            id=uuid4(),
            named_study_uid=study_instance_uid,
            accession_number=accession_number,
            content_digest=content_digest,
            priority=Priority(priority),
            job=storable_json(raw),
            source=source,
            state=StudyState.FAILED,
            error_code=code,
            error_reason=storable_text(reason),
            worklist_class=WorklistClass.NEEDS_ATTENTION,
            finished_at=func.now(),
        )
        .on_conflict_do_nothing(index_elements=[StudyRow.content_digest], index_where=_IS_REFUSED)
        .returning(StudyRow.id)
    )
    if study_id is not None:
        note(session, study_id, Event.REFUSED, {"code": code})
        return study_id
    known = session.scalars(select(StudyRow.id).where(StudyRow.content_digest == content_digest, _IS_REFUSED)).one()
    listed_again = session.scalar(
        update(StudyRow)
        .where(StudyRow.id == known, StudyRow.discarded_at.is_not(None), StudyRow.discard_reason.is_(None))
        .values(discarded_at=None, error_code=code, error_reason=storable_text(reason))
        .returning(StudyRow.id)
    )
    if listed_again is None:
        note(session, known, Event.UNCHANGED)
    else:
        note(session, known, Event.REFUSED, {"code": code})
    return known


def retire_earlier(session: Session, refusal: UUID, source: str) -> None:
    """Retire what was refused of a message's study before, where both came the same way: the last one says it all.

    Of which study it is, its job says, whether that is a valid UID or not.
    """
    study_of = StudyRow.job["study_instance_uid"].astext
    wanted = select(study_of).where(StudyRow.id == refusal).scalar_subquery()
    _retire(session, study_of == wanted, StudyRow.id != refusal, StudyRow.source == source, by=source)


def retire_refused(session: Session, records: Sequence[StudyRecord]) -> None:
    """Retire what was refused of studies that are on record now; all of them came in one way."""
    of_these: ColumnElement[bool] = StudyRow.named_study_uid.in_([record.study_instance_uid for record in records])
    numbers = [record.accession_number for record in records if record.accession_number is not None]
    if numbers:
        of_these = or_(of_these, StudyRow.named_study_uid.is_(None) & StudyRow.accession_number.in_(numbers))
    _retire(session, of_these, by=records[0].source)


def _retire(session: Session, *which: ColumnElement[bool], by: str) -> None:
    """Take refused messages off the list. One that a person put aside has a reason, which tells it from these."""
    retired = session.execute(
        update(StudyRow)
        .where(*which, _IS_REFUSED, StudyRow.discarded_at.is_(None))
        .values(discarded_at=func.now())
        .returning(StudyRow.id, StudyRow.error_code)
        .execution_options(synchronize_session=False)
    )
    note_all(session, [(row.id, Event.RETIRED, {"by": by, "code": row.error_code}) for row in retired.all()])


def _again(session: Session, record: StudyRecord, current: StudyRow) -> Recorded:
    before, priority = current.priority, _more_urgent(record, current.priority)
    if priority is before:
        kept = kept_priority(record, priority.value)
        note(session, current.id, Event.UNCHANGED, {"source": record.source, "kept_priority": kept})
        return _recorded(current, Change.UNCHANGED, priority)
    session.execute(update(StudyRow).where(StudyRow.id == current.id).values(priority=priority))
    note(session, current.id, Event.PRIORITY_RAISED, {"from": before.value, "to": priority.value})
    return _recorded(current, Change.PRIORITY_RAISED, priority)


def _more_urgent(record: StudyRecord, before: Priority) -> Priority:
    return min(before, Priority(record.priority), key=_URGENCY.index)


def _insert(
    session: Session, record: StudyRecord, revision: int, change: Change, before: Priority = Priority.ROUTINE
) -> Recorded | None:
    """Record a revision of a study, no less urgent than it was before; ``None``, with nothing written, when it is there
    already."""
    study_id = uuid4()
    priority = _more_urgent(record, before)
    if not insert_revisions(session, [NewRevision(study_id, record, revision, priority.value)]):
        return None
    return Recorded(study_id, revision, change.value, StudyState.QUEUED.value, priority.value)


def _recorded(current: StudyRow, change: Change, priority: Priority) -> Recorded:
    uncounted = current.claims - current.attempts
    return Recorded(current.id, current.revision, change.value, current.state.value, priority.value, uncounted)
