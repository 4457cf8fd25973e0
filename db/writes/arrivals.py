"""Writes when many messages arrive at once: the studies among them that are new, in one statement for all of them."""

from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy.orm import Session

from db.schema.records import Recorded, StudyRecord
from db.schema.vocabulary import Change, StudyState
from db.writes.intake import retire_refused
from db.writes.revisions import NewRevision, insert_revisions


def record_new(session: Session, records: Sequence[StudyRecord]) -> list[Recorded | None]:
    """Record those of several pushed studies that are new, as `db.writes.intake.record_study` does each of them.

    The caller places them on the worklist in the same transaction.

    Returns:
        For each, in order, what was recorded; ``None``, with nothing written, where the study is known, or comes twice
        here and was recorded by its first.
    """
    first = {record.study_instance_uid: record for record in reversed(records)}
    ids = {uid: uuid4() for uid in first}
    arrived = insert_revisions(session, [NewRevision(ids[uid], one, 1, one.priority) for uid, one in first.items()])
    new = [record for uid, record in first.items() if ids[uid] in arrived]
    for source in {record.source for record in new}:
        retire_refused(session, [record for record in new if record.source == source])
    return [
        Recorded(ids[one.study_instance_uid], 1, Change.NEW.value, StudyState.QUEUED.value, one.priority)
        if one is first[one.study_instance_uid] and ids[one.study_instance_uid] in arrived
        else None
        for one in records
    ]
