"""Notes of what an audit asks about, by whoever does it. Where the database takes none, the log alone says so."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from db.outages import DATABASE_AWAY
from db.schema.audit import Audited
from db.writes import audit
from worker.outages.retry import kind_of

logger = logging.getLogger(__name__)


def note(
    sessions: sessionmaker[Session],
    event: Audited,
    actor: str,
    *,
    role: str | None = None,
    address: str | None = None,
    study_id: UUID | None = None,
    detail: str | None = None,
) -> None:
    """Write down that something was done, in a transaction of its own; see `db.writes.audit.AuditEvent`."""
    try:
        with sessions.begin() as session:
            audit.note(session, event, actor, role=role, address=address, study_id=study_id, detail=detail)
    except (*DATABASE_AWAY, SQLAlchemyError) as error:
        logger.warning("it is not on record that %s: %s (%s)", actor, event, kind_of(error))


class _Terminated(BaseException):
    """SIGTERM came."""


@contextmanager
def serving(sessions: sessionmaker[Session], application: str) -> Iterator[None]:
    """Do as `running` for a server of uvicorn, which lets SIGTERM end the process, once it has answered what it had."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        with running(sessions, application), suppress(_Terminated):
            yield
            return
    finally:
        signal.signal(signal.SIGTERM, before)
    signal.raise_signal(signal.SIGTERM)


@contextmanager
def running(sessions: sessionmaker[Session], application: str) -> Iterator[None]:
    """Note that an application starts, and at the end of the context that it stops."""
    note(sessions, Audited.APPLICATION_STARTED, application)
    try:
        yield
    finally:
        note(sessions, Audited.APPLICATION_STOPPED, application)
