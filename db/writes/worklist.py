"""Writes of the worklist: each listed study's place under the policies of reading order.

Who changes a study places it anew in the same transaction (`worker.scoring.worklist_place`).
"""

from collections.abc import Collection, Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Double,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    bindparam,
    column,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from db.reads.standings import COPIED
from db.schema.tables import StudyRow
from db.schema.vocabulary import Event
from db.schema.worklist import WorklistEntryRow
from db.schema.worklist_records import EntryRecord
from db.writes.history import note_all
from db.writes.reading_order import note_changed

_STUDIES, _ENTRIES = (cast("Table", row.__table__) for row in (StudyRow, WorklistEntryRow))
# An array a column: one row of parameters for any number of places. What the list is filtered by is the study's.
_GIVEN: dict[str, TypeEngine[Any]] = {
    "study_id": Uuid(), "policy_id": Integer(), "tier": SmallInteger(), "rule": SmallInteger(),
    "lesion": SmallInteger(), "category": Text(), "probability": Double(), "place_order": BigInteger(),
    "arrived_at": DateTime(timezone=True), "is_read": Boolean(), "marks": Text(),
}  # fmt: skip
_placed = (
    func.unnest(*(bindparam(name, type_=Text()).cast(ARRAY(kind)) for name, kind in _GIVEN.items()))
    .table_valued(*(column(name, kind) for name, kind in _GIVEN.items()), name="placed")
    .render_derived()
)
_new = insert(_ENTRIES).from_select(
    [*_GIVEN, *COPIED],
    select(
        *(_placed.c[name] for name in _GIVEN if name != "marks"),
        _placed.c.marks.cast(ARRAY(Text)),
        *COPIED.values(),
    )
    .join(_STUDIES, _STUDIES.c.id == _placed.c.study_id)
    .order_by(_placed.c.study_id, _placed.c.policy_id),
)
_PUT = _new.on_conflict_do_update(
    index_elements=[_ENTRIES.c.study_id, _ENTRIES.c.policy_id],
    set_={
        **{name: _new.excluded[name] for name in (*_GIVEN, *COPIED) if name not in ("study_id", "policy_id")},
        "changed_at": func.now(),
    },
)


def put_entries(session: Session, entries: Collection[EntryRecord]) -> None:
    """Write places, one a study and policy; in one order by everybody, so that no two transactions wait for each other.

    The caller commits.
    """
    if entries:
        columns = zip(*map(_values, entries), strict=True)
        arrays = {name: f"{{{','.join(column)}}}" for name, column in zip(_GIVEN, columns, strict=True)}
        session.execute(_PUT, arrays)


def remove_entries(session: Session, study_ids: Collection[UUID]) -> None:
    """Take studies off the worklist, under every policy, one that is being built included."""
    if study_ids:
        note_changed(session, study_ids)
        session.execute(delete(_ENTRIES).where(_ENTRIES.c.study_id.in_(study_ids)))


def tiers(session: Session, policy_key: int, study_ids: Collection[UUID]) -> dict[UUID, int]:
    """Return the tiers in which studies stand under a policy, those that have a place."""
    query = select(_ENTRIES.c.study_id, _ENTRIES.c.tier)
    found = session.execute(query.where(_ENTRIES.c.policy_id == policy_key, _ENTRIES.c.study_id.in_(study_ids)))
    return {row.study_id: row.tier for row in found}


def mark_unread(session: Session, tiers: Sequence[tuple[UUID, str, str]]) -> None:
    """Put studies back among those that are to be read: (study, the tier that they were read in, the tier now)."""
    if not tiers:
        return
    session.execute(
        update(_STUDIES)
        .where(_STUDIES.c.id.in_([study_id for study_id, _, _ in tiers]))
        .values(read_at=None, read_by=None, read_tier=None)
    )
    note_all(session, [(study_id, Event.UNREAD, {"from": before, "to": now}) for study_id, before, now in tiers])


def _values(entry: EntryRecord) -> tuple[str, ...]:
    """Return the values of `_GIVEN` as elements of arrays: in bulk the driver takes longer to write them than to ask.

    None of them has a letter that an array's text would have to quote, but the braces of the marks.
    """
    return (
        str(entry.study_id), str(entry.policy_key), str(entry.tier), str(entry.rule), _or_null(entry.lesion),
        _or_null(entry.category), _or_null(entry.probability), str(entry.place_order), entry.arrived_at.isoformat(),
        str(entry.is_read), f'"{{{",".join(entry.marks)}}}"',
    )  # fmt: skip


def _or_null(value: float | str | None) -> str:
    return "NULL" if value is None else str(value)
