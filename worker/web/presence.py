"""Who has a study open on the page now, and who opened it."""

import logging
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

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
    try:
        with site.recording() as session:
            note_open(session, study_id, who.name)
    except (*DATABASE_AWAY, SQLAlchemyError) as error:
        logger.warning("nobody is told that study %s is open: %s", study_id, kind_of(error))


def note_access(site: Site, study_id: UUID, who: Session, address: str | None) -> None:
    """Put on record that somebody opened a study; where the database takes nothing, the log alone says so."""
    try:
        with site.recording() as session:
            note_opened(session, study_id, who.name, who.role.value, address)
    except (*DATABASE_AWAY, SQLAlchemyError) as error:
        logger.warning("it is not on record that %s opened study %s: %s", who.name, study_id, kind_of(error))


def open_elsewhere(language: Language, others: Sequence[str]) -> str:
    """Say who else has a study open; nothing where it is nobody."""
    if not others:
        return ""
    return language(gettext_noop("Also open now: {names}")).format(names=", ".join(others))
