"""The tables of what is delivered: the outbox, each delivery of it, and whether a PACS keeps what it was sent."""

import uuid
from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.schema.base import Base
from db.schema.vocabulary import DeliveryState, Destination

_WAITING = "state = 'waiting'"
_FAILED = "state = 'failed'"


class Delivery(Base):
    """One result of a study that one destination is to have."""

    __abstract__ = True

    id: Mapped[int]
    destination: Mapped[str]
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("study.id"))
    event_id: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[DeliveryState] = mapped_column(server_default=DeliveryState.WAITING)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_at: Mapped[datetime] = mapped_column(server_default=func.now())
    error_code: Mapped[str | None]
    error_reason: Mapped[str | None]
    sop_instance_uid: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]
    deferrals: Mapped[int] = mapped_column(server_default=text("0"))


class DeliveryRow(Delivery):
    """A delivery to a destination of one of the three older names."""

    __tablename__ = "delivery"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    destination: Mapped[Destination] = mapped_column()

    __table_args__ = (
        UniqueConstraint("event_id", "destination"),
        CheckConstraint("attempts >= 0", "attempts"),
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", "sent_says_when"),
        CheckConstraint("state <> 'failed' OR error_code IS NOT NULL", "failed_says_why"),
        Index("ix_delivery_due", "destination", "next_at", "id", postgresql_where=text(_WAITING)),
        Index("ix_delivery_failed", "destination", "id", postgresql_where=text(_FAILED)),
        Index("ix_delivery_study_id", "study_id"),
        {"comment": "The outbox: one result of a study (the event with which it ended) for one destination"},
    )


class NamedDeliveryRow(Delivery):
    """A delivery to a destination of any other name. Both tables number their rows by one sequence."""

    __tablename__ = "named_delivery"

    id: Mapped[int] = mapped_column(
        BigInteger, server_default=text("nextval('delivery_id_seq'::regclass)"), primary_key=True
    )
    destination: Mapped[str]

    __table_args__ = (
        UniqueConstraint("event_id", "destination"),
        CheckConstraint("attempts >= 0", "attempts"),
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", "sent_says_when"),
        CheckConstraint("state <> 'failed' OR error_code IS NOT NULL", "failed_says_why"),
        Index("ix_named_delivery_due", "destination", "next_at", "id", postgresql_where=text(_WAITING)),
        Index("ix_named_delivery_failed", "destination", "id", postgresql_where=text(_FAILED)),
        Index("ix_named_delivery_study_id", "study_id"),
        {"comment": "The outbox, for destinations that a file names (DLR_SEND_DESTINATIONS)"},
    )


class StorageCommitmentRow(Base):
    """A PACS was asked whether it keeps what it was sent for a delivery (DICOM PS3.4, annex J)."""

    __tablename__ = "storage_commitment"

    transaction_uid: Mapped[str] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(BigInteger)
    sop_instance_uids: Mapped[list[str]] = mapped_column(ARRAY(Text))
    asked_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    is_awaited: Mapped[bool] = mapped_column(server_default=text("false"))
    reported_at: Mapped[datetime | None]
    failure_reasons: Mapped[list[int]] = mapped_column(ARRAY(Integer), server_default=text("'{}'::integer[]"))
    left_out: Mapped[int] = mapped_column(server_default=text("0"))

    __table_args__ = (
        Index("ix_storage_commitment_delivery_id", "delivery_id"),
        {"comment": "What a PACS was asked to keep for a delivery (DICOM storage commitment), and what it reported"},
    )


class Outbox(Base):
    """How far one destination has followed the history of the studies."""

    __abstract__ = True

    destination: Mapped[str]
    seen: Mapped[int] = mapped_column(BigInteger)
    ahead: Mapped[int] = mapped_column(BigInteger)
    ahead_xid: Mapped[int] = mapped_column(BigInteger)
    looked_at: Mapped[datetime] = mapped_column(server_default=func.now())


class NamedOutboxRow(Outbox):
    """That of a destination of any other name."""

    __tablename__ = "named_outbox"

    destination: Mapped[str] = mapped_column(primary_key=True)

    __table_args__ = (
        CheckConstraint("seen <= ahead", "seen_is_behind"),
        {"comment": "The same for destinations that a file names (DLR_SEND_DESTINATIONS)"},
    )


class OutboxRow(Outbox):
    """That of a destination of one of the three older names."""

    __tablename__ = "outbox"

    destination: Mapped[Destination] = mapped_column(primary_key=True)

    __table_args__ = (
        CheckConstraint("seen <= ahead", "seen_is_behind"),
        {"comment": "For each destination: up to which event of the history every result has its delivery"},
    )
