"""The gate: what comes off a queue is rewritten into a clean Celery message, or into the record of its refusal.

Anyone who can reach Redis can push anything. Before Celery looks at a message, the gate reads it as JSON of Celery's
message protocol 2 (https://docs.celeryq.dev/en/stable/internals/protocol.html), keeps the arguments of a task that this
worker has, and drops all else: representations of the arguments (they would show identifiers in Flower and in logs),
callbacks and chains (they would let a message start other tasks), times, and any name of the sender's; the trace that a
job is a part of (``traceparent``) comes through where it is of W3C's form. What cannot be read becomes the task
``dlr.record_refusal``, so that it ends in the ledger and never in a log.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from db.storable import is_deeper
from worker.broker.queues import INFER_STUDY, QUEUE_OF_TASK, RECORD_REFUSAL, SUBMIT_STUDY, TRACEPARENT
from worker.broker.refused_identifiers import named_in_message, valid_named
from worker.errors import MEANINGS, Code, JobRefused

KEPT_OF_REFUSED = 1 << 16
"""Characters of a refused message that are kept for a person to look at."""

_ENVELOPE_OVERHEAD = 2
# https://www.w3.org/TR/trace-context/#traceparent-header, version 00; an id of zeros alone is none.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_DEEPEST = 32
_REFUSAL = {"code", "reason", "raw"}
_PRIORITIES = range(10)


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A task and its arguments, which is all that a message may say; and, of a job, its trace."""

    task: str
    task_id: UUID
    args: list[Any]
    kwargs: dict[str, Any]
    priority: int = 0
    traceparent: str | None = None


def clean_envelope(item: bytes, queue: str, max_bytes: int) -> dict[str, Any]:
    """Turn what was popped from a queue into an envelope that Celery can handle safely.

    Args:
        item: the element of the Redis list, of any content.
        queue: the queue that it came from.
        max_bytes: the largest message that is read.

    Returns:
        An envelope in kombu's layout. Never raises on any ``item``.
    """
    try:
        message = read_message(item, max_bytes)
    except JobRefused as refused:
        message = _refusal(item, refused, max_bytes)
    return envelope(message, queue)


def read_message(item: bytes, max_bytes: int) -> TaskMessage:
    """Read a queue's element.

    Raises:
        JobRefused: ``job_too_large``, ``message_undecodable``, ``task_unknown`` or ``job_invalid``.
    """
    if len(item) > max_bytes * _ENVELOPE_OVERHEAD:
        raise JobRefused(Code.JOB_TOO_LARGE)
    outer = _object(_decoded(item))
    headers, properties = _object(outer.get("headers")), _object(outer.get("properties"))
    task = headers.get("task")
    if not isinstance(task, str):
        raise JobRefused(Code.MESSAGE_UNDECODABLE, "the message has no header `task`: Celery's protocol 2 is needed")
    if task not in QUEUE_OF_TASK:
        raise JobRefused(Code.TASK_UNKNOWN)
    args, kwargs = _arguments(outer, headers, properties)
    check = _ARGUMENTS_OF_TASK[task]
    if not check(args, kwargs):
        raise JobRefused(Code.JOB_INVALID, f"{task} takes {check.__doc__}")
    priority = properties.get("priority")
    return TaskMessage(
        task=task,
        task_id=_uuid(headers.get("id")) or uuid4(),
        args=args,
        kwargs=kwargs,
        priority=priority if isinstance(priority, int) and priority in _PRIORITIES else 0,
        traceparent=_traceparent(headers) if task == SUBMIT_STUDY else None,
    )


def envelope(message: TaskMessage, queue: str) -> dict[str, Any]:
    """Put a message into kombu's layout, with nothing in it that the gate did not put there; it is stored as JSON."""
    body = json.dumps([message.args, message.kwargs, {}]).encode()
    task_id = str(message.task_id)
    study_id = str(UUID(message.args[0])) if message.task == INFER_STUDY else None
    root_id = study_id or task_id
    return {
        "body": base64.b64encode(body).decode("ascii"),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": message.task,
            "id": task_id,
            # A study that was queued again is a child of its first task, under whose id the logs have it.
            "root_id": root_id,
            "parent_id": None if root_id == task_id else root_id,
            "group": None,
            "retries": 0,
            "eta": None,
            "expires": None,
            "timelimit": [None, None],
            "argsrepr": "()" if study_id is None else f"('{study_id}',)",
            "kwargsrepr": "{}",
            "ignore_result": True,
            **({} if message.traceparent is None else {TRACEPARENT: message.traceparent}),
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_tag": str(uuid4()),
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": message.priority,
            "body_encoding": "base64",
        },
    }


def _refusal(item: bytes, refused: JobRefused, max_bytes: int) -> TaskMessage:
    raw = item[:KEPT_OF_REFUSED].decode("utf-8", "backslashreplace").replace("\x00", "\\x00")
    named = named_in_message(item[: max_bytes * _ENVELOPE_OVERHEAD])
    kwargs = {"code": refused.code.value, "reason": refused.reason, "raw": raw, **named.said()}
    return TaskMessage(RECORD_REFUSAL, uuid4(), [], kwargs)


def _decoded(data: bytes | str) -> object:
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError):
        raise JobRefused(Code.MESSAGE_UNDECODABLE) from None
    if is_deeper(value, _DEEPEST):
        raise JobRefused(Code.MESSAGE_UNDECODABLE, f"the message is nested more than {_DEEPEST} levels deep")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise JobRefused(Code.MESSAGE_UNDECODABLE)
    return value


def _arguments(
    outer: dict[str, Any], headers: dict[str, Any], properties: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    if headers.get("compression") or outer.get("content-type") != "application/json":
        raise JobRefused(Code.MESSAGE_UNDECODABLE, "the body must be application/json, not compressed")
    body = outer.get("body")
    if not isinstance(body, str):
        raise JobRefused(Code.MESSAGE_UNDECODABLE)
    if properties.get("body_encoding") == "base64":
        try:
            body = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise JobRefused(Code.MESSAGE_UNDECODABLE) from None
    match _decoded(body):
        case [list() as args, dict() as kwargs, *_]:
            return args, kwargs
    raise JobRefused(Code.MESSAGE_UNDECODABLE, "the body must be [args, kwargs, embed]")


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _traceparent(headers: dict[str, Any]) -> str | None:
    value = headers.get(TRACEPARENT)
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


def _one_job(args: list[Any], kwargs: dict[str, Any]) -> bool:
    """one keyword argument, job."""
    return not args and set(kwargs) == {"job"}


def _one_study_id(args: list[Any], kwargs: dict[str, Any]) -> bool:
    """one argument, the ledger's study id."""
    return len(args) == 1 and not kwargs and _uuid(args[0]) is not None


def _one_refusal(args: list[Any], kwargs: dict[str, Any]) -> bool:
    """the refusal of a message."""
    if args or not all(isinstance(value, str) for value in kwargs.values()) or kwargs.get("code") not in set(MEANINGS):
        return False
    named = {field: value for field, value in kwargs.items() if field not in _REFUSAL}
    return kwargs.keys() >= _REFUSAL and all(valid_named(field, value) for field, value in named.items())


_ARGUMENTS_OF_TASK: dict[str, Callable[[list[Any], dict[str, Any]], bool]] = {
    SUBMIT_STUDY: _one_job,
    INFER_STUDY: _one_study_id,
    RECORD_REFUSAL: _one_refusal,
}
