"""The rows of a file about lesions: what is wrong with one, and the lesion that it is of."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import ValidationError

from db.writes.pathology import FoundLesion, FoundStudy
from worker.errors import MEANINGS, Code
from worker.validation_errors import Flaw, flaws_of


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be taken. ``line`` counts from 1: a line of CSV, an entry of JSON; ``reason`` has no value."""

    line: int
    code: Code
    reason: str


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
