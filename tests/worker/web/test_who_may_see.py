"""Each address of the page, asked for by nobody, a reader, a radiologist and an administrator."""

from collections.abc import Callable

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from tests.worker.web.conftest import Kept, client_of, token_in
from tests.worker.web.test_verdicts import form_in
from tests.worker.web.test_who_may_write import FORMS, address, routes
from worker.web.site import Site

SignIn = Callable[..., TestClient]
Ask = Callable[[TestClient, str, str], Response]

SIGN_IN, ONWARDS = "303 /sign-in", "200"
NOT_SET_UP = ("404",) * 4
LED_ON, SHOWN, ANYBODY = "303", "200", ("200",) * 4
FOR_READERS = (SIGN_IN, SHOWN, SHOWN, SHOWN)
BY_THE_PAGE_ITSELF = ("401", SHOWN, SHOWN, SHOWN)
A_FORM = (SIGN_IN, LED_ON, LED_ON, LED_ON)

ANSWERS = {
    ("GET", "/"): FOR_READERS,
    ("GET", "/state"): BY_THE_PAGE_ITSELF,
    ("POST", "/search"): A_FORM,
    ("GET", "/search/{word}"): FOR_READERS,
    ("GET", "/open"): (LED_ON,) * 4,
    ("POST", "/open"): (LED_ON,) * 4,
    ("GET", "/open/{word}"): (ONWARDS, LED_ON, LED_ON, LED_ON),
    ("GET", "/place"): A_FORM,
    ("GET", "/refused"): (SIGN_IN, "404", "404", SHOWN),
    ("GET", "/studies/{study_id:uuid}"): FOR_READERS,
    ("POST", "/studies/{study_id:uuid}/reading"): (SIGN_IN, "403", LED_ON, "403"),
    ("GET", "/studies/{study_id:uuid}/state"): BY_THE_PAGE_ITSELF,
    ("GET", "/studies/{study_id:uuid}/lesions/{ordinal}/images/{image}/{kind}.png"): BY_THE_PAGE_ITSELF,
    ("GET", "/studies/{study_id:uuid}/lesions/{ordinal}/images/{image}/heat/{model}.png"): ("401", "404", "404", "404"),
    ("POST", "/scheme"): A_FORM,
    ("GET", "/sign-in"): (SHOWN, LED_ON, LED_ON, LED_ON),
    ("POST", "/sign-in"): (LED_ON, "403", "403", "403"),
    ("GET", "/sign-in/openid"): NOT_SET_UP,
    ("GET", "/sign-in/callback"): NOT_SET_UP,
    ("GET", "/sign-out/openid"): NOT_SET_UP,
    ("GET", "/signed-out"): ANYBODY,
    ("GET", "/healthz"): ("204",) * 4,
    ("GET", "/static/page.css"): ANYBODY,
    ("POST", "/sign-out"): (SIGN_IN, "303 /sign-in", "303 /sign-in", "303 /sign-in"),
}
"""Each address and method: what nobody, a reader, a radiologist and an administrator are answered."""

SIGNED_IN = ("reader", "bea", "admin")


def said(answer: Response) -> str:
    """The status, and whether somebody is sent to sign in."""
    sent = answer.headers.get("location", "").startswith("/sign-in")
    return f"{answer.status_code} /sign-in" if sent else str(answer.status_code)


@pytest.fixture
def ask(site: Site, kept: Kept, sign_in: SignIn) -> Ask:
    """Give a function that asks for something that is there, by a form with one's own token where it takes one."""
    words = {"/search/{word}": site.searches, "/open/{word}": site.links}
    asked = {"/open": {"accession": "A1"}, "/place": {"number": "1"}}
    of_the_study = form_in(sign_in("bea"), kept.study_id)

    def make(client: TestClient, method: str, path: str) -> Response:
        there = address(path, kept.study_id)
        if path in words:
            there = path.replace("{word}", words[path].keep(kept.header.accession_number))
        if method == "GET":
            return client.get(there, params=asked.get(path, {}))
        is_signed_in = client.get("/").status_code == 200
        token = token_in(client, "/" if is_signed_in else "/sign-in")
        return client.post(there, data=of_the_study | FORMS[path] | {"token": token})

    return make


def test_each_address_has_a_row(site: Site) -> None:
    found = {(method, path) for path, methods in routes(site) for method in methods - {"HEAD"}}
    assert found == set(ANSWERS)


def test_each_address_answers_each_role_as_the_table_says(ask: Ask, site: Site, sign_in: SignIn) -> None:
    signed_in = [sign_in(name) for name in SIGNED_IN]
    answers = {
        (method, path): tuple(said(ask(client, method, path)) for client in (client_of(site), *signed_in))
        for method, path in ANSWERS
    }
    assert answers == ANSWERS
