"""Waiting for what is away: a server, the storage, a model, a person's repair.

Why nothing is retried through the queue: docs/decisions/0006-no-celery-retries.md.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from db.errors import RoleRefused
from db.outages import DATABASE_AWAY, DatabaseAway, is_of_a_right
from worker.errors import DlrError, ModelRefused, SetupRefused, Unavailable
from worker.outages.backoff import backoff_s
from worker.outages.redis_answers import AWAY as REDIS_AWAY
from worker.outages.redis_answers import reason_of
from worker.settings import get_settings

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 10.0

RIGHT_WAIT_S = 300.0
"""How long a right in the database may be missing until a process ends, in seconds: a migration that grants it, or a
restart of the pooler, may be under way."""

# A refused model or setting, as a schema that is not this version's, is mended by a person: the study waits until then.
AWAY = (*DATABASE_AWAY, Unavailable, ModelRefused, SetupRefused, *REDIS_AWAY, ConnectionError)
"""What work raises when it can be done later."""

stopping = threading.Event()
"""Set once this worker has been told to end."""

_ending = threading.Event()

T = TypeVar("T")


class Stopping(Exception):
    """What is waited for is still away, and this worker ends."""


def retry_while_away(work: Callable[[], T], away: tuple[type[Exception], ...] = AWAY) -> T:
    """Do work, and while something is away, wait and do it again: ``DLR_RETRY_WAIT_S``, then doubled up to 10 s.

    Where it is a right in the database, and stays so for `RIGHT_WAIT_S`, this process ends, for a person to see.

    Raises:
        Stopping: the worker ends.
        Exception: whatever else the work raises.
    """
    first_s, failures = get_settings().retry_wait_s, 0
    lacking_since: float | None = None
    while True:
        try:
            return work()
        except away as error:
            failures += 1
            # The first wait is the setting's, be it none or longer than the longest of those that follow.
            wait_s = first_s if failures == 1 else backoff_s(failures, first_s, LONGEST_WAIT_S)
            logger.warning("waiting %.0f s for a service: %s", wait_s, kind_of(error))
            lacking_since = (lacking_since or time.monotonic()) if is_of_a_right(error) else None
        if lacking_since is not None and time.monotonic() - lacking_since >= RIGHT_WAIT_S:
            _end_without_right()
            raise Stopping
        if stopping.wait(wait_s):
            raise Stopping


def _end_without_right() -> None:
    """Ask this process to end as its supervisor would, once: what it has at hand goes back, and no attempt is counted.

    Who supervises it starts it again, so a right that is granted later needs nobody.
    """
    if not _ending.is_set():
        _ending.set()
        logger.critical("a right in the database has been missing for %.0f s: this process ends", RIGHT_WAIT_S)
        os.kill(os.getpid(), signal.SIGTERM)


def kind_of(error: BaseException) -> str:
    """Return what may be logged of an error: our code, an outage in words, or the type of another foreign one."""
    match error:
        case DlrError():
            return error.code.value
        case DatabaseAway():
            return error.sentence
        case RoleRefused():
            return str(error)
        case _ if isinstance(error, REDIS_AWAY):
            return f"Redis {reason_of(error)}"
        case _:
            return type(error).__qualname__
