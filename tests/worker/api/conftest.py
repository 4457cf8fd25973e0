import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from db.schema.records import Queued
from tests.conftest import Database
from tests.db.samples import writing
from worker.api.application import make_application
from worker.api.serve import made
from worker.api.service import Service
from worker.api.tokens import Scope, Tokens
from worker.imaging.decoder_pool import DecoderPool
from worker.intake.accept_study import Intake
from worker.intake.together import Together
from worker.settings import Settings, get_settings

HOST = "http://127.0.0.1"


@dataclass
class Queue:
    """What was put on the queue; with ``error``, a Redis that is away."""

    studies: list[Queued] = field(default_factory=list)
    error: Exception | None = None

    def __call__(self, *studies: Queued) -> None:
        if self.error is not None:
            raise self.error
        self.studies += studies


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    """Sessions of dlr_writer, on a ledger that knows both models."""
    with writing(database) as sessions:
        yield sessions


@pytest.fixture
def settings(database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DLR_WEB_DATABASE_URL", database.web_url)
    monkeypatch.setenv("DLR_DATABASE_URL", database.writer_url)
    monkeypatch.setenv("DLR_REDIS_URL", redis_url)
    get_settings.cache_clear()
    found = get_settings()
    found.storage_root.mkdir(parents=True)
    return found


@pytest.fixture(scope="session")
def decoders() -> Iterator[Callable[[], DecoderPool]]:
    """Decoders, started when a first picture is asked for."""
    limits = Settings().limits
    pool = DecoderPool(limits, 1, 30.0)
    yield lambda: pool
    pool.close()


@pytest.fixture
def service(
    settings: Settings, sessions: sessionmaker[Session], queue: Queue, decoders: Callable[[], DecoderPool]
) -> Iterator[Service]:
    together = Together(sessions, queue)
    intake = Intake(sessions, settings.storage_root, queue, together=together)
    with made(settings, intake, decoders) as service:
        yield service
    together.close()


@pytest.fixture
def stranger(service: Service) -> TestClient:
    """A program without a token."""
    return TestClient(make_application(service), HOST, raise_server_exceptions=False)


@pytest.fixture
def client_with(service: Service) -> Callable[..., TestClient]:
    """Give a function that makes a program whose token has some scopes."""
    tokens = Tokens(service.settings.api_tokens)

    def make(*scopes: Scope) -> TestClient:
        text = tokens.create(f"program-{len(tokens.list())}", scopes, None)
        headers = {"Authorization": f"Bearer {text}"}
        return TestClient(make_application(service), HOST, headers=headers, raise_server_exceptions=False)

    return make


@pytest.fixture
def client(client_with: Callable[..., TestClient]) -> TestClient:
    """A program that may do everything."""
    return client_with(*Scope)


def push(client: TestClient, job: Any, **headers: str) -> Response:
    body = job if isinstance(job, bytes) else json.dumps(job).encode()
    return client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json", **headers})


def code_of(answer: Response) -> tuple[int, str]:
    """Return the status and the code of a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == answer.status_code
    assert said["type"] == f"urn:dlr-worker:error:{said['code']}"
    return answer.status_code, said["code"]
