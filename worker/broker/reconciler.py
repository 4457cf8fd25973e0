"""The reconciler: what the ledger says is to be done, and nobody does, is put back on the queue.

PostgreSQL is the source of truth. A worker that dies leaves a lease that runs out, or a message that it took and did
not write down; a Redis that loses its messages leaves studies that are queued in the ledger alone. Safe to run in every
worker of every host at once: a study is taken by one (``FOR UPDATE SKIP LOCKED``), and a message too many changes
nothing.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from redis import Redis
from sqlalchemy.orm import Session, sessionmaker

from db.schema.records import Queued
from db.writes import ledger
from worker.broker.queues import QUEUES, STEPS, list_of
from worker.broker.redis_scripts import TAKEN, put_back
from worker.outages.retry import AWAY, kind_of

logger = logging.getLogger(__name__)

UNQUEUED_AFTER_S = 5.0
"""A study is looked after once it has been queued for so long; until then its message may be on its way."""

MOST_AT_ONCE = 1000
"""Studies that one look puts back."""

PROBE = "dlr.probe"
"""A key that is written to see whether Redis takes writes, and gone in a moment."""


@dataclass(frozen=True, slots=True)
class RedisQueues:
    """The messages of the workers in Redis.

    Attributes:
        client: with time limits; Redis may hang.
        key_prefix: before each of Celery's keys.
    """

    client: Redis
    key_prefix: str

    def count(self) -> int:
        """Return how many messages Redis holds for studies: waiting, and taken but not acknowledged."""
        with self.client.pipeline(transaction=False) as pipe:
            for name in _lists("inference"):
                pipe.llen(f"{self.key_prefix}{name}")
            for name in ("unacked", TAKEN):
                pipe.hlen(f"{self.key_prefix}{name}")
            return sum(pipe.execute())

    def probe(self) -> None:
        """Write something: a Redis that takes no messages answers a ping.

        Raises:
            RedisError: Redis is away, or takes no writes.
        """
        self.client.set(f"{self.key_prefix}{PROBE}", "", px=1)

    def waiting(self) -> dict[str, int]:
        """Return how many messages wait on each queue."""
        waiting = self.waiting_by_step()
        return {queue: sum(waiting[queue, step] for step in STEPS) for queue in QUEUES}

    def waiting_by_step(self) -> dict[tuple[str, int], int]:
        """Return how many messages wait on each queue, at each of kombu's steps of priority, 0 the most urgent."""
        places = [(queue, step) for queue in QUEUES for step in STEPS]
        with self.client.pipeline(transaction=False) as pipe:
            for queue in QUEUES:
                for name in _lists(queue):
                    pipe.llen(f"{self.key_prefix}{name}")
            return dict(zip(places, pipe.execute(), strict=True))

    def at_work(self) -> int:
        """Return how many messages workers have taken and not acknowledged."""
        return sum(int(self.client.hlen(f"{self.key_prefix}{name}")) for name in ("unacked", TAKEN))

    def put_back(self, older_than_s: float) -> int:
        """Put messages back that a worker took longer ago and never wrote down; say how many."""
        return put_back(self.client, self.key_prefix, older_than_s)


def _lists(queue: str) -> list[str]:
    """Name the lists in which kombu keeps a queue, one a priority."""
    return [list_of(queue, step) for step in STEPS]


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Puts studies back on the queue.

    Attributes:
        sessions: the ledger's.
        enqueue: puts a study on the queue.
        messages: what Redis holds.
        lease_s: seconds until a worker that says nothing more counts as dead.
    """

    sessions: sessionmaker[Session]
    enqueue: Callable[[Queued], None]
    messages: RedisQueues
    lease_s: float

    def reconcile(self) -> int:
        """Look once; return how many messages and studies were put back.

        Raises:
            DatabaseAway, RedisError, OperationalError: a server is away; nothing is lost, the next look finds the same.
        """
        returned = self.messages.put_back(self.lease_s)
        if returned:
            logger.warning("%d messages of dead workers were requeued", returned)
        with self.sessions.begin() as session:
            found = ledger.requeue_expired(session)
        if found:
            logger.warning("%d studies of dead workers were requeued", len(found))
        found += self._lost_by_redis(len(found))
        for study in found:
            self.enqueue(study)
        return returned + len(found)

    def _lost_by_redis(self, on_their_way: int) -> list[Queued]:
        """Find studies that are queued in the ledger and have no message.

        A study at work has a message too, or had one: a lesser count of messages than this cannot be explained.
        """
        with self.sessions() as session:
            queued, running = ledger.count_open(session)
        missing = queued - on_their_way - max(self.messages.count() - running, 0)
        if missing <= 0:
            return []
        with self.sessions.begin() as session:
            lost = ledger.requeue_lost(session, UNQUEUED_AFTER_S, min(missing, MOST_AT_ONCE))
        if lost:
            logger.warning("%d studies were queued in the ledger but missing in Redis; requeued", len(lost))
        return lost

    def run(self, interval_s: float, stopped: threading.Event) -> None:
        """Look every ``interval_s`` seconds until ``stopped``; whatever a look met, the next one may not meet."""
        while not stopped.wait(interval_s):
            try:
                self.reconcile()
            except AWAY as error:
                logger.warning("the reconciler waits for a service: %s", kind_of(error))
                # The address of a master leads to another server after a failover.
                self.messages.client.connection_pool.disconnect()
            except Exception as error:
                logger.error("a defect of this software", exc_info=error)
