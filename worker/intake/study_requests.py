"""Studies that a program asked for over HTTP and that have to be fetched: on their way through Redis, and what came.

A request is the queue's message for as long as its study is not on record. Its id is the message's, opaque, and leads
to the study's once that has one.
"""

import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

from redis import Redis

from worker.broker.message_gate import TaskMessage, envelope
from worker.broker.queues import QUEUE_OF_TASK, SUBMIT_STUDY, list_of, step_of_fetched
from worker.clinical.categories import Priority

KEPT_S: Final = 7 * 24 * 3600
"""How long a request is known, in seconds."""

REQUEST: Final = "dlr.request."
"""How the key of a request begins; its id follows, and what it holds is the study's."""


@dataclass(frozen=True, slots=True)
class StudyRequests:
    """Requests of all programs; for any number of threads. Each method raises ``RedisError`` while Redis is away.

    Attributes:
        client: with time limits.
        key_prefix: before each of Celery's keys.
    """

    client: Redis
    key_prefix: str

    def put(self, job: dict[str, Any], priority: Priority) -> UUID:
        """Put a job on the queue of jobs, behind those whose studies are here, and return its request's id.

        Args:
            job: that `worker.contract.parse_pushed` has read.
            priority: the job's.
        """
        message = TaskMessage(SUBMIT_STUDY, uuid4(), [], {"job": job}, step_of_fetched(priority))
        queue = QUEUE_OF_TASK[message.task]
        with self.client.pipeline(transaction=True) as pipe:
            pipe.set(self._key(message.task_id), "", ex=KEPT_S)
            pipe.lpush(f"{self.key_prefix}{list_of(queue, message.priority)}", json.dumps(envelope(message, queue)))
            pipe.execute()
        return message.task_id

    def ended(self, request_id: UUID, study_id: UUID) -> None:
        """Say under which id a request's study, or its refusal, is on record; nothing is kept of what nobody asked."""
        self.client.set(self._key(request_id), str(study_id), ex=KEPT_S, xx=True)

    def study_of(self, request_id: UUID) -> UUID | None:
        """Return the id of a request's study; ``None``: it is not on record yet.

        Raises:
            KeyError: there is no such request, or it is no longer known.
        """
        kept = self.client.get(self._key(request_id))
        if not isinstance(kept, bytes):
            raise KeyError
        return UUID(kept.decode()) if kept else None

    def _key(self, request_id: UUID) -> str:
        return f"{self.key_prefix}{REQUEST}{request_id}"
