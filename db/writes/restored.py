"""What is put right in a ledger that comes from a backup: what it noted of the server that it was written on."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from db.schema.outbox import NamedOutboxRow, OutboxRow


def forget_transactions(session: Session) -> None:
    """Let every destination go on: the transactions that it waited for were another server's, and have ended.

    Numbers of transactions begin anew on each server, and a destination that waits for a high one of the former server
    would miss nothing, and never let go of what it has looked at.
    """
    for outbox in (OutboxRow, NamedOutboxRow):
        session.execute(update(outbox).values(ahead_xid=0))
