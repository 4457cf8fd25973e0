"""Who opened which study by this interface is on record, as it is of the page."""

import logging
from uuid import UUID

from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from db.outages import DATABASE_AWAY
from db.schema.audit import Audited
from db.writes.web_sessions import note_opened
from worker.api.service import SOURCE, Service
from worker.api.tokens import Token
from worker.audit.notes import note
from worker.outages.retry import kind_of

logger = logging.getLogger(__name__)


def note_query(service: Service, request: Request, caller: Token, asked: str) -> None:
    """Note for an audit what a program asked of the worklist."""
    address = request.client.host if request.client else None
    note(service.reading, Audited.WORKLIST_QUERIED, caller.name, role=SOURCE, address=address, detail=asked)


def note_access(service: Service, request: Request, caller: Token, study_id: UUID, what: str = "study") -> None:
    """Put on record that a program opened a study, or a document of it; where the database takes nothing, in the log.

    Args:
        service: whose database it is.
        request: from whose address it came.
        caller: the program.
        study_id: on record.
        what: ``study``, or the kind of document.
    """
    address = request.client.host if request.client else None
    try:
        with service.reading.begin() as session:
            note_opened(session, study_id, caller.name, SOURCE, address, what)
    except (*DATABASE_AWAY, SQLAlchemyError) as error:
        logger.warning("it is not on record that %s opened study %s: %s", caller.name, study_id, kind_of(error))
