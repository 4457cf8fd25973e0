"""A hospital's lesions as rows of a table: what each column means, and the values that cross from room to room.

A row is one lesion on one image. Two images of a lesion are two rows with the same ``patient_key`` and ``lesion_id``;
two lesions of an image are two rows with the same ``image``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from worker.clinical.categories import Birads
from worker.clinical.descriptors import LEVELS, MEASURES, descriptor_faults
from worker.contract import RoiJob, ShortText, StoragePath
from worker.errors import Code
from worker.validation_errors import Flaw, flaws_of

ROI_COLUMNS = tuple(f"roi_{name}" for name in RoiJob.model_fields)
DESCRIPTOR_COLUMNS = (*LEVELS, *MEASURES)
_LOW_RISK = (Birads.NEGATIVE, Birads.BENIGN, Birads.PROBABLY_BENIGN)
_OLDEST_YEARS = 120


class Pathology(StrEnum):
    """What pathology, or a follow-up that stands for it, said of a lesion: DLR_BM's label."""

    BENIGN = "benign"
    MALIGNANT = "malignant"


class Verification(StrEnum):
    """What a lesion's pathology rests on."""

    BIOPSY = "biopsy"
    FOLLOW_UP = "follow_up"


class Split(StrEnum):
    """What a row is for.

    ``train``: the image network learns from it. ``validation``: the age classifier and the threshold do. ``test``:
    nothing does. ``external``: a test at a site that nothing learned from.
    """

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    EXTERNAL = "external"


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _table_s1(descriptors: dict[str, str | float]) -> dict[str, str | float]:
    faults = descriptor_faults(descriptors)
    if faults:
        raise PydanticCustomError("descriptors", "{faults}", {"faults": "; ".join(faults)})
    return descriptors


Category = Birads
"""A BI-RADS category: 4 where the letter was not written down, which is high risk, and never taken for 4A."""


class ManifestRow(BaseModel):
    """One lesion on one image. ``excluded`` rows stay in the table, are counted in its flow, and go into no split."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    image: StoragePath = Field(
        description="DICOM, PNG, JPEG or TIFF, detected by content; relative to the manifest's folder, or to --root"
    )
    frame: int | None = Field(
        default=None, ge=1, lt=2**31, description="Counts from 1; required if the file has several frames"
    )
    roi: RoiJob | None = Field(
        default=None,
        description="The lesion's rectangle. Without it or a mask: the B-mode region, else the whole image",
    )
    mask: StoragePath | None = Field(
        default=None,
        description="Instead of the roi: an image of the same size, nonzero on the lesion; its bounding box is used",
    )
    pixel_spacing_mm: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Millimetres from one pixel to the next. Default: what a DICOM file's header says",
    )
    age_years: float | None = Field(
        default=None,
        ge=0,
        le=_OLDEST_YEARS,
        allow_inf_nan=False,
        description="At the study. Default: a DICOM file's Patient's Age, else Study Date minus birth date",
    )
    birads: Annotated[Category | None, BeforeValidator(_upper)] = Field(
        default=None, description="A radiologist's; 4 if the letter is not known"
    )
    pathology: Annotated[Pathology | None, BeforeValidator(_lower)] = Field(
        default=None, description="The reference standard: required unless the row is excluded"
    )
    verification: Annotated[Verification | None, BeforeValidator(_lower)] = Field(
        default=None, description="What the pathology rests on: biopsy (or surgery), or follow_up"
    )
    descriptors: Annotated[dict[str, str | float], AfterValidator(_table_s1)] = Field(
        default_factory=dict, description="Table S1's, one column each"
    )
    patient_key: ShortText = Field(
        description="The same for all rows of a patient, and for no other: a pseudonym, never an identifier"
    )
    lesion_id: ShortText = Field(description="The same for all rows of a lesion, and for no other of the patient")
    site: ShortText | None = Field(default=None, description="Where the image was taken, for external validation")
    scanner_model: ShortText | None = Field(
        default=None, description="Which scanner took the image. Default: what a DICOM file's header says"
    )
    excluded: str | None = Field(
        default=None, pattern=r"^[a-z][a-z0-9_]{0,63}$", description="Why the row is left out: a short code"
    )
    trained_on: str | None = Field(
        default=None,
        max_length=1_000,
        description="Versions of models that were trained on it; `dataset split` puts such a patient into train",
    )
    split: Annotated[Split | None, BeforeValidator(_lower)] = Field(
        default=None, description="Written by `dataset split`"
    )
    fold: int | None = Field(
        default=None, ge=1, le=100, description="Of a cross-validation; written by `dataset split`"
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.roi is not None and self.mask is not None:
            raise PydanticCustomError("region", "give roi_x to roi_height or mask, not both")
        if self.pathology is None and self.excluded is None:
            raise PydanticCustomError("pathology", "pathology is needed: benign or malignant, or excluded says why not")
        if self.excluded is not None and (self.split is not None or self.fold is not None):
            raise PydanticCustomError("excluded", "an excluded row is in no split and in no fold")
        return self

    @property
    def malignant(self) -> bool | None:
        """DLR_BM's label; ``None`` where it is not known."""
        return None if self.pathology is None else self.pathology is Pathology.MALIGNANT

    @property
    def high_risk(self) -> bool | None:
        """DLR_LH's label: 4A and above is high risk, 3 and below is low; ``None`` without a category, and for 0."""
        return None if self.birads in (None, Birads.INCOMPLETE) else self.birads not in _LOW_RISK


COLUMNS: tuple[str, ...] = tuple(
    column
    for name in ManifestRow.model_fields
    for column in {"roi": ROI_COLUMNS, "descriptors": DESCRIPTOR_COLUMNS}.get(name, (name,))
)
"""The columns of the table, in the order that they are written in."""

REQUIRED_COLUMNS = ("image", "pathology", "patient_key", "lesion_id")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a row, without any value of it. ``line``: of CSV, the heading being 1; of Parquet, the row."""

    line: int
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file holds.

    Attributes:
        root: what its paths are relative to, resolved.
        rows: by their lines.
        faults: of the rows that are none.
    """

    root: Path
    rows: Mapping[int, ManifestRow]
    faults: tuple[Fault, ...] = field(default=())

    @property
    def included(self) -> dict[int, ManifestRow]:
        """The rows that are not excluded, by their lines."""
        return {line: row for line, row in self.rows.items() if row.excluded is None}

    @property
    def has_splits(self) -> bool:
        """Whether rows say what they are for."""
        return any(row.split is not None for row in self.rows.values())


def row_of(cells: Mapping[str, object]) -> ManifestRow:
    """Make a row of a table's cells, by their columns; empty ones are left out.

    Raises:
        ValidationError: a cell is wrong, or one that is needed is not there.
    """
    roi = {name.removeprefix("roi_"): cells[name] for name in ROI_COLUMNS if name in cells}
    descriptors = {name: _measure(name, cells[name]) for name in DESCRIPTOR_COLUMNS if name in cells}
    plain = {name: value for name, value in cells.items() if name not in (*ROI_COLUMNS, *DESCRIPTOR_COLUMNS)}
    # Cells of CSV are text, and the ROI of a message is strict on its types.
    parts = {"roi": {name: _whole(value) for name, value in roi.items()}} if roi else {}
    return ManifestRow.model_validate(plain | parts | {"descriptors": descriptors})


def cells_of(row: ManifestRow) -> dict[str, object]:
    """Return a row's cells by their columns, empty ones ``None``; `row_of` takes them back."""
    flat = row.model_dump(mode="json", exclude={"roi", "descriptors"})
    if row.roi is not None:
        flat |= {f"roi_{name}": value for name, value in row.roi.model_dump().items()}
    return {column: (flat | row.descriptors).get(column) for column in COLUMNS}


def reason_of(invalid: ValidationError) -> str:
    """Say what is wrong with a row, one sentence a field; no value and no name that is not a column's."""
    faults = flaws_of(invalid)
    return "; ".join(dict.fromkeys(_sentence(fault) for fault in faults))


def manifest_schema() -> dict[str, Any]:
    """Return JSON Schema (draft 2020-12) of a row as the table has it: flat, a property each column."""
    schema = ManifestRow.model_json_schema()
    roi, known = RoiJob.model_json_schema()["properties"], schema["properties"]
    flat: dict[str, Any] = {f"roi_{name}": value for name, value in roi.items()}
    flat |= {name: {"enum": list(levels)} for name, levels in LEVELS.items()}
    flat |= {name: {"type": "number", "minimum": 0} for name in MEASURES}
    definitions = {name: value for name, value in schema["$defs"].items() if name != "RoiJob"}
    properties = {column: known.get(column) or flat[column] for column in COLUMNS}
    return schema | {"$defs": definitions, "properties": properties}


def _measure(name: str, value: object) -> object:
    if name not in MEASURES or not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _whole(value: object) -> object:
    try:
        number = float(str(value))
    except ValueError:
        return value
    return int(number) if number.is_integer() else value


def _sentence(fault: Flaw) -> str:
    place = [str(part) for part in fault.place]
    if fault.kind == "extra_forbidden":
        return "more cells than columns"
    if fault.kind == Code.PATH_OUTSIDE_STORAGE:
        return f"{place[0]}: a path is relative to the manifest's folder, or to --root, and never leaves it"
    if place[:1] == ["birads"]:
        return f"birads: one of {', '.join(Birads)}, or 4 where its letter is not known"
    name = "_".join(place) if place[:1] == ["roi"] else next(iter(place), "")
    return f"{name}: {fault.sentence}" if name in COLUMNS else fault.sentence
