"""The table of what an audit asks about: who did what to which study, and which of it a collector has."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.schema.base import Base


class Audited(StrEnum):
    """What is audited."""

    APPLICATION_STARTED = "application_started"
    APPLICATION_STOPPED = "application_stopped"
    SIGNED_IN = "signed_in"
    SIGN_IN_REFUSED = "sign_in_refused"
    SIGNED_OUT = "signed_out"
    STUDY_OPENED = "study_opened"
    DOCUMENT_EXPORTED = "document_exported"
    INSTANCES_SENT = "instances_sent"
    RESULT_SENT = "result_sent"
    WORKLIST_QUERIED = "worklist_queried"


class AuditEventRow(Base):
    """Something that was done. Only ``sent_at`` changes, once a collector was sent it; a purge removes rows."""

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    event: Mapped[str]
    actor: Mapped[str]
    role: Mapped[str | None]
    address: Mapped[str | None]
    study_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("study.id"))
    detail: Mapped[str | None]
    sent_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_audit_event_at", "at"),
        Index("ix_audit_event_not_sent", "id", postgresql_where=text("sent_at IS NULL")),
        {"comment": "Who did what to which study, and when a collector of audit messages was sent it"},
    )
