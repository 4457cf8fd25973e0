"""The rows of a file about lesions: what is wrong with one, and the lesion that it is of."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from db.writes.pathology import FoundLesion, FoundStudy
from worker.errors import MEANINGS, Code
from worker.tables.csv_json import read_rows
from worker.validation_errors import Flaw, flaws_of

L = TypeVar("L", bound=BaseModel)
C = TypeVar("C", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be taken. ``line`` counts from 1: a line of CSV, an entry of JSON; ``reason`` has no value."""

    line: int
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class RowsRead(Generic[L]):
    """What a file holds: the rows that follow its schema by their lines, and those that do not."""

    lines: Mapping[int, L]
    bad: tuple[BadRow, ...]


@dataclass(frozen=True, slots=True)
class Imported(Generic[C]):
    """What came of a file.

    Attributes:
        rows: rows in the file, empty lines left out.
        changes: how many of them were ``new``, ``corrected``, ``unchanged`` or ``outdated``; all 0 where nothing was
            written.
        bad: the rows that cannot be taken, by their lines.
    """

    rows: int
    changes: Mapping[C, int]
    bad: tuple[BadRow, ...]


def read_lines(path: Path, code: Code, key: str, schema: type[L], header: str) -> RowsRead[L]:
    """Read a file of rows about lesions: JSON where it starts with a bracket, else CSV with commas or semicolons.

    Args:
        path: UTF-8, 64 MiB at most.
        code: refuses a file that cannot be read.
        key: under which a JSON object has the list of rows.
        schema: of a row; its fields are the columns, and those that are required have to be named.
        header: says what line 1 of CSV has to be.

    Raises:
        SetupRefused: with the code: it is not there, too large, neither, or has other columns.
    """
    columns = set(schema.model_fields)
    needed = {name for name, column in schema.model_fields.items() if column.is_required()}

    def fault(names: Sequence[str]) -> str | None:
        return None if needed <= set(names) <= columns else header

    return validated(read_rows(path, code, key, fault), schema)


def validated(rows: Iterable[tuple[int, Any]], schema: type[L]) -> RowsRead[L]:
    """Hold rows against their schema, each with its line."""
    columns = set(schema.model_fields)
    lines, bad = {}, []
    for line, row in rows:
        try:
            lines[line] = schema.model_validate(row)
        except ValidationError as invalid:
            bad.append(invalid_row(line, invalid, columns))
    return RowsRead(lines, tuple(bad))


def refused_row(line: int, code: Code) -> BadRow:
    """Return a row that a code is enough to refuse."""
    return BadRow(line, code, MEANINGS[code])


def invalid_row(line: int, invalid: ValidationError, columns: Collection[str]) -> BadRow:
    """Return a row that does not follow its schema, with the columns that are wrong."""
    reason = "; ".join(_sentence(fault, columns) for fault in flaws_of(invalid))
    return BadRow(line, Code.ROW_INVALID, reason)


def lesion_of(
    lesion_id: str, studies: Sequence[FoundStudy], lesions: Mapping[tuple[UUID, str], FoundLesion]
) -> FoundLesion | Code:
    """Return the lesion that a row is of, or why there is none. A row that could be of two is of none.

    Args:
        lesion_id: the sender's name of it.
        studies: those that the row's key names.
        lesions: theirs, each by its study and its name.
    """
    if not studies:
        return Code.STUDY_NOT_FOUND
    if len(studies) > 1:
        return Code.STUDY_AMBIGUOUS
    [study] = studies
    if study.purged or not study.is_current:
        return Code.STUDY_NOT_CURRENT
    return lesions.get((study.study_id, lesion_id), Code.LESION_NOT_FOUND)


def _sentence(fault: Flaw, columns: Collection[str]) -> str:
    # A name that is not a column's came with the file, and may be anything.
    place = [str(part) for part in fault.place if part in columns]
    if fault.kind == "extra_forbidden":
        return "more cells, or other fields, than there are columns"
    return f"{place[0]}: {fault.sentence}" if place else fault.sentence
