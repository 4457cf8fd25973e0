"""A worker's leases: heartbeats to the ledger for the studies in flight, for as long as the worker lives."""

import logging
import os
import socket
import threading
import time
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db.writes import ledger
from worker.outages.retry import kind_of

logger = logging.getLogger(__name__)

HEARTBEATS_PER_LEASE = 3


class LeaseKeeper:
    """The studies in flight in this process, and the thread that prolongs their leases.

    Args:
        sessions: the ledger's.
        lease_s: seconds until a worker that says nothing more counts as dead.
    """

    def __init__(self, sessions: sessionmaker[Session], lease_s: float) -> None:
        self._sessions = sessions
        self.lease_s = lease_s
        self.worker = f"{socket.gethostname()}:{os.getpid()}"
        self._in_flight: dict[UUID, int | None] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def take(self, study_id: UUID) -> bool:
        """Take a study; ``False`` when it is in flight already: a message delivered twice starts nothing twice."""
        with self._lock:
            if study_id in self._in_flight:
                return False
            self._in_flight[study_id] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_heartbeats, name="lease-keeper", daemon=True)
                self._thread.start()
            return True

    def claimed(self, study_id: UUID, attempt: int) -> None:
        """Say under which attempt a study in flight is worked on: from now on its lease is prolonged."""
        with self._lock:
            self._in_flight[study_id] = attempt

    def put_back(self, study_id: UUID) -> None:
        """Let go of a study."""
        with self._lock:
            self._in_flight.pop(study_id, None)

    def give_back(self) -> int:
        """Give what is in flight back to the queue, its attempts uncounted; say how many studies that were.

        Their results are refused from now on. The worker has to end at once.

        Raises:
            DatabaseAway: PostgreSQL is away; the studies come back when their leases have run out.
        """
        with self._sessions.begin() as session:
            return sum(ledger.release(session, study, attempt) for study, attempt in self._claims().items())

    def stop(self) -> None:
        """Prolong no lease any more."""
        self._stopped.set()

    def _send_heartbeats(self) -> None:
        took = 0.0
        # From beat to beat, however long one takes: a server far away takes half a second for each of its statements.
        while not self._stopped.wait(max(self.lease_s / HEARTBEATS_PER_LEASE - took, 0)):
            started = time.monotonic()
            self._send_heartbeat()
            took = time.monotonic() - started

    def _send_heartbeat(self) -> None:
        if claims := self._claims():
            try:
                with self._sessions.begin() as session:
                    ledger.extend_leases(session, claims, self.lease_s)
            except Exception as error:  # noqa: BLE001  a thread that ended would renew no lease ever again
                logger.warning("leases could not be renewed: %s", kind_of(error))

    def _claims(self) -> dict[UUID, int]:
        with self._lock:
            return {study: attempt for study, attempt in self._in_flight.items() if attempt is not None}
