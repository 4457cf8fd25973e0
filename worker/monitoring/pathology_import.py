"""Results of pathology, put with the lesions that they are of: all of a file, or nothing."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from db.schema.vocabulary import PathologyChange
from db.writes.pathology import (
    PathologyRecord,
    find_lesions,
    find_studies,
    hold_imports,
    record_pathology,
)
from worker.errors import Code
from worker.monitoring.imported_rows import BadRow, Imported, RowsRead, lesion_of, refused_row
from worker.monitoring.pathology_file import PathologyLine


def import_pathology(
    session: Session, file: RowsRead[PathologyLine], by: str, *, skip_bad: bool
) -> Imported[PathologyChange]:
    """Record a file's results in the caller's transaction, once however often it is imported.

    Args:
        session: of ``dlr_writer``; the caller commits.
        file: what was read.
        by: who asked.
        skip_bad: record the other rows although some are bad; else one bad row leaves all unwritten.
    """
    hold_imports(session)
    records, unknown = _resolve(session, file.lines)
    contradictory = _contradictory(records)
    bad = sorted([*file.bad, *unknown, *contradictory], key=lambda row: row.line)
    rows = len(file.lines) + len(file.bad)
    changes: Counter[PathologyChange] = Counter()
    if skip_bad or not bad:
        left_out = {row.line for row in contradictory}
        good = [(line, record) for line, record in records.items() if line not in left_out]
        good.sort(key=lambda item: (item[1].reported_on, item[0]))
        changes.update(record_pathology(session, [record for _, record in good], by))
    return Imported(rows, {change: changes[change] for change in PathologyChange}, tuple(bad))


def _resolve(
    session: Session, lines: Mapping[int, PathologyLine]
) -> tuple[dict[int, PathologyRecord], Sequence[BadRow]]:
    studies = find_studies(session, {line.study for line in lines.values()})
    lesions = find_lesions(session, {study.study_id for found in studies.values() for study in found})
    records, bad = {}, []
    for number, line in lines.items():
        lesion = lesion_of(line.lesion_id, studies.get(line.study, ()), lesions)
        if isinstance(lesion, Code):
            bad.append(refused_row(number, lesion))
        else:
            records[number] = PathologyRecord(lesion, line.result.value, line.histology, line.reported_on)
    return records, bad


def _contradictory(records: Mapping[int, PathologyRecord]) -> list[BadRow]:
    """The rows of a lesion and a day of which the file has two results."""
    of_a_day = defaultdict(list)
    for number, record in records.items():
        of_a_day[record.lesion.key, record.reported_on].append(number)
    return [
        refused_row(number, Code.RESULT_CONTRADICTORY)
        for numbers in of_a_day.values()
        if len({records[number] for number in numbers}) > 1
        for number in numbers
    ]
