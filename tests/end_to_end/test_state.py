"""`dlr health`, `dlr doctor`, `dlr settings`: how the service is, and what is said when a part of it is away."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Service

pytestmark = pytest.mark.xdist_group("service")

BOUND_S = 25.0
"""A command's own start and the few seconds that it gives each server, on a busy machine."""


@pytest.fixture
def hung() -> Iterator[int]:
    """A server that takes connections and never answers, as one that was stopped with SIGSTOP does."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def dlr(service: Service, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DLR_")}
    return subprocess.run(
        [sys.executable, "-m", "worker.cli.main", *arguments],
        env={**clean, "DLR_HOME": str(service.home), **settings},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def components(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    return {row["component"]: row for row in json.loads(done.stdout)}


def test_the_doctor_names_every_component_with_its_version(service: Service) -> None:
    service.until(lambda: dlr(service, "health", "--worker", "inference").returncode == 0)
    done = dlr(service, "doctor", "--format", "json")
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
    service.until(lambda: dlr(service, "health", "--worker", worker).returncode == 0)


def test_a_probe_of_the_servers_answers(service: Service) -> None:
    done = dlr(service, "health", "--format", "json")
    assert (done.returncode, set(components(done))) == (0, {"PostgreSQL", "schema", "Redis"})


@pytest.mark.parametrize("server", ["DLR_REDIS_URL", "DLR_DATABASE_URL"])
@pytest.mark.parametrize("command", ["health", "doctor", "submit"])
def test_a_server_that_hangs_is_named_within_seconds(
    service: Service, hung: int, tmp_path: Path, server: str, command: str
) -> None:
    job = tmp_path / "job.json"
    study = {
        "schema_version": 1,
        "study_instance_uid": f"1.2.3.{time.monotonic_ns()}",
        "images": {"kind": "files", "paths": ["none.dcm"]},
        "lesions": [{"lesion_id": "L1", "sop_instance_uid": "1.2.3.4", "frame": 1, "birads": "4A"}],
    }
    job.write_text(json.dumps(study))
    scheme = "redis" if server == "DLR_REDIS_URL" else "postgresql"
    started = time.monotonic()
    arguments = [command, str(job)] if command == "submit" else [command]
    done = dlr(service, *arguments, **{server: f"{scheme}://u:p@127.0.0.1:{hung}/0"})
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert {"redis": "Redis", "postgresql": "PostgreSQL"}[scheme] in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < BOUND_S * (2 if command == "doctor" else 1)


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_settings_show_where_each_comes_from_and_hide_secrets(service: Service, form: str) -> None:
    secrets = [file.read_text().strip() for file in (service.home / "secrets").iterdir()]
    done = dlr(
        service, "settings", "--format", form, DLR_LEASE_S="7",
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
    service.until(lambda: dlr(service, "health", "--worker", worker).returncode == 0)
    lines = (service.home / "logs" / f"{worker}-worker.log").read_text().splitlines()
    assert lines
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(json.loads(line))
