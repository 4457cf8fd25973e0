"""What every version of the message shares: texts, paths and rectangles, where images are, and what a job is."""

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

from worker.clinical.categories import Priority
from worker.clinical.descriptors import descriptor_faults
from worker.errors import Code
from worker.study import Lesion, Roi
from worker.text import composed, is_one_line

MAX_LESIONS = 1_000
MAX_PATHS = 10_000
LONGEST_TEXT = 64
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
Frame = Annotated[int, Field(ge=1, lt=2**31)]
_STORAGE_PATH: TypeAdapter[str] = TypeAdapter(StoragePath)


class Part(BaseModel):
    """A part of a job: nothing unknown in it, nothing taken for what it is not, and no value in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class RoiJob(Part):
    """A lesion's rectangle in pixels of the stored frame; (x, y) is its top left pixel, counted from 0."""

    x: int = Field(ge=-(2**31), lt=2**31)
    y: int = Field(ge=-(2**31), lt=2**31)
    width: int = Field(ge=1, lt=2**31)
    height: int = Field(ge=1, lt=2**31)

    @property
    def value(self) -> Roi:
        """The same, as it crosses from room to room."""
        return Roi(self.x, self.y, self.width, self.height)


class FilesSource(Part):
    """Files that the worker reads from its storage."""

    kind: Literal["files"]
    paths: list[StoragePath] = Field(
        min_length=1, max_length=MAX_PATHS, description="Relative to DLR_STORAGE_ROOT, never outside it"
    )


class DicomwebSource(Part):
    """Instances that the worker fetches from a DICOMweb server, those of the lesions alone."""

    kind: Literal["dicomweb"]
    server: ShortText = Field(description="Its name in DLR_DICOMWEB_SERVERS; a job never gives an address")


class PacsSource(Part):
    """Instances that are fetched from a PACS by DICOM (C-GET, or C-MOVE), those of the lesions alone."""

    kind: Literal["pacs"]
    server: ShortText = Field(description="Its name in DLR_PACS_SERVERS; a job never gives an address")


class StudyJob(Part):
    """One study and its lesions: the argument ``job`` of the task ``dlr.submit_study``, on the queue ``intake``."""

    schema_version: int
    study_instance_uid: Uid
    accession_number: ShortText | None = None
    priority: Annotated[Priority, Field(strict=False)] = Priority.ROUTINE
    age_years: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="At the study, in years. Default: Patient's Age, else Study Date minus Patient's Birth Date",
    )
    images: Annotated[FilesSource | DicomwebSource | PacsSource, Field(discriminator="kind")]
    lesions: list[Any]

    @property
    def marked(self) -> tuple[Lesion, ...]:
        """The lesions, in the job's order, as whatever version of the message has them."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _lesions_have_names_of_their_own(self) -> Self:
        names = [lesion.lesion_id for lesion in self.lesions]
        if len(names) != len(set(names)):
            raise PydanticCustomError("lesion_id", "two lesions have the same lesion_id")
        return self


def can_be_named(path: str) -> bool:
    """Say whether a job can name a file of the storage by this path, relative to its root."""
    try:
        _STORAGE_PATH.validate_python(path)
    except ValidationError:
        return False
    return True
