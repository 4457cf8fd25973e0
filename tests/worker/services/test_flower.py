import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import pytest
import requests
import trustme
from celery import Celery
from oidc_provider_mock import User, run_server_in_thread
from redis import Redis
from sqlalchemy.engine import make_url

from tests.tls_proxy import tls_in_front_of
from tests.waiting import patience, until
from worker.errors import Code, SetupRefused
from worker.network.port import LOOPBACK, free_port
from worker.services.flower import TASKS_KEPT, flower_command, healthcheck_url
from worker.settings import Settings

REDIS = "redis://dlr@127.0.0.1:6379/0"
OPENID = {
    "flower_oidc_issuer": "https://id.hospital.example/realms/staff",
    "flower_oidc_client_id": "flower",
    "flower_oidc_client_secret": "a secret of the client",
    "flower_oidc_redirect_url": "https://flower.hospital.example/login",
    "flower_oidc_emails": "anna@hospital.example, ole@hospital.example",
}
KNOWN = {"Authorization": "Basic YWRtaW46b3BlbiBzZXNhbWU="}  # admin:open sesame


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
        {**OPENID, "flower_oidc_emails": ""},
        {**OPENID, "flower_oidc_emails": "*@hospital.example"},
        {**OPENID, "flower_oidc_emails": "anna@hospital.example|"},
        {**OPENID, "flower_oidc_client_id": None},
        {**OPENID, "flower_oidc_client_secret": None},
        {**OPENID, "flower_oidc_redirect_url": None},
    ],
    ids=str,
)
def test_flower_is_refused_with(values: dict[str, Any]) -> None:
    with pytest.raises(SetupRefused) as refused:
        flower_command(settings(**values))
    assert refused.value.code is Code.SETTING_INVALID
    assert "halves" not in refused.value.reason


def test_without_a_home_for_its_history_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupRefused) as refused:
        flower_command(settings(home=tmp_path / "file"))
    assert refused.value.code is Code.SETTING_INVALID
    assert "DLR_HOME" in refused.value.reason


@pytest.mark.parametrize("sign_in", [{}, OPENID], ids=["by a password", "by OpenID"])
def test_neither_a_secret_nor_who_may_look_is_in_the_command_or_its_repr(sign_in: dict[str, str]) -> None:
    command = flower_command(settings(redis_url="redis://dlr:hidden@127.0.0.1:6379/0", **sign_in))
    for secret in ("sesame", "hidden", "a secret", "anna@"):
        assert secret not in " ".join(command.argv)
        assert secret not in repr(command)


def test_no_list_has_a_column_for_the_arguments_of_a_task() -> None:
    columns = next(part for part in flower_command(settings()).argv if part.startswith("--tasks_columns="))
    assert not {"args", "kwargs"} & set(columns.removeprefix("--tasks_columns=").split(","))


@contextmanager
def running_flower(
    redis_url: str, tmp_path: Path, issuer: str | None = None, **variables: str
) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port(tmp_path / "port")
    ours = {"flower_oidc_issuer": issuer, "flower_oidc_redirect_url": f"http://{LOOPBACK}:{port}/login"}
    openid = {} if issuer is None else OPENID | ours
    command = flower_command(settings(redis_url=redis_url, home=tmp_path, **openid), port)
    environment = {**os.environ, **command.env, "DLR_REDIS_URL": redis_url, **variables}
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
    wrong = {"Authorization": "Basic YWRtaW46d3Jvbmc="}
    with running_flower(redis_url, tmp_path) as (port, process):
        assert answer(port, "GET", "/healthcheck") == (200, b"OK")
        for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
            assert answer(port, "GET", path)[0] == 401, path
            assert answer(port, "GET", path, wrong)[0] == 401, path
        assert answer(port, "GET", "/workers", KNOWN)[0] == 200
        for path in ("/api/worker/shutdown/a@b", "/api/task/send-task/dlr.infer_study", "/api/task/revoke/1"):
            assert answer(port, "POST", path, KNOWN)[0] == 403, path
        listening = [item.laddr for item in process.net_connections("tcp") if item.status == psutil.CONN_LISTEN]
        assert [(item.ip, item.port) for item in listening] == [(LOOPBACK, port)]
    assert "sesame" not in (tmp_path / "log").read_text()


PAGES = ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/queues/length")
"""Where nobody is who has not signed in."""


@pytest.fixture
def issuer() -> Iterator[str]:
    """A provider that nobody here wrote, with three people."""
    people = {
        "1": {"email": "anna@hospital.example", "email_verified": True},
        "2": {"email": "eve@hospital.example", "email_verified": True},
        "3": {"email": "ole@hospital.example", "email_verified": False},
    }
    users = [User(sub=sub, claims=claims) for sub, claims in people.items()]
    with run_server_in_thread(user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


def signed_in(flower: str, sub: str) -> tuple[requests.Session, requests.Response]:
    """Open a page as somebody whom the provider knows; say what it is answered in the end."""
    browser = requests.Session()
    provider = browser.get(f"{flower}/workers", timeout=patience(10))
    assert urlsplit(provider.url).path == "/oauth2/authorize"
    return browser, browser.post(provider.url, data={"sub": sub}, timeout=patience(10))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")  # the provider's own
def test_by_openid_only_who_is_named_and_vouched_for_is_in_and_no_password_is_asked(
    redis_url: str, tmp_path: Path, issuer: str
) -> None:
    with running_flower(redis_url, tmp_path, issuer) as (port, _):
        flower = f"http://{LOOPBACK}:{port}"
        for path in PAGES:
            unknown = requests.get(flower + path, headers=KNOWN, allow_redirects=False, timeout=patience(10))
            assert (unknown.status_code, "WWW-Authenticate" in unknown.headers) == (302, False), path
            assert urlsplit(unknown.headers["Location"]).path == "/login", path
        anna, page = signed_in(flower, "1")
        assert (page.status_code, page.url) == (200, f"{flower}/"), "Flower leads to its first page"
        for path in PAGES:
            assert anna.get(flower + path, timeout=patience(10)).status_code == 200, path
        assert anna.post(f"{flower}/api/worker/shutdown/a@b", timeout=patience(10)).status_code == 403
        for sub in ("2", "3"):
            stranger, page = signed_in(flower, sub)
            assert page.status_code == 403, sub
            again = stranger.get(f"{flower}/workers", allow_redirects=False, timeout=patience(10))
            assert again.status_code == 302, sub
        forged = requests.get(f"{flower}/login?code=1&state=2", timeout=patience(10))
        assert forged.status_code == 403, "a code that came by nobody's attempt"
        denied = requests.get(f"{flower}/login?error=access_denied", timeout=patience(10))
        assert denied.status_code == 403, "not sent there again and again"


def test_a_provider_that_is_away_lets_nobody_in(redis_url: str, tmp_path: Path) -> None:
    away = f"http://localhost:{free_port(tmp_path / 'away')}"
    with running_flower(redis_url, tmp_path, away) as (port, _):
        answered = requests.get(f"http://{LOOPBACK}:{port}/workers", timeout=patience(30))
    assert answered.status_code == 503
    assert "provider" in answered.text


def test_the_address_to_ask_whether_it_serves() -> None:
    assert healthcheck_url(settings(flower_port=7000)) == "http://127.0.0.1:7000/healthcheck"


def rows_of(page: bytes) -> list[tuple[str, str]]:
    """Return the queues of the broker page, each with its count of messages."""
    return re.findall(r"<td>(\w+)</td>\s*<td[^>]*>(\d+)</td>", page.decode())


@pytest.mark.parametrize("prefix", ["", "dlr:"])
def test_the_broker_page_counts_what_waits_at_every_priority(redis_url: str, tmp_path: Path, prefix: str) -> None:
    client = Redis.from_url(redis_url)
    waiting = {("inference", 0): 1, ("inference", 3): 2, ("inference", 6): 4, ("intake", 6): 8}
    for (queue, step), count in waiting.items():
        client.lpush(f"{prefix}{queue}\x06\x16{step}" if step else f"{prefix}{queue}", *["{}"] * count)
    with running_flower(redis_url, tmp_path, DLR_REDIS_KEY_PREFIX=prefix) as (port, _):
        status, page = answer(port, "GET", "/broker", KNOWN)
    assert (status, dict(rows_of(page))) == (200, {"inference": "7", "intake": "8"})


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_its_history_is_there_again_after_it_was(redis_url: str, tmp_path: Path, is_killed: bool) -> None:
    def tasks(port: int) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(answer(port, "GET", "/api/tasks?limit=1000", KNOWN)[1])
        return told

    def is_saved() -> bool:
        # Flower writes beside the history, and renames what it wrote, a file at a time.
        files = list((tmp_path / "flower").iterdir())
        is_writing = any(file.name.startswith("history.tmp") for file in files)
        return not is_writing and any(study_id.encode() in file.read_bytes() for file in files)

    study_id = str(uuid4())
    app = Celery(broker=redis_url, set_as_current=False)
    with running_flower(redis_url, tmp_path) as (port, process):

        def heard() -> bool:
            # Sent until it is heard: nobody says when Flower listens.
            with app.events.default_dispatcher(hostname="inference@host") as events:
                events.send("task-received", uuid=study_id, name="dlr.infer_study", args="()", kwargs="{}", retries=0)
                events.send("task-failed", uuid=study_id, exception="file_truncated", runtime=0.1)
            told = tasks(port).get(study_id, {})
            return (told.get("name"), told.get("state")) == ("dlr.infer_study", "FAILURE")

        until(heard, every_s=0.5)
        told = tasks(port)[study_id]
        if is_killed:
            until(is_saved)
            process.kill()
    with running_flower(redis_url, tmp_path) as (port, _):
        again = tasks(port)[study_id]
    assert [again[name] for name in ("name", "state", "exception")] == ["dlr.infer_study", "FAILURE", "file_truncated"]
    assert again["received"] == pytest.approx(told["received"], abs=60)
    assert (tmp_path / "flower").stat().st_mode & 0o777 == 0o700


def test_its_history_has_a_limit(tmp_path: Path) -> None:
    argv = flower_command(settings(home=tmp_path)).argv
    assert {"--persistent=True", f"--max_tasks={TASKS_KEPT}", f"--db={tmp_path}/flower/history"} <= set(argv)


def test_the_broker_page_counts_over_tls_too(redis_url: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    Redis.from_url(redis_url).lpush("inference\x06\x163", "{}")
    plain = make_url(redis_url)
    assert plain.port is not None
    with tls_in_front_of(plain.port, authority, "localhost") as proxy:
        secure = plain.set(drivername="rediss", host="localhost", port=proxy).render_as_string(hide_password=False)
        with running_flower(secure, tmp_path, DLR_REDIS_CA=str(tmp_path / "ca.pem")) as (port, _):
            assert dict(rows_of(answer(port, "GET", "/broker", KNOWN)[1]))["inference"] == "1"
