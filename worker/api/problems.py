"""What a program is told instead of an answer: problem details (RFC 9457), with our codes and none of its values."""

import logging
import math
from collections.abc import Mapping
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db.outages import DATABASE_AWAY, DatabaseAway
from worker.errors import MEANINGS, Code, DlrError, Unavailable
from worker.logs import story_of
from worker.outages.redis_answers import AWAY as REDIS_AWAY
from worker.outages.retry import kind_of
from worker.validation_errors import sentence_of

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_S: Final = 5
"""After how many seconds a program asks again where a server is away."""

STATUS: Final[Mapping[Code, int]] = {
    Code.REQUEST_INVALID: 422,
    Code.REQUEST_TOO_LARGE: 413,
    Code.JOB_TOO_LARGE: 413,
    Code.REQUESTS_TOO_MANY: 429,
    Code.MEDIA_TYPE_UNSUPPORTED: 415,
    Code.TOKEN_INVALID: 401,
    Code.SCOPE_MISSING: 403,
    Code.ROUTE_NOT_FOUND: 404,
    Code.STUDY_NOT_FOUND: 404,
    Code.RESULT_MISSING: 404,
    Code.STUDY_NOT_ENDED: 409,
    Code.STUDY_NOT_CURRENT: 409,
    Code.VERDICT_OUTDATED: 409,
    Code.SETTING_INVALID: 503,
    Code.INTERNAL_ERROR: 500,
}
"""The status of a code; of any other, 503 where a retry can fix it, else 422."""

AWAY: Final = (*DATABASE_AWAY, *REDIS_AWAY)


class Problem(BaseModel):
    """Problem details (RFC 9457): ``type`` and ``code`` are stable, ``detail`` is for a person."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    study_id: str | None = None
    rows: list[dict[str, Any]] | None = None


class ProblemError(DlrError):
    """A request that is not answered as it was wanted.

    Attributes:
        extra: members of the problem beside those that each has.
        headers: of the answer.
    """

    def __init__(
        self,
        code: Code,
        reason: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(code, reason)
        self.extra = extra
        self.headers = dict(headers or {})


def too_many(wait_s: float) -> ProblemError:
    """Say when there is room for another request."""
    return ProblemError(Code.REQUESTS_TOO_MANY, headers={"Retry-After": str(max(1, math.ceil(wait_s)))})


def problem(code: Code, reason: str, status: int, headers: Mapping[str, str], extra: Mapping[str, Any]) -> Response:
    """Make the answer."""
    content = {
        "type": f"urn:dlr-worker:error:{code.value}",
        "title": MEANINGS[code],
        "status": status,
        "code": code.value,
        "detail": reason,
        **extra,
    }
    return JSONResponse(content, status, {"Cache-Control": "no-store", **headers}, MEDIA_TYPE)


async def refused(_request: Request, error: Exception) -> Response:
    """Answer one of our own errors."""
    if not isinstance(error, DlrError):
        return _defect()
    status = STATUS.get(error.code, 503 if isinstance(error, Unavailable) else 422)
    headers = dict(error.headers) if isinstance(error, ProblemError) else {}
    extra = error.extra if isinstance(error, ProblemError) else {}
    if status >= 500:
        logger.error("a request could not be answered: %s\n%s", error.code, story_of(error))
    if status == 503:
        headers.setdefault("Retry-After", str(RETRY_S))
    return problem(error.code, error.reason, status, headers, extra)


async def away(_request: Request, error: Exception) -> Response:
    """Answer while a server is away. Nothing of the request is on record, or it is the same when it comes again."""
    logger.error("a request could not be answered: %s", kind_of(error))
    reason = error.sentence if isinstance(error, DatabaseAway) else MEANINGS[Code.SERVICE_UNAVAILABLE]
    return problem(Code.SERVICE_UNAVAILABLE, reason, 503, {"Retry-After": str(RETRY_S)}, {})


async def unread(_request: Request, error: Exception) -> Response:
    """Answer a request whose parameters are not what they have to be."""
    if not isinstance(error, RequestValidationError):
        return _defect()
    reason = "; ".join(_sentence(fault) for fault in error.errors())
    return problem(Code.REQUEST_INVALID, reason, STATUS[Code.REQUEST_INVALID], {}, {})


async def unrouted(_request: Request, error: Exception) -> Response:
    """Answer what Starlette itself refuses: an address that is none, a method that it does not have."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = (isinstance(error, HTTPException) and error.headers) or {}
    code = Code.ROUTE_NOT_FOUND if status in (404, 405) else Code.REQUEST_INVALID
    return problem(code, MEANINGS[code], status, headers, {})


async def defect(_request: Request, error: Exception) -> Response:
    """Answer a defect of this software; the log says where it was, without what it was about."""
    logger.error("a defect of this software\n%s", story_of(error))
    return _defect()


def _defect() -> Response:
    return problem(Code.INTERNAL_ERROR, MEANINGS[Code.INTERNAL_ERROR], 500, {}, {})


def _sentence(fault: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in fault["loc"][1:])
    return f"{place}: {sentence_of(fault['type'], fault['msg'], fault.get('ctx', {}))}"
