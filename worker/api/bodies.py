"""The bodies of requests: read whole, up to a limit, once it is known that who sends them may."""

import json
from typing import Any, Final

from fastapi import Request

from db.storable import is_deeper
from worker.api.problems import ProblemError
from worker.errors import Code

LARGEST_ROWS: Final = 8 << 20
"""Bytes of a request with verdicts or with results of pathology."""

DEEPEST: Final = 30
"""Levels of JSON, as the queue takes a job: it stands two levels deep in a message there."""


async def body_of(request: Request, most: int, media_type: str = "application/json") -> bytes:
    """Read a body.

    Args:
        request: of one who may send it.
        most: bytes.
        media_type: which the request has to name.

    Raises:
        ProblemError: ``media_type_unsupported``; ``request_too_large``.
    """
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said != media_type:
        raise ProblemError(Code.MEDIA_TYPE_UNSUPPORTED, f"the Content-Type has to be {media_type}")
    too_large = ProblemError(Code.REQUEST_TOO_LARGE, f"a request may have {most} bytes here")
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > most:
        raise too_large
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise too_large
    return bytes(body)


def json_of(body: bytes) -> Any:
    """Read JSON.

    Raises:
        ProblemError: ``request_invalid``.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise ProblemError(Code.REQUEST_INVALID, "the body is not JSON in UTF-8") from None
    if is_deeper(content, DEEPEST):
        raise ProblemError(Code.REQUEST_INVALID, f"the body is nested more than {DEEPEST} levels deep")
    return content
