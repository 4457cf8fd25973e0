"""Into the ledger first, then onto the queue: how every study is accepted, whichever way it came."""

import hashlib
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db.reads.study_results import current_content
from db.schema.records import LesionImageRecord, LesionRecord, Recorded, StudyRecord
from db.schema.vocabulary import Change
from db.writes import ledger
from worker.broker.refused_identifiers import Named, named_in
from worker.clinical.categories import Priority
from worker.contract import StudyJob
from worker.errors import DlrError
from worker.intake.content_digest import content_digest
from worker.intake.reencoded_copy import Images, is_reencoded
from worker.intake.storage_copy import is_copy
from worker.intake.together import Enqueue, Together, queued
from worker.scoring.worklist_place import place_studies
from worker.study import Lesion, MarkedImage
from worker.telemetry.traces import Tracing

logger = logging.getLogger(__name__)

_MOVES = {Change.NEW, Change.REVISED, Change.PRIORITY_RAISED}
"""Changes after which a study stands at another place on the worklist, or on it for the first time."""


@dataclass(frozen=True, slots=True)
class Intake:
    """Accepts studies. Safe to call from any number of processes, any number of times for one study.

    Attributes:
        images: gives what compares images; ``None``: the same images in another encoding are another content.
        together: records and queues what is new, with what other threads accept; ``None``: each by itself.
    """

    sessions: sessionmaker[Session]
    storage_root: Path
    enqueue: Enqueue
    tracing: Tracing = field(default_factory=Tracing)
    images: Callable[[], Images] | None = None
    together: Together | None = None

    def accept(
        self, job: StudyJob, source: str, traceparent: str | None = None, former: StudyJob | None = None
    ) -> Recorded:
        """Record a valid job, commit, then queue it.

        A study that is known with the same content is not recorded again; with other content it becomes a new
        revision, and the revision before it leaves the worklist. Neither lowers its priority. Content is the job, its
        priority apart, and the bytes of the files that it lists; where these alone differ, what their images show: in
        another encoding they are the same, and copies of them that were made for this job are removed. A study that is
        queued is put on the queue again, in case its message was lost: the ledger sees to it that it is scored once.

        Args:
            job: a job that `parse_job` passed.
            source: the way in, such as ``queue`` or ``submit``.
            traceparent: the sender's, whose trace then goes on here.
            former: the job as an earlier version made it of the same study; where that is on record, nothing changed.

        Returns:
            The ledger's id, the revision and what changed.
        """
        with self.tracing.span("intake", parent=traceparent, source=source) as span:
            if self.together is None or former is not None:
                recorded = self._accept_alone(self._read(job, source, traceparent), former)
            else:
                with self.together.arriving():
                    record = self._read(job, source, traceparent)
                recorded = self.together.accept(record) or self._accept_alone(record)
            span.note(study_id=str(recorded.study_id), change=recorded.change)
            if recorded.priority != job.priority.value:
                logger.info("study %s keeps its priority %s", recorded.study_id, recorded.priority)
        return recorded

    def _read(self, job: StudyJob, source: str, traceparent: str | None) -> StudyRecord:
        return _study_record(
            job, content_digest(job, self.storage_root), source, self.tracing.traceparent() or traceparent
        )

    def _accept_alone(self, record: StudyRecord, former: StudyJob | None = None) -> Recorded:
        recorded = (former and self._known_as(former, record)) or self._record(record, former)
        if recorded.state == "queued":
            self.enqueue(queued(recorded))
        return recorded

    def _known_as(self, former: StudyJob, record: StudyRecord) -> Recorded | None:
        """Record that a study came again that is on record as an earlier version made its job; else nothing."""
        digest = content_digest(former, self.storage_root)
        with self.sessions() as session:
            recorded = ledger.record_study(session, replace(record, content_digest=digest))
            if recorded.change in (Change.NEW, Change.REVISED):
                session.rollback()
                return None
            return _committed(session, recorded)

    def _record(self, record: StudyRecord, former: StudyJob | None) -> Recorded:
        with self.sessions() as session:
            recorded = ledger.record_study(session, record)
            if recorded.change != "revised" or self.images is None:
                return _committed(session, recorded)
            # Nobody waits for a row while images are compared.
            session.rollback()
            known = current_content(session, record.study_instance_uid)
            session.rollback()
            jobs = [record.job, *([former.model_dump(mode="json")] if former else [])]
            images = self.images
            if known is None or not any(is_reencoded(job, known, self.storage_root, images) for job in jobs):
                return _committed(session, ledger.record_study(session, record))
            recorded = ledger.record_study(session, replace(record, content_digest=known.digest))
            copies = {path for path in record.job["images"]["paths"] if is_copy(path)}
            unnamed = copies - ledger.on_record(session, copies)
            committed = _committed(session, recorded)
        for path in unnamed:
            with suppress(OSError):
                (self.storage_root / path).unlink()
        return committed

    def refuse(self, raw: object, refused: DlrError, source: str, named: Named | None = None) -> UUID:
        """Keep what cannot be a study: its content (JSON of any kind), the code and the reason; in the database only.

        A study that is accepted later retires what was refused of it.

        Args:
            raw: the content.
            refused: why.
            source: the way in.
            named: by what a person looks for it; ``None``: by what is found in the content.

        Returns:
            The ledger's id of it; the same content again gives the same.
        """
        named = named_in(raw) if named is None else named
        text = json.dumps(raw, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
        code, reason = refused.code.value, refused.reason
        with self.sessions.begin() as session:
            return ledger.record_refusal(
                session,
                digest,
                raw,
                code,
                reason,
                source,
                priority=named.priority or Priority.ROUTINE.value,
                study_instance_uid=named.study_instance_uid,
                accession_number=named.accession_number,
            )

    def retire_earlier(self, refusal: UUID, source: str) -> None:
        """Take off the list what was refused of a study before it came again, with more, and was refused anew."""
        with self.sessions.begin() as session:
            ledger.retire_earlier(session, refusal, source)


def _committed(session: Session, recorded: Recorded) -> Recorded:
    if recorded.change in _MOVES:
        place_studies(session, [recorded.study_id])
    session.commit()
    return recorded


def _study_record(job: StudyJob, digest: str, source: str, traceparent: str | None) -> StudyRecord:
    return StudyRecord(
        study_instance_uid=job.study_instance_uid,
        content_digest=digest,
        accession_number=job.accession_number,
        priority=job.priority.value,
        job=job.model_dump(mode="json"),
        source=source,
        lesions=tuple(_lesion_record(lesion) for lesion in job.marked),
        traceparent=traceparent,
    )


def _lesion_record(lesion: Lesion) -> LesionRecord:
    return LesionRecord(
        lesion_id=lesion.lesion_id,
        images=tuple(_image_record(image) for image in lesion.images),
        birads=lesion.birads.value,
        descriptors=dict(lesion.descriptors),
        laterality=lesion.laterality,
        clock_position=lesion.clock_position,
        distance_to_nipple_mm=lesion.distance_to_nipple_mm,
        depth_mm=lesion.depth_mm,
    )


def _image_record(image: MarkedImage) -> LesionImageRecord:
    roi = None if image.roi is None else (image.roi.x, image.roi.y, image.roi.width, image.roi.height)
    return LesionImageRecord(image.sop_instance_uid, image.frame, roi, image.plane)
