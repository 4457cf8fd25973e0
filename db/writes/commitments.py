"""Storage commitment: what a PACS was asked to keep for a delivery, and what it reported.

Each function takes a session, in whose transaction it writes; the caller commits.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db.schema.outbox import StorageCommitmentRow
from db.schema.vocabulary import DeliveryState
from db.writes import outbox


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a delivery's commitment is.

    Attributes:
        sop_instance_uids: what the PACS was asked to keep, in the order in which it was sent.
        waited_s: seconds since it was asked.
        is_awaited: it took the request, and the sender waits for its report.
        is_reported: it has reported.
        failure_reasons: of the instances that it does not keep (0008,1197).
        left_out: instances of which the report says nothing.
    """

    sop_instance_uids: Sequence[str]
    waited_s: float
    is_awaited: bool
    is_reported: bool
    failure_reasons: Sequence[int]
    left_out: int

    @property
    def is_committed(self) -> bool:
        """Whether it has reported that it keeps every instance."""
        return self.is_reported and not self.failure_reasons and not self.left_out


class Report(NamedTuple):
    """What came of a report: of which study it is, and whether every instance is kept."""

    study_id: UUID
    is_committed: bool


def ask(session: Session, transaction_uid: str, delivery_id: int, sop_instance_uids: Sequence[str]) -> None:
    """Write down what a PACS is about to be asked: its report may come at once, and to another process."""
    session.add(
        StorageCommitmentRow(
            transaction_uid=transaction_uid, delivery_id=delivery_id, sop_instance_uids=list(sop_instance_uids)
        )
    )


def wait_for(session: Session, transaction_uid: str) -> None:
    """Write down that a PACS took the request."""
    this = StorageCommitmentRow.transaction_uid == transaction_uid
    session.execute(update(StorageCommitmentRow).where(this).values(is_awaited=True))


def give_up(session: Session, delivery_id: int) -> None:
    """Wait no more for the reports of a delivery. One that comes after all still counts."""
    these = StorageCommitmentRow.delivery_id == delivery_id
    session.execute(update(StorageCommitmentRow).where(these).values(is_awaited=False))


def standing(session: Session, delivery_id: int) -> Standing | None:
    """Return how far a delivery's commitment is: the request that was granted, or else the latest."""
    rows = session.scalars(
        select(StorageCommitmentRow)
        .where(StorageCommitmentRow.delivery_id == delivery_id)
        .order_by(StorageCommitmentRow.asked_at.desc())
    ).all()
    now = session.scalars(select(func.clock_timestamp())).one()
    found = [
        Standing(
            row.sop_instance_uids,
            (now - row.asked_at).total_seconds(),
            row.is_awaited,
            row.reported_at is not None,
            row.failure_reasons,
            row.left_out,
        )
        for row in rows
    ]
    return next((one for one in found if one.is_committed), found[0] if found else None)


def report(
    session: Session, transaction_uid: str, committed: Collection[str], failures: Mapping[str, int]
) -> Report | None:
    """Write down what a PACS reports; the first report of a transaction counts.

    The delivery has arrived where every instance is kept; otherwise it is tried again now.

    Args:
        session: the caller commits.
        transaction_uid: of the request.
        committed: SOP Instance UIDs that it keeps.
        failures: SOP Instance UIDs that it does not keep, each with its Failure Reason.

    Returns:
        What came of it; ``None``: nobody asked that.
    """
    row = session.get(StorageCommitmentRow, transaction_uid, with_for_update=True)
    study_id = None if row is None else _study_of(session, row.delivery_id)
    if row is None or study_id is None or not row.sop_instance_uids:  # a study that was purged
        return None
    if row.reported_at is None:
        asked = set(row.sop_instance_uids)
        row.failure_reasons = sorted({reason for uid, reason in failures.items() if uid in asked})
        row.left_out = len(asked - set(committed) - failures.keys())
        row.reported_at = func.now()
        session.flush()
        if row.failure_reasons or row.left_out:
            wake(session, row.delivery_id)
        else:
            outbox.sent(session, row.delivery_id, row.sop_instance_uids[0])
    return Report(study_id, not row.failure_reasons and not row.left_out)


def wake(session: Session, delivery_id: int) -> None:
    """Let a delivery be tried now if a report has come while it was put off."""
    reported = select(StorageCommitmentRow).where(
        StorageCommitmentRow.delivery_id == delivery_id,
        StorageCommitmentRow.reported_at.is_not(None),
        StorageCommitmentRow.is_awaited,
    )
    for table in outbox.TABLES:
        session.execute(
            update(table)
            .where(table.id == delivery_id, table.state == DeliveryState.WAITING, reported.exists())
            .values(next_at=func.now())
        )


def _study_of(session: Session, delivery_id: int) -> UUID | None:
    found = (session.scalar(select(table.study_id).where(table.id == delivery_id)) for table in outbox.TABLES)
    return next((study_id for study_id in found if study_id is not None), None)
