"""Who has signed in to the worklist page, for all of its processes, and which studies they opened."""

from datetime import timedelta
from typing import NamedTuple, cast
from uuid import UUID

from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.orm import Session

from db.schema.audit import Audited
from db.schema.page import StudyAccessRow, WebSessionRow
from db.writes import audit

_SESSIONS, _ACCESSES = (cast("Table", row.__table__) for row in (WebSessionRow, StudyAccessRow))

NOTED_EVERY = timedelta(seconds=10)
"""How much later somebody has to be seen again for it to be written down."""


class SignedIn(NamedTuple):
    """Somebody who has signed in.

    Attributes:
        mark: of the account by which they did; ``None``: another system vouched for them.
        is_due: that they are there is to be noted again.
    """

    name: str
    role: str
    mark: str | None
    is_due: bool


def begin(session: Session, key: str, name: str, role: str, mark: str | None, longest_s: int) -> None:
    """Begin a session, and remove those that nobody has used for as long as one can last.

    Args:
        session: of ``dlr_web``; the caller commits.
        key: a digest of what the browser keeps.
        name: who signed in; ``role`` likewise.
        mark: as in `SignedIn`.
        longest_s: seconds that a session lasts at most.
    """
    session.execute(delete(_SESSIONS).where(_SESSIONS.c.seen_at < func.now() - timedelta(seconds=longest_s)))
    session.execute(insert(_SESSIONS).values(id=key, name=name, role=role, mark=mark))


def find(session: Session, key: str, idle_s: int) -> SignedIn | None:
    """Return whose session it is; ``None``: it was ended, or nobody has been seen in it for ``idle_s`` seconds."""
    query = select(
        _SESSIONS.c.name,
        _SESSIONS.c.role,
        _SESSIONS.c.mark,
        (_SESSIONS.c.seen_at < func.now() - NOTED_EVERY).label("is_due"),
    ).where(_SESSIONS.c.id == key, _SESSIONS.c.seen_at > func.now() - timedelta(seconds=idle_s))
    row = session.execute(query).first()
    return None if row is None else SignedIn._make(row)


def note_seen(session: Session, key: str) -> None:
    """Note that somebody is there; the caller commits."""
    session.execute(update(_SESSIONS).where(_SESSIONS.c.id == key).values(seen_at=func.now()))


def end(session: Session, key: str) -> None:
    """End a session, for every process of the page; the caller commits."""
    session.execute(delete(_SESSIONS).where(_SESSIONS.c.id == key))


def note_opened(
    session: Session, study_id: UUID, reader: str, role: str, address: str | None, what: str = "study"
) -> None:
    """Put on record that somebody opened a study, or a document of it.

    Args:
        session: of ``dlr_web``; the caller commits.
        study_id: on record.
        reader: who did; ``role`` likewise.
        address: from which they did.
        what: ``study``, or the kind of document.
    """
    row = {"study_id": study_id, "reader": reader, "role": role, "address": address, "what": what}
    # Inline, since to be told the new row's id the page would have to be able to read it.
    session.execute(insert(_ACCESSES).values(row).inline())
    event, detail = (Audited.STUDY_OPENED, None) if what == "study" else (Audited.DOCUMENT_EXPORTED, what)
    audit.note(session, event, reader, role=role, address=address, study_id=study_id, detail=detail)
