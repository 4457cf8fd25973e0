"""Who may ask for what: tokens, their scopes, and how often they may ask."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.command_line import dlr
from tests.waiting import until
from tests.worker.api.conftest import HOST, code_of, push
from tests.worker.api.test_jobs import a_job
from worker.api.application import make_application, openapi
from worker.api.rate_limit import RateLimit
from worker.api.service import Service
from worker.api.tokens import Scope, Token, Tokens
from worker.errors import SetupRefused

NOBODY = "00000000-0000-0000-0000-000000000000"
OPEN = {"/healthz", "/readyz"}
SCOPE_OF = {
    ("post", "/v1/jobs"): Scope.JOBS_WRITE,
    ("get", "/v1/requests/{request_id}"): Scope.STUDIES_READ,
    ("post", "/v1/studies"): Scope.STUDIES_WRITE,
    ("get", "/v1/studies/{study_id}"): Scope.STUDIES_READ,
    ("get", "/v1/worklist"): Scope.WORKLIST_READ,
    ("post", "/v1/worklist/search"): Scope.WORKLIST_READ,
    ("get", "/v1/studies/{study_id}/documents/{kind}"): Scope.DOCUMENTS_READ,
    ("post", "/v1/studies/{study_id}/verdicts"): Scope.VERDICTS_WRITE,
    ("post", "/v1/pathology"): Scope.PATHOLOGY_WRITE,
}
"""Each route and the one scope that opens it."""


def ask(client: TestClient, method: str, path: str, **headers: str) -> tuple[int, str]:
    """Ask with a body that no route takes: what is let in is told so."""
    place = path.replace("{study_id}", NOBODY).replace("{request_id}", NOBODY).replace("{kind}", "sr")
    answer = client.request(method, place, headers={"Content-Type": "text/plain", **headers})
    return (answer.status_code, "") if answer.status_code < 400 else code_of(answer)


def test_every_route_but_the_probes_needs_a_scope() -> None:
    routes = {(method, path) for path, methods in openapi()["paths"].items() for method in methods if path not in OPEN}
    assert routes == set(SCOPE_OF)


@pytest.mark.parametrize(("route", "needed"), SCOPE_OF.items(), ids=lambda value: "-".join(map(str, [value])))
def test_a_route_lets_in_its_scope_and_no_other(
    route: tuple[str, str], needed: Scope, client_with: Callable[..., TestClient], stranger: TestClient
) -> None:
    assert ask(stranger, *route) == (401, "token_invalid")
    for scope in Scope:
        status, code = ask(client_with(scope), *route)
        assert ((status, code) == (403, "scope_missing")) is (scope is not needed)
        assert status not in (401, 500)
    assert ask(client_with(*set(Scope) - {needed}), *route) == (403, "scope_missing")


@pytest.mark.parametrize("path", sorted(OPEN))
def test_probes_need_no_token(stranger: TestClient, path: str) -> None:
    assert stranger.get(path).status_code in (200, 204)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer dlr_é", "dlr_x"])
def test_what_is_no_token_is_told_so_and_how_to_sign_in(stranger: TestClient, header: str) -> None:
    answer = stranger.get(f"/v1/studies/{NOBODY}", headers={"Authorization": header.encode()})
    assert code_of(answer) == (401, "token_invalid")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_token_that_was_revoked_is_refused_by_every_process_at_its_next_request(
    service: Service, client_with: Callable[..., TestClient]
) -> None:
    client = client_with(Scope.STUDIES_READ)
    other = replace(service, tokens=Tokens(service.settings.api_tokens))
    clients = [client, TestClient(make_application(other), HOST, headers=client.headers)]
    assert {code_of(one.get(f"/v1/studies/{NOBODY}")) for one in clients} == {(404, "study_not_found")}
    assert Tokens(service.settings.api_tokens).revoke("program-0")
    assert {code_of(one.get(f"/v1/studies/{NOBODY}")) for one in clients} == {(401, "token_invalid")}


def test_a_token_ends_with_its_time(service: Service, stranger: TestClient) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    text = Tokens(service.settings.api_tokens).create("short", [Scope.STUDIES_READ], soon)

    def answer() -> tuple[int, str]:
        return code_of(stranger.get(f"/v1/studies/{NOBODY}", headers={"Authorization": f"Bearer {text}"}))

    assert until(lambda: answer() == (401, "token_invalid"))
    assert Tokens(service.settings.api_tokens).list()[0].is_expired(datetime.now(UTC))


def test_the_file_holds_no_token_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "tokens.json"
    text = Tokens(file).create("ris", list(Scope), None)
    assert text.startswith("dlr_")
    assert text not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_no_two_tokens_are_alike_and_each_is_found_by_its_text_alone(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens.json")
    texts = {name: tokens.create(name, [Scope.JOBS_WRITE], None) for name in "abc"}
    assert {name: found.name for name, text in texts.items() if isinstance(found := tokens.find(text), Token)} == {
        "a": "a", "b": "b", "c": "c",
    }  # fmt: skip
    assert [tokens.find(text) for text in ("", texts["a"][:-1], texts["a"].upper(), tokens.list()[0].sha256)] == [
        None
    ] * 4


@pytest.mark.parametrize(
    ("name", "scopes", "expires_at"),
    [
        ("", [Scope.JOBS_WRITE], None),
        ("Über", [Scope.JOBS_WRITE], None),
        ("ris", [], None),
        ("ris", [Scope.JOBS_WRITE], datetime(2020, 1, 1, tzinfo=UTC)),
        ("taken", [Scope.JOBS_WRITE], None),
    ],
    ids=range(5),
)
def test_a_token_that_cannot_be_is_not_made(
    tmp_path: Path, name: str, scopes: list[Scope], expires_at: datetime | None
) -> None:
    tokens = Tokens(tmp_path / "tokens.json")
    tokens.create("taken", [Scope.JOBS_WRITE], None)
    with pytest.raises(SetupRefused):
        tokens.create(name, scopes, expires_at)
    assert [one.name for one in tokens.list()] == ["taken"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"tokens": {"a": {}}}'])
def test_a_file_that_is_none_lets_nobody_in_and_is_told_without_its_content(
    service: Service, client: TestClient, content: bytes
) -> None:
    service.settings.api_tokens.write_bytes(content)
    assert code_of(client.get(f"/v1/studies/{NOBODY}")) == (503, "setting_invalid")


def test_the_command_creates_lists_and_revokes_tokens(tmp_path: Path) -> None:
    environment = {"DLR_HOME": str(tmp_path)}
    created = dlr(
        "api", "token", "create", "ris", "--scope", "jobs:write", "--scope", "studies:read", "--expires", "90d",
        environment=environment,
    )  # fmt: skip
    text = created.stdout.strip()
    assert Tokens(tmp_path / "secrets" / "api-tokens.json").find(text)
    [row] = json.loads(dlr("api", "token", "list", "--format", "json", environment=environment).stdout)
    assert (row["name"], row["scopes"], row["expired"]) == ("ris", "jobs:write studies:read", False)
    assert (datetime.fromisoformat(row["expires_at"]) - datetime.fromisoformat(row["created_at"])).days in (89, 90)
    assert text not in json.dumps(row)
    assert dlr("api", "token", "revoke", "ris", environment=environment).returncode == 0
    assert dlr("api", "token", "revoke", "ris", environment=environment).returncode == 1
    wrong = dlr("api", "token", "create", "x", "--scope", "jobs:write", "--expires", "soon", environment=environment)
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_who_asks_too_often_hears_when_to_come_again_and_others_are_answered(
    service: Service, client_with: Callable[..., TestClient]
) -> None:
    limited = replace(service, rate=RateLimit(2.0, clock=lambda: 0.0))
    busy, other = (
        TestClient(make_application(limited), HOST, headers=client_with(Scope.JOBS_WRITE).headers) for _ in range(2)
    )
    assert [push(busy, a_job()).status_code for _ in range(5)] == [202, 202, 202, 202, 429]
    answer = push(busy, a_job())
    assert (code_of(answer), answer.headers["retry-after"]) == ((429, "requests_too_many"), "1")
    assert push(other, a_job()).status_code == 202


def test_who_has_no_token_may_not_ask_without_end_either(service: Service) -> None:
    limited = replace(service, rate=RateLimit(1.0, clock=lambda: 0.0))
    stranger = TestClient(make_application(limited), HOST)
    answers = [stranger.get(f"/v1/studies/{NOBODY}").status_code for _ in range(3)]
    assert answers == [401, 401, 429]


def test_a_rate_lets_pass_so_many_a_second_and_twice_as_many_at_once() -> None:
    now = [0.0]
    rate = RateLimit(5.0, clock=lambda: now[0])
    assert sum(rate.wait_s("a") == 0 for _ in range(50)) == 10
    assert rate.wait_s("a") == pytest.approx(0.2)
    now[0] = 1.0
    assert sum(rate.wait_s("a") == 0 for _ in range(50)) == 5
