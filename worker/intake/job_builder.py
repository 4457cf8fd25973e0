"""A study as it arrived, instance by instance, becomes a job: one of its objects says where the lesions are."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.contract import LONGEST_TEXT
from worker.errors import Code, Refused, StudyRefused
from worker.image_access import Limits
from worker.imaging.patient import require_one_patient
from worker.intake.lesion_sources import Instance, find_lesions
from worker.intake.lesions_file import in_version, instances_of
from worker.intake.tracked_lesions import as_before_tracking, as_in_a_job

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuiltJob:
    """What can be said of a study's files.

    Attributes:
        job: not yet checked against the contract; of a refused study, what is to be kept of it.
        is_whole: a report says which lesions there are, and its segmentations and their images are there.
        refused: why there can be no job, as things stand.
        former: the job that was made of the same files before a lesion had several images and its place in the breast;
            ``None`` where it is the same one, or there was none.
    """

    job: dict[str, Any]
    is_whole: bool
    refused: Refused | None = None
    former: dict[str, Any] | None = None


def build_job(instances: Sequence[Instance], place: Callable[[Path], str], limits: Limits) -> BuiltJob:
    """Look at a study's files.

    Args:
        instances: of one Study Instance UID.
        place: says where in the storage root an image is, as a job has it.
        limits: the largest file.

    Raises:
        Unavailable: ``storage_unavailable``.
    """
    images = [one for one in instances if not one.is_marking]

    def job(images: Sequence[Instance], lesions: Sequence[dict[str, Any]]) -> dict[str, Any]:
        paths = [place(image.path) for image in images]
        return job_of(instances, paths, lesions)

    def job_on(lesions: Sequence[dict[str, Any]]) -> dict[str, Any]:
        wanted = _wanted(lesions)
        return job([image for image in images if image.identity.sop_instance_uid in wanted], lesions)

    try:
        marked = find_lesions(instances, limits)
        told = {*marked.said_by, *images}
        require_one_patient(
            {place: one.identity.patient for place, one in enumerate(instances, start=1) if one in told}
        )
        lesions = as_in_a_job(marked.lesions)
        missing = _wanted(lesions) - {image.identity.sop_instance_uid for image in images}
        if missing == _wanted(lesions):
            raise StudyRefused(Code.SOP_INSTANCE_NOT_FOUND)
    except Refused as refused:
        return BuiltJob(job(images, ()), is_whole=False, refused=refused)
    former = as_before_tracking(marked.lesions)
    return BuiltJob(
        job_on(lesions),
        is_whole=marked.by_report and not missing,
        former=None if former is None or former == lesions else job_on(former),
    )


def _wanted(lesions: Sequence[dict[str, Any]]) -> set[str]:
    return {uid for lesion in lesions for uid in instances_of(lesion)}


def job_of(instances: Sequence[Instance], paths: Sequence[str], lesions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make the job of a study.

    Args:
        instances: all its files.
        paths: in the storage root, of those that are scored.
        lesions: as a job has them.
    """
    version, lesions = in_version(lesions)
    return {
        "schema_version": version,
        "study_instance_uid": instances[0].identity.study_instance_uid,
        "accession_number": _accession_number(instances),
        "images": {"kind": "files", "paths": list(paths)},
        "lesions": list(lesions),
    }


def _accession_number(instances: Sequence[Instance]) -> str | None:
    """Return the first file's that has one which can be read, else the first's that has one at all.

    One that is longer than a job's may be is left out: the study is kept, and found by its UID.
    """
    said = [one.identity for one in instances if one.identity.accession_number]
    fitting = [identity for identity in said if len(identity.accession_number) <= LONGEST_TEXT]
    if said and not fitting:
        logger.warning("an accession number longer than %d characters was omitted", LONGEST_TEXT)
    return next((one.accession_number for one in sorted(fitting, key=lambda one: not one.is_number_whole)), None)
