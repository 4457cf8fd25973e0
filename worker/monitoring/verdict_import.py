"""Radiologists' verdicts from another system, put with the lesions that they are of: all of a file, or nothing."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from sqlalchemy.orm import Session

from db.reads.verdicts import ShownAdvice, latest_verdicts, shown_advice
from db.schema.vocabulary import Outcome, ReadingSource, VerdictChange
from db.writes.pathology import FoundLesion, find_lesions, find_studies, hold_imports
from db.writes.verdicts import LesionVerdict, Reading, record_reading
from worker.errors import Code
from worker.monitoring.imported_rows import BadRow, Imported, RowsRead, lesion_of, refused_row
from worker.monitoring.verdict_file import VerdictLine

_IMPORTED = UUID("0d6c8e7e-5d1f-4c55-9f0a-6f1c3f5b8a14")
"""Names the keys of imported readings: the same row has the same key however often it is imported."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A lesion that a row is of, and the ledger's keys of the current advice on all lesions of its study."""

    lesion: FoundLesion
    advice: tuple[int, ...]


def import_verdicts(session: Session, file: RowsRead[VerdictLine], *, skip_bad: bool) -> Imported[VerdictChange]:
    """Record a file's verdicts in the caller's transaction, once however often it is imported.

    Args:
        session: of ``dlr_writer``; the caller commits.
        file: what was read.
        skip_bad: record the other rows although some are bad; else one bad row leaves all unwritten.

    Raises:
        db.errors.VerdictOutdated: a study changed while its row was being recorded.
    """
    hold_imports(session)
    found, unknown = _resolve(session, file.lines)
    contradictory = _contradictory(found, file.lines)
    bad = sorted([*file.bad, *unknown, *contradictory], key=lambda row: row.line)
    changes: Counter[VerdictChange] = Counter()
    if skip_bad or not bad:
        left_out = {row.line for row in bad}
        good = [line for line in found if line not in left_out]
        good.sort(key=lambda line: (file.lines[line].read_at, line))
        changes.update(_record(session, [(file.lines[line], found[line]) for line in good]))
    rows = len(file.lines) + len(file.bad)
    return Imported(rows, {change: changes[change] for change in VerdictChange}, tuple(bad))


def _resolve(session: Session, lines: Mapping[int, VerdictLine]) -> tuple[dict[int, _Read], Sequence[BadRow]]:
    studies = find_studies(session, {line.study for line in lines.values()})
    ids = {study.study_id for found in studies.values() for study in found}
    lesions, advice = find_lesions(session, ids), shown_advice(session, ids)
    of_study: defaultdict[UUID, list[int]] = defaultdict(list)
    for known in lesions.values():
        if known.key in advice:
            of_study[known.study_id].append(advice[known.key].advice)
    revisions = {study.study_id: study.revision for found in studies.values() for study in found}
    taken, bad = {}, []
    for number, line in lines.items():
        lesion = lesion_of(line.lesion_id, studies.get(line.study, ()), lesions)
        if isinstance(lesion, Code):
            bad.append(refused_row(number, lesion))
            continue
        shown = advice.get(lesion.key)
        if _is_outdated(line, revisions[lesion.study_id], shown):
            bad.append(refused_row(number, Code.VERDICT_OUTDATED))
        elif line.agrees is not None and (shown is None or shown.outcome == Outcome.NOT_APPLICABLE):
            bad.append(BadRow(number, Code.ROW_INVALID, "agrees: there is no advice on this lesion"))
        else:
            taken[number] = _Read(lesion, tuple(of_study[lesion.study_id]))
    return taken, bad


def _is_outdated(line: VerdictLine, revision: int, shown: ShownAdvice | None) -> bool:
    versions = (None, None) if shown is None else (shown.lh_version, shown.bm_version)
    return line.revision != revision or (line.lh_version, line.bm_version) != versions


def _contradictory(found: Mapping[int, _Read], lines: Mapping[int, VerdictLine]) -> list[BadRow]:
    """The rows of a lesion and a time of which the file has two verdicts."""
    of_a_time = defaultdict(list)
    for number, read in found.items():
        of_a_time[read.lesion.key, lines[number].read_at].append(number)
    return [
        refused_row(number, Code.RESULT_CONTRADICTORY)
        for numbers in of_a_time.values()
        if len({_key(found[number].lesion, lines[number]) for number in numbers}) > 1
        for number in numbers
    ]


def _record(session: Session, rows: Sequence[tuple[VerdictLine, _Read]]) -> list[VerdictChange]:
    latest = {key: one.read_at for key, one in latest_verdicts(session, {read.lesion.key for _, read in rows}).items()}
    changes = []
    for line, read in rows:
        before = latest.get(read.lesion.key)
        verdict = LesionVerdict(read.lesion.key, line.agrees, line.final_birads.value, line.remark)
        reading = Reading(
            key=_key(read.lesion, line),
            study_id=read.lesion.study_id,
            reader=line.reader,
            source=ReadingSource.IMPORT,
            advice=read.advice,
            verdicts=(verdict,),
            read_at=line.read_at,
        )
        if not record_reading(session, reading):
            changes.append(VerdictChange.UNCHANGED)
        elif before is not None and before > line.read_at:
            changes.append(VerdictChange.OUTDATED)
        else:
            changes.append(VerdictChange.NEW if before is None else VerdictChange.CORRECTED)
            latest[read.lesion.key] = line.read_at
    return changes


def _key(lesion: FoundLesion, line: VerdictLine) -> UUID:
    content = line.model_dump_json(include={"reader", "read_at", "final_birads", "agrees", "remark"})
    return uuid5(_IMPORTED, f"{lesion.key} {content}")
