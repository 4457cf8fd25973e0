"""``POST /v1/jobs``: what the queue takes, and nothing else, on record before it is answered."""

import base64
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from tests.worker.api.conftest import HOST, Queue, code_of, push
from tests.worker.contract.test_version_2 import job as job_of_version_2
from tests.worker.test_contract import JOB, REFUSED, changed
from worker.api.application import make_application
from worker.api.service import Service
from worker.api.tokens import Scope
from worker.broker.message_gate import read_message
from worker.contract import parse_pushed
from worker.errors import JobRefused
from worker.intake.together import unless_away

FILES = {"kind": "dicomweb", "server": "pacs"}
"""Images that nobody has to have put into the storage."""


def a_job(**changes: object) -> dict[str, Any]:
    return {**deepcopy(JOB), "images": FILES, **changes}


def test_a_job_is_on_record_and_queued_before_it_is_answered(
    client: TestClient, sessions: sessionmaker[Session], queue: Queue
) -> None:
    answer = push(client, a_job())
    assert answer.status_code == 202
    said = answer.json()
    assert said | {"study_id": "", "status_url": ""} == {
        "study_id": "", "status_url": "", "change": "new", "state": "queued", "revision": 1, "priority": "routine",
    }  # fmt: skip
    assert answer.headers["location"] == said["status_url"] == f"/v1/studies/{said['study_id']}"
    with sessions() as session:
        assert session.scalar(text("SELECT source FROM study WHERE id = :id"), {"id": said["study_id"]}) == "api"
    assert [study.study_id for study in queue.studies] == [UUID(said["study_id"])]


def test_a_job_of_version_2_is_taken_too(client: TestClient) -> None:
    assert push(client, {**job_of_version_2(), "images": FILES}).json()["change"] == "new"


def test_each_push_of_a_study_says_what_it_changed(client: TestClient) -> None:
    pushed = [a_job(), a_job(), a_job(priority="stat"), a_job(age_years=50.0), a_job()]
    answers = [push(client, one).json() for one in pushed]
    assert [one["change"] for one in answers] == ["new", "unchanged", "priority_raised", "revised", "earlier_revision"]
    assert [one["revision"] for one in answers[:4]] == [1, 1, 1, 2]
    assert answers[3]["priority"] == "stat"
    assert answers[0]["study_id"] == answers[1]["study_id"] != answers[3]["study_id"]


def test_what_is_refused_is_answered_with_its_code_and_is_on_record_under_the_id_that_is_told(
    client: TestClient, sessions: sessionmaker[Session]
) -> None:
    answer = push(client, a_job(priority="asap"))
    assert code_of(answer) == (422, "job_invalid")
    assert answer.json()["detail"].startswith("priority: ")
    with sessions() as session:
        [row] = session.execute(text("SELECT study_id, error_code, accession_number FROM failed_study"))
    assert (str(row.study_id), row.error_code, row.accession_number) == (
        answer.json()["study_id"], "job_invalid", "A0012",
    )  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe{", b"[" * 100_000, b'{"a": NaN'])
def test_what_is_not_json_is_refused_and_kept(client: TestClient, body: bytes) -> None:
    answer = push(client, body)
    assert code_of(answer) == (422, "job_invalid")
    assert UUID(answer.json()["study_id"])


def test_a_job_that_is_too_large_is_not_read(client: TestClient, service: Service) -> None:
    answer = push(client, b" " * (service.settings.max_message_bytes + 1))
    assert code_of(answer) == (413, "request_too_large")


def test_a_body_of_another_type_is_not_read(client: TestClient) -> None:
    answer = client.post("/v1/jobs", content=json.dumps(a_job()), headers={"Content-Type": "text/plain"})
    assert code_of(answer) == (415, "media_type_unsupported")


def of_the_queue(job: Any) -> str:
    """What a worker makes of a job that is pushed to the queue: nothing, or its code."""
    body = base64.b64encode(json.dumps([[], {"job": job}, {}]).encode()).decode()
    headers, properties = {"task": "dlr.submit_study"}, {"body_encoding": "base64"}
    message = {"body": body, "content-type": "application/json", "headers": headers, "properties": properties}
    try:
        parse_pushed(read_message(json.dumps(message).encode(), 1 << 20).kwargs["job"])
    except JobRefused as refused:
        return refused.code.value
    return ""


def of_http(client: TestClient, job: Any) -> str:
    answer = push(client, job)
    return "" if answer.status_code == 202 else code_of(answer)[1]


@pytest.mark.parametrize(("path", "value", "code"), REFUSED, ids=range(len(REFUSED)))
def test_what_the_queue_refuses_is_refused_with_the_same_code(
    client: TestClient, path: str, value: object, code: str
) -> None:
    job = changed(path, value)
    assert of_http(client, job) == of_the_queue(job) == code


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
NESTED = st.integers(1, 40).map(lambda levels: json.loads("[" * levels + "]" * levels))
PLACES = ["", *JOB, "lesions.0", "images", *(f"lesions.0.{name}" for name in JOB["lesions"][0]), "lesions.0.roi.x"]


def _put(base: dict[str, Any], path: str, value: object) -> object:
    if not path:
        return value
    job = deepcopy(base)
    *parents, last = path.split(".")
    target: Any = job
    for part in parents:
        target = target[int(part)] if part.isdigit() else target[part]
    target[int(last) if last.isdigit() else last] = value
    return job


@of_hypothesis(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PLACES), value=VALUES | NESTED | st.sampled_from([4, "4A", 1, 2, "stat", 40.0]))
def test_whatever_is_pushed_passes_here_and_through_the_queue_or_neither(
    client: TestClient, path: str, value: object
) -> None:
    job = _put({**JOB, "images": FILES}, path, value)
    assert of_http(client, job) == of_the_queue(job)


def test_the_same_request_with_a_key_is_answered_word_for_word_the_same(client: TestClient) -> None:
    first, again = (push(client, a_job(), **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert first.json()["change"] == "new"
    assert (again.status_code, again.json()) == (202, first.json())
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")


def test_another_request_under_a_key_is_refused_and_changes_nothing(client: TestClient) -> None:
    push(client, a_job(), **{"Idempotency-Key": "k1"})
    answer = push(client, a_job(age_years=50.0), **{"Idempotency-Key": "k1"})
    assert code_of(answer) == (422, "idempotency_key_reused")
    assert push(client, a_job()).json() | {"study_id": ""} == {
        "study_id": "", "status_url": push(client, a_job()).json()["status_url"],
        "change": "unchanged", "state": "queued", "revision": 1, "priority": "routine",
    }  # fmt: skip


def test_a_key_is_its_token_s_alone(client: TestClient, client_with: Callable[..., TestClient]) -> None:
    push(client, a_job(), **{"Idempotency-Key": "k1"})
    answer = push(client_with(Scope.JOBS_WRITE), a_job(age_years=50.0), **{"Idempotency-Key": "k1"})
    assert answer.json()["change"] == "revised"


def test_a_job_that_was_refused_comes_corrected_under_its_key(client: TestClient) -> None:
    assert push(client, a_job(priority="asap"), **{"Idempotency-Key": "k1"}).status_code == 422
    assert push(client, a_job(), **{"Idempotency-Key": "k1"}).json()["change"] == "new"


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_has_1_to_255_characters(client: TestClient, key: str) -> None:
    assert code_of(push(client, a_job(), **{"Idempotency-Key": key})) == (422, "request_invalid")


def test_while_redis_is_away_a_job_is_taken_and_waits_in_the_ledger(
    service: Service, client: TestClient, queue: Queue, sessions: sessionmaker[Session]
) -> None:
    queue.error = RedisConnectionError("away")
    intake = replace(service.intake, enqueue=unless_away(queue), together=None)
    away = TestClient(make_application(replace(service, intake=intake)), HOST, headers=client.headers)
    answer = push(away, a_job())
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    with sessions() as session:
        assert session.scalar(text("SELECT state FROM study")) == "queued"
