"""What the page writes: which addresses take a form, and who is refused there, by whatever method."""

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from tests.db.samples import ended, scored, study
from tests.worker.web.conftest import HOST, PASSWORD, token_in
from tests.worker.web.test_verdicts import form_in
from worker.web.application import make_application
from worker.web.site import Site

SignIn = Callable[..., TestClient]
Writing = sessionmaker[Session]

FORMS = {
    "/search": {"accession_number": "A1"},
    "/studies/{study_id:uuid}/reading": {"agrees-1": "yes", "final-1": "3"},
    "/scheme": {"scheme": "dark", "page": "/"},
    "/sign-out": {},
    "/sign-in": {"name": "reader", "password": PASSWORD},
    "/open": {"accession": "A1"},
}
"""Every address that takes a form, with one that is filled in."""

NEEDS_NO_SESSION = {"/sign-in", "/open"}
"""The one begins a session; the other keeps a number under a word, by which only who signed in is shown a study."""

SAFE = {"GET", "HEAD"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LOCK")


@pytest.fixture
def study_id(sessions: Writing) -> UUID:
    with sessions.begin() as session:
        return ended(session, study(), scored(lh=0.1, bm=0.1)).study_id


def routes(site: Site) -> Iterator[tuple[str, set[str]]]:
    """Each address of the page, and the methods that it takes."""
    application = make_application(site, [HOST])
    for route in application._app._app.routes:  # type: ignore[attr-defined]
        if isinstance(route, Mount):
            yield f"{route.path}/page.css", SAFE
        else:
            assert isinstance(route, Route)
            yield route.path, set(route.methods or ())


def address(path: str, study_id: UUID) -> str:
    filled = path.replace("{study_id:uuid}", str(study_id)).replace("{ordinal}", "1").replace("{kind}", "crop")
    return filled.replace("{model}", "DLR_BM").replace("{word}", "w").replace("{image}", "1")


def on_record(sessions: Writing) -> list[str]:
    """All that is said, what is read, and the history."""
    with sessions() as session:
        tables = ("reading", "verdict", "study", "worklist_entry", "study_event")
        asked = " UNION ALL ".join(f"SELECT to_jsonb({table})::text FROM {table}" for table in tables)
        return sorted(session.scalars(text(asked)))


def test_these_addresses_take_a_form_and_no_others(site: Site) -> None:
    assert {path for path, methods in routes(site) if methods - SAFE} == set(FORMS)
    assert {method for _, methods in routes(site) for method in methods} == SAFE | {"POST"}


@pytest.mark.parametrize("path", sorted(set(FORMS) - NEEDS_NO_SESSION))
def test_a_form_of_nobody_who_signed_in_is_led_to_sign_in_and_changes_nothing(
    sessions: Writing, stranger: TestClient, sign_in: SignIn, study_id: UUID, path: str
) -> None:
    bea = sign_in("bea")
    form = FORMS[path] | form_in(bea, study_id)
    before = on_record(sessions)
    for token in (form["token"], token_in(stranger, "/sign-in"), ""):
        answer = stranger.post(address(path, study_id), data=form | {"token": token})
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
        assert "set-cookie" not in answer.headers
    assert bea.get("/").status_code == 200
    assert on_record(sessions) == before


@pytest.mark.parametrize("name", ["reader", "admin", "bea"])
@pytest.mark.parametrize("path", sorted(set(FORMS) - NEEDS_NO_SESSION))
def test_a_form_without_its_token_is_refused_and_changes_nothing(
    sessions: Writing, sign_in: SignIn, study_id: UUID, path: str, name: str
) -> None:
    own, other = sign_in(name), sign_in("carl")
    form = {**form_in(other, study_id), **FORMS[path]}
    token = token_in(own, "/")
    before = on_record(sessions)
    there = address(path, study_id)
    without = {field: value for field, value in form.items() if field != "token"}
    answers = [
        own.post(there, data=without),
        own.post(there, data=form),
        own.post(f"{there}?token={token}", data=without),
        own.post(there, data=without, headers={"X-CSRF-Token": token, "X-CSRFToken": token}),
        own.post(there, json={**without, "token": token}),
        own.post(there, data=without | {"token": token}, files={"file": b""}),
    ]
    assert {answer.status_code for answer in answers} <= {400, 403}
    assert own.get("/").status_code == 200
    assert on_record(sessions) == before


@pytest.mark.parametrize("name", [None, "reader", "admin"])
def test_whoever_is_no_radiologist_writes_no_verdict_by_any_method_at_any_address(
    sessions: Writing, site: Site, stranger: TestClient, sign_in: SignIn, study_id: UUID, name: str | None
) -> None:
    form = FORMS["/studies/{study_id:uuid}/reading"] | form_in(sign_in("bea"), study_id)
    before = on_record(sessions)
    for path in {path for path, _ in routes(site)} - {"/sign-out"}:
        who = stranger if name is None else sign_in(name)
        token = token_in(who, "/sign-in" if name is None else "/")
        for method in METHODS:
            for headers in ({}, {"X-HTTP-Method-Override": "POST", "X-HTTP-Method": "POST"}):
                given = form | {"token": token, "_method": "POST"}
                there = address(path, study_id)
                who.request(method, there, params=given if method in SAFE else None, data=given, headers=headers)
    assert on_record(sessions) == before


@pytest.mark.parametrize("method", METHODS)
def test_an_address_takes_the_methods_that_it_is_for_and_refuses_a_radiologist_too(
    sessions: Writing, site: Site, sign_in: SignIn, study_id: UUID, method: str
) -> None:
    bea = sign_in("bea")
    form = FORMS["/studies/{study_id:uuid}/reading"] | form_in(bea, study_id)
    before = on_record(sessions)
    taken: dict[str, set[str]] = {}
    for path, methods in routes(site):
        taken.setdefault(path, set()).update(methods)
    for path, methods in taken.items():
        if method not in methods:
            answer = bea.request(method, address(path, study_id), params=form, data=form)
            assert answer.status_code == 405, path
    assert on_record(sessions) == before


def test_the_same_form_of_a_radiologist_is_a_verdict(sessions: Writing, sign_in: SignIn, study_id: UUID) -> None:
    bea = sign_in("bea")
    before = on_record(sessions)
    form = FORMS["/studies/{study_id:uuid}/reading"] | form_in(bea, study_id)
    assert bea.post(f"/studies/{study_id}/reading", data=form).status_code == 303
    assert on_record(sessions) != before
