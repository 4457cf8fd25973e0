"""New revisions of studies, with their lesions, images and history: any number of them in one statement."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.schema.records import LesionImageRecord, LesionRecord, StudyRecord
from db.schema.vocabulary import Event
from db.writes.history import entry_values
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


class NewRevision(NamedTuple):
    """A revision of a study, from 1.

    Attributes:
        priority: what it gets, a word of `db.schema.vocabulary.Priority`; no less urgent than the record's.
    """

    study_id: UUID
    record: StudyRecord
    revision: int
    priority: str


def insert_revisions(session: Session, revisions: Sequence[NewRevision]) -> set[UUID]:
    """Write revisions, and return the ids of those that were written: one that is there already is not."""
    lesions = [
        _lesion(new.study_id, ordinal, lesion)
        for new in revisions
        for ordinal, lesion in enumerate(new.record.lesions, start=1)
    ]
    images = [
        {**_image(number, image), "study_id": new.study_id, "lesion": ordinal}
        for new in revisions
        for ordinal, lesion in enumerate(new.record.lesions, start=1)
        for number, image in enumerate(lesion.images, start=1)
    ]
    studies, events = [_study(new) for new in revisions], [_event(new) for new in revisions]
    rows = {"studies": studies, "lesions": lesions, "images": images, "events": events}
    return set(session.scalars(_INSERT, {name: as_json(of) for name, of in rows.items()}))


def _study(new: NewRevision) -> dict[str, Any]:
    record = new.record
    return {
        "id": new.study_id,
        "study_instance_uid": record.study_instance_uid,
        "revision": new.revision,
        "content_digest": record.content_digest,
        "accession_number": record.accession_number,
        "priority": new.priority,
        "job": dict(record.job),
        "source": record.source,
        "traceparent": record.traceparent,
    }


def _event(new: NewRevision) -> dict[str, Any]:
    event = Event.RECEIVED if new.revision == 1 else Event.REVISED
    kept = kept_priority(new.record, new.priority)
    detail = {"source": new.record.source, "revision": new.revision, "kept_priority": kept}
    return entry_values(new.study_id, event, detail)


def kept_priority(record: StudyRecord, priority: str) -> str | None:
    """Return the priority of a study that was handed in again with a lesser one, for its history."""
    return None if record.priority == priority else priority


def _lesion(study_id: UUID, ordinal: int, lesion: LesionRecord) -> dict[str, Any]:
    return {
        "study_id": study_id,
        "lesion_id": lesion.lesion_id,
        "ordinal": ordinal,
        "birads": lesion.birads,
        "descriptors": dict(lesion.descriptors),
        "laterality": lesion.laterality,
        "clock_position": lesion.clock_position,
        "distance_to_nipple_mm": lesion.distance_to_nipple_mm,
        "depth_mm": lesion.depth_mm,
    }


def _image(number: int, image: LesionImageRecord) -> dict[str, Any]:
    x, y, width, height = image.roi or (None, None, None, None)
    return {
        "ordinal": number,
        "sop_instance_uid": image.sop_instance_uid,
        "frame": image.frame,
        "roi_x": x,
        "roi_y": y,
        "roi_width": width,
        "roi_height": height,
        "plane": image.plane,
    }
