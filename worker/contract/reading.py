"""A job of any version that is read, or why there is none; and each version as JSON Schema."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from worker.clinical.categories import Birads, Priority
from worker.contract import version_1, version_2
from worker.contract.parts import DicomwebSource, FilesSource, PacsSource, Part, RoiJob, StudyJob
from worker.contract.request import StudyRequest
from worker.errors import Code, JobRefused
from worker.study import OnDicomweb, OnPacs
from worker.validation_errors import flaws_of

Model = TypeVar("Model", bound=Part)

VERSIONS: Final[Mapping[int, type[StudyJob]]] = MappingProxyType({1: version_1.StudyJob, 2: version_2.StudyJob})
"""The versions that are read; none is ever dropped."""

_REASON_FAULTS = 5
_KINDS = ("files", "dicomweb", "pacs")
"""What pydantic puts into a place behind ``images``: which of its kinds it was read as."""

_ANY_UID = "0"
"""Stands for the Study Instance UID of a request, while its lesions are looked at."""

_PARTS: Final[tuple[type[Part], ...]] = (
    *VERSIONS.values(),
    version_1.LesionJob,
    version_2.LesionJob,
    version_2.ImageJob,
    RoiJob,
    FilesSource,
    DicomwebSource,
    PacsSource,
    StudyRequest,
)
_KNOWN: Final = frozenset(name for part in _PARTS for name in part.model_fields)


def parse_job(job: object) -> StudyJob:
    """Read a job as it came off the queue or out of a file.

    Args:
        job: the decoded JSON, of whatever type it turned out to be.

    Returns:
        The job, valid in every field of its version.

    Raises:
        JobRefused: ``job_invalid``, ``job_version_unsupported`` or ``path_outside_storage``; the reason names the
            fields and never repeats their values.
    """
    return _validated(_version_of(job), job)


def parse_pushed(job: object) -> StudyJob | StudyRequest:
    """Read a job as it came off the queue: one that is whole, or one whose study is to be found on a server first.

    Raises:
        JobRefused: as `parse_job`; of a request too, before anybody is asked.
    """
    if not _is_request(job):
        return parse_job(job)
    _version_of(job)
    request = _validated(StudyRequest, job)
    if request.lesions is not None:
        whole_job(request, request.study_instance_uid or _ANY_UID)
    return request


def request_for(
    images: dict[str, str],
    priority: Priority,
    study_instance_uid: str | None,
    accession_number: str | None,
    refused_as: Code,
) -> dict[str, Any]:
    """Return the job of a study that is to be found first.

    Args:
        images: where studies are, as a job has it.
        priority: of the study.
        study_instance_uid: or ``accession_number``; ``None``: it is not known.
        accession_number: likewise.
        refused_as: the code of a refusal, that of what asks for the study.

    Raises:
        JobRefused: ``refused_as``; as `parse_pushed`.
    """
    named = {"study_instance_uid": study_instance_uid, "accession_number": accession_number}
    job: dict[str, Any] = {"schema_version": 1, "priority": priority.value, "images": images}
    job |= {name: value for name, value in named.items() if value is not None}
    try:
        parse_pushed(job)
    except JobRefused as refused:
        raise JobRefused(refused_as, refused.reason) from None
    return job


def whole_job(request: StudyRequest, study_instance_uid: str) -> StudyJob:
    """Return a request that has lesions as the job of the study that it names.

    Raises:
        JobRefused: as `parse_job`.
    """
    said = request.model_dump(mode="json", exclude_none=True)
    return parse_job(said | {"study_instance_uid": study_instance_uid, "lesions": request.lesions})


def _is_request(job: object) -> bool:
    return isinstance(job, dict) and not ("lesions" in job and "study_instance_uid" in job) and is_elsewhere(job)


def is_elsewhere(job: object) -> bool:
    """Whether a job, read or not, says that its images are on a server."""
    images = job.get("images") if isinstance(job, dict) else None
    return isinstance(images, dict) and images.get("kind") in ["dicomweb", "pacs"]


def _validated(model: type[Model], job: object) -> Model:
    try:
        return model.model_validate(job)
    except ValidationError as invalid:
        faults = flaws_of(invalid)
        confined = any(fault.kind == Code.PATH_OUTSIDE_STORAGE for fault in faults)
        code = Code.PATH_OUTSIDE_STORAGE if confined else Code.JOB_INVALID
        shown = [f"{_place(fault.place)}: {fault.sentence}" for fault in faults[:_REASON_FAULTS]]
        if len(faults) > _REASON_FAULTS:
            shown.append(f"and {len(faults) - _REASON_FAULTS} more")
        reason = "; ".join(shown)
    except RecursionError:
        code, reason = Code.JOB_INVALID, "the job is nested too deeply"
    raise JobRefused(code, reason)


def images_of(job: StudyJob) -> tuple[str, ...] | OnDicomweb | OnPacs:
    """Return where a job says that its images are."""
    match job.images:
        case FilesSource():
            return tuple(job.images.paths)
        case DicomwebSource():
            return OnDicomweb(job.images.server)
        case PacsSource():
            return OnPacs(job.images.server)


def job_schema(version: int = 1) -> dict[str, Any]:
    """Return a version of the contract as JSON Schema (draft 2020-12)."""
    schema = VERSIONS[version].model_json_schema()
    if version == 1:
        schema["$defs"]["Birads"]["enum"].remove(Birads.SUSPICIOUS.value)
    return schema


def request_schema() -> dict[str, Any]:
    """Return a job whose study is to be found first as JSON Schema (draft 2020-12), of whichever version."""
    return StudyRequest.model_json_schema()


def _version_of(job: object) -> type[StudyJob]:
    """Return the version that a job says it has; of one that says none, what is wrong is told as of version 1."""
    version = job.get("schema_version") if isinstance(job, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        return VERSIONS[1]
    if version not in VERSIONS:
        read = " and ".join(str(known) for known in VERSIONS)
        raise JobRefused(Code.JOB_VERSION_UNSUPPORTED, f"this worker reads schema_version {read}")
    return VERSIONS[version]


def _place(loc: tuple[int | str, ...]) -> str:
    place = ""
    for at, part in enumerate(loc):
        if isinstance(part, int):
            place += f"[{part}]"
        elif loc[:at] != ("images",) or part not in _KINDS:
            name = part if part in _KNOWN else "(unknown field)"
            place += f".{name}" if place else name
    return place or "job"
