"""What an audit asks about is written down, and what a collector was sent of it.

Each function takes a session, in whose transaction it writes; the caller commits.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import Table, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from db.schema.audit import Audited, AuditEventRow
from db.schema.tables import StudyRow

_EVENTS = cast("Table", AuditEventRow.__table__)


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that was done.

    Attributes:
        actor: who did it: a reader, a token's name, a program, a destination.
        role: theirs.
        address: from which they did.
        detail: the document, the destination or the query.
        study_instance_uid: of the study, as far as it is known and not purged; ``accession_number`` likewise.
    """

    id: int
    at: datetime
    event: Audited
    actor: str
    role: str | None = None
    address: str | None = None
    detail: str | None = None
    study_id: UUID | None = None
    study_instance_uid: str | None = None
    accession_number: str | None = None


def note(
    session: Session,
    event: Audited,
    actor: str,
    *,
    role: str | None = None,
    address: str | None = None,
    study_id: UUID | None = None,
    detail: str | None = None,
) -> None:
    """Write down that something was done; see `AuditEvent`.

    ``session`` is of ``dlr_writer`` or ``dlr_web``; the latter may only add, so nothing is asked back of the new row.
    """
    row = {"event": event.value, "actor": actor, "role": role, "address": address, "study_id": study_id}
    session.execute(insert(_EVENTS).values(**row, detail=detail).inline())


def not_sent(session: Session, limit: int) -> list[AuditEvent]:
    """Return what a collector has not been sent, in the order in which it was noted, and keep it from other senders.

    Events of a later version wait for a sender that knows them.

    Args:
        session: may say nothing for a minute, in which what was read is sent.
        limit: events, at most.
    """
    session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '60s'"))
    query = (
        select(
            AuditEventRow.id,
            AuditEventRow.at,
            AuditEventRow.event,
            AuditEventRow.actor,
            AuditEventRow.role,
            AuditEventRow.address,
            AuditEventRow.detail,
            AuditEventRow.study_id,
            StudyRow.study_instance_uid,
            StudyRow.accession_number,
        )
        .outerjoin(StudyRow, StudyRow.id == AuditEventRow.study_id)
        .where(AuditEventRow.sent_at.is_(None), AuditEventRow.event.in_(list(Audited)))
        .order_by(AuditEventRow.id)
        .limit(limit)
        .with_for_update(of=AuditEventRow, skip_locked=True)
    )
    return [AuditEvent(**{**row, "event": Audited(row["event"])}) for row in session.execute(query).mappings()]


def sent(session: Session, event_ids: Collection[int]) -> None:
    """Write down that a collector was sent some of it."""
    session.execute(update(AuditEventRow).where(AuditEventRow.id.in_(event_ids)).values(sent_at=func.clock_timestamp()))


def waiting(session: Session) -> tuple[int, datetime | None]:
    """Return how many events no collector was sent, and when the oldest of them was."""
    query = select(func.count(), func.min(AuditEventRow.at)).where(AuditEventRow.sent_at.is_(None))
    count, oldest = session.execute(query).one()
    return count, oldest


def removable(session: Session, before: datetime) -> int:
    """Count what ``remove`` would remove."""
    return session.scalar(select(func.count()).select_from(AuditEventRow).where(AuditEventRow.at < before)) or 0


def remove(session: Session, before: datetime, limit: int) -> int:
    """Remove what was noted before a time, sent or not, ``limit`` events at most; say how many."""
    ids = select(AuditEventRow.id).where(AuditEventRow.at < before).limit(limit).with_for_update(skip_locked=True)
    gone = delete(AuditEventRow).where(AuditEventRow.id.in_(ids)).returning(AuditEventRow.id)
    return len(session.scalars(gone).all())
