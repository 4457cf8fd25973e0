"""The tasks: parse, call the pipeline, classify the error. Flower imports this, so torch is imported inside a task."""

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from celery.exceptions import Reject
from celery.signals import worker_shutting_down
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from worker.app import app
from worker.errors import Code, DlrError, JobRefused, Unavailable
from worker.gate import INFER_STUDY, RECORD_REFUSAL, SUBMIT_STUDY
from worker.settings import get_settings

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 60.0
_AWAY = (Unavailable, BrokerError, OperationalError, InterfaceError, ConnectionError)
_stopping = threading.Event()
T = TypeVar("T")


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_waiting(**_kwargs: Any) -> None:
    _stopping.set()


@app.task(name=SUBMIT_STUDY, typing=False)  # type: ignore[untyped-decorator]
def submit_study(job: Any = None) -> str | None:
    """Accept a study that an integrator pushed. Returns the ledger's opaque id, or ``None`` when it was refused."""
    from worker.runtime import intake

    def accept() -> str | None:
        try:
            return str(intake().submit(job, "queue").study_id)
        except JobRefused as refused:
            logger.warning("a pushed job was refused: %s", refused.code)
            return None

    return patiently(accept)


@app.task(name=RECORD_REFUSAL, typing=False)  # type: ignore[untyped-decorator]
def record_refusal(code: str, reason: str, raw: str) -> str:
    """Keep a message that could not be read. Returns the ledger's opaque id."""
    from worker.runtime import intake

    logger.warning("a message was refused: %s", Code(code))
    return patiently(lambda: str(intake().refuse(raw, JobRefused(Code(code), reason), "queue")))


@app.task(name=INFER_STUDY)  # type: ignore[untyped-decorator]
def infer_study(study_id: str) -> str | None:
    """Score a study of the ledger. Returns the state that it ended in, or ``None`` when there was nothing to do."""
    from worker.runtime import pipeline

    return patiently(lambda: pipeline().run(UUID(study_id)))


def patiently(work: Callable[[], T]) -> T:
    """Do work, and while a server or the storage is away, wait and do it again.

    Raises:
        Reject: the worker is stopping; the message goes back to its queue.
        RuntimeError: a defect; its text is the type of the exception alone.
    """
    wait_s = get_settings().retry_wait_s
    while True:
        try:
            return work()
        except _AWAY as away:
            logger.warning("waiting %.0f s for a service that is away: %s", wait_s, _kind(away))
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise _defect(error) from None
            logger.warning("the database connection broke; trying again")
        except Exception as error:  # noqa: BLE001  its text may quote an identifier
            raise _defect(error) from None
        if _stopping.wait(wait_s):
            raise Reject(requeue=True)
        wait_s = min(max(wait_s, 0.1) * 2, LONGEST_WAIT_S)


def _kind(error: Exception) -> str:
    return error.code.value if isinstance(error, DlrError) else type(error).__qualname__


def _defect(error: Exception) -> RuntimeError:
    logger.error("a defect of this software", exc_info=error)
    return RuntimeError(type(error).__qualname__)
