"""Who has a study open on the page now, and who opened it."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session as DatabaseSession

from db.outages import DATABASE_AWAY
from db.writes.verdicts import note_open
from db.writes.web_sessions import note_opened
from worker.outages.retry import kind_of
from worker.web.languages import Language, gettext_noop
from worker.web.sessions import Session
from worker.web.site import Site

logger = logging.getLogger(__name__)


def note_presence(site: Site, study_id: UUID, who: Session) -> None:
    """Tell the others that somebody has a study open. The page does not depend on it: a standby has nothing written."""
    with _recorded(site, "nobody is told that %s has study %s open: %s", study_id, who) as session:
        note_open(session, study_id, who.name)


def note_access(site: Site, study_id: UUID, who: Session, address: str | None) -> None:
    """Put on record that somebody opened a study, and tell the others that they have it open."""
    with _recorded(site, "it is not on record that %s opened study %s: %s", study_id, who) as session:
        note_opened(session, study_id, who.name, who.role.value, address)
        note_open(session, study_id, who.name)


@contextmanager
def _recorded(site: Site, instead: str, study_id: UUID, who: Session) -> Iterator[DatabaseSession]:
    """Give a transaction; where the database takes nothing, the log alone says so."""
    try:
        with site.recording() as session:
            yield session
    except (*DATABASE_AWAY, SQLAlchemyError) as error:
        logger.warning(instead, who.name, study_id, kind_of(error))


def open_elsewhere(language: Language, others: Sequence[str]) -> str:
    """Say who else has a study open; nothing where it is nobody."""
    if not others:
        return ""
    return language(gettext_noop("Also open now: {names}")).format(names=", ".join(others))
