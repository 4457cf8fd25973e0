"""Writes when many messages arrive at once: the studies among them that are new, in one statement for all of them."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.schema.records import Recorded, StudyRecord
from db.schema.vocabulary import Change, Event, StudyState
from db.writes.intake import image_values, lesion_values, received, retire_refused, study_values
from db.writes.rows import as_json

# By one UID after the other, so that no two transactions wait for each other. The job is JSON in JSON: `jsonb` reads it
# once. Identities are given before the rows are written, and lesions find theirs by study and ordinal.
_INSERT = text("""
    WITH arrived AS (
        INSERT INTO study (id, study_instance_uid, revision, content_digest, accession_number, priority, job, source,
                           traceparent)
        SELECT id, study_instance_uid, revision, content_digest, accession_number, priority, job, source, traceparent
        FROM json_populate_recordset(NULL::study, CAST(:studies AS json))
        ORDER BY study_instance_uid
        ON CONFLICT DO NOTHING
        RETURNING id
    ), marked AS (
        INSERT INTO lesion (study_id, lesion_id, ordinal, birads, descriptors, laterality, clock_position,
                            distance_to_nipple_mm, depth_mm)
        SELECT study_id, lesion_id, ordinal, birads, descriptors, laterality, clock_position, distance_to_nipple_mm,
               depth_mm
        FROM json_populate_recordset(NULL::lesion, CAST(:lesions AS json))
        WHERE study_id IN (SELECT id FROM arrived)
        ORDER BY study_id, ordinal
        RETURNING id, study_id, ordinal
    ), seen AS (
        INSERT INTO marked_image (lesion_id, ordinal, sop_instance_uid, frame, roi_x, roi_y, roi_width, roi_height,
                                  plane)
        SELECT marked.id, image.ordinal, image.sop_instance_uid, image.frame, image.roi_x, image.roi_y, image.roi_width,
               image.roi_height, image.plane
        FROM json_to_recordset(CAST(:images AS json)) AS image (
                 study_id uuid, lesion integer, ordinal integer, sop_instance_uid text, frame integer, roi_x integer,
                 roi_y integer, roi_width integer, roi_height integer, plane plane)
        JOIN marked ON marked.study_id = image.study_id AND marked.ordinal = image.lesion
        ORDER BY marked.id, image.ordinal
    ), noted AS (
        INSERT INTO study_event (study_id, event, detail)
        SELECT study_id, event, detail FROM json_populate_recordset(NULL::study_event, CAST(:events AS json))
        WHERE study_id IN (SELECT id FROM arrived)
    )
    SELECT id FROM arrived
""")


def record_new(session: Session, records: Sequence[StudyRecord]) -> list[Recorded | None]:
    """Record those of several pushed studies that are new, as `db.writes.intake.record_study` does each of them.

    The caller places them on the worklist in the same transaction.

    Returns:
        For each, in order, what was recorded; ``None``, with nothing written, where the study is known, or comes twice
        here and was recorded by its first.
    """
    first = {record.study_instance_uid: record for record in reversed(records)}
    ids = {uid: uuid4() for uid in first}
    arrived = set(session.scalars(_INSERT, _values(first.values(), ids)))
    new = [record for record in first.values() if ids[record.study_instance_uid] in arrived]
    for source in {record.source for record in new}:
        retire_refused(session, [record for record in new if record.source == source])
    return [
        Recorded(ids[one.study_instance_uid], 1, Change.NEW.value, StudyState.QUEUED.value, one.priority)
        if one is first[one.study_instance_uid] and ids[one.study_instance_uid] in arrived
        else None
        for one in records
    ]


def _values(records: Iterable[StudyRecord], ids: dict[str, UUID]) -> dict[str, str]:
    studies: list[dict[str, Any]] = []
    lesions: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for record in records:
        study_id = ids[record.study_instance_uid]
        studies.append(study_values(record, study_id, 1, record.priority))
        events.append({"study_id": study_id, "event": Event.RECEIVED, "detail": received(record, 1)})
        for place, lesion in enumerate(record.lesions, start=1):
            lesions.append(lesion_values(study_id, place, lesion))
            images += (
                {**image_values(number, image), "study_id": study_id, "lesion": place}
                for number, image in enumerate(lesion.images, start=1)
            )
    rows = {"studies": studies, "lesions": lesions, "images": images, "events": events}
    return {name: as_json(of) for name, of in rows.items()}
