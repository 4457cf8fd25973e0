"""Signing in by OpenID Connect: beside a provider that nobody here wrote, and beside one that lies."""

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from oidc_provider_mock import User, run_server_in_thread
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from db.schema.audit import Audited
from db.writes import audit
from tests.worker.web.conftest import HOST, client_of, token_in
from worker.web.accounts import WebRole
from worker.web.openid import Attempt, OpenId, ProviderAway, SignInRefused
from worker.web.sessions import SESSION_COOKIE
from worker.web.site import Site

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")  # the provider's own

ROLES = {"dlr-admins": WebRole.ADMINISTRATOR, "dlr-radiologists": WebRole.RADIOLOGIST}
USERS = (
    User(sub="1", claims={"preferred_username": "Dr. Jørgensen", "groups": ["staff", "dlr-radiologists"]}),
    User(sub="2", claims={"preferred_username": "visitor", "groups": ["staff"]}),
    User(sub="3", claims={"groups": ["dlr-radiologists"]}),
    User(sub="4", claims={"preferred_username": "both", "groups": ["dlr-radiologists", "dlr-admins"]}),
)


def openid(issuer: str, **changes: Any) -> OpenId:
    made = OpenId(issuer, "dlr-web", "a secret of the client", "openid profile", "preferred_username", "groups", ROLES)
    return replace(made, **changes)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with run_server_in_thread(require_nonce=True, user_claims=USERS) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def browser(site: Site, issuer: str) -> TestClient:
    return client_of(replace(site, openid=openid(issuer)))


def to_the_provider(browser: TestClient, page: str) -> str:
    """Open a page, and return the provider's address to which it leads."""
    address = page
    while address.startswith("/"):
        answer = browser.get(address)
        assert answer.status_code == 303
        address = answer.headers["location"]
    return address


def as_user(address: str, sub: str, **form: str) -> str:
    """Sign in at the provider, and return our address to which it sends back."""
    answer = requests.post(address, data={"sub": sub, **form}, allow_redirects=False, timeout=10)
    assert answer.status_code == 302
    parts = urlsplit(answer.headers["location"])
    assert parts.netloc == HOST
    return f"{parts.path}?{parts.query}"


def onwards(html: str) -> str:
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', html)
    assert found
    return found[1]


# --- a provider


def test_who_is_in_a_group_with_a_role_is_in_without_a_password_of_this_page(browser: TestClient) -> None:
    address = to_the_provider(browser, "/")
    asked = parse_qs(urlsplit(address).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [f"http://{HOST}/sign-in/callback"]
    answer = browser.get(as_user(address, "1"))
    assert answer.status_code == 200
    page = browser.get(onwards(answer.text))
    assert page.status_code == 200
    assert "Dr. Jørgensen" in page.text
    assert "radiologist" in page.text


def test_a_study_that_was_asked_for_is_opened_after_it(browser: TestClient) -> None:
    study = f"/studies/{uuid4()}"
    answer = browser.get(as_user(to_the_provider(browser, study), "1"))
    assert onwards(answer.text) == study


def test_a_link_from_the_ris_leads_there_and_back_without_naming_the_study(browser: TestClient) -> None:
    page = browser.get("/open?accession=ACC4711", follow_redirects=True).text
    address = to_the_provider(browser, onwards(page))
    assert "ACC4711" not in address
    landed = onwards(browser.get(as_user(address, "1")).text)
    assert landed.startswith("/open/")
    assert "ACC4711" in browser.get(landed, follow_redirects=True).text


def test_of_several_roles_the_first_one_of_the_setting_counts(browser: TestClient) -> None:
    page = browser.get(onwards(browser.get(as_user(to_the_provider(browser, "/"), "4")).text))
    assert "administrator" in page.text


@pytest.mark.parametrize(
    ("sub", "status", "said", "noted"),
    [("2", 403, "no access", "visitor"), ("3", 401, "did not let you in", "unknown")],
)
def test_who_has_no_role_or_no_name_is_told_so_and_stays_out(
    browser: TestClient, sessions: sessionmaker[Session], sub: str, status: int, said: str, noted: str
) -> None:
    answer = browser.get(as_user(to_the_provider(browser, "/"), sub))
    assert (answer.status_code, said in answer.text) == (status, True)
    assert SESSION_COOKIE not in browser.cookies
    assert "/sign-in/openid" in answer.text
    with sessions() as session:
        assert [(one.event, one.actor) for one in audit.not_sent(session, 2)] == [(Audited.SIGN_IN_REFUSED, noted)]


def test_who_breaks_off_at_the_provider_may_try_again(browser: TestClient) -> None:
    address = to_the_provider(browser, "/")
    state = parse_qs(urlsplit(address).query)["state"][0]
    answer = browser.get(f"/sign-in/callback?error=access_denied&state={state}")
    assert (answer.status_code, "/sign-in/openid" in answer.text) == (401, True)


def test_an_answer_counts_once_in_the_browser_that_asked_and_for_its_own_question(
    browser: TestClient, site: Site, issuer: str
) -> None:
    back = as_user(to_the_provider(browser, "/"), "1")
    other = client_of(replace(site, openid=openid(issuer)))
    assert other.get(back).status_code == 400
    to_the_provider(other, "/")
    assert other.get(back).status_code == 401
    assert browser.get(back).status_code == 200
    assert browser.get(back).status_code == 400


def test_signing_out_ends_the_session_here_and_leads_to_the_provider_to_end_it_there(browser: TestClient) -> None:
    browser.get(onwards(browser.get(as_user(to_the_provider(browser, "/"), "1")).text))
    cookie = browser.cookies[SESSION_COOKIE]
    answer = browser.post("/sign-out", data={"token": token_in(browser, "/")})
    assert answer.headers["location"] == "/sign-out/openid"
    there = onwards(browser.get("/sign-out/openid").text).replace("&amp;", "&")
    assert urlsplit(there).netloc.startswith("localhost:")
    assert parse_qs(urlsplit(there).query)["post_logout_redirect_uri"] == [f"http://{HOST}/signed-out"]
    browser.cookies.set(SESSION_COOKIE, cookie)
    assert browser.get("/").headers["location"] == "/sign-in"
    page = browser.get("/signed-out")
    assert (page.status_code, "/sign-in/openid" in page.text) == (200, True)


def test_an_account_of_this_page_still_lets_in_where_the_provider_is_away(site: Site) -> None:
    browser = client_of(replace(site, openid=openid("http://localhost:9")))
    answer = browser.get("/sign-in/openid")
    assert (answer.status_code, "not responding" in answer.text, "password" in answer.text) == (503, True, True)


def test_without_a_provider_its_addresses_are_none(stranger: TestClient) -> None:
    for address in ("/sign-in/openid", "/sign-out/openid"):
        assert stranger.get(address).status_code == 404


# --- a provider that lies

KEY, OTHER_KEY = RSAKey.generate_key(2048, {"kid": "1"}), RSAKey.generate_key(2048, {"kid": "1"})
CALLBACK = "http://127.0.0.1/sign-in/callback"


class Liar(BaseHTTPRequestHandler):
    """Publishes what a provider does, and answers with the ID token that a test wants."""

    id_token = ""
    asked: ClassVar[dict[str, str]] = {}
    authorization: str | None = None
    published: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        here = f"http://localhost:{self.server.server_address[1]}"
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        documents = {
            "/.well-known/openid-configuration": {"issuer": here, **{name: f"{here}/{name}" for name in names}},
            "/jwks_uri": KeySet([KEY]).as_dict(private=False),
        }
        self.answer(documents[self.path] | (self.published if "well-known" in self.path else {}))

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        type(self).asked = {name: values[0] for name, values in asked.items()}
        type(self).authorization = self.headers.get("authorization")
        self.answer({"access_token": "x", "token_type": "Bearer", "id_token": type(self).id_token})

    def answer(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def liar() -> Iterator[str]:
    server = ThreadingHTTPServer(("localhost", 0), Liar)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def finished(issuer: str, key: RSAKey, algorithm: str = "RS256", **changes: Any) -> Any:
    """Come back from the provider with an ID token that was changed; a claim that is ``None`` is left out."""
    attempt, now = Attempt.begun("/"), int(time.time())
    claims = {
        "iss": issuer, "aud": "dlr-web", "sub": "1", "iat": now, "exp": now + 60, "nonce": attempt.nonce,
        "preferred_username": "bea", "groups": ["dlr-radiologists"],
    }  # fmt: skip
    told = {name: value for name, value in (claims | changes).items() if value is not None}
    Liar.id_token = jwt.encode({"alg": algorithm, "kid": "1"}, told, key, algorithms=[algorithm])
    return openid(issuer).finish(attempt, CALLBACK, {"code": "1", "state": attempt.state})


def test_what_a_provider_signed_for_us_is_taken(liar: str) -> None:
    assert finished(liar, KEY) == ("bea", WebRole.RADIOLOGIST)


def test_with_a_secret_or_without_the_code_is_exchanged_by_who_has_the_verifier(liar: str) -> None:
    finished(liar, KEY)
    assert (Liar.authorization or "").startswith("Basic ")
    assert len(Liar.asked["code_verifier"]) >= 43
    attempt = Attempt.begun("/")
    with pytest.raises(SignInRefused):
        openid(liar, client_secret=None).finish(attempt, CALLBACK, {"code": "1", "state": attempt.state})
    assert Liar.authorization is None
    assert (Liar.asked["client_id"], Liar.asked["code_verifier"]) == ("dlr-web", attempt.verifier)


@pytest.mark.parametrize("minutes", [-4, 4])
def test_clocks_may_differ_by_minutes(liar: str, minutes: int) -> None:
    there = int(time.time()) + 60 * minutes
    assert finished(liar, KEY, iat=there, exp=there + 60).name == "bea"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://another.example"},
        {"aud": "another-client"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
        {"preferred_username": None},
        {"preferred_username": 7},
        {"preferred_username": "a\nb"},
        {"preferred_username": "x" * 65},
    ],
    ids=lambda changes: "-".join(f"{name}={str(value)[:9]!r}" for name, value in changes.items()),
)
def test_what_is_not_for_us_or_not_of_now_is_refused(liar: str, changes: dict[str, Any]) -> None:
    with pytest.raises(SignInRefused):
        finished(liar, KEY, **changes)


def test_what_another_key_signed_is_refused(liar: str) -> None:
    with pytest.raises(SignInRefused):
        finished(liar, OTHER_KEY)


def test_what_is_not_signed_or_with_a_secret_is_refused(liar: str) -> None:
    attempt = Attempt.begun("/")
    for header in ("eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9"):
        Liar.id_token = f"{header}.eyJzdWIiOiIxIn0."
        with pytest.raises(SignInRefused):
            openid(liar).finish(attempt, CALLBACK, {"code": "1", "state": attempt.state})


def test_a_provider_that_says_to_be_another_is_none(liar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Liar, "published", {"issuer": "https://another.example"})
    with pytest.raises(ProviderAway, match="another issuer"):
        openid(liar).address(Attempt.begun("/"), CALLBACK)


@pytest.mark.parametrize("groups", [None, 7, {"a": 1}, [None, 3], "staff", []])
def test_who_is_in_no_group_of_ours_has_no_role(liar: str, groups: object) -> None:
    assert finished(liar, KEY, groups=groups).role is None


def test_groups_may_lie_deeper(liar: str) -> None:
    attempt, now = Attempt.begun("/"), int(time.time())
    claims = {
        "iss": liar, "aud": ["dlr-web"], "sub": "1", "iat": now, "exp": now + 60, "nonce": attempt.nonce,
        "preferred_username": "bea", "realm_access": {"roles": ["dlr-radiologists"]},
    }  # fmt: skip
    Liar.id_token = jwt.encode({"alg": "RS256", "kid": "1"}, claims, KEY)
    provider = openid(liar, role_claim="realm_access.roles")
    assert provider.finish(attempt, CALLBACK, {"code": "1", "state": attempt.state}).role is WebRole.RADIOLOGIST
