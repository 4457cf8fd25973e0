"""What of the OpenAPI no type says: bodies that are read by ourselves, and problems."""

import json
from collections.abc import Mapping
from typing import Any, Final

from worker.api.problems import MEDIA_TYPE, Problem
from worker.contract import VERSIONS, StudyRequest, job_schema, request_schema

_REFERENCE: Final = "#/components/schemas/"
_MEANINGS: Final = {
    401: "There is no token, or it is unknown, revoked or expired",
    403: "The token does not have the scope",
    404: "There is no such study or document",
    409: "It contradicts what is on record by now",
    413: "The request is too large",
    415: "The Content-Type is not read here",
    422: "The request is refused; `code` and `detail` say why",
    429: "Too many requests; Retry-After says when to come again",
    503: "A server is away; Retry-After says when to come again",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a route answers."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"{_REFERENCE}{Problem.__name__}"}}}
    return {
        status: {"description": _MEANINGS[status], "content": content}
        for status in sorted({*statuses, 401, 403, 422, 429, 503})
    }


TAKES: Final = problems(413, 415)
"""Of a route that takes something in."""


def a_body(schemas: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Describe a body, by the media types that it may have."""
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


def any_job() -> dict[str, Any]:
    """Refer to a job of any version, and to one whose study is to be found first."""
    names = [*map(_name, VERSIONS), StudyRequest.__name__]
    return {"anyOf": [{"$ref": f"{_REFERENCE}{name}"} for name in names]}


def components() -> dict[str, Any]:
    """Return the schemas to which bodies and problems refer: the contract's, each version under names of its own."""
    found: dict[str, Any] = {Problem.__name__: Problem.model_json_schema()}
    jobs = {_name(version): job_schema(version) for version in VERSIONS}
    for of, job in (jobs | {StudyRequest.__name__: request_schema()}).items():
        schema = json.loads(json.dumps(job).replace("#/$defs/", f"{_REFERENCE}{of}"))
        parts: dict[str, Any] = schema.pop("$defs", {})
        found |= {f"{of}{name}": part for name, part in parts.items()} | {of: schema}
    return found


def _name(version: int) -> str:
    return f"Job{version}"
