"""The studies that a person names: by the id or how it begins, by Study Instance UID, by accession number."""

from collections.abc import Callable
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from db.reads import study_queries
from worker.errors import Code, StudyRefused

MOST_TOLD: Final = 10
"""Ids that begin alike which are told, at most."""

T = TypeVar("T")


def look_up(session: Session, key: UUID | str, read: Callable[[Session, UUID | str], list[T]]) -> list[T]:
    """Return what is on record of the studies that a key names.

    Args:
        session: of a role that reads the tables.
        key: as ``read`` takes it; where that finds nothing, the beginning of an id
            (`db.reads.study_queries.ids_beginning`).
        read: finds by an id, a Study Instance UID or an accession number.

    Raises:
        StudyRefused: ``study_not_found``; ``study_ambiguous``, where several ids begin like that.
    """
    found = read(session, key)
    if not found and isinstance(key, str):
        ids = study_queries.ids_beginning(session, key, MOST_TOLD + 1)
        if len(ids) > 1:
            more = ", and others" if len(ids) > MOST_TOLD else ""
            reason = f"several ids begin with this: {', '.join(map(str, ids[:MOST_TOLD]))}{more}"
            raise StudyRefused(Code.STUDY_AMBIGUOUS, reason)
        found = [one for study_id in ids for one in read(session, study_id)]
    if not found:
        raise StudyRefused(Code.STUDY_NOT_FOUND)
    return found
