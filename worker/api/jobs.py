"""``POST /v1/jobs``: a job as the queue takes it. It is on record before it is answered.

See docs/decisions/0066-http-answers-what-is-on-record.md.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response

from db.storable import is_deeper
from worker.api.answers import Accepted
from worker.api.bodies import DEEPEST, body_of
from worker.api.idempotency import LONGEST_KEY
from worker.api.openapi import TAKES, a_body, any_job
from worker.api.problems import ProblemError
from worker.api.service import SOURCE, Service, ServiceDep, may, service_of
from worker.api.tokens import Scope, Token
from worker.errors import Code, JobRefused
from worker.intake.submit import Submission, Submitted, submission_of, submit_one

router = APIRouter(tags=["jobs"])


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
) -> Accepted:
    """Take a job of contract version 1 or 2: what the queue takes, and nothing else.

    Pushing a job again changes nothing, with or without a key.
    """
    if idempotency_key is None:
        return accepted(response, _push(service, body))
    known = service.keys.answered(caller.name, idempotency_key, body)
    if known is not None:
        response.headers["Idempotency-Replayed"] = "true"
        return accepted(response, Accepted.model_validate(known))
    try:
        answer = _push(service, body)
    except BaseException:
        service.keys.forget(caller.name, idempotency_key)
        raise
    service.keys.keep(caller.name, idempotency_key, body, answer.model_dump(mode="json"))
    return accepted(response, answer)


def accepted(response: Response, answer: Accepted) -> Accepted:
    """Say in the head, too, where the study's state is."""
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


def _push(service: Service, body: bytes) -> Accepted:
    submission = submission_of(body)
    if submission.refused is None and is_deeper(submission.job, DEEPEST):
        why = JobRefused(Code.MESSAGE_UNDECODABLE, f"the job is nested more than {DEEPEST} levels deep")
        submission = Submission("", submission.job, why)
    return hand_in(service, submission)


def _answer(handed: Submitted) -> Accepted:
    return Accepted(
        study_id=handed.study_id,
        status_url=f"/v1/studies/{handed.study_id}",
        change=handed.change,
        state=handed.state,
        revision=handed.revision or 1,
        priority=handed.priority or "",
    )
