"""Writes of the policies of reading order: which one is active, and the partition of places of one that is being built.

A policy is registered and made active under a lock that shares who places studies, so that none misses a policy that
is being built. Its places are written into a table of their own, which becomes a partition of `worklist_entry` once it
is full; studies that change until then are noted, and placed under it afterwards.
"""

from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import cast
from uuid import UUID

from sqlalchemy import ARRAY, Table, Uuid, bindparam, delete, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import PolicySuperseded
from db.reads.standings import COPIED, MAY_KEEP_ITS_PLACE
from db.schema.tables import StudyRow
from db.schema.vocabulary import PolicyState
from db.schema.worklist import (
    ReadingOrderChangedRow,
    ReadingOrderPolicyRow,
    ReadingOrderRangeRow,
    ReadingOrderRuleRow,
    ReadingOrderSwitchRow,
)
from db.schema.worklist_records import PolicyRecord, ServedPolicy
from db.session import copy_lines

POLICY_LOCK = 0x706C61636573  # "places"
"""The advisory lock that who places studies shares, and who changes the policies holds alone."""

COMPLETION_LOCK = 0x636F6D706C6574  # "complet"
"""The advisory lock of who places the studies of before an upgrade."""

FILLED_COLUMNS = (
    "study_id", "probability", "place_order", "policy_id", "tier", "rule", "lesion", "category", "marks", "is_read",
    *COPIED, "arrived_at",
)  # fmt: skip
"""What is given of each place that is written into a partition."""

_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

_CHANGED, _STUDIES = (cast("Table", row.__table__) for row in (ReadingOrderChangedRow, StudyRow))
_SHARE = "SELECT pg_advisory_xact_lock_shared(:key)"
# Two statements that are sent as one: the second sees what was committed until the lock was had.
_SERVED = text(f"""
    {_SHARE};
    SELECT id, label, document, state = 'active' AS active, filled_at IS NOT NULL AS filled,
        placed_at IS NOT NULL AS placed
    FROM reading_order_policy WHERE state IN ('active', 'building') ORDER BY id
""")  # noqa: S608  no value is in it
_NOTE = text(
    "INSERT INTO reading_order_changed SELECT policy.id, study_id"
    " FROM reading_order_policy AS policy, unnest(:ids) AS study_id"
    " WHERE policy.state = 'building' AND policy.filled_at IS NULL ORDER BY study_id ON CONFLICT DO NOTHING"
).bindparams(bindparam("ids", type_=ARRAY(Uuid())))


def served_policies(session: Session) -> list[ServedPolicy]:
    """Return the policies under which a study is placed; they stay so until the caller's transaction ends."""
    return [ServedPolicy(*row) for row in session.execute(_SERVED, {"key": POLICY_LOCK})]


def note_changed(session: Session, study_ids: Collection[UUID]) -> None:
    """Note that studies changed, for a policy whose partition is being filled; the caller changes them."""
    _share_policies(session)
    session.execute(_NOTE, {"ids": list(study_ids)})


def register_policy(session: Session, policy: PolicyRecord) -> int:
    """Put a policy on record, to be built: from the commit on, every study that changes is noted for it.

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
    if policy.ranges:
        session.execute(insert(ReadingOrderRangeRow), [{"policy_id": key, **one._asdict()} for one in policy.ranges])
    return key


def make_partition(session: Session, policy_key: int) -> None:
    """Make the partition of a policy that is being built, in the transaction that fills and attaches it.

    Raises:
        PolicySuperseded: another policy was registered meanwhile.
    """
    # A site's limit for a statement is for those of a page or a worker: one of these takes minutes.
    session.execute(text("SET LOCAL statement_timeout = 0"))
    if not session.scalar(text("SELECT worklist_entry_make(:key)"), {"key": policy_key}):
        raise PolicySuperseded(session.get_one(ReadingOrderPolicyRow, policy_key).label)


def fields(*values: object) -> str:
    """Write values as a part of a line that ``COPY`` reads; ``None`` for what is not known."""
    return "\t".join([r"\N" if value is None else str(value).translate(_ESCAPED) for value in values])


def fill_partition(session: Session, policy_key: int, places: Iterable[str]) -> None:
    """Write places into a partition that this transaction made.

    Args:
        session: of that transaction.
        policy_key: the policy's.
        places: the `fields` of `FILLED_COLUMNS`.
    """
    copy_lines(session, f"worklist_entry_{policy_key:d} ({', '.join(FILLED_COLUMNS)})", places)


def attach_partition(session: Session, policy_key: int) -> None:
    """Index a partition that is filled, and attach it: from the commit on, studies are placed in it as they change.

    Studies that may keep the place of an earlier result are noted as changed, since that place is not computed in bulk.

    Raises:
        PolicySuperseded: another policy was registered meanwhile.
    """
    _require_building(session, policy_key)
    session.execute(text("SELECT worklist_entry_attach(:key)"), {"key": policy_key})
    _hold_policies(session)
    _require_building(session, policy_key)
    keeping = select(literal(policy_key), _STUDIES.c.id).where(MAY_KEEP_ITS_PLACE)
    noted = insert(_CHANGED).from_select(["policy_id", "study_id"], keeping)
    session.execute(noted.on_conflict_do_nothing())
    session.execute(
        update(ReadingOrderPolicyRow)
        .where(ReadingOrderPolicyRow.id == policy_key)
        .values(filled_at=func.now(), placed_at=func.now())
    )


def take_changed(session: Session, policy_key: int, limit: int) -> tuple[list[UUID], bool]:
    """Take studies that were noted for a policy, and hold them until the caller's transaction has placed them.

    Returns:
        Up to ``limit`` of them, without those that are being changed at this moment; and whether there are more.
    """
    _share_policies(session)
    noted = (
        select(_CHANGED.c.study_id)
        .join(_STUDIES, _STUDIES.c.id == _CHANGED.c.study_id)
        .where(_CHANGED.c.policy_id == policy_key)
        .order_by(_CHANGED.c.study_id)
        .limit(limit)
        .with_for_update(of=_STUDIES, read=True, skip_locked=True)
    )
    taken = list(session.scalars(noted))
    of_policy = _CHANGED.c.policy_id == policy_key
    session.execute(delete(_CHANGED).where(of_policy, _CHANGED.c.study_id.in_(taken)))
    return taken, session.scalar(select(_CHANGED.c.study_id).where(of_policy).limit(1)) is not None


def activate_policy(session: Session, policy_key: int, by: str) -> str:
    """Make a policy that was built the active one, and keep who did so; it returns the label of the one before.

    Raises:
        PolicySuperseded: another one was registered meanwhile, so that not every study has a place under this one.
    """
    _hold_policies(session)
    policy = _require_building(session, policy_key)
    active = session.scalars(
        select(ReadingOrderPolicyRow).where(ReadingOrderPolicyRow.state == PolicyState.ACTIVE)
    ).one()
    active.state = PolicyState.RETIRED
    session.flush()
    policy.state = PolicyState.ACTIVE
    session.add(ReadingOrderSwitchRow(by=by, before=active.label, after=policy.label))
    session.flush()
    return active.label


def drop_partitions(session: Session) -> bool:
    """Drop the places of policies that are not served any more; ``False``: somebody reads the list, try again."""
    retired = select(ReadingOrderPolicyRow.id).where(ReadingOrderPolicyRow.state == PolicyState.RETIRED)
    session.execute(delete(_CHANGED).where(_CHANGED.c.policy_id.in_(retired)))
    return bool(session.scalar(text("SELECT worklist_entry_drop()")))


def hold_completion(session: Session) -> None:
    """Be the only one who places the studies of before an upgrade, until the caller's transaction ends."""
    session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": COMPLETION_LOCK})


def _require_building(session: Session, policy_key: int) -> ReadingOrderPolicyRow:
    policy = session.get_one(ReadingOrderPolicyRow, policy_key, populate_existing=True)
    if policy.state is not PolicyState.BUILDING:
        raise PolicySuperseded(policy.label)
    return policy


def _share_policies(session: Session) -> None:
    session.execute(text(_SHARE), {"key": POLICY_LOCK})


def _hold_policies(session: Session) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": POLICY_LOCK})
