"""The outbox: which destination is to have which result, and how far each delivery is.

Rows are made from the history by whoever sends: a result is an event with which a study ended. Each function takes a
session, in whose transaction it writes; the caller commits. Any number of senders may work on one destination.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.schema.outbox import DeliveryRow, OutboxRow
from db.schema.records import DeliveryDetail, Due, OutboxState
from db.schema.tables import StudyEventRow
from db.schema.vocabulary import DeliveryState, Destination

JUST_NOW = timedelta(minutes=1)
"""What ended so shortly before a destination was switched on is delivered too: it may just be being committed."""

_CURRENT = (
    "study.is_current AND study.state IN ('done', 'partial', 'failed') AND study.study_instance_uid IS NOT NULL "
    "AND study.discarded_at IS NULL AND study.purged_at IS NULL AND NOT EXISTS ("
    "SELECT FROM study_event AS later WHERE later.study_id = study.id AND later.id > {event} "
    "AND later.event IN ('done', 'partial', 'failed'))"
)
"""Whether the result that an event stands for is the study's, to be given out."""

_MAKE = text(f"""
    INSERT INTO delivery (destination, study_id, event_id)
    SELECT CAST(:destination AS destination), study.id, ending.id
    FROM study_event AS ending JOIN study ON study.id = ending.study_id
    WHERE ending.id > :seen AND ending.event IN ('done', 'partial', 'failed')
        AND {_CURRENT.format(event="ending.id")}
        AND NOT EXISTS (
            SELECT FROM delivery AS made
            WHERE made.event_id = ending.id AND made.destination = CAST(:destination AS destination)
        )
    ORDER BY ending.id
    LIMIT :limit
    ON CONFLICT DO NOTHING
    RETURNING event_id
""")  # noqa: S608  no value is in it
_TAKE = text(f"""
    SELECT delivery.id, delivery.study_id, delivery.event_id, delivery.attempts,
        {_CURRENT.format(event="delivery.event_id")} AS current
    FROM delivery JOIN study ON study.id = delivery.study_id
    WHERE delivery.destination = CAST(:destination AS destination) AND delivery.state = 'waiting'
        AND delivery.next_at <= now()
    ORDER BY study.priority, delivery.next_at, delivery.id
    LIMIT :limit
    FOR UPDATE OF delivery SKIP LOCKED
""")  # noqa: S608  no value is in it
_OLDEST_AT_WORK = text("SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)")
_AHEAD = text("""
    SELECT coalesce(max(id), 0) AS id, CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AS xid
    FROM study_event
""")


def switch_on(session: Session, destination: Destination, since: datetime | None = None) -> None:
    """Begin to deliver to a destination: what ends from now on, or what has ended since a time.

    Once it is on, a later call with ``since`` goes back to that time; what has its delivery already gets no other.
    """
    start = func.now() - JUST_NOW if since is None else since
    before = session.scalar(select(func.max(StudyEventRow.id)).where(StudyEventRow.at < start)) or 0
    row = insert(OutboxRow).values(destination=destination, seen=before, ahead=before, ahead_xid=0)
    if since is None:
        session.execute(row.on_conflict_do_nothing())
        return
    back = func.least(OutboxRow.seen, before)
    values = {"seen": back, "ahead": back, "ahead_xid": 0}
    session.execute(row.on_conflict_do_update(index_elements=[OutboxRow.destination], set_=values))


def make_deliveries(session: Session, destination: Destination, limit: int) -> int:
    """Give each result that a destination is to have and that has none a delivery, ``limit`` at most; say how many.

    One sender at a time does so for a destination; for another there is nothing to do meanwhile.

    Events are numbered before they are committed, so a later look may find one with a lower number. ``seen``, below
    which nothing is looked at again, therefore follows only once every transaction has ended that was at work when
    ``ahead`` was noted: an event is numbered by a transaction that has written before, and so is known to the snapshot.
    """
    place = session.scalar(
        select(OutboxRow).where(OutboxRow.destination == destination).with_for_update(skip_locked=True)
    )
    if place is None:
        return 0
    oldest = session.scalars(_OLDEST_AT_WORK).one()
    made = session.scalars(_MAKE, {"destination": destination.value, "seen": place.seen, "limit": limit}).all()
    last = max(made) if len(made) == limit else None
    if place.ahead_xid <= oldest:
        place.seen = place.ahead if last is None else min(place.ahead, last)
    ahead = session.execute(_AHEAD).one()
    place.ahead, place.ahead_xid = max(ahead.id if last is None else last, place.seen), ahead.xid
    place.looked_at = func.now()
    return len(made)


def take(session: Session, destination: Destination, limit: int, lease_s: float) -> list[Due]:
    """Take deliveries that are due, and keep them from other senders for a while.

    Those of stat studies come first, then urgent ones, then routine ones; of each, the longest due.

    A sender that dies leaves them to be taken again after that while. One whose result is no longer the study's is
    ``obsolete`` and not taken.

    Args:
        session: the caller commits.
        destination: where to.
        limit: deliveries at most.
        lease_s: the while, in seconds.
    """
    found = session.execute(_TAKE, {"destination": destination.value, "limit": limit}).all()
    _drop(session, [row.id for row in found if not row.current])
    taken = [row for row in found if row.current]
    if taken:
        session.execute(
            update(DeliveryRow)
            .where(DeliveryRow.id.in_([row.id for row in taken]))
            .values(attempts=DeliveryRow.attempts + 1, next_at=func.now() + timedelta(seconds=lease_s))
        )
    return [Due(row.id, row.study_id, row.event_id, row.attempts + 1) for row in taken]


def last_sent(session: Session, destination: Destination, event_ids: Collection[int]) -> int | None:
    """Return the latest of some results that a destination has, by its event."""
    return session.scalar(
        select(func.max(DeliveryRow.event_id)).where(
            DeliveryRow.destination == destination,
            DeliveryRow.event_id.in_(event_ids),
            DeliveryRow.state == DeliveryState.SENT,
        )
    )


def sent(session: Session, delivery_id: int, sop_instance_uid: str | None) -> None:
    """Write down that a delivery arrived."""
    _settle(session, delivery_id, state=DeliveryState.SENT, sent_at=func.now(), sop_instance_uid=sop_instance_uid)


def failed(session: Session, delivery_id: int, code: str, reason: str) -> None:
    """Write down that a delivery was refused for good. The reason has no identifiers."""
    _settle(session, delivery_id, state=DeliveryState.FAILED, error_code=code, error_reason=reason)


def obsolete(session: Session, delivery_id: int) -> None:
    """Write down that there is nothing to deliver any more."""
    _drop(session, [delivery_id])


def put_off(session: Session, delivery_id: int, wait_s: float, code: str, reason: str) -> None:
    """Try a delivery again later, and say why. The reason has no identifiers."""
    later = func.now() + timedelta(seconds=wait_s)
    _settle(session, delivery_id, next_at=later, error_code=code, error_reason=reason)


def give_back(session: Session, delivery_ids: Collection[int]) -> None:
    """Give deliveries back that were taken and not tried."""
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.id.in_(delivery_ids), DeliveryRow.state == DeliveryState.WAITING)
        .values(attempts=func.greatest(DeliveryRow.attempts - 1, 0), next_at=func.now())
    )


def retry(session: Session, destination: Destination | None = None, delivery_id: int | None = None) -> int:
    """Let deliveries that failed, or that wait for their next attempt, be tried now; say how many."""
    wanted: list[ColumnElement[bool]] = [DeliveryRow.state.in_((DeliveryState.FAILED, DeliveryState.WAITING))]
    if destination is not None:
        wanted.append(DeliveryRow.destination == destination)
    if delivery_id is not None:
        wanted.append(DeliveryRow.id == delivery_id)
    done = session.execute(
        update(DeliveryRow)
        .where(*wanted)
        .values(state=DeliveryState.WAITING, attempts=0, next_at=func.now())
        .returning(DeliveryRow.id)
    )
    return len(done.all())


def forget(session: Session, study_ids: Collection[UUID]) -> None:
    """Drop what waits for studies that are purged, and remove the identifiers of what was sent."""
    of_these = DeliveryRow.study_id.in_(study_ids)
    _drop(session, session.scalars(select(DeliveryRow.id).where(of_these)).all())
    session.execute(update(DeliveryRow).where(of_these).values(sop_instance_uid=None, error_reason=None))


def deliveries(
    session: Session, states: Collection[DeliveryState], destination: Destination | None = None, limit: int = 1000
) -> list[DeliveryDetail]:
    """Return deliveries in these states, the oldest first, ``limit`` at most."""
    wanted: list[ColumnElement[bool]] = [DeliveryRow.state.in_(states)]
    if destination is not None:
        wanted.append(DeliveryRow.destination == destination)
    rows = session.scalars(select(DeliveryRow).where(*wanted).order_by(DeliveryRow.id).limit(limit))
    return [_detail(row) for row in rows]


def outbox_states(session: Session) -> list[OutboxState]:
    """Return how each destination that was switched on is served."""
    waiting, lost = (DeliveryRow.state == state for state in (DeliveryState.WAITING, DeliveryState.FAILED))
    rows = session.execute(
        select(
            OutboxRow.destination,
            func.count().filter(waiting).label("waiting"),
            func.count().filter(lost).label("failed"),
            func.min(DeliveryRow.created_at).filter(waiting).label("oldest"),
            OutboxRow.looked_at,
        )
        .outerjoin(DeliveryRow, (DeliveryRow.destination == OutboxRow.destination) & (waiting | lost))
        .group_by(OutboxRow.destination)
        .order_by(OutboxRow.destination)
    )
    return [OutboxState(row[0].value, *row[1:]) for row in rows]


def _settle(session: Session, delivery_id: int, **values: Any) -> None:
    cleared = {"error_code": None, "error_reason": None} if "error_code" not in values else {}
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.id == delivery_id, DeliveryRow.state == DeliveryState.WAITING)
        .values(**cleared, **values)
    )


def _drop(session: Session, delivery_ids: Collection[int]) -> None:
    if delivery_ids:
        session.execute(
            update(DeliveryRow)
            .where(
                DeliveryRow.id.in_(delivery_ids),
                DeliveryRow.state.in_((DeliveryState.WAITING, DeliveryState.FAILED)),
            )
            .values(state=DeliveryState.OBSOLETE)
        )


def _detail(row: DeliveryRow) -> DeliveryDetail:
    return DeliveryDetail(
        delivery_id=row.id,
        study_id=row.study_id,
        destination=row.destination.value,
        state=row.state.value,
        attempts=row.attempts,
        error_code=row.error_code,
        error_reason=row.error_reason,
        created_at=row.created_at,
        next_at=row.next_at if row.state is DeliveryState.WAITING else None,
        sent_at=row.sent_at,
    )
