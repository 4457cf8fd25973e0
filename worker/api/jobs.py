"""``POST /v1/jobs``: a job as the queue takes it. It is on record before it is answered, or its request is in Redis.

See docs/decisions/0066-http-answers-what-is-on-record.md.
"""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import TypeAdapter

from db.storable import is_deeper
from worker.api.answers import Accepted, RequestAnswer, Requested
from worker.api.bodies import DEEPEST, body_of
from worker.api.idempotency import LONGEST_KEY
from worker.api.openapi import TAKES, a_body, any_job, problems
from worker.api.problems import ProblemError
from worker.api.service import SOURCE, Service, ServiceDep, may, service_of
from worker.api.tokens import Scope, Token
from worker.clinical.categories import Priority
from worker.contract import is_elsewhere, parse_pushed
from worker.errors import Code, JobRefused
from worker.intake.submit import Submission, Submitted, submission_of, submit_one

router = APIRouter(tags=["jobs"])

_ANSWER: Final[TypeAdapter[Accepted | Requested]] = TypeAdapter(Accepted | Requested)


async def _job(request: Request, _caller: Annotated[Token, may(Scope.JOBS_WRITE)]) -> bytes:
    return await body_of(request, service_of(request).settings.max_message_bytes)


@router.post(
    "/v1/jobs",
    status_code=202,
    summary="Push a job",
    openapi_extra=a_body({"application/json": any_job()}),
    responses=TAKES,
)
def push_job(
    response: Response,
    service: ServiceDep,
    caller: Annotated[Token, may(Scope.JOBS_WRITE)],
    body: Annotated[bytes, Depends(_job)],
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=LONGEST_KEY,
            description="Of this job alone: for a day, the same request is answered the same, and another is refused",
        ),
    ] = None,
) -> Accepted | Requested:
    """Take a job of contract version 1 or 2: what the queue takes, and nothing else.

    Pushing a job again changes nothing, with or without a key. A job whose study has to be fetched first is answered
    with a request's id; without a key, the study is fetched again each time it is pushed.
    """
    if idempotency_key is None:
        return _located(response, _push(service, body))
    known = service.keys.answered(caller.name, idempotency_key, body)
    if known is not None:
        response.headers["Idempotency-Replayed"] = "true"
        return _located(response, _ANSWER.validate_python(known))
    try:
        answer = _push(service, body)
    except BaseException:
        service.keys.forget(caller.name, idempotency_key)
        raise
    service.keys.keep(caller.name, idempotency_key, body, answer.model_dump(mode="json"))
    return _located(response, answer)


@router.get("/v1/requests/{request_id}", summary="Ask for a study that is being fetched", responses=problems(404))
def request(service: ServiceDep, _caller: Annotated[Token, may(Scope.STUDIES_READ)], request_id: UUID) -> RequestAnswer:
    """Say whether the study of a request is on record, and under which id."""
    try:
        study_id = service.requests.study_of(request_id)
    except KeyError:
        raise ProblemError(Code.STUDY_NOT_FOUND, "no request of the last 7 days has this id") from None
    status_url = None if study_id is None else _url_of(study_id)
    return RequestAnswer(request_id=request_id, study_id=study_id, status_url=status_url)


def accepted(response: Response, answer: Accepted) -> Accepted:
    """Say in the head, too, where the study's state is."""
    _located(response, answer)
    return answer


def _located(response: Response, answer: Accepted | Requested) -> Accepted | Requested:
    response.headers["Location"] = answer.status_url
    return answer


def hand_in(service: Service, submission: Submission) -> Accepted:
    """Record a submission, as each way in does.

    Raises:
        ProblemError: it was refused; the refusal is on record too.
    """
    handed = submit_one(service.intake, submission, SOURCE)
    if handed.refused is not None:
        raise ProblemError(handed.refused.code, handed.refused.reason, study_id=str(handed.study_id))
    return _answer(handed)


def _push(service: Service, body: bytes) -> Accepted | Requested:
    submission = submission_of(body)
    if submission.refused is None:
        try:
            priority = _to_be_fetched(service, submission.job)
        except JobRefused as refused:
            submission = Submission("", submission.job, refused)
        else:
            if priority is not None:
                return _requested(service.requests.put(submission.job, priority), priority)
    return hand_in(service, submission)


def _to_be_fetched(service: Service, job: Any) -> Priority | None:
    """Return the priority of a job whose study has to be fetched; ``None``: it can be on record at once.

    Raises:
        JobRefused: ``message_undecodable``; of what is to be fetched, as `worker.contract.parse_pushed`.
    """
    if is_deeper(job, DEEPEST):
        raise JobRefused(Code.MESSAGE_UNDECODABLE, f"the job is nested more than {DEEPEST} levels deep")
    if not is_elsewhere(job):
        return None
    pushed = parse_pushed(job)
    return pushed.priority if service.fetcher.is_needed(pushed) else None


def _requested(request_id: UUID, priority: Priority) -> Requested:
    return Requested(
        request_id=request_id, status_url=f"/v1/requests/{request_id}", change="requested", priority=priority
    )


def _answer(handed: Submitted) -> Accepted:
    return Accepted(
        study_id=handed.study_id,
        status_url=_url_of(handed.study_id),
        change=handed.change,
        state=handed.state,
        revision=handed.revision or 1,
        priority=handed.priority or "",
    )


def _url_of(study_id: UUID) -> str:
    return f"/v1/studies/{study_id}"
