"""Writes of the worklist: the policies of reading order, and each listed study's place under them.

Who changes a study places it anew in the same transaction (`worker.scoring.worklist_place`). A policy is registered and
made active under a lock that every such transaction shares, so that none misses a policy that is being built.
"""

from collections.abc import Collection, Sequence
from hashlib import sha256
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
    case,
    column,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from db.errors import PolicySuperseded
from db.reads.standings import LISTED
from db.schema.tables import StudyRow
from db.schema.vocabulary import OPEN_STATES, Event, PolicyState
from db.schema.worklist import ReadingOrderPolicyRow, ReadingOrderRuleRow, ReadingOrderSwitchRow, WorklistEntryRow
from db.schema.worklist_records import EntryRecord, PolicyRecord, ServedPolicy
from db.writes.history import note_all

POLICY_LOCK = 0x706C61636573  # "places"
"""The advisory lock that who places studies shares, and who changes the policies holds alone."""

_STUDIES, _ENTRIES = (cast("Table", row.__table__) for row in (StudyRow, WorklistEntryRow))
WAITING = "waiting"
"""The state of an entry whose study has no result yet."""

# An array a column: one row of parameters for any number of places. What the list is filtered by is the study's.
_GIVEN: dict[str, TypeEngine[Any]] = {
    "study_id": Uuid(), "policy_id": Integer(), "tier": SmallInteger(), "rule": SmallInteger(),
    "lesion": SmallInteger(), "category": Text(), "probability": Double(), "place_order": BigInteger(),
    "arrived_at": DateTime(timezone=True), "is_read": Boolean(), "marks": Text(),
}  # fmt: skip
_COPIED = {
    "state": case((_STUDIES.c.state.in_(OPEN_STATES), WAITING), else_=_STUDIES.c.state.cast(Text)),
    **{name: _STUDIES.c[name].cast(Text) for name in ("priority", "worklist_class", "laterality")},
    **{name: _STUDIES.c[name] for name in ("site", "scanner_model", "received_at")},
}
_placed = (
    func.unnest(*(bindparam(name, type_=Text()).cast(ARRAY(kind)) for name, kind in _GIVEN.items()))
    .table_valued(*(column(name, kind) for name, kind in _GIVEN.items()), name="placed")
    .render_derived()
)
_new = insert(_ENTRIES).from_select(
    [*_GIVEN, *_COPIED],
    select(
        *(_placed.c[name] for name in _GIVEN if name != "marks"),
        _placed.c.marks.cast(ARRAY(Text)),
        *_COPIED.values(),
    )
    .join(_STUDIES, _STUDIES.c.id == _placed.c.study_id)
    .order_by(_placed.c.study_id, _placed.c.policy_id),
)
_PUT = _new.on_conflict_do_update(
    index_elements=[_ENTRIES.c.study_id, _ENTRIES.c.policy_id],
    set_={
        **{name: _new.excluded[name] for name in (*_GIVEN, *_COPIED) if name not in ("study_id", "policy_id")},
        "changed_at": func.now(),
    },
)
_PUT_NEW = _new.on_conflict_do_nothing()
_NEXT = select(_STUDIES.c.id).where(LISTED).order_by(_STUDIES.c.id)


def served_policies(session: Session) -> list[ServedPolicy]:
    """Return the policies under which a study is placed; they stay so until the caller's transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": POLICY_LOCK})
    rows = session.execute(
        select(ReadingOrderPolicyRow)
        .where(ReadingOrderPolicyRow.state.in_((PolicyState.ACTIVE, PolicyState.BUILDING)))
        .order_by(ReadingOrderPolicyRow.id)
        .execution_options(populate_existing=True)
    ).scalars()
    return [
        ServedPolicy(row.id, row.label, row.document, row.state is PolicyState.ACTIVE, row.placed_at is not None)
        for row in rows
    ]


def put_entries(session: Session, entries: Collection[EntryRecord], *, only_new: bool = False) -> None:
    """Write places; in one order by everybody, so that no two transactions wait for each other.

    Args:
        session: the caller commits.
        entries: one a study and policy.
        only_new: leave a place that is there already as it is.
    """
    if entries:
        columns = zip(*map(_values, entries), strict=True)
        arrays = {name: f"{{{','.join(column)}}}" for name, column in zip(_GIVEN, columns, strict=True)}
        session.execute(_PUT_NEW if only_new else _PUT, arrays)


def remove_entries(session: Session, study_ids: Collection[UUID]) -> None:
    """Take studies off the worklist, under every policy."""
    if study_ids:
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


def listed_after(session: Session, last: UUID | None, limit: int) -> list[UUID]:
    """Return the next ``limit`` studies of the worklist by id, behind the last one."""
    query = _NEXT if last is None else _NEXT.where(_STUDIES.c.id > last)
    return list(session.scalars(query.limit(limit)))


def register_policy(session: Session, policy: PolicyRecord) -> int:
    """Put a policy on record, to be built: from the commit on, every study that changes is placed under it too.

    It takes the place of another that was being built, the same one included: places are never mixed.

    Returns:
        The database's key of it.
    """
    _hold_policies(session)
    session.execute(
        update(ReadingOrderPolicyRow)
        .where(ReadingOrderPolicyRow.state == PolicyState.BUILDING)
        .values(state=PolicyState.RETIRED)
    )
    key: int | None = session.scalar(
        insert(ReadingOrderPolicyRow)
        .values(
            label=policy.label,
            document=policy.document,
            digest=sha256(policy.document.encode()).hexdigest(),
            before_all=list(policy.before_all),
            state=PolicyState.BUILDING,
        )
        .returning(ReadingOrderPolicyRow.id)
    )
    assert key is not None  # noqa: S101
    rows = [{"policy_id": key, **rule._asdict()} for rule in policy.rules]
    session.execute(insert(ReadingOrderRuleRow), rows)
    return key


def is_served(session: Session, policy_key: int) -> bool:
    """Say whether a policy is active or being built."""
    state = session.scalar(select(ReadingOrderPolicyRow.state).where(ReadingOrderPolicyRow.id == policy_key))
    return state is not PolicyState.RETIRED


def note_placed(session: Session, policy_key: int) -> None:
    """Note that every listed study has a place under a policy."""
    session.execute(
        update(ReadingOrderPolicyRow)
        .where(ReadingOrderPolicyRow.id == policy_key)
        .values(placed_at=func.coalesce(ReadingOrderPolicyRow.placed_at, func.now()))
    )


def activate_policy(session: Session, policy_key: int, by: str) -> str:
    """Make a policy that was built the active one, and keep who did so; it returns the label of the one before.

    Raises:
        PolicySuperseded: another one was registered meanwhile, so that not every study has a place under this one.
    """
    _hold_policies(session)
    policy = session.get_one(ReadingOrderPolicyRow, policy_key, populate_existing=True)
    if policy.state is not PolicyState.BUILDING:
        raise PolicySuperseded(policy.label)
    active = session.scalars(
        select(ReadingOrderPolicyRow).where(ReadingOrderPolicyRow.state == PolicyState.ACTIVE)
    ).one()
    active.state = PolicyState.RETIRED
    session.flush()
    policy.state = PolicyState.ACTIVE
    session.add(ReadingOrderSwitchRow(by=by, before=active.label, after=policy.label))
    session.flush()
    return active.label


def forget_places(session: Session, limit: int) -> int:
    """Remove ``limit`` places of policies that are not served any more; returns how many there were."""
    retired = select(ReadingOrderPolicyRow.id).where(ReadingOrderPolicyRow.state == PolicyState.RETIRED)
    old = (
        select(_ENTRIES.c.study_id, _ENTRIES.c.policy_id)
        .where(_ENTRIES.c.policy_id.in_(retired.scalar_subquery()))
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).subquery()
    removed = session.execute(
        delete(_ENTRIES)
        .where(_ENTRIES.c.study_id == old.c.study_id, _ENTRIES.c.policy_id == old.c.policy_id)
        .returning(_ENTRIES.c.study_id)
    )
    return len(removed.all())


def _hold_policies(session: Session) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": POLICY_LOCK})


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
