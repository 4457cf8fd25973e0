"""A cohort as a file, CSV, Parquet or JSON: one lesion a line, with what pathology said and Table S1's features."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from db.schema.vocabulary import PathologyFinding
from worker.clinical.categories import Birads
from worker.clinical.descriptors import LEVELS, MEASURES
from worker.contract import Descriptors, ShortText
from worker.errors import MEANINGS, Code, SetupRefused
from worker.reporting.cohort_table import AGE, FEATURES, CohortLesion
from worker.tables.csv_json import TOO_MANY_CELLS, read_rows
from worker.tables.parquet import is_parquet, read_parquet, text_of
from worker.validation_errors import Flaw, flaws_of

NEEDED = ("pathology", "lesion_id", "patient_key")
"""The columns that each manifest has; ``birads``, ``excluded`` and those of Table S1's features may be left out."""

EXCLUDED = "excluded"


class CohortLine(BaseModel):
    """One lesion, as the file has it."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    pathology: Annotated[PathologyFinding, BeforeValidator(str.lower)]
    lesion_id: ShortText = Field(description="The lesion's name, unique within a patient")
    patient_key: ShortText = Field(
        description="A pseudonym shared by the patient's lesions; never a name or a hospital number"
    )
    birads: Annotated[Birads | None, BeforeValidator(str.upper)] = Field(
        default=None, description="The radiologist's category, or 4 without its letter; Table S1 does not count it"
    )
    age_years: float | None = Field(default=None, ge=0, le=120, allow_inf_nan=False, description="Years")
    descriptors: Descriptors = Field(description="By Table S1's names; unknown ones are omitted")

    def lesion(self) -> CohortLesion:
        """Return what Table S1 is made of."""
        age = {} if self.age_years is None else {AGE: self.age_years}
        malignant = self.pathology is PathologyFinding.MALIGNANT
        return CohortLesion(malignant, self.patient_key, {**self.descriptors, **age})


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be taken. ``line`` counts from 1, the header's; ``reason`` has no value of the line."""

    line: int
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class CohortManifest:
    """What a file holds.

    Attributes:
        lines: the lesions by their lines.
        bad: the lines that cannot be taken, in their order.
        excluded: how many lines say in ``excluded`` why they are left out; nothing else of them is looked at.
        repeated: how many lines say the same of a lesion as an earlier one, as where each image has a line.
        absent: Table S1's features that the file has no column of.
        unread: how many columns of the file are neither needed nor Table S1's.
    """

    lines: Mapping[int, CohortLine]
    bad: tuple[BadLine, ...]
    excluded: int
    repeated: int
    absent: tuple[str, ...]
    unread: int


def read_cohort(path: Path) -> CohortManifest:
    """Read a manifest: Parquet where it ends in ``.parquet``, else CSV or JSON as `worker.tables.csv_json` reads them.

    Args:
        path: of CSV and JSON 64 MiB at most. An empty cell is a value that is not known.

    Raises:
        SetupRefused: ``dataset_invalid``: it is not there, too large, neither, has no lesion, or lacks a column;
            ``setting_invalid``: Parquet without the extra.
    """
    names: set[str] = set()

    def header_fault(found: Sequence[str]) -> str | None:
        names.update(found)
        return None if set(NEEDED) <= names else f"a column is missing; required are {', '.join(NEEDED)}"

    rows = read_parquet(path, header_fault) if is_parquet(path) else _rows(path, header_fault)
    found = _Lines()
    for number, row in rows:
        cells = _cells(row)
        names.update(cells)
        found.take(number, cells)
    if not found.lines and not found.bad:
        raise _refused("the file has no lesion")
    return CohortManifest(
        lines=found.lines,
        bad=tuple(found.bad),
        excluded=found.excluded,
        repeated=found.repeated,
        absent=tuple(name for name in FEATURES if name not in names),
        unread=len(names - {*NEEDED, "birads", EXCLUDED, *FEATURES, TOO_MANY_CELLS}),
    )


def _rows(path: Path, header_fault: Callable[[Sequence[str]], str | None]) -> Iterator[tuple[int, Any]]:
    return read_rows(path, Code.DATASET_INVALID, "lesions", header_fault)


def _cells(row: Any) -> dict[str, str]:
    """A row's cells as text, whatever a file has them as; of what is no row, none."""
    named = row.items() if isinstance(row, dict) else ()
    text = {str(name).strip().lower(): str(text_of(cell)).strip() for name, cell in named if cell is not None}
    too_many = {TOO_MANY_CELLS: ""} if (TOO_MANY_CELLS, None) in named else {}
    return {name: cell for name, cell in text.items() if cell} | too_many


class _Lines:
    """What the lines of a file hold, as far as it was read."""

    def __init__(self) -> None:
        self.lines: dict[int, CohortLine] = {}
        self.bad: list[BadLine] = []
        self.excluded = self.repeated = 0
        self._lesions: dict[tuple[str, str], CohortLine] = {}

    def take(self, number: int, cells: Mapping[str, str]) -> None:
        line = TOO_MANY_CELLS if TOO_MANY_CELLS in cells else _line(cells)
        if EXCLUDED in cells:
            self.excluded += 1
        elif isinstance(line, str):
            self.bad.append(BadLine(number, Code.ROW_INVALID, line))
        elif (before := self._lesions.setdefault((line.patient_key, line.lesion_id), line)) is line:
            self.lines[number] = line
        elif before == line:
            self.repeated += 1
        else:
            self.bad.append(BadLine(number, Code.LABEL_CONTRADICTORY, MEANINGS[Code.LABEL_CONTRADICTORY]))


def _line(filled: Mapping[str, str]) -> CohortLine | str:
    """A lesion of the cells that are filled, or what is wrong with them."""
    descriptors = {name: _number(filled[name]) if name in MEASURES else filled[name]
                   for name in (*MEASURES, *LEVELS) if name in filled}  # fmt: skip
    try:
        return CohortLine.model_validate({**filled, "descriptors": descriptors})
    except ValidationError as invalid:
        faults = flaws_of(invalid)
        return "; ".join(dict.fromkeys(_sentence(fault) for fault in faults))


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def _sentence(fault: Flaw) -> str:
    column = fault.place[0]
    if column == "birads":
        return f"birads: one of {', '.join(Birads)}; 4 where its letter is not known"
    return fault.sentence if column == "descriptors" else f"{column}: {fault.sentence}"


def _refused(reason: str) -> SetupRefused:
    return SetupRefused(Code.DATASET_INVALID, reason)
