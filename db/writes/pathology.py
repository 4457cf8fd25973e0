"""What pathology said: found studies and lesions, results recorded, and results read back."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import cast
from uuid import UUID

from sqlalchemy import Table, column, insert, select, text, union_all, update
from sqlalchemy.orm import Session, aliased

from db.reads.study_queries import IS_STUDY
from db.reads.view_rows import rows_of
from db.schema.tables import LesionRow, PathologyRow, RestratificationRow, StudyRow
from db.schema.vocabulary import Event, PathologyChange, PathologyFinding
from db.storable import looked_for
from db.writes.history import note_all

IMPORT_LOCK = 0x706174  # "pat"
"""The advisory lock that an import holds: two files are imported one after the other."""

_PATHOLOGY = cast("Table", PathologyRow.__table__)


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study that a key names.

    Attributes:
        is_current: no other revision has replaced it.
        purged: its identifiers are gone, and with them the names of its lesions.
        revision: from 1.
    """

    study_id: UUID
    is_current: bool
    purged: bool
    revision: int


@dataclass(frozen=True, slots=True)
class FoundLesion:
    """A lesion on record: the ledger's key, its study, and its place in the job, from 1."""

    key: int
    study_id: UUID
    ordinal: int


@dataclass(frozen=True, slots=True)
class PathologyRecord:
    """One result that pathology reported. ``result`` is ``benign`` or ``malignant``; ``histology`` is a code."""

    lesion: FoundLesion
    result: str
    histology: str | None
    reported_on: date


@dataclass(frozen=True, slots=True)
class PathologyResult:
    """One result on record, beside the advice on its lesion.

    Attributes:
        outcome: the advice; ``None`` where the lesion has no scores.
        notice: the models'.
    """

    study_id: UUID
    lesion_id: str
    original: str
    outcome: str | None
    result: str
    histology: str | None
    reported_on: date | None
    recorded_at: datetime
    notice: str | None


@dataclass(frozen=True, slots=True)
class DetachedResult:
    """A result of a revision that another replaced, and that the revision which is current lacks."""

    study_id: UUID
    lesion_id: str
    outcome: str | None
    result: str


def find_studies(session: Session, keys: Collection[str]) -> dict[str, list[FoundStudy]]:
    """Find the studies that keys name, and keep them from being purged until the caller's transaction ends.

    Args:
        session: of ``dlr_writer``.
        keys: the ledger's ids, which find that revision; or Study Instance UIDs or accession numbers, which find
            current revisions. Several studies may share an accession number.

    Returns:
        For each key that names one or more, these.
    """
    named = _ids_of(session, keys)
    rows = session.execute(
        select(StudyRow.id, StudyRow.is_current, StudyRow.purged_at, StudyRow.revision)
        .where(StudyRow.id.in_({study_id for _, study_id in named}))
        .order_by(StudyRow.id)
        .with_for_update(key_share=True, read=True)
    )
    studies = {row.id: FoundStudy(row.id, row.is_current, row.purged_at is not None, row.revision) for row in rows}
    found = defaultdict(list)
    for key, study_id in sorted(named):
        found[key].append(studies[study_id])
    return dict(found)


def find_lesions(session: Session, study_ids: Collection[UUID]) -> dict[tuple[UUID, str], FoundLesion]:
    """Return the lesions of studies, each by its study and the sender's name of it."""
    rows = session.execute(
        select(LesionRow.id, LesionRow.study_id, LesionRow.lesion_id, LesionRow.ordinal).where(
            LesionRow.study_id.in_(study_ids)
        )
    )
    return {(row.study_id, looked_for(row.lesion_id)): FoundLesion(row.id, row.study_id, row.ordinal) for row in rows}


def hold_imports(session: Session) -> None:
    """Wait for any other import, and keep others waiting until the caller's transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": IMPORT_LOCK})


def record_pathology(session: Session, records: Sequence[PathologyRecord], by: str) -> list[PathologyChange]:
    """Record results in the order given, in the caller's transaction; it holds the imports.

    A result that differs from the one on record replaces it, and the one before is kept. A result that is on record
    already, or was replaced before, changes nothing. One that was reported on an earlier day than the one on record is
    kept like one that was replaced, and replaces nothing.

    Args:
        session: the caller commits.
        records: the results.
        by: who asked.

    Returns:
        What each changed.
    """
    known = _histories(session, {record.lesion.key for record in records})
    changes, added = [], []
    for record in records:
        history = known[record.lesion.key]
        change = _change(record, history)
        changes.append(change)
        if _content(record) in history:
            continue
        history.insert(len(history) - (change is PathologyChange.OUTDATED), _content(record))
        added.append((record, change))
    _write(session, added)
    note_all(
        session,
        [
            (
                record.lesion.study_id,
                Event.PATHOLOGY,
                {"by": by, "change": change.value, "lesion": record.lesion.ordinal, "result": record.result},
            )
            for record, change in added
        ],
    )
    return changes


def results(session: Session, result: str | None = None, since: datetime | None = None) -> list[PathologyResult]:
    """Return the results of current studies, the latest recorded first.

    Args:
        session: of any role.
        result: only ``benign`` or ``malignant`` ones.
        since: only those that were recorded then or later.
    """
    query = rows_of("pathology_result", PathologyResult)
    if result is not None:
        query = query.where(column("result") == PathologyFinding(result).value)
    if since is not None:
        query = query.where(column("recorded_at") >= since)
    query = query.order_by(column("recorded_at").desc(), column("study_id"), column("ordinal"))
    return [PathologyResult(*row) for row in session.execute(query)]


def detached(session: Session) -> list[DetachedResult]:
    """Return the results that a newer revision of their study has left behind: a person has to import them again.

    Nobody carries them over: the newer revision may call another lesion by the same name.
    """
    newer_study, newer_lesion, newer = aliased(StudyRow), aliased(LesionRow), aliased(PathologyRow)
    has_one = (
        select(newer.id)
        .join(newer_lesion, newer_lesion.id == newer.lesion_id)
        .join(newer_study, newer_study.id == newer_lesion.study_id)
        .where(
            newer_study.study_instance_uid == StudyRow.study_instance_uid,
            newer_study.is_current,
            newer_lesion.lesion_id == LesionRow.lesion_id,
            newer.is_current,
        )
        .exists()
    )
    rows = session.execute(
        select(StudyRow.id, LesionRow.lesion_id, RestratificationRow.outcome, PathologyRow.result)
        .select_from(PathologyRow)
        .join(LesionRow, LesionRow.id == PathologyRow.lesion_id)
        .join(StudyRow, StudyRow.id == LesionRow.study_id)
        .outerjoin(
            RestratificationRow, (RestratificationRow.lesion_id == LesionRow.id) & RestratificationRow.is_current
        )
        .where(PathologyRow.is_current, ~StudyRow.is_current, StudyRow.purged_at.is_(None), ~has_one)
        .order_by(PathologyRow.result.desc(), StudyRow.id, LesionRow.ordinal)
    )
    return [
        DetachedResult(row.id, row.lesion_id, None if row.outcome is None else row.outcome.value, row.result.value)
        for row in rows
    ]


_Content = tuple[str, str | None, date | None]


def _ids_of(session: Session, keys: Collection[str]) -> set[tuple[str, UUID]]:
    wanted = list(keys)
    uids, numbers = (
        select(named.label("key"), StudyRow.id).where(IS_STUDY, named.in_(wanted))
        for named in (StudyRow.study_instance_uid, StudyRow.accession_number)
    )
    found = {(str(key), study_id) for key, study_id in session.execute(union_all(uids, numbers))}
    ids = {key: UUID(key) for key in wanted if _is_id(key)}
    there = set(session.scalars(select(StudyRow.id).where(StudyRow.id.in_(ids.values()))))
    return found | {(key, study_id) for key, study_id in ids.items() if study_id in there}


def _is_id(key: str) -> bool:
    try:
        return str(UUID(key)) == key.lower()  # UUID() also takes 32 digits for one
    except ValueError:
        return False


def _histories(session: Session, lesions: Collection[int]) -> defaultdict[int, list[_Content]]:
    """What is on record of each lesion, the result that is current last."""
    rows = session.scalars(
        select(PathologyRow)
        .where(PathologyRow.lesion_id.in_(lesions))
        .order_by(PathologyRow.is_current, PathologyRow.id)
    ).all()
    known: defaultdict[int, list[_Content]] = defaultdict(list)
    for row in rows:
        known[row.lesion_id].append((row.result.value, row.histology, row.reported_on))
    return known


def _content(record: PathologyRecord) -> _Content:
    return record.result, record.histology, record.reported_on


def _change(record: PathologyRecord, history: Sequence[_Content]) -> PathologyChange:
    if not history:
        return PathologyChange.NEW
    content, latest = _content(record), history[-1]
    if content == latest:
        return PathologyChange.UNCHANGED
    if content in history or (latest[2] is not None and record.reported_on < latest[2]):
        return PathologyChange.OUTDATED
    return PathologyChange.CORRECTED


def _write(session: Session, added: Sequence[tuple[PathologyRecord, PathologyChange]]) -> None:
    last = {record.lesion.key: record for record, change in added if change is not PathologyChange.OUTDATED}
    if last:
        former = _PATHOLOGY.c.lesion_id.in_(last) & _PATHOLOGY.c.is_current
        session.execute(update(_PATHOLOGY).where(former).values(is_current=False))
    if added:
        rows = [_values(record, last.get(record.lesion.key) is record) for record, _ in added]
        session.execute(insert(_PATHOLOGY), rows)


def _values(record: PathologyRecord, is_current: bool) -> dict[str, object]:
    return {
        "lesion_id": record.lesion.key,
        "result": PathologyFinding(record.result),
        "histology": record.histology,
        "reported_on": record.reported_on,
        "is_current": is_current,
    }
