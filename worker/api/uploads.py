"""``POST /v1/studies``: DICOM files themselves, with a job that says where the lesions are, or with a report that does.

A request has a study's files whole. multipart/form-data is answered as a job is; multipart/related is a STOW-RS request
(PS3.18, 10.5) and is answered as one.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from worker.api.answers import Accepted
from worker.api.jobs import accepted, hand_in
from worker.api.multipart import FORM, RELATED, Body, read_multipart
from worker.api.openapi import TAKES, a_body
from worker.api.problems import ProblemError
from worker.api.service import Service, ServiceDep, may, service_of
from worker.api.tokens import Scope, Token
from worker.contract import parse_job
from worker.errors import Code, JobRefused, Refused, StudyRefused
from worker.imaging.identity import read_identity, study_named_in
from worker.intake.job_builder import build_job
from worker.intake.lesion_sources import Instance
from worker.intake.storage_copy import path_in_storage
from worker.intake.submit import Submission, submission_of

router = APIRouter(tags=["studies"])

JOB: Final = "job"
"""The form field that says where the lesions are: a job without its ``images``."""

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"

PROCESSING_FAILURE: Final = 0x0110
CANNOT_UNDERSTAND: Final = 0xC000
"""Failure Reason (0008,1197): PS3.18, table I.2-2."""

_ANY: Final = {"type": "string", "format": "binary"}
_FORM: Final = {"type": "object", "properties": {JOB: {"type": "string"}, "file": {"type": "array", "items": _ANY}}}
_BODY: Final = a_body({FORM: _FORM, RELATED: _ANY})


async def _body(request: Request, _caller: Annotated[Token, may(Scope.STUDIES_WRITE)]) -> AsyncIterator[Body]:
    with TemporaryDirectory(prefix="dlr-api-") as folder:
        yield await read_multipart(request, Path(folder), service_of(request).settings.api_max_upload_bytes)


@router.post(
    "/v1/studies",
    status_code=202,
    summary="Send a study's DICOM files",
    response_model=Accepted,
    openapi_extra=_BODY,
    responses={200: {"description": "Of STOW-RS: all were taken", "content": {DICOM_JSON: {}}}, **TAKES},
)
def send_study(
    response: Response,
    service: ServiceDep,
    _caller: Annotated[Token, may(Scope.STUDIES_WRITE)],
    body: Annotated[Body, Depends(_body)],
) -> Any:
    """Take a whole study: its DICOM files, and where its lesions are.

    multipart/form-data: files under any name, and in the field `job` a job without its `images`; without that field a
    DICOM SR, SEG or GSPS among the files says where the lesions are, as for `dlr receive`. multipart/related is a
    STOW-RS request of one study or several, each with its report, and is answered in DICOM JSON.
    """
    if body.media_type == RELATED:
        return _stow(service, body)
    jobs = [part.path for part in body.parts if part.name == JOB]
    files = [part.path for part in body.parts if part.name != JOB]
    if len(jobs) > 1 or not files:
        raise ProblemError(Code.REQUEST_INVALID, f"a {FORM} has one file or more, and one field {JOB} or none")
    submission = _of_files(service, files) if not jobs else _of_job(service, jobs[0], files)
    return accepted(response, hand_in(service, submission))


def _of_job(service: Service, job: Path, files: Sequence[Path]) -> Submission:
    """Put together what a job says, and the files."""
    if job.stat().st_size > service.settings.max_message_bytes:
        raise ProblemError(Code.JOB_TOO_LARGE)
    read = submission_of(job.read_bytes())
    if read.refused is not None or not isinstance(read.job, dict):
        return read
    try:
        if "images" in read.job:
            raise JobRefused(Code.JOB_INVALID, "images: has to be left out, since the files are sent with the job")
        instances = _instances(service, files)
        checked = parse_job({**read.job, "images": {"kind": "files", "paths": ["0.dcm"]}})
        if {one.identity.study_instance_uid for one in instances} != {checked.study_instance_uid}:
            raise StudyRefused(Code.STUDY_UID_MISMATCH)
    except Refused as refused:
        return Submission("", read.job, refused)
    paths = [path_in_storage(one.path, service.settings.storage_root) for one in instances if not one.is_marking]
    return Submission("", {**read.job, "images": {"kind": "files", "paths": paths}})


def _of_files(service: Service, files: Sequence[Path]) -> Submission:
    """Make a job of files of which one says where the lesions are."""
    try:
        instances = _instances(service, files)
        if len({one.identity.study_instance_uid for one in instances}) > 1:
            raise StudyRefused(Code.STUDY_UID_MISMATCH, "the files are of several studies: send each by itself")
    except Refused as refused:
        return Submission("", _named(service, files), refused)
    return _of_instances(service, instances)


def _of_instances(service: Service, instances: Sequence[Instance]) -> Submission:
    root = service.settings.storage_root
    found = build_job(instances, lambda path: path_in_storage(path, root), service.settings.limits)
    return Submission("", found.job, found.refused, former=found.former)


def _instances(service: Service, files: Sequence[Path]) -> list[Instance]:
    found = [Instance(path, read_identity(path, service.settings.limits)) for path in files]
    if not all(one.identity.study_instance_uid for one in found):
        raise StudyRefused(Code.STUDY_UID_MISSING)
    return found


def _named(service: Service, files: Sequence[Path]) -> dict[str, Any]:
    named: dict[str, Any] = {"received": "http"}
    for file in files:
        named = study_named_in(file, service.settings.limits) | named
    return named


def _stow(service: Service, body: Body) -> Response:
    """Answer a STOW-RS request: which instances were taken, and which were not."""
    studies: defaultdict[str, list[Instance]] = defaultdict(list)
    taken: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    headers: dict[str, list[str]] = {"Link": [], "Warning": []}
    for part in body.parts:
        try:
            [instance] = _instances(service, [part.path])
        except Refused as refused:
            failed.append({"00081197": _us(CANNOT_UNDERSTAND)})
            headers["Warning"].append(f'299 dlr-worker "{refused.code}"')
        else:
            studies[instance.identity.study_instance_uid].append(instance)
    for instances in studies.values():
        try:
            answer = hand_in(service, _of_instances(service, instances))
        except ProblemError as problem:
            failed += [_referenced(one) | {"00081197": _us(PROCESSING_FAILURE)} for one in instances]
            headers["Warning"].append(f'299 dlr-worker "{problem.code}"')
        else:
            taken += [_referenced(one) for one in instances]
            headers["Link"].append(f'<{answer.status_url}>; rel="status"')
    status = 409 if not taken else 202 if failed else 200
    sequences = {"00081199": taken, "00081198": failed}
    content = {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}
    told = {name: ", ".join(dict.fromkeys(values)) for name, values in headers.items() if values}
    return JSONResponse(content, status, told, DICOM_JSON)


def _referenced(instance: Instance) -> dict[str, Any]:
    identity = instance.identity
    uids = {"00081150": identity.sop_class_uid, "00081155": identity.sop_instance_uid}
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}


def _us(value: int) -> dict[str, Any]:
    return {"vr": "US", "Value": [value]}
