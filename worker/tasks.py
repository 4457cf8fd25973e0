"""The tasks: parse, call the pipeline, classify the error. Flower imports this, so torch is imported inside a task."""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar
from uuid import UUID

from celery import current_task
from celery.exceptions import Ignore, Reject
from celery.signals import worker_ready, worker_shutting_down

from db.schema.records import Ended
from db.schema.vocabulary import StudyState
from worker.app import app
from worker.broker.queues import INFER_STUDY, RECORD_REFUSAL, SUBMIT_STUDY, TRACEPARENT
from worker.broker.refused_identifiers import Named
from worker.contract import StudyJob, StudyRequest, is_elsewhere, parse_pushed
from worker.errors import Code, JobRefused, LesionRefused, Refused, StudyRefused, Unavailable
from worker.outages.retry import AWAY, LONGEST_WAIT_S, Stopping, kind_of, retry_while_away, stopping
from worker.runtime import GIVE_BACK_S
from worker.settings import get_settings

logger = logging.getLogger(__name__)

T = TypeVar("T")


class TaskFailed(Exception):
    """A task is done, and what it was about has failed; the ledger has it. Prints the code alone.

    Celery acknowledges the message and tells Flower of a failure
    (docs/decisions/0040-a-failed-study-is-a-failed-task.md).
    """

    def __repr__(self) -> str:
        return str(self)


class FetchLater(Exception):
    """A study cannot be fetched for now: its server is away, or it is not this job's turn. The message goes back."""


_TOLD = {"throws": (TaskFailed,), "Request": "worker.broker.consumer:Request"}


@worker_ready.connect  # type: ignore[untyped-decorator]
def _start_reconciling(**_kwargs: Any) -> None:
    from worker.runtime import reconciler

    look = threading.Thread(
        target=lambda: reconciler().run(get_settings().reconcile_s, stopping), name="reconciler", daemon=True
    )
    look.start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop(exitcode: int = os.EX_OK, **_kwargs: Any) -> None:
    if not stopping.is_set():
        stopping.set()
        limits = [get_settings().stop_s, exitcode]
        threading.Thread(target=_end_in_time, args=limits, name="stop", daemon=True).start()


def _end_in_time(stop_s: float, status: int) -> None:
    """End this process after ``stop_s`` seconds, unless it has ended by then; what it has at hand goes back."""
    time.sleep(stop_s)
    giving_back = threading.Thread(target=_give_back, name="give-back", daemon=True)
    giving_back.start()
    giving_back.join(GIVE_BACK_S)
    os._exit(status)


def _give_back() -> None:
    from worker.runtime import lease_keeper

    try:
        logger.warning("%d studies were not finished in time and were requeued", lease_keeper().give_back())
    except Exception as error:  # noqa: BLE001  whatever it is, the leases run out
        logger.warning("studies are requeued when their leases expire: %s", kind_of(error))


@app.task(name=SUBMIT_STUDY, typing=False, **_TOLD)  # type: ignore[untyped-decorator]
def submit_study(job: Any = None) -> str:
    """Accept a study that an integrator pushed. Returns the ledger's opaque id.

    Raises:
        TaskFailed: it was refused.
    """
    return _run(lambda: _accept(job), is_on_record=False)


@app.task(name=RECORD_REFUSAL, typing=False, **_TOLD)  # type: ignore[untyped-decorator]
def record_refusal(code: str, reason: str, raw: str, **named: str) -> NoReturn:
    """Keep a message that could not be read, under what of it names a study (`worker.broker.refused_identifiers`).

    Raises:
        TaskFailed: always.
    """
    _run(lambda: _refuse(raw, JobRefused(Code(code), reason), Named(**named)), is_on_record=False)


@app.task(name=INFER_STUDY, **_TOLD)  # type: ignore[untyped-decorator]
def infer_study(study_id: str) -> str:
    """Score a study of the ledger. Returns the state that it ended in: ``done``, ``partial`` or ``superseded``.

    Raises:
        TaskFailed: it ended ``failed``.
        Ignore: it is at work elsewhere; how it ends is told there.
    """

    def infer() -> Ended | None:
        from worker.runtime import pipeline

        return pipeline().run(UUID(study_id))

    ended = _run(infer)
    if ended is None:
        raise Ignore
    # The message knows nothing of it; `worker.broker.consumer.Request` tells Flower.
    current_task.request.delivery_info["retries"] = ended.starts - 1
    if ended.state == StudyState.FAILED:
        raise TaskFailed(ended.code)
    return ended.state


def _accept(job: Any) -> str:
    from worker.runtime import pushed_intake

    try:
        traceparent = current_task.request.get(TRACEPARENT)
        study_id = pushed_intake().accept(_whole(parse_pushed(job)), "queue", traceparent).study_id
        _tell_who_asked(job, study_id)
        return str(study_id)
    except (JobRefused, StudyRefused, LesionRefused) as refused:
        _refuse(job, refused)
    except (*AWAY, FetchLater):
        raise
    except Exception as error:
        logger.error("a defect of this software", exc_info=error)
        _refuse(job, JobRefused(Code.INTERNAL_ERROR))


def _whole(job: StudyJob | StudyRequest) -> StudyJob:
    """Return a job whose study is had from its server first, if it has to be; its message stays this worker's.

    Raises:
        FetchLater: not now.
    """
    from worker.runtime import fetcher, held_message

    if not fetcher().is_needed(job):
        if isinstance(job, StudyJob):
            return job
        raise JobRefused(Code.JOB_INVALID)
    with held_message(current_task.request):
        try:
            return fetcher().whole(job)
        except Unavailable as away:
            if away.code is Code.STORAGE_UNAVAILABLE:
                raise
            logger.warning("a study cannot be fetched for now: %s", away.code)
            stopping.wait(LONGEST_WAIT_S)
            raise FetchLater from None


def _refuse(raw: object, refused: Refused, named: Named | None = None) -> NoReturn:
    from worker.runtime import intake, measures

    logger.warning("a message was refused: %s", refused.code)
    study_id = intake().refuse(raw, refused, "queue", named)
    _tell_who_asked(raw, study_id)
    measures().refused(refused.code)
    raise TaskFailed(refused.code.value)


def _tell_who_asked(job: object, study_id: UUID) -> None:
    """Lead a request of ``dlr api`` to what is on record of it; one that was pushed to the queue has nobody to tell."""
    from worker.runtime import study_requests

    message = current_task.request.id
    if message is not None and is_elsewhere(job):
        study_requests().ended(UUID(message), study_id)


def _run(work: Callable[[], T], *, is_on_record: bool = True) -> T:
    """Do a task's work.

    Args:
        work: is done again while something is away.
        is_on_record: the ledger knows the study, so that the message may go; else the message is all that there is.

    Raises:
        TaskFailed: by the work.
        Reject: the message goes back to its queue: the worker is stopping, a study is to be fetched later, or a defect
            kept it off the record.
        RuntimeError: a defect; its text is the type of the exception alone.
    """
    try:
        return retry_while_away(work)
    except (Stopping, FetchLater):
        raise Reject(requeue=True) from None
    except TaskFailed:
        raise
    except Exception as error:
        logger.error("a defect of this software", exc_info=error)
        if is_on_record:
            raise RuntimeError(type(error).__qualname__) from None
    # Behind the others, and not at once: it may meet the same defect for as long as nobody mends it.
    stopping.wait(LONGEST_WAIT_S)
    raise Reject(requeue=True)
