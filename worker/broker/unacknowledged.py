"""A message whose work takes longer than a lease: it is said, again and again, that somebody has it.

Celery's transport puts a message back that nobody acknowledged within the lease, as it should where its worker died. A
study on record has a lease in the ledger; what is fetched first has none, and would be fetched again and again.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

_INDEX = "unacked_index"
_TIMES_PER_LEASE = 3


@contextmanager
def held(client: Redis, key_prefix: str, delivery_tag: str, lease_s: float) -> Iterator[None]:
    """Keep a message from being put back for as long as the context lasts, and this process lives.

    Args:
        client: with time limits; while it does not answer, the message may be put back, which changes nothing.
        key_prefix: before each of Celery's keys.
        delivery_tag: the message's.
        lease_s: after which it would be put back.
    """
    ended = threading.Event()

    def say() -> None:
        while not ended.wait(lease_s / _TIMES_PER_LEASE):
            try:
                client.zadd(f"{key_prefix}{_INDEX}", {delivery_tag: time.time()}, xx=True)
            except RedisError:
                logger.warning("Redis does not take that a message is at work")

    saying = threading.Thread(target=say, name="held", daemon=True)
    saying.start()
    try:
        yield
    finally:
        ended.set()
        saying.join()
