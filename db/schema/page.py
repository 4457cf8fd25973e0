"""The table of who has signed in to the worklist page."""

from datetime import datetime

from sqlalchemy import Index, func
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
