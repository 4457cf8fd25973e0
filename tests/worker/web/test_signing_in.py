import logging
import re
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from tests.worker.web.conftest import PASSWORD, client_of, token_in
from worker.web.accounts import WebRole
from worker.web.sessions import FORM_COOKIE, SESSION_COOKIE, PageKey
from worker.web.site import Site
from worker.web.throttle import Throttle

SignIn = Callable[..., TestClient]
PAGES = ("/", f"/studies/{uuid4()}")
PARTS = ("/state", f"/studies/{uuid4()}/state", f"/studies/{uuid4()}/lesions/1/images/1/crop.png")


def tries(client: TestClient, name: str, password: str, **fields: str) -> int:
    form = {"name": name, "password": password, "token": token_in(client, "/sign-in"), **fields}
    return client.post("/sign-in", data=form).status_code


def test_nothing_is_seen_without_signing_in(stranger: TestClient) -> None:
    for page in PAGES:
        answer = stranger.get(page)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in")
        assert not answer.content
    for part in PARTS:
        assert stranger.get(part).status_code == 401
    for form in ("/search", "/sign-out"):
        assert stranger.post(form, data={"token": "x"}).headers["location"] == "/sign-in"


def test_a_name_and_its_password_let_in(sign_in: SignIn) -> None:
    assert sign_in().get("/").status_code == 200


@pytest.mark.parametrize(
    ("name", "password"), [("reader", "wrong"), ("nobody", PASSWORD), ("", ""), ("reader", ""), ("reader", "x" * 5000)]
)
def test_anything_else_does_not(name: str, password: str, stranger: TestClient) -> None:
    assert tries(stranger, name, password) == 401
    assert SESSION_COOKIE not in stranger.cookies


def test_the_cookies_are_for_no_script_and_no_other_site(site: Site, stranger: TestClient) -> None:
    form = {"name": "reader", "password": PASSWORD, "token": token_in(stranger, "/sign-in")}
    [cookie] = [
        one
        for one in stranger.post("/sign-in", data=form).headers.get_list("set-cookie")
        if one.startswith(SESSION_COOKIE) and "Max-Age=0" not in one
    ]
    assert {"HttpOnly", "SameSite=strict", f"Max-Age={site.sessions.seconds}"} <= set(cookie.split("; "))
    assert "Secure" not in cookie


def test_over_tls_the_cookie_stays_there(site: Site) -> None:
    client = client_of(replace(site, secure=True))
    answer = client.get("/sign-in")
    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"]


def test_a_session_ends_when_its_time_is_over(site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, now = sign_in(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + site.sessions.seconds + 2)
    assert reader.get("/").status_code == 303


def test_a_session_ends_when_nobody_opens_a_page_and_a_page_that_looks_for_news_is_nobody(
    site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, now = sign_in(), time.time()
    assert site.sessions.idle_s == 30 * 60

    def minutes_later(minutes: float) -> None:
        monkeypatch.setattr(time, "time", lambda: now + minutes * 60)

    minutes_later(29)
    assert reader.get("/").status_code == 200
    minutes_later(58)
    assert reader.get("/state").status_code == 200
    minutes_later(59.1)
    assert reader.get("/state").status_code == 401
    assert reader.get("/").status_code == 303
    sign_in()
    assert reader.get("/").status_code == 303


def test_signing_out_ends_a_copy_of_the_cookie_too(sign_in: SignIn, stranger: TestClient) -> None:
    reader = sign_in()
    stranger.cookies.set(SESSION_COOKIE, reader.cookies[SESSION_COOKIE])
    assert stranger.get("/").status_code == 200
    answer = reader.post("/sign-out", data={"token": token_in(reader, "/")})
    assert answer.headers["location"] == "/sign-in"
    assert reader.get("/").status_code == 303
    assert stranger.get("/").status_code == 303


@pytest.mark.parametrize("what", ["removed", "password", "role"])
def test_an_account_that_changes_ends_its_sessions(what: str, site: Site, sign_in: SignIn) -> None:
    reader = sign_in()
    if what == "removed":
        assert site.accounts.remove("reader")
    else:
        role = WebRole.ADMINISTRATOR if what == "role" else WebRole.READER
        site.accounts.put("reader", role, PASSWORD if what == "role" else "another password")
    assert reader.get("/").status_code == 303


@pytest.mark.parametrize("change", ["another key", "cut", "a letter"])
def test_a_cookie_that_was_not_made_here_is_nothing(change: str, site: Site, sign_in: SignIn) -> None:
    reader = sign_in()
    cookie = reader.cookies[SESSION_COOKIE]
    forged = {
        "another key": lambda: client_cookie_of_another_server(site),
        "cut": lambda: cookie[:-3],
        "a letter": lambda: ("A" if cookie[0] != "A" else "B") + cookie[1:],
    }[change]()
    assert forged != cookie
    stranger = client_of(site)
    stranger.cookies.set(SESSION_COOKIE, forged)
    assert stranger.get("/").status_code == 303


def client_cookie_of_another_server(site: Site) -> str:
    account = site.accounts.find("admin")
    assert account is not None
    return replace(site.sessions, key=PageKey()).begin(account)


def test_a_form_of_another_browser_is_refused(site: Site, stranger: TestClient) -> None:
    token = token_in(client_of(site), "/sign-in")
    assert tries(stranger, "reader", PASSWORD, token=token) == 403
    stranger.cookies.delete(FORM_COOKIE)
    answer = stranger.post("/sign-in", data={"name": "reader", "password": PASSWORD, "token": token})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("secure", "scheme", "said", "logged"),
    [
        (True, "http", "use an https:// address", True),
        (True, "https", "allow cookies for this page", False),
        (False, "http", "allow cookies for this page", False),
    ],
)
def test_a_browser_that_keeps_no_cookie_is_told_why_and_a_proxy_that_is_not_known_stands_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture, secure: bool, scheme: str, said: str, logged: bool
) -> None:
    browser = client_of(replace(site, secure=secure))
    form = {"name": "reader", "password": PASSWORD, "token": "any"}
    answer = browser.post(f"{scheme}://127.0.0.1/sign-in", data=form)
    assert (answer.status_code, said in answer.text) == (403, True)
    assert ("DLR_WEB_BEHIND_PROXY" in caplog.text) == logged


def test_whoever_fails_often_waits_and_the_right_password_does_not_help(site: Site) -> None:
    slowed = replace(site, close_tries=Throttle(free=2, longest_wait_s=300, clock=lambda: 0.0))
    client = client_of(slowed)
    assert [tries(client, "reader", "wrong") for _ in range(4)] == [401, 401, 401, 429]
    assert tries(client, "reader", PASSWORD) == 429
    assert tries(client, "admin", PASSWORD) == 303


def test_an_account_is_slowed_down_from_wherever_it_is_tried(site: Site) -> None:
    slowed = replace(site, wide_tries=Throttle(free=2, longest_wait_s=60, clock=lambda: 0.0))
    client = client_of(slowed)
    assert [tries(client, "reader", "wrong") for _ in range(4)] == [401, 401, 401, 429]


def test_after_signing_in_a_study_and_no_other_address_is_gone_on_to(stranger: TestClient) -> None:
    study = uuid4()
    location = stranger.get(f"/studies/{study}").headers["location"]
    assert location == f"/sign-in?study={study}"
    assert f'value="{study}"' in stranger.get(location).text
    form = {"name": "reader", "password": PASSWORD, "token": token_in(stranger, "/sign-in")}
    assert stranger.post("/sign-in", data=form | {"study": str(study)}).headers["location"] == f"/studies/{study}"


@pytest.mark.parametrize("study", ["//evil.example", "https://evil.example", "..", "\r\nX: y"])
def test_no_address_leads_to_another_site(study: str, stranger: TestClient) -> None:
    form = {"name": "reader", "password": PASSWORD, "token": token_in(stranger, "/sign-in"), "study": study}
    assert stranger.post("/sign-in", data=form).headers["location"] == "/"


@pytest.mark.parametrize("body", [b"x" * 10_000, b"a=1&" * 50, b"\xff", b"name=%ff"])
def test_a_form_that_is_none_is_refused(body: bytes, stranger: TestClient) -> None:
    assert stranger.post("/sign-in", content=body).status_code in (400, 413)


def test_the_log_says_who_and_no_password_nor_what_might_be_one(
    stranger: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tries(stranger, "my password by mistake", "wrong")
    tries(stranger, "reader", "a wrong one")
    tries(stranger, "reader", PASSWORD)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("worker")]
    assert [re.sub(r"from \S+:", "from ?:", line) for line in said] == [
        "sign-in refused from ?: no such account",
        "sign-in refused from ?: reader",
        "reader signed in as reader",
    ]
