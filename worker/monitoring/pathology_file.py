"""A file of pathology's results, CSV or JSON: each row a result, or a fault with its line and no value of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from db.schema.vocabulary import PathologyFinding
from worker.contract import ShortText
from worker.errors import Code
from worker.tables.csv_json import read_rows
from worker.validation_errors import Flaw, flaws_of

_NEEDED = ("study", "lesion_id", "result", "reported_on")
_COLUMNS = (*_NEEDED, "histology")
_HEADER = f"line 1 names the columns {', '.join(_NEEDED)}, and histology or not, and no others"


def _day(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise PydanticCustomError("day", "a day such as 2026-11-24")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("day", "a day such as 2026-11-24") from None


def _past(day: date) -> date:
    if day > datetime.now(UTC).date() + timedelta(days=1):  # somewhere it is tomorrow already
        raise PydanticCustomError("future", "a day that is not in the future")
    return day


def _word(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class PathologyLine(BaseModel):
    """One result, as the file has it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    study: ShortText = Field(description="The ledger's id, the Study Instance UID or the accession number")
    lesion_id: ShortText = Field(description="The lesion's name in the job")
    result: Annotated[PathologyFinding, Field(strict=False), BeforeValidator(_word)]
    reported_on: Annotated[date, BeforeValidator(_day), AfterValidator(_past)] = Field(description="ISO 8601")
    histology: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9./:_-]{0,31}$",
        description="A code, such as ICD-O-3's 8500/3; no free text, which could identify somebody",
    )


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be taken. ``line`` counts from 1: a line of CSV, an entry of JSON; ``reason`` has no value."""

    line: int
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class PathologyFile:
    """What a file holds: the results by their lines, and the rows that are none."""

    lines: Mapping[int, PathologyLine]
    bad: tuple[BadRow, ...]


def read_pathology(path: Path) -> PathologyFile:
    """Read a file of results: JSON where it starts with a bracket, else CSV with commas or semicolons.

    Args:
        path: UTF-8, 64 MiB at most.

    Raises:
        SetupRefused: ``pathology_invalid``: it is not there, too large, neither, or has other columns.
    """
    lines, bad = {}, []
    for line, row in read_rows(path, Code.PATHOLOGY_INVALID, "results", _header_fault):
        try:
            lines[line] = PathologyLine.model_validate(row)
        except ValidationError as invalid:
            faults = flaws_of(invalid)
            bad.append(BadRow(line, Code.ROW_INVALID, "; ".join(_sentence(fault) for fault in faults)))
    return PathologyFile(lines, tuple(bad))


def _header_fault(names: Sequence[str]) -> str | None:
    return None if set(_NEEDED) <= set(names) <= set(_COLUMNS) else _HEADER


def _sentence(fault: Flaw) -> str:
    # A name that is not a column's came with the file, and may be anything.
    place = [str(part) for part in fault.place if part in _COLUMNS]
    if fault.kind == "extra_forbidden":
        return "more cells, or other fields, than there are columns"
    return f"{place[0]}: {fault.sentence}" if place else fault.sentence
