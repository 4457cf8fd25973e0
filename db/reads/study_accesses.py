"""Who opened which study; nothing is written."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from db.schema.page import StudyAccessRow

_ACCESSES = cast("Table", StudyAccessRow.__table__)


@dataclass(frozen=True, slots=True)
class StudyAccess:
    """A study that somebody opened.

    Attributes:
        reader: an account of the page, or the name of a token (``role`` api).
        address: from which they did; ``None``: it is not known.
        what: ``study``, or the kind of document that was made of it.
    """

    at: datetime
    study_id: UUID
    reader: str
    role: str
    address: str | None
    what: str


def accesses(
    session: Session,
    limit: int,
    *,
    study_ids: Collection[UUID] | None = None,
    reader: str | None = None,
    since: datetime | None = None,
) -> list[StudyAccess]:
    """Return who opened which study, the latest first.

    Args:
        session: of ``dlr_writer``.
        limit: rows at most.
        study_ids: only of these studies.
        reader: only by somebody of this name.
        since: only since then.
    """
    columns = (_ACCESSES.c[name] for name in StudyAccess.__slots__)
    query = select(*columns).order_by(_ACCESSES.c.id.desc()).limit(limit)
    if study_ids is not None:
        query = query.where(_ACCESSES.c.study_id.in_(study_ids))
    if reader is not None:
        query = query.where(_ACCESSES.c.reader == reader)
    if since is not None:
        query = query.where(_ACCESSES.c.at >= since)
    return [StudyAccess(*row) for row in session.execute(query)]
