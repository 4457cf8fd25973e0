"""The tables of what radiologists say: readings, with the verdicts on their lesions, and who has a study open."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.schema.base import Base
from db.schema.vocabulary import FinalCategory, ReadingSource

LONGEST_REMARK = 500
"""Characters of a remark, at most."""

OPEN_FOR = timedelta(seconds=30)
"""How long somebody counts as having a study open after the page was last heard of."""

_SOURCES = ", ".join(f"'{source.value}'" for source in ReadingSource)
_CATEGORIES = ", ".join(f"'{category.value}'" for category in FinalCategory)


class ReadingRow(Base):
    """One reading of one revision of a study. Its id comes with it, so that what is sent twice is one reading.

    ``advice`` is what the reader was shown: the current recommendation of each lesion that has one.
    """

    __tablename__ = "reading"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("study.id"), index=True)
    reader: Mapped[str | None]
    read_at: Mapped[datetime] = mapped_column(server_default=func.now())
    source: Mapped[str] = mapped_column(server_default=ReadingSource.PAGE.value)
    tier: Mapped[str]
    advice: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    recorded_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        CheckConstraint(f"source IN ({_SOURCES})", "source"),
        {"comment": "Who read which revision of a study and when, and what advice was shown; rows are only added"},
    )


class VerdictRow(Base):
    """What a radiologist made of one lesion. A correction is a row more, of a later reading."""

    __tablename__ = "verdict"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    reading_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("reading.id"))
    lesion_id: Mapped[int] = mapped_column(ForeignKey("lesion.id"))
    restratification_id: Mapped[int | None] = mapped_column(ForeignKey("restratification.id"))
    agrees: Mapped[bool | None]
    final_birads: Mapped[str]
    remark: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("reading_id", "lesion_id"),
        CheckConstraint(f"final_birads IN ({_CATEGORIES})", "final_birads"),
        CheckConstraint(f"char_length(remark) BETWEEN 1 AND {LONGEST_REMARK}", "remark"),
        CheckConstraint("agrees IS NULL OR restratification_id IS NOT NULL", "agrees_with_advice"),
        Index("ix_verdict_lesion_id", "lesion_id"),
        {"comment": "A radiologist's verdict on each lesion; a correction is a row more, of a later reading"},
    )


class OpenStudyRow(Base):
    """A study that somebody has open on the page. It says nothing any more once it is older than half a minute."""

    __tablename__ = "open_study"

    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("study.id"), primary_key=True)
    reader: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = ({"comment": "Who has which study open on the page now"},)
