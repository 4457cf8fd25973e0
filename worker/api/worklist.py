"""``/v1/worklist``: the worklist in its order, a page of it at a time, from the views of ``dlr_web``."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from db.reads import worklist_page
from db.reads.worklist_page_records import ListedRow, WorklistFilter, WorklistPart
from db.schema.vocabulary import Priority, StudyState, WorklistClass
from worker.api.accesses import note_query
from worker.api.answers import WorklistAnswer, WorklistEntry
from worker.api.bodies import body_of, json_of
from worker.api.openapi import TAKES, a_body, problems
from worker.api.problems import ProblemError
from worker.api.service import Service, ServiceDep, may
from worker.api.tokens import Scope, Token
from worker.contract import ShortText
from worker.errors import Code
from worker.validation_errors import flaws_of

router = APIRouter(tags=["worklist"])

MOST: Final = 200
LARGEST_SEARCH: Final = 4 << 10

_READ: Final = {"no": False, "yes": True, "any": None}
_FREE: Final = r"^[^\x00-\x1f]+$"
_RENAMED: Final = {"high_risk_probability": "dlr_lh", "malignant_probability": "dlr_bm", "place_reason": "reason"}


def _in_utc(at: datetime) -> datetime:
    """Return a time as PostgreSQL takes it, which knows no offset of 16 hours."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("range", "has to be a time between the years 1 and 9999") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Free = Annotated[str | None, Query(min_length=1, max_length=128, pattern=_FREE)]


class Search(BaseModel):
    """What is looked for: an accession number, a Study Instance UID, or a lesion's id."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
    text: ShortText = Field(description="The whole of it; or a part of an accession number, where nothing is so called")


@router.get("/v1/worklist", summary="Read the worklist", responses=problems())
def worklist(
    request: Request,
    service: ServiceDep,
    caller: Annotated[Token, may(Scope.WORKLIST_READ)],
    cursor: Annotated[UUID | None, Query(description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    worklist_class: Annotated[WorklistClass | None, Query(alias="class")] = None,
    state: StudyState | None = None,
    priority: Priority | None = None,
    tier: Free = None,
    site: Free = None,
    scanner: Free = None,
    side: Literal["left", "right"] | None = None,
    received_from: Moment | None = None,
    received_before: Moment | None = None,
    read: Annotated[Literal["no", "yes", "any"], Query(description="Whether the study was read")] = "no",
) -> WorklistAnswer:
    """List the studies that are to be read, first those that come first, with the filters of the page.

    The list changes while it is read: a page begins behind the study that the last one ended with, wherever that
    stands by then.
    """
    with service.reading() as session:
        wanted = WorklistFilter(
            worklist_class=worklist_class,
            state=state,
            priority=priority,
            tier=None if tier is None else _tier_number(service, tier),
            site=site,
            scanner_model=scanner,
            laterality=side,
            received_from=received_from,
            received_before=received_before,
            read=_READ[read],
        )
        answer = _answer(worklist_page.excerpt(session, wanted, limit, cursor))
    note_query(service, request, caller, request.url.query)
    return answer


async def _search(request: Request, _caller: Annotated[Token, may(Scope.WORKLIST_READ)]) -> Search:
    try:
        return Search.model_validate(json_of(await body_of(request, LARGEST_SEARCH)))
    except ValidationError as invalid:
        raise ProblemError(
            Code.REQUEST_INVALID, "; ".join(f"text: {one.sentence}" for one in flaws_of(invalid))
        ) from None


@router.post(
    "/v1/worklist/search",
    summary="Find studies",
    openapi_extra=a_body({"application/json": Search.model_json_schema()}),
    responses=TAKES,
)
def search(
    request: Request,
    service: ServiceDep,
    caller: Annotated[Token, may(Scope.WORKLIST_READ)],
    wanted: Annotated[Search, Depends(_search)],
) -> WorklistAnswer:
    """Find studies of the worklist, read or not, by what may stand in no address; 200 at most, without a cursor."""
    with service.reading() as session:
        answer = _answer(worklist_page.searched(session, wanted.text, MOST)).model_copy(update={"next_cursor": None})
    note_query(service, request, caller, f"text={wanted.text}")
    return answer


def _tier_number(service: Service, tier: str) -> int:
    with service.reading() as session:
        numbers = {one.tier: one.tier_number for one in worklist_page.tier_counts(session)}
    if tier not in numbers:
        raise ProblemError(Code.REQUEST_INVALID, f"tier: has to be one of {', '.join(numbers)}")
    return numbers[tier]


def _answer(part: WorklistPart) -> WorklistAnswer:
    last = part.rows[-1].study_id if part.rows and part.more else None
    return WorklistAnswer(entries=[_entry(row) for row in part.rows], next_cursor=last, begins_anew=part.begins_anew)


def _entry(row: ListedRow) -> WorklistEntry:
    values = {_RENAMED.get(name, name): value for name, value in asdict(row).items() if name != "reason"}
    return WorklistEntry.model_validate({**values, "study_url": f"/v1/studies/{row.study_id}"})
