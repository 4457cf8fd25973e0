"""The tasks: parse, call the pipeline, classify the error. Flower imports this, so torch is imported inside a task."""

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from celery.exceptions import Reject
from celery.signals import worker_ready, worker_shutting_down
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

from db.errors import RoleRefused
from worker.app import app
from worker.contract import parse_job
from worker.errors import Code, DlrError, JobRefused, ModelRefused, SetupRefused, Unavailable
from worker.gate import INFER_STUDY, RECORD_REFUSAL, SUBMIT_STUDY
from worker.settings import get_settings

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 60.0
# A ProgrammingError is a schema that is not there yet, or not this version's: a person is migrating, or has to.
# A refused model, setting or database role is the same: the study waits until it is mended.
_AWAY = (
    Unavailable,
    ModelRefused,
    SetupRefused,
    RoleRefused,
    BrokerError,
    OperationalError,
    InterfaceError,
    ProgrammingError,
    ConnectionError,
)
_stopping = threading.Event()
T = TypeVar("T")


@worker_ready.connect  # type: ignore[untyped-decorator]
def _start_reconciling(**_kwargs: Any) -> None:
    from worker.runtime import reconciler

    look = threading.Thread(
        target=lambda: reconciler().run(get_settings().reconcile_s, _stopping), name="reconciler", daemon=True
    )
    look.start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_waiting(**_kwargs: Any) -> None:
    _stopping.set()


@app.task(name=SUBMIT_STUDY, typing=False)  # type: ignore[untyped-decorator]
def submit_study(job: Any = None) -> str | None:
    """Accept a study that an integrator pushed. Returns the ledger's opaque id, or ``None`` when it was refused."""
    return patiently(lambda: _accept(job))


@app.task(name=RECORD_REFUSAL, typing=False)  # type: ignore[untyped-decorator]
def record_refusal(code: str, reason: str, raw: str) -> None:
    """Keep a message that could not be read."""
    patiently(lambda: _refuse(raw, JobRefused(Code(code), reason)))


@app.task(name=INFER_STUDY)  # type: ignore[untyped-decorator]
def infer_study(study_id: str) -> str | None:
    """Score a study of the ledger. Returns the state that it ended in, or ``None`` when there was nothing to do."""

    def infer() -> str | None:
        from worker.runtime import pipeline

        return pipeline().run(UUID(study_id))

    return patiently(infer)


def _accept(job: Any) -> str | None:
    from worker.runtime import intake

    try:
        return str(intake().accept(parse_job(job), "queue").study_id)
    except JobRefused as refused:
        _refuse(job, refused)
    except _AWAY:
        raise
    except Exception as error:
        logger.error("a defect of this software", exc_info=error)
        _refuse(job, JobRefused(Code.INTERNAL_ERROR))
    return None


def _refuse(raw: object, refused: JobRefused) -> None:
    from worker.runtime import intake

    logger.warning("a message was refused: %s", refused.code)
    intake().refuse(raw, refused, "queue")


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
            logger.warning("waiting %.0f s for a service: %s", wait_s, _kind(away))
        except Exception as error:
            logger.error("a defect of this software", exc_info=error)
            raise RuntimeError(type(error).__qualname__) from None
        if _stopping.wait(wait_s):
            raise Reject(requeue=True)
        wait_s = min(max(wait_s, 0.1) * 2, LONGEST_WAIT_S)


def _kind(error: Exception) -> str:
    return error.code.value if isinstance(error, DlrError) else type(error).__qualname__
