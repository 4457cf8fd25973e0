"""The table of lesions that a hospital has beside its images: CSV, JSON or a workbook, in the manifest's words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from worker.dataset.importers.imported_dataset import NO_PATHOLOGY
from worker.dataset.manifest import COLUMNS, Fault, ManifestRow, reason_of, row_of
from worker.errors import Code, SetupRefused
from worker.tables.csv_json import TOO_MANY_CELLS, read_rows
from worker.tables.parquet import text_of
from worker.tables.workbook import SUFFIX, read_workbook
from worker.text import composed, on_one_line

UID, NUMBER, PATIENT = "sop_instance_uid", "accession_number", "patient_id"
"""Columns by which a row's image is found, and by which its patient is checked. None of them goes into a manifest."""

_NOT_TAKEN = ("image", "mask", "patient_key", "trained_on", "split", "fold")
TAKEN = tuple(name for name in COLUMNS if name not in _NOT_TAKEN)
_ALSO_CALLED = {"bi_rads": "birads"}
_FOUND_LATER = {"image": "image", "patient_key": "patient", "lesion_id": "lesion"}


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of the table.

    Attributes:
        sop_instance_uid: of its image; empty: not said.
        accession_number: of its study; empty: not said.
        patient_id: of its patient; empty: not said.
        lesion: its name within the study; empty: not said.
        row: what it says of the lesion. Its image, patient and lesion are yet to be found.
    """

    sop_instance_uid: str
    accession_number: str
    patient_id: str
    lesion: str
    row: ManifestRow


@dataclass(frozen=True, slots=True)
class LesionTable:
    """A table of lesions.

    Attributes:
        rows: by their lines.
        faults: of the rows that are none.
        columns_unread: how many columns say nothing that a manifest has.
    """

    rows: Mapping[int, TableRow]
    faults: tuple[Fault, ...]
    columns_unread: int


def read_lesion_table(path: Path) -> LesionTable:
    """Read a table of lesions; its columns are found by their names, whatever their case, spaces and hyphens.

    Args:
        path: a workbook where it ends in ``.xlsx``, whose first sheet counts; else CSV in UTF-8 with commas or
            semicolons, or a JSON list of objects.

    Raises:
        SetupRefused: ``dataset_invalid``: it is not there, no such table, or says neither which image a lesion is on
            nor what it was; ``setting_invalid``: a workbook without the extra.
    """
    unread: set[str] = set()
    rows: dict[int, TableRow] = {}
    faults: list[Fault] = []
    for line, cells in _workbook(path) if path.suffix.lower() == SUFFIX else _text(path):
        if TOO_MANY_CELLS in cells:
            faults.append(Fault(line, Code.ROW_INVALID, TOO_MANY_CELLS))
            continue
        known = {name: cell for name, cell in cells.items() if name in (*TAKEN, UID, NUMBER, PATIENT)}
        unread |= cells.keys() - known.keys()
        try:
            rows[line] = _row(known)
        except ValidationError as invalid:
            faults.append(Fault(line, Code.ROW_INVALID, reason_of(invalid)))
    if not rows and not faults:
        raise SetupRefused(Code.DATASET_INVALID, "the table has no rows")
    return LesionTable(rows, tuple(faults), len(unread))


def _row(cells: Mapping[str, object]) -> TableRow:
    named = {name: composed(on_one_line(str(cells.get(name, "")))) for name in (UID, NUMBER, PATIENT, "lesion_id")}
    said = {name: cell for name, cell in cells.items() if name in TAKEN and name not in named} | _FOUND_LATER
    if "pathology" not in said and "excluded" not in said:
        said["excluded"] = NO_PATHOLOGY
    return TableRow(named[UID], named[NUMBER], named[PATIENT], named["lesion_id"], row_of(said))


def _text(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    def fault(names: Sequence[str]) -> str | None:
        return _header_fault([_column(name) for name in names])

    for line, cells in read_rows(path, Code.DATASET_INVALID, "lesions", fault):
        if not isinstance(cells, dict):
            raise SetupRefused(Code.DATASET_INVALID, "a JSON list of objects is expected")
        filled: dict[str, object] = {
            _column(name): str(text_of(cell)) for name, cell in cells.items() if cell not in (None, "")
        }
        yield line, filled | ({TOO_MANY_CELLS: None} if TOO_MANY_CELLS in cells else {})


def _workbook(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    heading, *rows = read_workbook(path) or [()]
    names = [_column(name) for name in heading]
    if (reason := _header_fault([name for name in names if name])) is not None:
        raise SetupRefused(Code.DATASET_INVALID, reason)
    for line, row in enumerate(rows, start=2):
        cells: dict[str, object] = {name: cell for name, cell in zip(names, row, strict=False) if name and cell}
        if cells:
            yield line, cells


def _column(heading: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", heading.lower()).strip("_")
    return _ALSO_CALLED.get(name, name)


def _header_fault(names: Sequence[str]) -> str | None:
    if len(set(names)) != len(names):
        return "two columns have the same name"
    if UID not in names and NUMBER not in names:
        return f"the table has neither a column {UID} nor {NUMBER}: one of them says which image a lesion is on"
    return None if "pathology" in names else "the table has no column pathology"
