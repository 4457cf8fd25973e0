"""What was answered to a request with an ``Idempotency-Key``, kept in Redis for a day, for every process.

A job that is pushed again is the same study with or without a key (`worker.intake.accept_study`). What a key adds is
the same answer, word for word, and that another job under it is refused. So nothing depends on Redis: while it is away,
a key is not looked at. It holds hashes and opaque ids alone.

The header is that of draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from worker.api.problems import ProblemError
from worker.errors import Code
from worker.outages.redis_answers import AWAY as REDIS_AWAY
from worker.outages.redis_answers import reason_of

logger = logging.getLogger(__name__)

KEPT_S: Final = 24 * 3600
"""How long a key is known, in seconds."""

LONGEST_KEY: Final = 255


@dataclass(frozen=True)
class IdempotencyKeys:
    """The keys of all tokens.

    Attributes:
        redis: the broker's.
        prefix: of every name in it.
    """

    redis: "Redis"
    prefix: str = ""

    def answered(self, owner: str, key: str, body: bytes) -> dict[str, Any] | None:
        """Take a key for a request, and return what the same request was answered before.

        Args:
            owner: the token's name.
            key: as the program gave it.
            body: the whole request.

        Raises:
            ProblemError: ``idempotency_key_reused``; another request came with it.
        """
        digest = hashlib.sha256(body).hexdigest()
        name = self._name(owner, key)
        try:
            if self.redis.set(name, json.dumps({"request": digest}), nx=True, ex=KEPT_S):
                return None
            kept = self.redis.get(name)
        except REDIS_AWAY as error:
            logger.warning("an Idempotency-Key was not looked at: Redis %s", reason_of(error))
            return None
        if not isinstance(kept, bytes):  # it expired just now
            return None
        said = json.loads(kept)
        if said["request"] != digest:
            raise ProblemError(Code.IDEMPOTENCY_KEY_REUSED)
        answer: dict[str, Any] | None = said.get("answer")
        return answer

    def keep(self, owner: str, key: str, body: bytes, answer: dict[str, Any]) -> None:
        """Keep what a request was answered."""
        said = {"request": hashlib.sha256(body).hexdigest(), "answer": answer}
        try:
            self.redis.set(self._name(owner, key), json.dumps(said), ex=KEPT_S)
        except REDIS_AWAY as error:
            logger.warning("an Idempotency-Key was not kept: Redis %s", reason_of(error))

    def forget(self, owner: str, key: str) -> None:
        """Let a key be used again: its request was refused, and comes corrected."""
        try:
            self.redis.delete(self._name(owner, key))
        except REDIS_AWAY as error:
            logger.warning("an Idempotency-Key was not forgotten: Redis %s", reason_of(error))

    def _name(self, owner: str, key: str) -> str:
        return f"{self.prefix}dlr:idempotency:{hashlib.sha256(f'{owner} {key}'.encode()).hexdigest()}"
