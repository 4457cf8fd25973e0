"""The tables of who has signed in to the worklist page, and of who opened which study."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from db.schema.base import Base


class WebSessionRow(Base):
    """Somebody who has signed in. ``id`` is a digest: with what stands here nobody can take a session over.

    ``mark`` changes with the account of this page by which somebody signed in, and is ``None`` where another system
    vouched for them.
    """

    __tablename__ = "web_session"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    mark: Mapped[str | None]
    began_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("ix_web_session_seen_at", "seen_at"),
        {"comment": "Who has signed in to the worklist page; a session that ended is removed"},
    )


class StudyAccessRow(Base):
    """Somebody opened a study. Rows are added and never changed."""

    __tablename__ = "study_access"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("study.id"))
    reader: Mapped[str]
    role: Mapped[str]
    address: Mapped[str | None]
    what: Mapped[str] = mapped_column(server_default="study")

    __table_args__ = (
        Index("ix_study_access_study_id", "study_id", "id"),
        Index("ix_study_access_at", "at"),
        {"comment": "Who opened which study, and when; a trigger refuses UPDATE, DELETE and TRUNCATE"},
    )
