import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.waiting import patience, until
from worker.errors import Code, SetupRefused
from worker.services.flower import flower_command, healthcheck_url
from worker.services.port import LOOPBACK, free_port
from worker.settings import Settings

REDIS = "redis://dlr@127.0.0.1:6379/0"


def settings(**values: Any) -> Settings:
    return Settings(**({"redis_url": REDIS, "flower_password": "open sesame"} | values))


@pytest.mark.parametrize(
    "values",
    [
        {"flower_password": None},
        {"flower_password": ""},
        {"flower_password": "two,halves"},
        {"flower_user": "one,two"},
        {"flower_user": "one:two"},
        {"redis_url": None},
    ],
    ids=str,
)
def test_flower_is_refused_with(values: dict[str, Any]) -> None:
    with pytest.raises(SetupRefused) as refused:
        flower_command(settings(**values))
    assert refused.value.code is Code.SETTING_INVALID
    assert "halves" not in refused.value.reason


def test_neither_the_password_nor_the_brokers_is_in_the_command_or_its_repr() -> None:
    command = flower_command(settings(redis_url="redis://dlr:hidden@127.0.0.1:6379/0"))
    for secret in ("sesame", "hidden"):
        assert secret not in " ".join(command.argv)
        assert secret not in repr(command)


def test_no_page_has_a_column_for_the_arguments_or_the_result_of_a_task() -> None:
    columns = next(part for part in flower_command(settings()).argv if part.startswith("--tasks_columns="))
    assert not {"args", "kwargs", "result", "exception"} & set(columns.removeprefix("--tasks_columns=").split(","))


@contextmanager
def running_flower(redis_url: str, tmp_path: Path) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port(tmp_path / "port")
    command = flower_command(settings(redis_url=redis_url), port)
    environment = {**os.environ, **command.env, "DLR_REDIS_URL": redis_url}
    # A file that Flower would execute if it were left to its defaults.
    (tmp_path / "flowerconfig.py").write_text("raise SystemExit(9)")
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command.argv, env=environment, cwd=tmp_path, stdout=log, stderr=log) as process,
    ):
        try:
            log_file = tmp_path / "log"
            until(lambda: b"Connected to" in log_file.read_bytes() or process.poll() is not None)
            assert process.poll() is None, log_file.read_text()
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


def answer(port: int, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection(LOOPBACK, port, timeout=patience(10))
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    return response.status, response.read()


def test_it_shows_the_service_to_who_has_the_password_and_changes_nothing(redis_url: str, tmp_path: Path) -> None:
    known = {"Authorization": "Basic YWRtaW46b3BlbiBzZXNhbWU="}  # admin:open sesame
    wrong = {"Authorization": "Basic YWRtaW46d3Jvbmc="}
    with running_flower(redis_url, tmp_path) as (port, process):
        assert answer(port, "GET", "/healthcheck") == (200, b"OK")
        for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
            assert answer(port, "GET", path)[0] == 401, path
            assert answer(port, "GET", path, wrong)[0] == 401, path
        assert answer(port, "GET", "/workers", known)[0] == 200
        for path in ("/api/worker/shutdown/a@b", "/api/task/send-task/dlr.infer_study", "/api/task/revoke/1"):
            assert answer(port, "POST", path, known)[0] == 403, path
        listening = [item.laddr for item in process.net_connections("tcp") if item.status == psutil.CONN_LISTEN]
        assert [(item.ip, item.port) for item in listening] == [(LOOPBACK, port)]
    assert "sesame" not in (tmp_path / "log").read_text()


def test_the_address_to_ask_whether_it_serves() -> None:
    assert healthcheck_url(settings(flower_port=7000)) == "http://127.0.0.1:7000/healthcheck"
