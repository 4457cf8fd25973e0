"""Waiting for what is away: a server, the storage, a model, a person's repair.

Why nothing is retried through the queue: docs/decisions/0006-no-celery-retries.md.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from db.outages import DATABASE_AWAY, DatabaseAway
from worker.errors import DlrError, ModelRefused, SetupRefused, Unavailable
from worker.outages.backoff import backoff_s
from worker.outages.redis_answers import AWAY as REDIS_AWAY
from worker.outages.redis_answers import reason_of
from worker.settings import get_settings

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 10.0

# A refused model or setting, as a schema that is not this version's, is mended by a person: the study waits until then.
AWAY = (*DATABASE_AWAY, Unavailable, ModelRefused, SetupRefused, *REDIS_AWAY, ConnectionError)
"""What work raises when it can be done later."""

stopping = threading.Event()
"""Set once this worker has been told to end."""

T = TypeVar("T")


class Stopping(Exception):
    """What is waited for is still away, and this worker ends."""


def retry_while_away(work: Callable[[], T], away: tuple[type[Exception], ...] = AWAY) -> T:
    """Do work, and while something is away, wait and do it again: ``DLR_RETRY_WAIT_S``, then doubled up to 10 s.

    Raises:
        Stopping: the worker ends.
        Exception: whatever else the work raises.
    """
    first_s, failures = get_settings().retry_wait_s, 0
    while True:
        try:
            return work()
        except away as error:
            failures += 1
            # The first wait is the setting's, be it none or longer than the longest of those that follow.
            wait_s = first_s if failures == 1 else backoff_s(failures, first_s, LONGEST_WAIT_S)
            logger.warning("waiting %.0f s for a service: %s", wait_s, kind_of(error))
        if stopping.wait(wait_s):
            raise Stopping


def kind_of(error: BaseException) -> str:
    """Return what may be logged of an error: our code, an outage in words, or the type of another foreign one."""
    match error:
        case DlrError():
            return error.code.value
        case DatabaseAway():
            return error.sentence
        case _ if isinstance(error, REDIS_AWAY):
            return f"Redis {reason_of(error)}"
        case _:
            return type(error).__qualname__
