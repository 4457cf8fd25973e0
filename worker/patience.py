"""Waiting for what is away: a server, the storage, a model, a person's repair."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

from db.errors import RoleRefused
from worker.errors import DlrError, ModelRefused, SetupRefused, Unavailable
from worker.settings import get_settings

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 10.0

DATABASE_AWAY = (OperationalError, InterfaceError)
"""What SQLAlchemy raises when PostgreSQL does not answer, or stops answering."""

# A ProgrammingError is a schema that is not there yet, or not this version's: a person is migrating, or has to.
# A refused model, setting or database role is the same: the study waits until it is mended.
AWAY = (
    *DATABASE_AWAY,
    Unavailable,
    ModelRefused,
    SetupRefused,
    RoleRefused,
    BrokerError,
    ProgrammingError,
    ConnectionError,
)
"""What work raises when it can be done later."""

stopping = threading.Event()
"""Set once this worker has been told to end."""

T = TypeVar("T")


class Stopping(Exception):
    """What is waited for is still away, and this worker ends."""


def patiently(work: Callable[[], T], away: tuple[type[Exception], ...] = AWAY) -> T:
    """Do work, and while something is away, wait and do it again: ``DLR_RETRY_WAIT_S``, doubled up to 10 s.

    Raises:
        Stopping: the worker ends.
        Exception: whatever else the work raises.
    """
    wait_s = get_settings().retry_wait_s
    while True:
        try:
            return work()
        except away as error:
            logger.warning("waiting %.0f s for a service: %s", wait_s, kind_of(error))
        if stopping.wait(wait_s):
            raise Stopping
        wait_s = min(max(wait_s, 0.1) * 2, LONGEST_WAIT_S)


def kind_of(error: BaseException) -> str:
    """Return what may be logged of an error: our code, or the type of a foreign one."""
    return error.code.value if isinstance(error, DlrError) else type(error).__qualname__
