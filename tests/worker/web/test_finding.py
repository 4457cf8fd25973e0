import re
from collections.abc import Callable
from unicodedata import normalize

import pytest
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from tests.db.samples import arrived, ended, scored, study
from tests.worker.web.conftest import PASSWORD, Kept, search, token_in

SignIn = Callable[..., TestClient]


def names(html: str) -> list[str]:
    return sorted(re.findall(r'href="/studies/[^"]+">(\w+)</a>', html))


def list_several(sessions: sessionmaker[Session], *numbers: str) -> None:
    with sessions.begin() as session:
        for place, number in enumerate(numbers):
            ended(session, study(f"1.2.{place}", str(place), accession_number=number), scored())


# --- a search


def test_a_search_is_a_form_and_finds_a_part_in_any_case(sessions: sessionmaker[Session], sign_in: SignIn) -> None:
    list_several(sessions, "A009", "A010", "A011")
    reader = sign_in()
    with sessions.begin() as session:
        arrived(session, study("1.9", "9", accession_number="XA017"))
    assert names(search(reader, "a01")) == ["A010", "A011", "XA017"]
    assert reader.get("/search?accession_number=a01").status_code == 405


def test_a_search_finds_letters_that_were_typed_in_parts(sessions: sessionmaker[Session], sign_in: SignIn) -> None:
    number = "\uac80" * 30
    with sessions.begin() as session:
        arrived(session, study("1.9", "9", accession_number=number))
    assert f">{number}</a>" in search(sign_in(), normalize("NFD", number))


def test_a_search_without_the_hidden_field_of_this_session_is_refused(sign_in: SignIn) -> None:
    reader, other = sign_in(), sign_in("admin")
    for token in ("", "0" * 64, token_in(other, "/")):
        assert reader.post("/search", data={"accession_number": "A", "token": token}).status_code == 403


def test_what_was_found_can_be_come_back_to_until_it_is_forgotten(
    sessions: sessionmaker[Session], sign_in: SignIn, stranger: TestClient
) -> None:
    list_several(sessions, "A010")
    reader = sign_in()
    form = {"accession_number": "A010", "token": token_in(reader, "/")}
    address = reader.post("/search", data=form).headers["location"]
    for _ in range(2):
        assert names(reader.get(address).text) == ["A010"]
    assert stranger.get(address).headers["location"] == "/sign-in"
    forgotten = reader.get("/search/another")
    assert forgotten.status_code == 404
    assert "This search is no longer kept." in forgotten.text
    assert reader.post("/search", data=form | {"accession_number": " "}).headers["location"] == "/"


# --- a link from another system


def follow(client: TestClient, address: str, *identifiers: str) -> str:
    """Follow a link to where it ends, past sign-in if need be; no address on the way names anything."""
    for _ in range(8):
        answer = client.get(address)
        assert answer.headers["referrer-policy"] == "no-referrer"
        onwards = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', answer.text)
        if answer.status_code != 303 and onwards is None:
            return address
        address = answer.headers["location"] if onwards is None else onwards[1]
        assert not [one for one in identifiers if one in address]
    raise AssertionError(address)


@pytest.mark.parametrize("name", ["accession", "study_instance_uid"])
def test_a_link_opens_the_study(name: str, kept: Kept, sign_in: SignIn) -> None:
    value = {"accession": "ACC4711", "study_instance_uid": kept.header.study_instance_uid}[name]
    assert follow(sign_in(), f"/open?{name}={value}", value) == f"/studies/{kept.study_id}"


def test_a_form_of_another_system_opens_it_too(kept: Kept, sign_in: SignIn) -> None:
    reader = sign_in()
    address = reader.post("/open", data={"accession": "ACC4711"}).headers["location"]
    assert follow(reader, address, "ACC4711") == f"/studies/{kept.study_id}"


def test_who_has_to_sign_in_first_comes_to_the_study_then(kept: Kept, stranger: TestClient) -> None:
    form_page = follow(stranger, "/open?accession=ACC4711", "ACC4711")
    assert re.fullmatch(r"/sign-in\?open=[\w-]+", form_page)
    html = stranger.get(form_page).text
    [word] = re.findall(r'name="open" value="([^"]+)"', html)
    wrong = {"name": "reader", "password": "wrong", "token": token_in(stranger, "/sign-in"), "open": word}
    assert f'name="open" value="{word}"' in stranger.post("/sign-in", data=wrong).text
    signed_in = stranger.post("/sign-in", data=wrong | {"password": PASSWORD})
    assert follow(stranger, signed_in.headers["location"]) == f"/studies/{kept.study_id}"


def test_a_browser_that_kept_its_cookies_back_is_let_through_without_signing_in_again(
    kept: Kept, sign_in: SignIn, stranger: TestClient
) -> None:
    address = stranger.get("/open?accession=ACC4711").headers["location"]
    [sign_in_page] = re.findall(r"url=([^\"]+)", stranger.get(address).text)
    assert follow(sign_in(), sign_in_page, "ACC4711") == f"/studies/{kept.study_id}"


def test_a_study_that_waits_is_opened(sessions: sessionmaker[Session], sign_in: SignIn) -> None:
    with sessions.begin() as session:
        study_id = arrived(session, study("1.9", "9", accession_number="A017")).study_id
    assert follow(sign_in(), "/open?accession=A017", "A017") == f"/studies/{study_id}"


def test_several_studies_are_listed_and_where_there_is_none_it_is_said(
    sessions: sessionmaker[Session], sign_in: SignIn
) -> None:
    list_several(sessions, "A010", "A010", "A0101")
    reader = sign_in()
    several = follow(reader, "/open?accession=A010", "A010")
    assert several.startswith("/search/")
    assert names(reader.get(several).text) == ["A010", "A010"]
    none = follow(reader, "/open?accession=B1", "B1")
    assert "No study has this accession number" in reader.get(none).text


@pytest.mark.parametrize("query", ["", "?accession=", "?accession=a&study_instance_uid=1.2", "?patient=Roe"])
def test_a_link_that_names_no_study_is_refused(query: str, sign_in: SignIn) -> None:
    assert sign_in().get(f"/open{query}").status_code == 400


def test_a_link_that_was_made_up_or_forgotten_is_said_so(sign_in: SignIn) -> None:
    answer = sign_in().get("/open/made-up")
    assert answer.status_code == 404
    assert "This search is no longer kept." in answer.text
