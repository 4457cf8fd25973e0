"""Studies that arrive at once, recorded in one transaction and put on the queue in one step.

While a transaction is under way the next studies gather; where others are being read, it waits a moment for them. A
study alone waits for nobody. Which studies are new is all that is found out here: what is on record already, or is
corrected, is each study's own transaction (`worker.intake.accept_study`).
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy.orm import Session, sessionmaker

from db.outages import DATABASE_AWAY
from db.schema.records import Queued, Recorded, StudyRecord
from db.writes import ledger
from worker.batcher import Batcher
from worker.outages.redis_answers import AWAY as REDIS_AWAY
from worker.outages.redis_answers import is_out_of_memory, reason_of
from worker.scoring.worklist_place import place_studies

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 64
"""Studies in one transaction."""

GATHER_S = 0.01
"""How long a transaction waits for studies that are being read, in seconds."""


class Enqueue(Protocol):
    """Queues studies for inference."""

    def __call__(self, *studies: Queued) -> None:
        """Queue them, in one step."""


class Together:
    """Records and queues new studies; for any number of threads at once.

    Args:
        sessions: the ledger's.
        enqueue: is called after the commit.
    """

    def __init__(self, sessions: sessionmaker[Session], enqueue: Enqueue) -> None:
        self._sessions = sessions
        self._enqueue = enqueue
        self._batcher: Batcher[StudyRecord, Recorded | None] = Batcher(
            self._accept, batch_max=MOST_AT_ONCE, wait_s=GATHER_S, nobodys=(*DATABASE_AWAY, *REDIS_AWAY)
        )

    def arriving(self) -> AbstractContextManager[None]:
        """Say that a study is being read, until the context ends."""
        return self._batcher.arriving()

    def accept(self, record: StudyRecord) -> Recorded | None:
        """Record a study and queue it; once this returns, it is committed.

        Returns:
            ``None``, with nothing written, when the study is on record.

        Raises:
            DatabaseAway: PostgreSQL is away; nothing was written.
            RedisError, OperationalError: Redis is away; the study is on record.
        """
        return self._batcher.submit(record).result()

    def close(self) -> None:
        """End the thread, once it has written what it has."""
        self._batcher.close()

    def _accept(self, records: Sequence[StudyRecord]) -> list[Recorded | None]:
        with self._sessions.begin() as session:
            recorded = ledger.record_new(session, records)
            new = [one for one in recorded if one is not None]
            place_studies(session, [one.study_id for one in new])
        if new:
            self._enqueue(*map(queued, new))
        return recorded


def queued(recorded: Recorded) -> Queued:
    """Return what is put on the queue of a study that is on record."""
    return Queued(recorded.study_id, recorded.priority, recorded.uncounted)


def unless_full(enqueue: Enqueue) -> Enqueue:
    """Queue studies that are on record; where Redis has no room for more messages, the reconciler does so later.

    The jobs' own messages are part of what fills it, and go.
    """
    return _or_later(enqueue, is_out_of_memory)


def unless_away(enqueue: Enqueue) -> Enqueue:
    """Queue studies that are on record; where Redis is away, the reconciler does so once it is back."""
    return _or_later(enqueue, lambda _error: True)


def _or_later(enqueue: Enqueue, is_left: Callable[[Exception], bool]) -> Enqueue:
    def enqueue_or_leave(*studies: Queued) -> None:
        try:
            enqueue(*studies)
        except REDIS_AWAY as error:
            if not is_left(error):
                raise
            for study in studies:
                logger.warning(
                    "study %s is on record and will be queued later: Redis %s", study.study_id, reason_of(error)
                )

    return enqueue_or_leave
