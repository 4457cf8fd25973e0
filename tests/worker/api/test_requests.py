"""Jobs whose study has to be fetched first: they are the queue's, and a request leads to what comes of them."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from tests.worker.api.conftest import HOST, code_of, push
from tests.worker.test_contract import JOB
from worker.api.application import make_application
from worker.api.service import Service
from worker.broker.message_gate import read_message
from worker.contract import is_elsewhere
from worker.intake.fetching import Fetcher
from worker.intake.study_requests import REQUEST, StudyRequests
from worker.settings.pacs_server import PacsServer

ASKED: dict[str, Any] = {
    "schema_version": 1,
    "accession_number": "A-77",
    "images": {"kind": "pacs", "server": "pacs"},
    "priority": "urgent",
}


def queued(service: Service) -> list[Any]:
    """The jobs that the queue of intake has, by their steps."""
    redis = service.requests.client
    lists = ("intake", *(f"intake\x06\x16{step}" for step in (3, 6, 9)))
    return [
        (place.partition("\x16")[2], message.task_id, message.kwargs["job"])
        for place in lists
        for message in (read_message(one, 1 << 20) for one in redis.lrange(place, 0, -1))
    ]


def test_it_is_on_the_queue_behind_what_is_here_before_it_is_answered(client: TestClient, service: Service) -> None:
    answer = push(client, ASKED)
    assert answer.status_code == 202
    said = answer.json()
    assert said | {"request_id": "", "status_url": ""} == {
        "request_id": "", "status_url": "", "change": "requested", "priority": "urgent",
    }  # fmt: skip
    assert answer.headers["location"] == said["status_url"] == f"/v1/requests/{said['request_id']}"
    assert queued(service) == [("6", UUID(said["request_id"]), ASKED)]


def test_a_request_leads_to_its_study_once_that_is_on_record(client: TestClient, service: Service) -> None:
    said = push(client, ASKED).json()
    asked = client.get(said["status_url"])
    assert asked.json() == {"request_id": said["request_id"], "study_id": None, "status_url": None}
    study_id = uuid4()
    service.requests.ended(UUID(said["request_id"]), study_id)
    assert client.get(said["status_url"]).json() == {
        "request_id": said["request_id"], "study_id": str(study_id), "status_url": f"/v1/studies/{study_id}",
    }  # fmt: skip


def test_what_nobody_asked_for_over_http_leaves_nothing_in_redis(client: TestClient, service: Service) -> None:
    nobodys = uuid4()
    service.requests.ended(nobodys, uuid4())
    assert code_of(client.get(f"/v1/requests/{nobodys}")) == (404, "study_not_found")
    assert not service.requests.client.exists(f"{REQUEST}{nobodys}")


def test_the_same_key_is_the_same_request(client: TestClient, service: Service) -> None:
    first, second = (push(client, ASKED, **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len(queued(service)) == 1


def test_what_is_wrong_with_it_is_said_at_once_and_is_on_record(
    client: TestClient, service: Service, sessions: sessionmaker[Session]
) -> None:
    answer = push(client, {**ASKED, "priority": "asap"})
    assert code_of(answer) == (422, "job_invalid")
    assert queued(service) == []
    with sessions() as session:
        [row] = session.execute(text("SELECT study_id, accession_number FROM failed_study"))
    assert (str(row.study_id), row.accession_number) == (answer.json()["study_id"], "A-77")


def test_a_whole_job_of_a_pacs_that_sends_is_fetched_before_it_is_on_record(service: Service) -> None:
    whole = {**JOB, "images": {"kind": "pacs", "server": "pacs"}}
    sends = PacsServer(ae_title="PACS", host="pacs.example", port=104, move_to="DLR")
    settings = service.settings.model_copy(update={"pacs_servers": {"pacs": sends}})
    archives = replace(service.fetcher.archives, pacs=settings.pacs)
    of_one_that_sends = replace(
        service, fetcher=Fetcher(archives, service.fetcher.storage_root, service.fetcher.limits)
    )
    headers = {"Content-Type": "application/json"}
    changes = []
    for one in (service, of_one_that_sends):
        client = TestClient(make_application(one), HOST, headers=headers | bearer(one))
        changes.append(client.post("/v1/jobs", content=json.dumps(whole)).json()["change"])
    assert changes == ["new", "requested"]


def bearer(service: Service) -> dict[str, str]:
    from worker.api.tokens import Scope, Tokens

    tokens = Tokens(service.settings.api_tokens)
    return {"Authorization": f"Bearer {tokens.create(f'of-{uuid4()}', [*Scope], None)}"}


def test_while_redis_is_away_nothing_is_taken_and_the_program_is_told_to_come_again(service: Service) -> None:
    class Away(Redis):
        def execute_command(self, *_arguments: Any, **_options: Any) -> Any:
            raise RedisConnectionError("away")

        def pipeline(self, *_arguments: Any, **_options: Any) -> Any:
            raise RedisConnectionError("away")

    away = replace(service, requests=StudyRequests(Away(), ""))
    client = TestClient(make_application(away), HOST, headers=bearer(away), raise_server_exceptions=False)
    for answer in (push(client, ASKED), client.get(f"/v1/requests/{uuid4()}")):
        assert code_of(answer) == (503, "service_unavailable")
        assert answer.headers["Retry-After"]


@pytest.mark.parametrize("job", [None, 1, [], {}, {"images": []}, {"images": {"kind": ["pacs"]}}, JOB])
def test_what_does_not_say_that_it_is_on_a_server_is_not(job: object) -> None:
    assert not is_elsewhere(job)
