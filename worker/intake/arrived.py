"""A study as it arrived, instance by instance, becomes a job: one of its objects says where the lesions are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.contract import SCHEMA_VERSION
from worker.errors import Code, Refused, StudyRefused
from worker.imaging.storage import Limits
from worker.intake.marked import Instance, find_lesions


@dataclass(frozen=True, slots=True)
class Arrived:
    """What can be said of a study's files.

    Attributes:
        job: not yet checked against the contract; of a refused study, what is to be kept of it.
        is_whole: a report says which lesions there are, and its segmentations and their images are there.
        refused: why there can be no job, as things stand.
    """

    job: dict[str, Any]
    is_whole: bool
    refused: Refused | None = None


def arrived(instances: Sequence[Instance], place: Callable[[Path], str], limits: Limits) -> Arrived:
    """Look at a study's files.

    Args:
        instances: of one Study Instance UID.
        place: says where in the storage root an image is, as a job has it.
        limits: the largest file.

    Raises:
        Unavailable: ``storage_unavailable``.
    """
    images = [one for one in instances if not one.is_marking]
    accession = next((one.identity.accession_number for one in instances if one.identity.accession_number), None)

    def job(images: Sequence[Instance], lesions: Sequence[dict[str, Any]]) -> dict[str, Any]:
        paths = [place(image.path) for image in images]
        return job_of(instances[0].identity.study_instance_uid, accession, paths, lesions)

    try:
        marked = find_lesions(instances, limits)
        _same_patient((*marked.said_by, *images))
        wanted = {finding.region.sop_instance_uid for finding in marked.findings}
        there = [image for image in images if image.identity.sop_instance_uid in wanted]
        if not there:
            raise StudyRefused(Code.SOP_INSTANCE_NOT_FOUND)
    except Refused as refused:
        return Arrived(job(images, ()), is_whole=False, refused=refused)
    return Arrived(job(there, marked.lesions()), is_whole=marked.by_report and len(there) == len(wanted))


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


def _same_patient(instances: Sequence[Instance]) -> None:
    if len({one.identity.patient_id for one in instances} - {""}) > 1:
        raise StudyRefused(Code.PATIENT_MISMATCH)
