"""A study as it arrived, instance by instance, becomes a job: its latest report says where the lesions are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.contract import SCHEMA_VERSION
from worker.errors import Code, Refused, StudyRefused
from worker.imaging.identity import Identity, read_identity
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
class _File:
    path: Path
    identity: Identity


def arrived(paths: Sequence[Path], place: Callable[[Path], str], limits: Limits) -> Arrived:
    """Look at a study's files.

    Args:
        paths: of one Study Instance UID.
        place: says where in the storage root an image is, as a job has it.
        limits: the largest file.

    Raises:
        Unavailable: ``storage_unavailable``.
    """
    files = [_File(path, read_identity(path, limits)) for path in paths]
    images = [file for file in files if file.identity.sop_class_uid not in REPORT_CLASSES]
    kept = _job(files, images, place, ())
    try:
        report = _latest([file.path for file in files if file not in images], limits)
        _same_patient(report, images)
    except Refused as refused:
        return Arrived(kept, is_whole=False, refused=refused)
    wanted = {lesion["sop_instance_uid"] for lesion in report.lesions}
    there = [file for file in images if file.identity.sop_instance_uid in wanted]
    if not there:
        return Arrived(kept, is_whole=False, refused=StudyRefused(Code.SOP_INSTANCE_NOT_FOUND))
    return Arrived(_job(files, there, place, report.lesions), is_whole=len(there) == len(wanted))


def _job(
    files: Sequence[_File], images: Sequence[_File], place: Callable[[Path], str], lesions: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    accession = next((file.identity.accession_number for file in files if file.identity.accession_number), None)
    return {
        "schema_version": SCHEMA_VERSION,
        "study_instance_uid": files[0].identity.study_instance_uid,
        "accession_number": accession,
        "images": {"kind": "files", "paths": [place(file.path) for file in images]},
        "lesions": list(lesions),
    }


def _latest(paths: Sequence[Path], limits: Limits) -> Report:
    """Return the report that was written last, of those that mark lesions."""
    reports = [report for report in (read_report(path, limits) for path in paths) if report.lesions]
    if not reports:
        raise StudyRefused(Code.LESIONS_MISSING)
    return max(reports, key=lambda report: report.written)


def _same_patient(report: Report, images: Sequence[_File]) -> None:
    patients = {report.patient_id} | {file.identity.patient_id for file in images}
    if len(patients - {""}) > 1:
        raise StudyRefused(Code.PATIENT_MISMATCH)
