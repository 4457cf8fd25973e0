"""Jobs that a listener takes, on their way through Redis: once for each message, and before its sender hears so."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

from redis import Redis

from worker.broker.message_gate import TaskMessage, envelope
from worker.broker.queues import QUEUE_OF_TASK, RECORD_REFUSAL, SUBMIT_STUDY, list_of, step_of_fetched
from worker.broker.refused_identifiers import named_in
from worker.clinical.categories import Priority
from worker.errors import JobRefused

KEPT_S: Final = 7 * 24 * 3600
"""How long a message's number is remembered, in seconds: senders repeat what was not answered for days."""

KEPT_OF_REFUSED: Final = 1 << 16
"""Characters of a refused message that are kept for a person to look at."""

MESSAGE: Final = "dlr.listened."
"""How the key of a message that was taken begins; a digest follows, and no identifier."""

_NAMESPACE: Final = UUID("5b1f5a4c-6a0f-5d7e-9f0b-7c2a1f1f9a57")

_PUT: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""
"""Puts a message on its list unless the same was put there. Keys: its number's, the list. Arguments: what it asks for,
how long that is remembered, the message. The list first: what is put there twice changes nothing, and a number that
is remembered without its message would lose it."""


@dataclass(frozen=True, slots=True)
class InboundQueue:
    """Where jobs go; for any number of threads.

    Attributes:
        client: with time limits.
        key_prefix: before each of Celery's keys.
    """

    client: Redis
    key_prefix: str

    def put(self, sender: str, control_id: str, job: dict[str, Any]) -> bool:
        """Put a job on the queue; say whether it was not there by the same message before.

        Args:
            sender: who numbers its messages.
            control_id: the message's number.
            job: as the contract has it.

        Raises:
            RedisError: Redis is away; the message may be sent again.
        """
        number = _digest(sender, control_id)
        content = json.dumps(job, sort_keys=True)
        message = TaskMessage(SUBMIT_STUDY, uuid5(_NAMESPACE, number + content), [], {"job": job}, _step(job))
        return self._put(number, _digest(content), message)

    def refuse(self, sender: str, control_id: str, text: str, refused: JobRefused) -> bool:
        """Put the record of a refusal on the queue, with the message; as `put`."""
        number = _digest(sender, control_id, text)
        named = named_in(text)
        said = {"code": refused.code.value, "reason": refused.reason, "raw": text[:KEPT_OF_REFUSED]}
        message = TaskMessage(RECORD_REFUSAL, uuid5(_NAMESPACE, number), [], {**said, **named.said()}, 0)
        return self._put(number, _digest(text), message)

    def _put(self, number: str, content: str, message: TaskMessage) -> bool:
        queue = QUEUE_OF_TASK[message.task]
        keys = [f"{self.key_prefix}{MESSAGE}{number}", f"{self.key_prefix}{list_of(queue, message.priority)}"]
        put = self.client.register_script(_PUT)
        return bool(put(keys=keys, args=[content, KEPT_S, json.dumps(envelope(message, queue))]))


def _step(job: dict[str, Any]) -> int:
    return step_of_fetched(Priority(job.get("priority", Priority.ROUTINE.value)))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
