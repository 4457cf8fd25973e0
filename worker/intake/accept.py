"""Into the ledger first, then onto the queue: how every study is accepted, whichever way it came."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db import ledger
from db.records import LesionRecord, Recorded, StudyRecord
from worker.clinical.categories import Priority
from worker.contract import LesionJob, StudyJob, parse_job
from worker.errors import DlrError, JobRefused

logger = logging.getLogger(__name__)

_BLOCK = 1 << 20
Enqueue = Callable[[str, Priority], None]
"""Queues a study id for inference at a priority."""


@dataclass(frozen=True, slots=True)
class Intake:
    """Accepts studies. Safe to call from any number of processes, any number of times for one study."""

    sessions: sessionmaker[Session]
    storage_root: Path
    enqueue: Enqueue

    def accept(self, job: StudyJob, source: str) -> Recorded:
        """Record a valid job, commit, then queue it.

        A study that is known with the same content is not recorded again; with other content it becomes a new
        revision, and the revision before it leaves the worklist. Content is the job, its priority apart, and the bytes
        of the files that it lists.

        Args:
            job: a job that `parse_job` passed.
            source: the way in, such as ``queue`` or ``submit``.

        Returns:
            The ledger's id, the revision and what changed.
        """
        record = _study_record(job, content_digest(job, self.storage_root), source)
        with self.sessions.begin() as session:
            recorded = ledger.record_study(session, record)
        if recorded.state == "queued":
            self.enqueue(str(recorded.study_id), Priority(recorded.priority))
        return recorded

    def submit(self, job: object, source: str) -> Recorded:
        """Accept a job as it came, or record why not.

        Raises:
            JobRefused: the job is refused; the ledger has it, with the reason.
        """
        try:
            valid = parse_job(job)
        except JobRefused as refused:
            raw = json.dumps(job, sort_keys=True, default=str)
            self.refuse(raw, refused, source)
            raise
        return self.accept(valid, source)

    def refuse(self, raw: str, refused: DlrError, source: str) -> UUID:
        """Keep a message that can not be a study: its content, the code and the reason; in the database only."""
        kept = raw.replace("\x00", "\\x00").replace("\\u0000", "\\\\u0000")
        digest = hashlib.sha256(kept.encode("utf-8", "backslashreplace")).hexdigest()
        with self.sessions.begin() as session:
            return ledger.record_refusal(session, digest, {"raw": kept}, refused.code.value, refused.reason, source)


def content_digest(job: StudyJob, storage_root: Path) -> str:
    """Return the SHA-256 of a job's content: every field but the priority, and every listed file's bytes.

    A file that is not there counts as absent, so that a study pushed again after its file arrived is another content.
    """
    fields = job.model_dump(mode="json", exclude={"priority"})
    files = [_file_digest(storage_root, path) for path in job.images.paths]
    return hashlib.sha256(json.dumps([fields, files], sort_keys=True).encode()).hexdigest()


def _file_digest(root: Path, path: str) -> str | None:
    try:
        real = (root / path).resolve()
        if not real.is_relative_to(root.resolve()) or not real.is_file():
            return None
        with real.open("rb") as file:
            return hashlib.file_digest(file, "sha256", _bufsize=_BLOCK).hexdigest()
    except OSError:
        return None


def _study_record(job: StudyJob, digest: str, source: str) -> StudyRecord:
    return StudyRecord(
        study_instance_uid=job.study_instance_uid,
        content_digest=digest,
        accession_number=job.accession_number,
        priority=job.priority.value,
        job=job.model_dump(mode="json"),
        source=source,
        lesions=tuple(_lesion_record(lesion) for lesion in job.lesions),
    )


def _lesion_record(lesion: LesionJob) -> LesionRecord:
    roi = lesion.roi
    return LesionRecord(
        lesion_id=lesion.lesion_id,
        sop_instance_uid=lesion.sop_instance_uid,
        frame=lesion.frame,
        roi=None if roi is None else (roi.x, roi.y, roi.width, roi.height),
        birads=lesion.birads.value,
        descriptors=dict(lesion.descriptors),
    )
