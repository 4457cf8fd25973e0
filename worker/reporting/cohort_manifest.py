"""A cohort as a CSV file: one lesion a line, with what pathology said and Table S1's features."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from db.vocabulary import PathologyFinding
from worker.clinical.categories import Birads
from worker.clinical.descriptors import LEVELS, MEASURES
from worker.contract import Descriptors, ShortText
from worker.errors import MEANINGS, Code, SetupRefused
from worker.reporting.cohort import AGE, FEATURES, CohortLesion

MAX_BYTES = 64 << 20
NEEDED = ("pathology", "lesion_id", "patient_key")
"""The columns that each manifest has; ``birads``, ``excluded`` and those of Table S1's features may be left out."""

EXCLUDED = "excluded"


class CohortLine(BaseModel):
    """One lesion, as the file has it."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    pathology: Annotated[PathologyFinding, BeforeValidator(str.lower)]
    lesion_id: ShortText = Field(description="The lesion's name, given once for each patient")
    patient_key: ShortText = Field(
        description="A pseudonym that the patient's lesions share; no name, no hospital number"
    )
    birads: Annotated[Birads | Literal["4"] | None, BeforeValidator(str.upper)] = Field(
        default=None, description="The radiologist's category, or 4 without its letter; Table S1 does not count it"
    )
    age_years: float | None = Field(default=None, ge=0, le=120, allow_inf_nan=False, description="Years")
    descriptors: Descriptors = Field(description="By Table S1's names; what is not known is left out")

    def lesion(self) -> CohortLesion:
        """Return what Table S1 is made of."""
        age = {} if self.age_years is None else {AGE: self.age_years}
        malignant = self.pathology is PathologyFinding.MALIGNANT
        return CohortLesion(malignant, self.patient_key, {**self.descriptors, **age})


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that can not be taken. ``line`` counts from 1, the header's; ``reason`` has no value of the line."""

    line: int
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class CohortManifest:
    """What a file holds.

    Attributes:
        lines: the lesions by their lines.
        bad: the lines that can not be taken, in their order.
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
    """Read a manifest: CSV with commas or semicolons, in UTF-8, with a header; an empty cell is a value not known.

    Args:
        path: 64 MiB at most.

    Raises:
        SetupRefused: ``dataset_invalid``: it is not there, too large, no CSV, has no lesion, or lacks a column.
    """
    text = _text(path)
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in first else ",", strict=True)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        _check_header(names)
        found = _Lines()
        for number, cells in _numbered(reader):
            found.take(number, names, cells)
    except csv.Error:
        raise _refused(f"line {reader.line_num}: not CSV") from None
    if not found.lines and not found.bad:
        raise _refused("the file has no lesion")
    return CohortManifest(
        lines=found.lines,
        bad=tuple(found.bad),
        excluded=found.excluded,
        repeated=found.repeated,
        absent=tuple(name for name in FEATURES if name not in names),
        unread=len(set(names) - {*NEEDED, "birads", EXCLUDED, *FEATURES}),
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        raise _refused("the file is not there or can not be read") from None
    if len(content) > MAX_BYTES:
        raise _refused(f"the file is larger than {MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused("the file is not UTF-8") from None


def _check_header(names: Sequence[str]) -> None:
    if not set(NEEDED) <= set(names) or len(set(names)) != len(names):
        raise _refused(f"line 1 names each column once, among them {', '.join(NEEDED)}")


class _Lines:
    """What the lines of a file hold, as far as it was read."""

    def __init__(self) -> None:
        self.lines: dict[int, CohortLine] = {}
        self.bad: list[BadLine] = []
        self.excluded = self.repeated = 0
        self._lesions: dict[tuple[str, str], CohortLine] = {}

    def take(self, number: int, names: Sequence[str], cells: Sequence[str]) -> None:
        filled = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
        line = "more cells than columns" if len(cells) > len(names) else _line(filled)
        if EXCLUDED in filled:
            self.excluded += 1
        elif isinstance(line, str):
            self.bad.append(BadLine(number, Code.ROW_INVALID, line))
        elif (before := self._lesions.setdefault((line.patient_key, line.lesion_id), line)) is line:
            self.lines[number] = line
        elif before == line:
            self.repeated += 1
        else:
            self.bad.append(BadLine(number, Code.LABEL_CONTRADICTORY, MEANINGS[Code.LABEL_CONTRADICTORY]))


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, each with the number of the line of the file that it starts on."""
    before = reader.line_num
    for cells in reader:
        number, before = before + 1, reader.line_num
        if any(cell.strip() for cell in cells):
            yield number, cells


def _line(filled: Mapping[str, str]) -> CohortLine | str:
    """A lesion of the cells that are filled, or what is wrong with them."""
    descriptors = {name: _number(filled[name]) if name in MEASURES else filled[name]
                   for name in (*MEASURES, *LEVELS) if name in filled}  # fmt: skip
    try:
        return CohortLine.model_validate({**filled, "descriptors": descriptors})
    except ValidationError as invalid:
        faults = invalid.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(_sentence(fault) for fault in faults)


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def _sentence(fault: Any) -> str:
    column = fault["loc"][0]
    return str(fault["msg"]) if column == "descriptors" else f"{column}: {fault['msg']}"


def _refused(reason: str) -> SetupRefused:
    return SetupRefused(Code.DATASET_INVALID, reason)
