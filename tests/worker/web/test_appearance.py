import re
from collections.abc import Callable
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from starlette.testclient import TestClient

from tests.worker.web.conftest import Kept, client_of, token_in
from worker.web.appearance import COOKIE, own_page
from worker.web.site import Site

SignIn = Callable[..., TestClient]


def choose(reader: TestClient, scheme: str, page: str = "/") -> str:
    form = {"token": token_in(reader, "/"), "scheme": scheme, "page": page}
    return reader.post("/scheme", data=form).headers["location"]


def pressed(html: str) -> list[str]:
    return re.findall(r'name="scheme" value="(\w*)" aria-pressed="true"', html)


def test_a_scheme_is_chosen_by_a_form_and_remembered(sign_in: SignIn, stranger: TestClient) -> None:
    reader = sign_in()
    first = reader.get("/").text
    assert (pressed(first), "data-scheme" in first) == ([""], False)
    for scheme in ("light", "dark"):
        assert choose(reader, scheme) == "/"
        shown = reader.get("/").text
        assert pressed(shown) == [scheme]
        assert f' data-scheme="{scheme}"' in shown
    reader.post("/sign-out", data={"token": token_in(reader, "/")})
    assert 'data-scheme="dark"' in reader.get("/sign-in").text
    assert "data-scheme" not in stranger.get("/sign-in").text


def test_the_choice_is_taken_back_and_nonsense_is_none(sign_in: SignIn) -> None:
    reader = sign_in()
    for scheme in ("", "purple"):
        choose(reader, "light")
        choose(reader, scheme)
        assert "data-scheme" not in reader.get("/").text
    reader.cookies.set(COOKIE, '"><script>')
    assert "data-scheme" not in reader.get("/").text


def test_it_goes_back_to_the_page_that_was_shown(kept: Kept, sign_in: SignIn) -> None:
    reader = sign_in()
    for page in (f"/studies/{kept.study_id}", "/?state=failed&priority=stat"):
        [shown] = re.findall(r'name="page" value="([^"]*)"', reader.get(page).text)
        assert choose(reader, "dark", shown.replace("&amp;", "&")) == page


@pytest.mark.parametrize(
    "address", ["//evil.example", "https://evil.example", "/\\evil", "/studies/../x", "", "/sign-out", "/\r\nX: y"]
)
def test_no_address_leads_to_another_site(address: str) -> None:
    assert own_page(address) == "/"


def test_each_time_says_utc_too(site: Site, kept: Kept, sign_in: SignIn) -> None:
    cookies = sign_in().cookies
    berlin = client_of(replace(site, zone=ZoneInfo("Europe/Berlin")))
    berlin.cookies = cookies
    html = berlin.get(f"/studies/{kept.study_id}").text
    times = re.findall(r"<time [^>]*>", html)
    assert times
    assert all(re.search(r'title="\d{4}-\d\d-\d\d [\d:]{8} UTC"', one) for one in times)
    assert "Times are Europe/Berlin" in html
