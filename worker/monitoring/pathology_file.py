"""A file of pathology's results, CSV or JSON: each row a result, or a fault with its line and no value of it."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from db.schema.vocabulary import PathologyFinding
from worker.contract import ShortText
from worker.errors import Code
from worker.monitoring.imported_rows import RowsRead, read_lines

_HEADER = "line 1 names the columns study, lesion_id, result, reported_on, and histology or not, and no others"


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


def read_pathology(path: Path) -> RowsRead[PathologyLine]:
    """Read a file of results (`worker.monitoring.imported_rows.read_lines`).

    Args:
        path: UTF-8, 64 MiB at most.

    Raises:
        SetupRefused: ``pathology_invalid``: it is not there, too large, neither JSON nor CSV, or has other columns.
    """
    return read_lines(path, Code.PATHOLOGY_INVALID, "results", PathologyLine, _HEADER)
