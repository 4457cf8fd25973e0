"""The reconciler: what the ledger says is to be done, and nobody does, is put back on the queue.

PostgreSQL is the source of truth. A worker that dies leaves a lease that runs out; a Redis that loses its messages
leaves studies that are queued in the ledger alone. Safe to run in every worker of every host at once: a study is taken
by one (``FOR UPDATE SKIP LOCKED``), and a message too many changes nothing.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from kombu.exceptions import OperationalError as BrokerError
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from db import ledger
from worker.clinical.categories import Priority

logger = logging.getLogger(__name__)

UNQUEUED_AFTER_S = 15.0
"""A study has been queued for longer than this, and Redis has fewer messages than the ledger has queued studies."""

_SEPARATOR, _STEPS = "\x06\x16", (0, 3, 6, 9)


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Puts studies back on the queue.

    Attributes:
        sessions: the ledger's.
        enqueue: puts a study id on the queue.
        count_messages: says how many messages Redis holds for studies, those that workers have taken included.
    """

    sessions: sessionmaker[Session]
    enqueue: Callable[[str, Priority], None]
    count_messages: Callable[[], int]

    def reconcile(self) -> int:
        """Look once; return how many studies were put back.

        Raises:
            SQLAlchemyError, RedisError, BrokerError: a server is away; nothing is lost, the next look finds the same.
        """
        with self.sessions.begin() as session:
            found = ledger.take_stranded(session)
        if found:
            logger.warning("%d studies had lost their worker and are queued again", len(found))
        with self.sessions() as session:
            queued = ledger.count_queued(session)
        if queued > self.count_messages() + len(found):
            with self.sessions.begin() as session:
                lost = ledger.take_unqueued(session, UNQUEUED_AFTER_S)
            if lost:
                logger.warning("%d studies were queued in the ledger and not in Redis; queued again", len(lost))
            found += lost
        for study_id, priority in found:
            self.enqueue(str(study_id), Priority(priority))
        return len(found)

    def run(self, interval_s: float, stopped: threading.Event) -> None:
        """Look every ``interval_s`` seconds until ``stopped``; servers that are away are waited for."""
        while not stopped.wait(interval_s):
            try:
                self.reconcile()
            except (SQLAlchemyError, RedisError, BrokerError) as error:
                logger.warning("the reconciler waits for a service: %s", type(error).__qualname__)


def messages_in(redis_url: str, key_prefix: str) -> Callable[[], int]:
    """Return a function that counts the messages for studies in Redis: waiting, and taken but not acknowledged."""
    client = Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=5)
    lists = [f"{key_prefix}inference{_SEPARATOR}{step}" if step else f"{key_prefix}inference" for step in _STEPS]

    def count() -> int:
        with client.pipeline(transaction=False) as pipe:
            for name in lists:
                pipe.llen(name)
            pipe.hlen(f"{key_prefix}unacked")
            return sum(pipe.execute())

    return count
