"""What is on record of a delivery's storage commitment."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from db.writes import commitments
from db.writes.commitments import Standing


@dataclass(frozen=True, slots=True)
class CommitmentRecord:
    """That of one delivery; each method is a transaction of its own."""

    sessions: sessionmaker[Session]
    delivery_id: int

    def standing(self) -> Standing | None:
        """Return how far it is; ``None``: nothing was asked."""
        with self.sessions() as session:
            return commitments.standing(session, self.delivery_id)

    def ask(self, transaction_uid: str, sop_instance_uids: Sequence[str]) -> None:
        """Write down what is about to be asked."""
        with self.sessions.begin() as session:
            commitments.ask(session, transaction_uid, self.delivery_id, sop_instance_uids)

    def wait_for(self, transaction_uid: str) -> None:
        """Write down that the PACS took the request."""
        with self.sessions.begin() as session:
            commitments.wait_for(session, transaction_uid)

    def give_up(self) -> None:
        """Wait for no report any more."""
        with self.sessions.begin() as session:
            commitments.give_up(session, self.delivery_id)
