"""A study as it arrived, instance by instance, becomes a job: its latest report says where the lesions are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.contract import SCHEMA_VERSION
from worker.errors import Code, Refused, StudyRefused
from worker.imaging.identity import Identity
from worker.imaging.storage import Limits
from worker.intake.report import REPORT_CLASSES, Report, read_report


@dataclass(frozen=True, slots=True)
class Arrived:
    """What can be said of a study's files.

    Attributes:
        job: not yet checked against the contract; of a refused study, what is to be kept of it.
        is_whole: the lesions are known, and all their images are there.
        refused: why there can be no job, as things stand.
    """

    job: dict[str, Any]
    is_whole: bool
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """A file, and what it says it is."""

    path: Path
    identity: Identity

    @property
    def is_report(self) -> bool:
        """Whether it may say where lesions are."""
        return self.identity.sop_class_uid in REPORT_CLASSES


def arrived(instances: Sequence[Instance], place: Callable[[Path], str], limits: Limits) -> Arrived:
    """Look at a study's files.

    Args:
        instances: of one Study Instance UID.
        place: says where in the storage root an image is, as a job has it.
        limits: the largest file.

    Raises:
        Unavailable: ``storage_unavailable``.
    """
    images = [one for one in instances if not one.is_report]
    accession = next((one.identity.accession_number for one in instances if one.identity.accession_number), None)

    def job(images: Sequence[Instance], lesions: Sequence[dict[str, Any]]) -> dict[str, Any]:
        paths = [place(image.path) for image in images]
        return job_of(instances[0].identity.study_instance_uid, accession, paths, lesions)

    try:
        report = _latest([one.path for one in instances if one.is_report], limits)
        _same_patient(report, images)
        wanted = {lesion["sop_instance_uid"] for lesion in report.lesions}
        there = [image for image in images if image.identity.sop_instance_uid in wanted]
        if not there:
            raise StudyRefused(Code.SOP_INSTANCE_NOT_FOUND)
    except Refused as refused:
        return Arrived(job(images, ()), is_whole=False, refused=refused)
    return Arrived(job(there, report.lesions), is_whole=len(there) == len(wanted))


def job_of(
    study_instance_uid: str, accession_number: str | None, paths: Sequence[str], lesions: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Make the job of a study whose files are in the storage."""
    return {
        "schema_version": SCHEMA_VERSION,
        "study_instance_uid": study_instance_uid,
        "accession_number": accession_number,
        "images": {"kind": "files", "paths": list(paths)},
        "lesions": list(lesions),
    }


def _latest(paths: Sequence[Path], limits: Limits) -> Report:
    """Return the report that was written last, of those that mark lesions. Ours say nothing new."""
    read = (read_report(path, limits) for path in paths)
    reports = [report for report in read if report.lesions and not report.is_ours]
    if not reports:
        raise StudyRefused(Code.LESIONS_MISSING)
    return max(reports, key=lambda report: report.written)


def _same_patient(report: Report, images: Sequence[Instance]) -> None:
    patients = {report.patient_id} | {file.identity.patient_id for file in images}
    if len(patients - {""}) > 1:
        raise StudyRefused(Code.PATIENT_MISMATCH)
