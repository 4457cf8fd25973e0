"""`dlr health`, `dlr doctor`, `dlr settings`: how the service is, and what is said when a part of it is away."""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from tests.command_line import dlr
from tests.conftest import Database
from tests.end_to_end.conftest import Service
from tests.waiting import patience

BOUND_S = 60.0
"""Longer than any command looks at all servers, some of them several times, for five seconds each."""


@pytest.fixture
def hung() -> Iterator[socket.socket]:
    """A server that takes connections and does not answer, as one that was stopped with SIGSTOP does.

    It goes away at last: whoever waits for as long as it hangs does not wait for ever.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        end = threading.Timer(patience(BOUND_S), listener.close)
        end.start()
        yield listener
        end.cancel()


def components(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    return {row["component"]: row for row in json.loads(done.stdout)}


def test_the_doctor_names_every_component_with_its_version(service: Service) -> None:
    service.until(lambda: service.dlr("health", "--worker", "inference").returncode == 0)
    done = service.dlr("doctor", "--format", "json")
    found = components(done)
    assert done.returncode == 0, done.stdout
    assert set(found) == {
        "dlr-worker", "PostgreSQL", "schema", "Redis", "queues", "studies", "workers", "models", "device", "storage",
        "Flower", "worklist page", "delivery",
    }  # fmt: skip
    assert found["PostgreSQL"]["version"].startswith("18")
    assert found["Redis"]["version"]
    assert "inference" in found["workers"]["detail"]
    assert "intake@" in found["workers"]["detail"]
    assert "DLR_LH" in found["models"]["version"]
    assert "wait for inference" in found["queues"]["detail"]
    assert "running" in found["studies"]["detail"]


@pytest.mark.parametrize("worker", ["intake", "inference"])
def test_a_probe_of_a_worker_answers_for_that_worker(service: Service, worker: str) -> None:
    service.until(lambda: service.dlr("health", "--worker", worker).returncode == 0)


def test_a_probe_of_the_servers_answers(service: Service) -> None:
    done = service.dlr("health", "--format", "json")
    assert (done.returncode, set(components(done))) == (0, {"PostgreSQL", "schema", "Redis"})


@pytest.mark.slow
@pytest.mark.parametrize("server", ["DLR_REDIS_URL", "DLR_DATABASE_URL"])
@pytest.mark.parametrize("command", ["health", "doctor", "submit"])
def test_a_server_that_hangs_is_named_within_seconds(
    database: Database,
    redis_url: str,
    hung: socket.socket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    command: str,
) -> None:
    monkeypatch.setattr("db.session.CONNECT_TIMEOUT_S", 1)
    job = tmp_path / "job.json"
    study = {
        "schema_version": 1,
        "study_instance_uid": generate_uid(),
        "images": {"kind": "files", "paths": ["none.dcm"]},
        "lesions": [{"lesion_id": "L1", "sop_instance_uid": "1.2.3.4", "frame": 1, "birads": "4A"}],
    }
    job.write_text(json.dumps(study))
    scheme = "redis" if server == "DLR_REDIS_URL" else "postgresql"
    arguments = [command, job] if command == "submit" else [command]
    servers = {"DLR_DATABASE_URL": database.writer_url, "DLR_REDIS_URL": redis_url}
    done = dlr(*arguments, **{**servers, server: f"{scheme}://u:p@127.0.0.1:{hung.getsockname()[1]}/0"})
    assert hung.fileno() >= 0, "the server was waited for"
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert {"redis": "Redis", "postgresql": "PostgreSQL"}[scheme] in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_settings_show_where_each_comes_from_and_hide_secrets(service: Service, form: str) -> None:
    secrets = [file.read_text().strip() for file in (service.home / "secrets").iterdir()]
    done = service.dlr(
        "settings", "--format", form, DLR_LEASE_S="7",
        DLR_DATABASE_URL="postgresql://u:hunter2@h/d?sslpassword=hunter3", DLR_FLOWER_PASSWORD="hunter4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [secret for secret in [*secrets, "hunter"] if secret in done.stdout] == []
    if form == "json":
        found = {row["variable"]: row for row in json.loads(done.stdout)}
        assert (found["DLR_LEASE_S"]["value"], found["DLR_LEASE_S"]["source"]) == ("7.0", "environment")
        assert found["DLR_REDIS_URL"]["source"] == "DLR_HOME/services.json"
        assert found["DLR_DECODERS"]["source"] == "default"


@pytest.mark.parametrize("worker", ["intake", "inference"])
def test_each_line_of_a_worker_s_log_is_a_json_object(service: Service, worker: str) -> None:
    service.until(lambda: service.dlr("health", "--worker", worker).returncode == 0)
    lines = (service.home / "logs" / f"{worker}-worker.log").read_text().splitlines()
    assert lines
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(json.loads(line))
