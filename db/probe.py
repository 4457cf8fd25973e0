"""What a probe asks of the database beyond an answer: that it can be written, and that a session stays a session."""

from uuid import uuid4

from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from db.writes.intake import record_refusal

LOOKS = 5
"""How often two connections are asked, in turn, which process of the server serves them."""


def try_write(session: Session) -> None:
    """Write what every message can become in the end, a refusal, and take it back.

    Raises:
        DatabaseAway: it cannot be written for now; the error says why.
        DatabaseRefused, SQLAlchemyError: nor can it later, unless somebody mends it.
    """
    digest = f"{uuid4().hex}{uuid4().hex}"
    record_refusal(session, digest, {}, "internal_error", "a probe", "probe")
    session.rollback()


def shares_sessions(engine: Engine) -> bool:
    """Whether a pooler between us and PostgreSQL gives one of its sessions to several connections in turn.

    PgBouncer's pool modes ``transaction`` and ``statement`` do, as do other poolers. Of two connections that are open
    at once, each has a process of the server to itself, unless they share.

    Args:
        engine: with ``autocommit``: a pooler by the statement takes nothing else.
    """
    with engine.connect() as one, engine.connect() as other:
        # One of them twice in a row, for a pooler that goes round its sessions.
        asked = [(_process_of(one), _process_of(one), _process_of(other)) for _ in range(LOOKS)]
    of_one = {process for first, second, _ in asked for process in (first, second)}
    of_other = {process for *_, process in asked}
    return len(of_one) > 1 or len(of_other) > 1 or of_one == of_other


def _process_of(connection: Connection) -> int:
    return int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)
