"""The message that a hospital pushes: contract version 1.

References to files, never pixels, and no patient name or id. ``dlr schema`` prints the JSON Schema.
"""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from worker.clinical.categories import Birads, Priority
from worker.clinical.descriptors import descriptor_faults
from worker.errors import Code, JobRefused
from worker.study import OnDicomweb
from worker.text import composed, is_one_line
from worker.validation_errors import flaws_of

SCHEMA_VERSION = 1
MAX_LESIONS = 1_000
MAX_PATHS = 10_000
LONGEST_TEXT = 64
_REASON_FAULTS = 5
_WINDOWS_DRIVE = re.compile(r"^[A-Za-z]:")


def _confined(path: str) -> str:
    parts = PurePosixPath(path).parts
    bad = path.startswith(("/", "\\", "~")) or ".." in parts or "\\" in path or _WINDOWS_DRIVE.match(path)
    if bad or not parts or not is_one_line(path):
        raise PydanticCustomError(
            Code.PATH_OUTSIDE_STORAGE.value, "a path is relative to the storage root and never leaves it"
        )
    return path


def _table_s1(descriptors: dict[str, str | float]) -> dict[str, str | float]:
    faults = descriptor_faults(descriptors)
    if faults:
        raise PydanticCustomError("descriptors", "{faults}", {"faults": "; ".join(faults)})
    return descriptors


def _composed(value: object) -> object:
    return composed(value) if isinstance(value, str) else value


def _one_line(text: str) -> str:
    if not is_one_line(text):
        raise PydanticCustomError("printable", "printable characters only")
    return text


Uid = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64, description="A DICOM UID (PS3.5, section 9)")]
StoragePath = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_confined)]
ShortText = Annotated[
    str, Field(min_length=1, max_length=LONGEST_TEXT), BeforeValidator(_composed), AfterValidator(_one_line)
]
Descriptors = Annotated[dict[str, str | float], AfterValidator(_table_s1)]
_KINDS = ("files", "dicomweb")
"""What pydantic puts into a place behind ``images``: which of its kinds it was read as."""

_STORAGE_PATH: TypeAdapter[str] = TypeAdapter(StoragePath)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class RoiJob(_Part):
    """A lesion's rectangle in pixels of the stored frame; (x, y) is its top left pixel, counted from 0."""

    x: int = Field(ge=-(2**31), lt=2**31)
    y: int = Field(ge=-(2**31), lt=2**31)
    width: int = Field(ge=1, lt=2**31)
    height: int = Field(ge=1, lt=2**31)


class LesionJob(_Part):
    """One lesion that a radiologist marked."""

    lesion_id: ShortText = Field(description="The sender's name of the lesion, unique in the study")
    sop_instance_uid: Uid
    frame: int | None = Field(
        default=None, ge=1, lt=2**31, description="Counts from 1, as in DICOM; required if the file has several frames"
    )
    roi: RoiJob | None = Field(
        default=None,
        description="Default: the B-mode region of Sequence of Ultrasound Regions, else the whole image",
    )
    birads: Annotated[Birads, Field(strict=False)]
    descriptors: Descriptors = Field(default_factory=dict, description="Table S1's names and levels")


class FilesSource(_Part):
    """Files that the worker reads from its storage."""

    kind: Literal["files"]
    paths: list[StoragePath] = Field(
        min_length=1, max_length=MAX_PATHS, description="Relative to DLR_STORAGE_ROOT, never outside it"
    )


class DicomwebSource(_Part):
    """Instances that the worker fetches from a DICOMweb server, those of the lesions alone."""

    kind: Literal["dicomweb"]
    server: ShortText = Field(description="Its name in DLR_DICOMWEB_SERVERS; a job never gives an address")


class StudyJob(_Part):
    """One study and its lesions: the argument ``job`` of the task ``dlr.submit_study``, on the queue ``intake``."""

    schema_version: Literal[1]
    study_instance_uid: Uid
    accession_number: ShortText | None = None
    priority: Annotated[Priority, Field(strict=False)] = Priority.ROUTINE
    age_years: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="At the study, in years. Default: Patient's Age, else Study Date minus Patient's Birth Date",
    )
    images: Annotated[FilesSource | DicomwebSource, Field(discriminator="kind")]
    lesions: list[LesionJob] = Field(min_length=1, max_length=MAX_LESIONS)

    @model_validator(mode="after")
    def _lesions_have_names_of_their_own(self) -> Self:
        names = [lesion.lesion_id for lesion in self.lesions]
        if len(names) != len(set(names)):
            raise PydanticCustomError("lesion_id", "two lesions have the same lesion_id")
        return self


def parse_job(job: object) -> StudyJob:
    """Read a job as it came off the queue or out of a file.

    Args:
        job: the decoded JSON, of whatever type it turned out to be.

    Returns:
        The job, valid in every field.

    Raises:
        JobRefused: ``job_invalid``, ``job_version_unsupported`` or ``path_outside_storage``; the reason names the
            fields and never repeats their values.
    """
    if isinstance(job, dict) and _other_version(job.get("schema_version")):
        raise JobRefused(Code.JOB_VERSION_UNSUPPORTED, f"this worker reads only schema_version {SCHEMA_VERSION} alone")
    try:
        return StudyJob.model_validate(job)
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


def images_of(job: StudyJob) -> tuple[str, ...] | OnDicomweb:
    """Return where a job says that its images are."""
    return tuple(job.images.paths) if isinstance(job.images, FilesSource) else OnDicomweb(job.images.server)


def can_be_named(path: str) -> bool:
    """Say whether a job can name a file of the storage by this path, relative to its root."""
    try:
        _STORAGE_PATH.validate_python(path)
    except ValidationError:
        return False
    return True


def _other_version(version: object) -> bool:
    return isinstance(version, int) and not isinstance(version, bool) and version != SCHEMA_VERSION


def _place(loc: tuple[int | str, ...]) -> str:
    known = StudyJob.model_fields | LesionJob.model_fields | RoiJob.model_fields | FilesSource.model_fields
    known |= DicomwebSource.model_fields
    place = ""
    for at, part in enumerate(loc):
        if isinstance(part, int):
            place += f"[{part}]"
        elif loc[:at] != ("images",) or part not in _KINDS:
            name = part if part in known else "(unknown field)"
            place += f".{name}" if place else name
    return place or "job"


def job_schema() -> dict[str, Any]:
    """Return the contract as JSON Schema (draft 2020-12)."""
    return StudyJob.model_json_schema()
