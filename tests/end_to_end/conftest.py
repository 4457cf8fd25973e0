"""The whole service, once for all end-to-end tests: real servers, and workers in processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.extras
import pytest
from celery import Celery

from db import queries
from db.records import StudyDetail
from db.session import make_engine, session_factory
from tests.end_to_end.small_models import add_small_models
from worker.services.running import Services, running_services
from worker.services.supervisor import Supervisor

ENDED = ("done", "partial", "failed")
PATIENCE_S = 120.0


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
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DLR_")}
        return clean | {"DLR_HOME": str(self.home)} | variables

    def dlr(self, *arguments: str | Path, home: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a dlr command as a user would, in a terminal of its own."""
        return subprocess.run(
            [sys.executable, "-m", "worker.cli.main", *map(str, arguments)],
            env=self.environment(DLR_HOME=str(home or self.home)),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

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

    def details(self, key: UUID | str) -> list[StudyDetail]:
        sessions = session_factory(make_engine(self.services.settings.require_database_url()))
        with sessions() as session:
            return queries.study_details(session, key)

    def ended(self, key: UUID | str) -> StudyDetail:
        """Wait until the study that a key names has ended, and return it."""
        return self.until(lambda: next((study for study in self.details(key) if study.state in ENDED), None))

    def until(self, found: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            value = found()
            if value:
                return value
            self.supervisor.look()
            time.sleep(0.1)
        raise AssertionError(f"nothing after {PATIENCE_S:.0f} s; the service said {self.said}; logs:\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(file.read_text(errors="replace")[-4000:] for file in (self.home / "logs").glob("*.log"))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("service")
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("DLR_")}
    said: list[str] = []
    os.environ |= {"DLR_FLOWER_PORT": "0", "DLR_WEB_PORT": "0"}
    try:
        with running_services(home, said.append) as services, Supervisor(services.home, said.append) as supervisor:
            add_small_models(services.settings.models_dir)
            for child in (services.worker("intake"), services.worker("inference"), services.flower(), services.web()):
                supervisor.start(child)
            yield Service(services, supervisor, said)
    finally:
        del os.environ["DLR_FLOWER_PORT"], os.environ["DLR_WEB_PORT"]
        os.environ.update(kept)


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
