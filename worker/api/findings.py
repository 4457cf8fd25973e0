"""Verdicts and results of pathology from other systems: all rows of a request are recorded, or none."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from db.errors import VerdictOutdated
from worker.api.answers import ImportedAnswer
from worker.api.bodies import LARGEST_ROWS, body_of, json_of
from worker.api.openapi import TAKES, a_body, problems
from worker.api.problems import ProblemError
from worker.api.service import ServiceDep, may
from worker.api.tokens import Scope, Token
from worker.errors import Code
from worker.monitoring.imported_rows import Imported, validated
from worker.monitoring.pathology_file import PathologyLine
from worker.monitoring.pathology_import import import_pathology
from worker.monitoring.verdict_file import VerdictLine
from worker.monitoring.verdict_import import import_verdicts

router = APIRouter(tags=["findings"])

MOST_ROWS: Final = 10_000
MOST_TOLD: Final = 100
"""Bad rows that a problem names, at most."""

_OUTDATED: Final = {Code.VERDICT_OUTDATED, Code.STUDY_NOT_CURRENT}


def _rows_schema(key: str, row: type[VerdictLine | PathologyLine], *without: str) -> dict[str, Any]:
    schema = row.model_json_schema()
    schema["properties"] = {name: one for name, one in schema["properties"].items() if name not in without}
    schema["required"] = [name for name in schema["required"] if name not in without]
    parts = schema.pop("$defs", {})
    for one in schema["properties"].values():
        if "$ref" in one:
            one |= parts[one.pop("$ref").rpartition("/")[2]]
    rows = {"type": "array", "items": schema, "minItems": 1, "maxItems": MOST_ROWS}
    return a_body({"application/json": {"type": "object", "properties": {key: rows}, "required": [key]}})


async def _verdicts(request: Request, _caller: Annotated[Token, may(Scope.VERDICTS_WRITE)]) -> list[Any]:
    return _rows(await body_of(request, LARGEST_ROWS), "verdicts")


async def _results(request: Request, _caller: Annotated[Token, may(Scope.PATHOLOGY_WRITE)]) -> list[Any]:
    return _rows(await body_of(request, LARGEST_ROWS), "results")


@router.post(
    "/v1/studies/{study_id}/verdicts",
    summary="Give verdicts",
    openapi_extra=_rows_schema("verdicts", VerdictLine, "study"),
    responses=TAKES | problems(404, 409),
)
def verdicts(
    service: ServiceDep,
    _caller: Annotated[Token, may(Scope.VERDICTS_WRITE)],
    study_id: UUID,
    rows: Annotated[list[Any], Depends(_verdicts)],
) -> ImportedAnswer:
    """Record radiologists' verdicts on a study's lesions, as `dlr verdict import` does; the study is then read.

    A row says which revision and which versions' result the radiologist saw. Where these are no longer the current ones
    the answer is 409: nobody has seen what the study says now.
    """
    named = [{**row, "study": str(study_id)} if isinstance(row, dict) and "study" not in row else row for row in rows]
    read = validated(enumerate(named, 1), VerdictLine)
    try:
        with service.writing() as session:
            imported = import_verdicts(session, read, skip_bad=False)
            session.commit()
    except VerdictOutdated:
        raise ProblemError(Code.VERDICT_OUTDATED) from None
    return _answer(imported, Code.VERDICT_INVALID)


@router.post(
    "/v1/pathology",
    summary="Give results of pathology",
    openapi_extra=_rows_schema("results", PathologyLine),
    responses=TAKES | problems(404, 409),
)
def pathology(
    service: ServiceDep,
    caller: Annotated[Token, may(Scope.PATHOLOGY_WRITE)],
    rows: Annotated[list[Any], Depends(_results)],
) -> ImportedAnswer:
    """Record results of pathology, as `dlr pathology import` does."""
    read = validated(enumerate(rows, 1), PathologyLine)
    with service.writing() as session:
        imported = import_pathology(session, read, f"api {caller.name}", skip_bad=False)
        session.commit()
    return _answer(imported, Code.PATHOLOGY_INVALID)


def _rows(body: bytes, key: str) -> list[Any]:
    content = json_of(body)
    rows = content.get(key) if isinstance(content, dict) and set(content) == {key} else None
    if not isinstance(rows, list):
        raise ProblemError(Code.REQUEST_INVALID, f'the body has to be {{"{key}": [...]}}')
    if not 1 <= len(rows) <= MOST_ROWS:
        raise ProblemError(Code.REQUEST_INVALID, f"{key}: has to have 1 to {MOST_ROWS} rows")
    return rows


def _answer(imported: Imported[Any], invalid: Code) -> ImportedAnswer:
    """Say what was recorded.

    Raises:
        ProblemError: a row is bad, and nothing was.
    """
    if not imported.bad:
        counts: Mapping[str, int] = {change.value: count for change, count in imported.changes.items()}
        return ImportedAnswer(rows=imported.rows, **counts)
    codes = {row.code for row in imported.bad}
    code = next(iter(codes)) if codes == {Code.STUDY_NOT_FOUND} else invalid
    if codes <= _OUTDATED:
        code = Code.VERDICT_OUTDATED if Code.VERDICT_OUTDATED in codes else Code.STUDY_NOT_CURRENT
    told = [{**asdict(row), "code": row.code.value} for row in imported.bad[:MOST_TOLD]]
    reason = f"{len(imported.bad)} of {imported.rows} rows are bad, so nothing was recorded"
    raise ProblemError(code, reason, rows=told)
