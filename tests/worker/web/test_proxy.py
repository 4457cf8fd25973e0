"""A proxy that vouches for readers is believed, and nobody else is."""

from collections.abc import Mapping

import pytest
from starlette.testclient import TestClient

from tests.worker.web.conftest import HOST, token_in
from worker.web.accounts import WebRole
from worker.web.application import make_application
from worker.web.proxy import Vouching
from worker.web.sessions import SESSION_COOKIE
from worker.web.site import Site

VOUCHING = Vouching("X-Remote-User", "X-Remote-Groups", {"radiology": WebRole.RADIOLOGIST, "it": WebRole.ADMINISTRATOR})
BEA = {"X-Remote-User": "bea", "X-Remote-Groups": "staff, radiology"}


def client(site: Site, peer: str, vouching: Vouching | None = VOUCHING) -> TestClient:
    application = make_application(site, [HOST], ["10.1.2.3", "10.9.0.0/16"], vouching)
    return TestClient(application, f"http://{HOST}", follow_redirects=False, client=(peer, 40000))


@pytest.mark.parametrize("peer", ["10.1.2.3", "10.9.7.7"])
def test_who_signed_in_to_the_proxy_is_in(site: Site, peer: str) -> None:
    page = client(site, peer).get("/", headers=BEA)
    assert (page.status_code, "bea" in page.text, "Sign out" in page.text) == (200, True, False)


@pytest.mark.parametrize("peer", ["10.1.2.4", "127.0.0.1", "::1", "testclient"])
def test_from_any_other_address_the_header_is_nothing(site: Site, peer: str) -> None:
    answer = client(site, peer).get("/", headers=BEA | {"X-Forwarded-For": "10.1.2.3"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"X-Remote-User": ""}, 303),
        ({"X-Remote-User": "x" * 65, "X-Remote-Groups": "radiology"}, 303),
        ({"X-Remote-User": "visitor"}, 403),
        ({"X-Remote-User": "visitor", "X-Remote-Groups": "staff"}, 403),
    ],
    ids=["nobody", "empty", "too-long", "no-groups", "no-group-of-ours"],
)
def test_whom_the_proxy_does_not_name_has_to_sign_in_and_who_has_no_role_is_told_so(
    site: Site, headers: Mapping[str, str], status: int
) -> None:
    answer = client(site, "10.1.2.3").get("/", headers=headers)
    assert (answer.status_code, "no access" in answer.text) == (status, status == 403)


def test_a_header_that_is_there_twice_is_nobody_s(site: Site) -> None:
    twice = [("X-Remote-User", "bea"), ("X-Remote-User", "admin"), ("X-Remote-Groups", "it")]
    assert client(site, "10.1.2.3").get("/", headers=twice).status_code == 303


def test_where_no_header_is_set_up_a_proxy_vouches_for_nobody(site: Site) -> None:
    assert client(site, "10.1.2.3", None).get("/", headers=BEA).status_code == 303


def test_a_form_is_taken_from_who_was_given_it(site: Site) -> None:
    browser = client(site, "10.1.2.3")
    browser.headers.update(BEA)
    token = token_in(browser, "/")
    assert browser.post("/search", data={"text": "A1", "token": token}).status_code == 303
    browser.headers.update({"X-Remote-User": "carl"})
    assert browser.post("/search", data={"text": "A1", "token": token}).status_code == 403
    assert SESSION_COOKIE not in browser.cookies
