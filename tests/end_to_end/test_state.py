"""`dlr health`, `dlr doctor` and `dlr settings`. When a server hangs: `tests/worker/cli/test_hung.py`."""

import json
import subprocess
from typing import Any

import pytest

from tests.end_to_end.conftest import Service


def components(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    return {row["component"]: row for row in json.loads(done.stdout)}


def test_the_doctor_names_every_component_with_its_version(service: Service) -> None:
    service.until(lambda: service.dlr("health", "--worker", "inference").returncode == 0)
    done = service.dlr("doctor", "--format", "json")
    found = components(done)
    assert done.returncode == 0, done.stdout
    assert set(found) == {
        "dlr-worker", "PostgreSQL", "schema", "Redis", "queues", "studies", "reading order", "workers",
        "models", "device", "storage", "Flower", "worklist page", "delivery", "work items",
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
