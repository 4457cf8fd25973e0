"""The outbox: which destination is to have which result, and how far each delivery is.

Rows are made from the history by whoever sends: a result is an event with which a study ended. Each function takes a
session, in whose transaction it writes; the caller commits. Any number of senders may work on one destination.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, TextClause, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.schema.audit import Audited
from db.schema.outbox import (
    Delivery,
    DeliveryRow,
    NamedDeliveryRow,
    NamedOutboxRow,
    Outbox,
    OutboxRow,
    StorageCommitmentRow,
)
from db.schema.records import DeliveryDetail, Due, OutboxState
from db.schema.tables import StudyEventRow
from db.schema.vocabulary import DeliveryState, Destination
from db.writes import audit

JUST_NOW = timedelta(minutes=1)
"""What ended so shortly before a destination was switched on is delivered too: it may just be being committed."""

_CURRENT = (
    "study.is_current AND study.state IN ('done', 'partial', 'failed') AND study.study_instance_uid IS NOT NULL "
    "AND study.discarded_at IS NULL AND study.purged_at IS NULL AND NOT EXISTS ("
    "SELECT FROM study_event AS later WHERE later.study_id = study.id AND later.id > {event} "
    "AND later.event IN ('done', 'partial', 'failed'))"
)
"""Whether the result that an event stands for is the study's, to be given out."""

_Table = type[Delivery]
TABLES: tuple[_Table, ...] = (DeliveryRow, NamedDeliveryRow)
"""Both have deliveries: of the first destinations, and of those by name."""
_OUTBOXES: tuple[type[Outbox], ...] = (OutboxRow, NamedOutboxRow)
_TYPES: Mapping[_Table, str] = {DeliveryRow: "destination", NamedDeliveryRow: "text"}
_MAKE = f"""
    INSERT INTO {{table}} (destination, study_id, event_id)
    SELECT CAST(:destination AS {{type}}), study.id, ending.id
    FROM study_event AS ending JOIN study ON study.id = ending.study_id
    WHERE ending.id > :seen AND ending.event IN ('done', 'partial', 'failed')
        AND {_CURRENT.format(event="ending.id")}
        AND NOT EXISTS (
            SELECT FROM {{table}} AS made
            WHERE made.event_id = ending.id AND made.destination = CAST(:destination AS {{type}})
        )
    ORDER BY ending.id
    LIMIT :limit
    ON CONFLICT DO NOTHING
    RETURNING event_id
"""  # noqa: S608  no value is in it
_TAKE = f"""
    SELECT delivery.id, delivery.study_id, delivery.event_id, delivery.attempts, delivery.deferrals,
        {_CURRENT.format(event="delivery.event_id")} AS current
    FROM {{table}} AS delivery JOIN study ON study.id = delivery.study_id
    WHERE delivery.destination = CAST(:destination AS {{type}}) AND delivery.state = 'waiting'
        AND delivery.next_at <= now()
    ORDER BY CASE WHEN :by_priority THEN study.priority END, delivery.next_at, delivery.id
    LIMIT :limit
    FOR UPDATE OF delivery SKIP LOCKED
"""  # noqa: S608  no value is in it
_OLDEST_AT_WORK = text("SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)")
_AHEAD = text("""
    SELECT coalesce(max(id), 0) AS id, CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AS xid
    FROM study_event
""")


def _tables(destination: str | None = None) -> Sequence[_Table]:
    """Return the table that has the deliveries of a destination, or both."""
    if destination is None:
        return TABLES
    return (DeliveryRow,) if destination in set(Destination) else (NamedDeliveryRow,)


def _outbox(destination: str) -> type[Outbox]:
    return OutboxRow if destination in set(Destination) else NamedOutboxRow


def _of(statement: str, destination: str) -> TextClause:
    (table,) = _tables(destination)
    return text(statement.format(table=table.__tablename__, type=_TYPES[table]))


def switch_on(session: Session, destination: str, since: datetime | None = None) -> None:
    """Begin to deliver to a destination: what ends from now on, or what has ended since a time.

    Once it is on, a later call with ``since`` goes back to that time; what has its delivery already gets no other.
    """
    start = func.now() - JUST_NOW if since is None else since
    before = session.scalar(select(func.max(StudyEventRow.id)).where(StudyEventRow.at < start)) or 0
    outbox = _outbox(destination)
    row = insert(outbox).values(destination=destination, seen=before, ahead=before, ahead_xid=0)
    if since is None:
        session.execute(row.on_conflict_do_nothing())
        return
    back = func.least(outbox.seen, before)
    values = {"seen": back, "ahead": back, "ahead_xid": 0}
    session.execute(row.on_conflict_do_update(index_elements=[outbox.destination], set_=values))


def make_deliveries(session: Session, destination: str, limit: int) -> int:
    """Give each result that a destination is to have and that has none a delivery, ``limit`` at most; say how many.

    One sender at a time does so for a destination; for another there is nothing to do meanwhile.

    Events are numbered before they are committed, so a later look may find one with a lower number. ``seen``, below
    which nothing is looked at again, therefore follows only once every transaction has ended that was at work when
    ``ahead`` was noted: an event is numbered by a transaction that has written before, and so is known to the snapshot.
    """
    outbox = _outbox(destination)
    place = session.scalar(select(outbox).where(outbox.destination == destination).with_for_update(skip_locked=True))
    if place is None:
        return 0
    oldest = session.scalars(_OLDEST_AT_WORK).one()
    wanted = {"destination": destination, "seen": place.seen, "limit": limit}
    made = session.scalars(_of(_MAKE, destination), wanted).all()
    last = max(made) if len(made) == limit else None
    if place.ahead_xid <= oldest:
        place.seen = place.ahead if last is None else min(place.ahead, last)
    ahead = session.execute(_AHEAD).one()
    place.ahead, place.ahead_xid = max(ahead.id if last is None else last, place.seen), ahead.xid
    place.looked_at = func.now()
    return len(made)


def take(session: Session, destination: str, limit: int, lease_s: float, *, by_priority: bool = True) -> list[Due]:
    """Take deliveries that are due, and keep them from other senders for a while.

    Those of stat studies come first, then urgent ones, then routine ones; of each, or of all, the longest due.

    A sender that dies leaves them to be taken again after that while. One whose result is no longer the study's is
    ``obsolete`` and not taken.

    Args:
        session: the caller commits.
        destination: where to.
        limit: deliveries at most.
        lease_s: the while, in seconds.
        by_priority: otherwise the longest due comes first, whatever its study's priority.
    """
    wanted = {"destination": destination, "limit": limit, "by_priority": by_priority}
    found = session.execute(_of(_TAKE, destination), wanted).all()
    _drop(session, [row.id for row in found if not row.current])
    taken = [row for row in found if row.current]
    for table in _tables(destination) if taken else ():
        session.execute(
            update(table)
            .where(table.id.in_([row.id for row in taken]))
            .values(attempts=table.attempts + 1, next_at=func.now() + timedelta(seconds=lease_s))
        )
    return [Due(row.id, row.study_id, row.event_id, row.attempts + 1, row.deferrals) for row in taken]


def last_sent(session: Session, destination: str, event_ids: Collection[int]) -> int | None:
    """Return the latest of some results that a destination has, by its event."""
    (table,) = _tables(destination)
    return session.scalar(
        select(func.max(table.event_id)).where(
            table.destination == destination, table.event_id.in_(event_ids), table.state == DeliveryState.SENT
        )
    )


def delivery_of(session: Session, destination: str, event_id: int) -> tuple[DeliveryState, str | None] | None:
    """Return how far the delivery of a result to a destination is, and the SOP Instance UID of what was made of it.

    ``None``: it has none yet.
    """
    (table,) = _tables(destination)
    wanted = select(table.state, table.sop_instance_uid)
    found = session.execute(wanted.where(table.destination == destination, table.event_id == event_id)).one_or_none()
    return None if found is None else (found.state, found.sop_instance_uid)


def sent(session: Session, delivery_id: int, sop_instance_uid: str | None) -> None:
    """Write down that a delivery arrived."""
    values: dict[str, Any] = {"sent_at": func.now(), "sop_instance_uid": sop_instance_uid}
    for study_id, destination in _settle(session, delivery_id, state=DeliveryState.SENT, **values):
        what = Audited.RESULT_SENT if sop_instance_uid is None else Audited.INSTANCES_SENT
        audit.note(session, what, "dlr send", study_id=study_id, detail=str(destination))


def failed(session: Session, delivery_id: int, code: str, reason: str) -> None:
    """Write down that a delivery was refused for good. The reason has no identifiers."""
    _settle(session, delivery_id, state=DeliveryState.FAILED, error_code=code, error_reason=reason)


def obsolete(session: Session, delivery_id: int) -> None:
    """Write down that there is nothing to deliver any more."""
    _drop(session, [delivery_id])


def not_taken(session: Session, delivery_id: int, code: str, reason: str) -> None:
    """Write down that a destination is not to have a result, and by which of its rules."""
    _settle(session, delivery_id, state=DeliveryState.OBSOLETE, error_code=code, error_reason=reason)


def put_off(
    session: Session, delivery_id: int, wait_s: float, code: str, reason: str, *, deferred: bool = False
) -> None:
    """Try a delivery again later, and say why. The reason has no identifiers.

    Args:
        session: the caller commits.
        delivery_id: which.
        wait_s: how much later, in seconds.
        code: and ``reason``: why.
        deferred: the destination itself asked for it, which is counted.
    """
    later = func.now() + timedelta(seconds=wait_s)
    _settle(session, delivery_id, deferred=deferred, next_at=later, error_code=code, error_reason=reason)


def give_back(session: Session, delivery_ids: Collection[int]) -> None:
    """Give deliveries back that were taken and not tried."""
    for table in TABLES if delivery_ids else ():
        session.execute(
            update(table)
            .where(table.id.in_(delivery_ids), table.state == DeliveryState.WAITING)
            .values(attempts=func.greatest(table.attempts - 1, 0), next_at=func.now())
        )


def retry(session: Session, destination: str | None = None, delivery_id: int | None = None) -> int:
    """Let deliveries that failed, or that wait for their next attempt, be tried now; say how many."""
    count = 0
    for table in _tables(destination):
        wanted = _wanted(table, (DeliveryState.FAILED, DeliveryState.WAITING), destination)
        if delivery_id is not None:
            wanted.append(table.id == delivery_id)
        anew = {"state": DeliveryState.WAITING, "attempts": 0, "deferrals": 0, "next_at": func.now()}
        count += len(session.execute(update(table).where(*wanted).values(anew).returning(table.id)).all())
    return count


def forget(session: Session, study_ids: Collection[UUID]) -> None:
    """Drop what waits for studies that are purged, and remove the identifiers of what was sent."""
    for table in TABLES:
        theirs = select(table.id).where(table.study_id.in_(study_ids))
        asked = update(StorageCommitmentRow).where(StorageCommitmentRow.delivery_id.in_(theirs))
        session.execute(asked.values(sop_instance_uids=[]))
    for table in TABLES:
        of_these = table.study_id.in_(study_ids)
        _drop(session, session.scalars(select(table.id).where(of_these)).all())
        session.execute(update(table).where(of_these).values(sop_instance_uid=None, error_reason=None))


def deliveries(
    session: Session, states: Collection[DeliveryState], destination: str | None = None, limit: int = 1000
) -> list[DeliveryDetail]:
    """Return deliveries in these states, the oldest first, ``limit`` at most."""
    found: list[DeliveryDetail] = []
    for table in _tables(destination):
        wanted = _wanted(table, states, destination)
        found += map(_detail, session.scalars(select(table).where(*wanted).order_by(table.id).limit(limit)))
    return sorted(found, key=lambda one: one.delivery_id)[:limit]


def outbox_states(session: Session) -> list[OutboxState]:
    """Return how each destination that was switched on is served."""
    counted: dict[str, tuple[int, int, datetime | None]] = {}
    for table in TABLES:
        waiting, lost = (table.state == state for state in (DeliveryState.WAITING, DeliveryState.FAILED))
        rows = session.execute(
            select(
                table.destination,
                func.count().filter(waiting),
                func.count().filter(lost),
                func.min(table.created_at).filter(waiting),
            )
            .where(waiting | lost)
            .group_by(table.destination)
        )
        counted |= {str(name): (many, failures, oldest) for name, many, failures, oldest in rows}
    served = {
        str(name): looked_at
        for outbox in _OUTBOXES
        for name, looked_at in session.execute(select(outbox.destination, outbox.looked_at))
    }
    return [OutboxState(name, *counted.get(name, (0, 0, None)), served[name]) for name in sorted(served)]


def _wanted(table: _Table, states: Collection[DeliveryState], destination: str | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [table.state.in_(states)]
    if destination is not None:
        wanted.append(table.destination == destination)
    return wanted


def _settle(session: Session, delivery_id: int, *, deferred: bool = False, **values: Any) -> list[tuple[UUID, str]]:
    """Change a delivery that waits; return its study and destination."""
    cleared = {"error_code": None, "error_reason": None} if "error_code" not in values else {}
    found: list[tuple[UUID, str]] = []
    for table in TABLES:
        counted = {"deferrals": table.deferrals + 1} if deferred else {}
        changed = session.execute(
            update(table)
            .where(table.id == delivery_id, table.state == DeliveryState.WAITING)
            .values(**cleared, **values, **counted)
            .returning(table.study_id, table.destination)
        )
        found += [(row.study_id, row.destination) for row in changed]
    return found


def _drop(session: Session, delivery_ids: Collection[int]) -> None:
    for table in TABLES if delivery_ids else ():
        session.execute(
            update(table)
            .where(table.id.in_(delivery_ids), table.state.in_((DeliveryState.WAITING, DeliveryState.FAILED)))
            .values(state=DeliveryState.OBSOLETE)
        )


def _detail(row: Delivery) -> DeliveryDetail:
    return DeliveryDetail(
        delivery_id=row.id,
        study_id=row.study_id,
        destination=str(row.destination),
        state=row.state.value,
        attempts=row.attempts,
        error_code=row.error_code,
        error_reason=row.error_reason,
        created_at=row.created_at,
        next_at=row.next_at if row.state is DeliveryState.WAITING else None,
        sent_at=row.sent_at,
    )
