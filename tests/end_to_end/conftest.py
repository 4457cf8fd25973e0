"""The whole service, once for all end-to-end tests: real servers, and workers in processes of their own."""

import itertools
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock
from uuid import UUID

import numpy as np
import psycopg2
import psycopg2.extras
import pytest
from celery import Celery
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.faults.waiting import listens
from db.reads import study_queries
from db.reads.study_records import StudyDetail
from db.session import make_engine, session_factory
from tests import command_line, waiting
from tests.end_to_end.collector import Collector, collecting
from tests.end_to_end.small_models import add_small_models
from tests.servers import NOT_FOR_KEEPS
from worker.demo.dicom import Header, write_ultrasound
from worker.services import embedded_postgres
from worker.services.running_services import Services, running_services
from worker.services.supervisor import Supervisor
from worker.settings import isolated

ENDED = ("done", "partial", "failed")
PATIENCE_S = 120.0
PROMPT_SPANS = {"OTEL_BSP_SCHEDULE_DELAY": "200"}
"""Spans are sent five times a second, and not every five seconds."""

T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs the service is not quick."""
    for item in items:
        if isinstance(item, pytest.Function) and "service" in item.fixturenames:
            item.add_marker(pytest.mark.slow)


@dataclass
class Service:
    """The running service, seen from outside: its command line, its queue, its database, its files."""

    services: Services
    supervisor: Supervisor
    said: list[str] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.services.home.path

    @property
    def storage_root(self) -> Path:
        return self.services.settings.storage_root

    def environment(self, **variables: str) -> dict[str, str]:
        """The variables of a process that finds this service, and these beside."""
        return command_line.clean_environment(DLR_HOME=str(self.home)) | variables

    def dlr(self, *arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a dlr command as a user would who finds this service."""
        return command_line.dlr(*arguments, environment=self.environment(**variables))

    @property
    def page_url(self) -> str:
        """Where the worklist page is; it answers there."""
        return self._answering(self.services.web_port)

    @property
    def flower_url(self) -> str:
        """Where Flower is; it answers there."""
        return self._answering(self.services.flower_port)

    def _answering(self, port: int | None) -> str:
        assert port is not None
        self.until(lambda: listens(port))
        return f"http://127.0.0.1:{port}"

    def push(self, job: object, **options: Any) -> None:
        """Push a job as a hospital's system would: plain Celery, with nothing of ours."""
        sender = Celery(broker=self.services.settings.require_redis_url())
        sender.send_task("dlr.submit_study", kwargs={"job": job}, queue="intake", **options)
        sender.close()

    def sql(self, statement: str, *values: object, role: str = "reader") -> list[dict[str, Any]]:
        assert self.services.postgres is not None
        connection = psycopg2.connect(self.services.postgres.url(f"dlr_{role}"))
        try:
            with connection, connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                cursor.execute(statement, values)
                return [dict(row) for row in cursor.fetchall()]
        finally:
            connection.close()

    @cached_property
    def _sessions(self) -> sessionmaker[Session]:
        return session_factory(make_engine(self.services.settings.require_database_url()))

    def details(self, key: UUID | str) -> list[StudyDetail]:
        with self._sessions() as session:
            return study_queries.study_details(session, key)

    def ended(self, key: UUID | str) -> StudyDetail:
        """Wait until the study that a key names has ended, and return it."""
        return self.until(lambda: next((study for study in self.details(key) if study.state in ENDED), None))

    def until(self, found: Callable[[], T]) -> T:
        """Wait until something is true of the service, whose processes are looked after meanwhile."""

        def look() -> T:
            self.supervisor.look()
            return found()

        return waiting.until(
            look, PATIENCE_S, every_s=0.05, said=lambda: f"the service said {self.said}; its logs:\n{self.logs()}"
        )

    def logs(self) -> str:
        return "\n".join(file.read_text(errors="replace")[-4000:] for file in (self.home / "logs").glob("*.log"))


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """What the service's traces are sent to."""
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="session")
def service(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Everything that an installation can have, each at a port of its own."""
    said: list[str] = []
    settings = {f"{name}_PORT": "0" for name in ("FLOWER", "WEB", "METRICS", "EXPORTER")} | {
        "HOME": str(tmp_path_factory.mktemp("service")),
        "TRACES_URL": collector.url,
        "WEB_TIME_ZONE": "Asia/Kolkata",
        "WEB_VIEWER_URL": "https://pacs.example.org/view?study={study_instance_uid}",
        "WEB_HEAT_MAPS": str(tmp_path_factory.mktemp("heat-maps")),
    }
    variables = {f"DLR_{name}": value for name, value in settings.items()} | PROMPT_SPANS
    with ExitStack() as stack:
        with (
            isolated(),
            mock.patch.dict(os.environ, variables),
            mock.patch.dict(embedded_postgres.SETTINGS, NOT_FOR_KEEPS),
        ):
            services = stack.enter_context(running_services(say=said.append))
            supervisor = stack.enter_context(Supervisor(services.home, said.append))
            add_small_models(services.settings.models_dir)
            workers = services.worker("intake"), services.worker("inference")
            for child in (*workers, services.exporter(), services.flower(), services.web()):
                supervisor.start(child)
        yield Service(services, supervisor, said)


@pytest.fixture
def job_for() -> Callable[..., dict[str, Any]]:
    """Give a function that makes a job for a file."""

    def make(uid: str, sop: str, path: str, **fields: Any) -> dict[str, Any]:
        lesion = {"lesion_id": "L1", "sop_instance_uid": sop, "frame": 1, "birads": "4A"}
        job: Mapping[str, Any] = {
            "schema_version": 1,
            "study_instance_uid": uid,
            "images": {"kind": "files", "paths": [path]},
            "lesions": [lesion | fields.pop("lesion", {})],
        }
        return json.loads(json.dumps({**job, "age_years": 47.0, **fields}))

    return make


@pytest.fixture
def version_now(service: Service, job_for: Callable[..., dict[str, Any]]) -> Callable[[], str]:
    """Give a function that says which version of DLR_BM scores the next study.

    It is one study, corrected at each call, so that the worklist of the other tests stays short.
    """
    uid = generate_uid()
    frame = np.random.default_rng(0).integers(0, 256, (80, 100), np.uint8)
    header = Header(uid, "Doe^Jane", "P1", "A1", "20261123", birth_date="19790214")
    sop = write_ultrasound(service.storage_root / f"{uid}.dcm", header, [frame], ExplicitVRLittleEndian)
    revisions = itertools.count(1)

    def version() -> str:
        revision = next(revisions)
        service.push(job_for(uid, sop, f"{uid}.dcm", age_years=47.0 + revision / 100))
        study = service.until(
            lambda: next((one for one in service.details(uid) if one.revision == revision and one.state in ENDED), None)
        )
        assert study.state == "done"
        [event] = [one for one in study.events if one.event == "done"]
        return str(event.detail["models"]["DLR_BM"])

    return version
