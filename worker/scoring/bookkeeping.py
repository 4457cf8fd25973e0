"""What a pipeline says to the ledger, for many studies in one transaction.

While a transaction is under way, the claims and results of other studies gather, and are the next. Where other studies
are at work, a transaction waits a moment for theirs; one study alone waits for nobody.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db.outages import DATABASE_AWAY
from db.reads import study_queries
from db.schema.records import Claim, Claimed, Ended, StudyResultRecord
from db.writes import ledger
from worker.batcher import Batcher
from worker.errors import Code
from worker.logs import story_of
from worker.scoring.leases import LeaseKeeper
from worker.scoring.lesion_outcome import LesionOutcome, result_record
from worker.scoring.worklist_place import place_studies

MOST_AT_ONCE = 64
"""Studies in one transaction."""

ENOUGH = 1 / 3
"""Share of the studies at work: a transaction that has so many waits for no more. Where few are at work each is missed
while it waits, and where many are, hardly one."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """The study was started before and did not end: it has to be claimed alone."""


class _Result(NamedTuple):
    claim: Claim
    outcomes: Sequence[LesionOutcome]


class Bookkeeper:
    """Claims studies and writes their results; for any number of threads at once.

    Args:
        sessions: the ledger's.
        lease_keeper: prolongs the leases of what was claimed.
        max_attempts: starts of a study before it is failed.
        gather_s: how long a transaction waits for other studies that are at work, in seconds.
    """

    def __init__(
        self, sessions: sessionmaker[Session], lease_keeper: LeaseKeeper, max_attempts: int, gather_s: float
    ) -> None:
        self.lease_keeper = lease_keeper
        self.sessions = sessions
        self._max_attempts = max_attempts
        self._claims: Batcher[UUID, Claim | Suspect | None] = Batcher(
            self._claim_together, batch_max=MOST_AT_ONCE, wait_s=gather_s, share=ENOUGH, nobodys=DATABASE_AWAY
        )
        self._results: Batcher[_Result, Ended | None] = Batcher(
            self._finish, batch_max=MOST_AT_ONCE, wait_s=gather_s, share=ENOUGH, nobodys=DATABASE_AWAY
        )

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Say that a study is at work, until the context ends: a result will follow, and another claim."""
        with self._claims.arriving(), self._results.arriving():
            yield

    def claim(self, study_id: UUID) -> Claim | Suspect | None:
        """Start an attempt at a study, unless it is a suspect; ``None`` when there is nothing to do.

        Raises:
            DatabaseAway: PostgreSQL is away.
        """
        return self._claims.submit(study_id).result()

    def claim_alone(self, study_id: UUID) -> Claim | None:
        """Start an attempt at a study, whatever became of the last one; ``None`` when there is nothing to do."""
        return self._claim([study_id], suspects_too=True).claims.get(study_id)

    def finish(self, claim: Claim, outcomes: Sequence[LesionOutcome]) -> Ended | None:
        """Write a study's result; once this returns, it is committed.

        Returns:
            How the study ended; ``None``, with nothing written, when the attempt is not its last any more.

        Raises:
            DatabaseAway: PostgreSQL is away; nothing was written, or it was and is found to be at the next try.
        """
        return self._results.submit(_Result(claim, outcomes)).result()

    def ended(self, study_id: UUID) -> Ended | None:
        """Look up how a study ended that is not to be claimed; ``None`` while it is open."""
        with self.sessions() as session:
            return study_queries.ended(session, study_id)

    def release(self, claim: Claim) -> None:
        """Give a study back to the queue; the attempt does not count."""
        with self.sessions.begin() as session:
            ledger.release(session, claim.study_id, claim.attempt)

    def fail_attempt(self, claim: Claim, error: Exception) -> None:
        """End an attempt without a result, and keep where the error was raised."""
        with self.sessions.begin() as session:
            ledger.fail_attempt(session, claim.study_id, claim.attempt, Code.INTERNAL_ERROR.value, story_of(error))

    def close(self) -> None:
        """End the threads, once they have written what they have."""
        self._claims.close()
        self._results.close()

    def _claim_together(self, study_ids: Sequence[UUID]) -> list[Claim | Suspect | None]:
        claimed = self._claim(study_ids, suspects_too=False)
        return [Suspect() if study in claimed.suspects else claimed.claims.get(study) for study in study_ids]

    def _claim(self, study_ids: Sequence[UUID], *, suspects_too: bool) -> Claimed:
        with self.sessions.begin() as session:
            claimed = ledger.claim(
                session,
                study_ids,
                self._max_attempts,
                lease_s=self.lease_keeper.lease_s,
                worker=self.lease_keeper.worker,
                suspects_too=suspects_too,
            )
            place_studies(session, claimed.exhausted)
        for claim in claimed.claims.values():
            self.lease_keeper.claimed(claim.study_id, claim.attempt)
        return claimed

    def _finish(self, results: Sequence[_Result]) -> list[Ended | None]:
        with self.sessions.begin() as session:
            held = ledger.hold(session, {result.claim.study_id: result.claim.attempt for result in results})
            records = {
                claim.study_id: result_record(claim, outcomes) for claim, outcomes in results if claim.study_id in held
            }
            written = ledger.finish(session, list(records.values()), held)
            place_studies(session, written)
        return [_ended(records[claim.study_id], claim) if claim.study_id in written else None for claim, _ in results]


def _ended(record: StudyResultRecord, claim: Claim) -> Ended:
    return Ended(record.state, record.error_code, claim.starts)
