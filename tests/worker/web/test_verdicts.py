"""Verdicts on the page: who may give them, what is refused, and what everybody sees of them."""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from db.schema.roles import WEB
from db.session import make_engine, session_factory
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import claimed, ended, finish_one, lesion, refused, result, scored, study
from tests.worker.web.conftest import client_of
from worker.scoring.worklist_place import place_studies
from worker.web.site import Site

SignIn = Callable[..., TestClient]
Writing = sessionmaker[Session]
NAMES = ("L1", "Mary's left")
VERDICT = {"agrees-1": "no", "final-1": "4B", "remark-1": "as in Mary Roe's first study", "final-2": "5"}


@pytest.fixture
def study_id(sessions: Writing) -> UUID:
    """Of a study of two lesions: a 4A that was advised down, and a 4C, on which there is no advice."""
    first, second = NAMES
    with sessions.begin() as session:
        record = study(lesions=(lesion(first), lesion(second, "4C")))
        return ended(session, record, scored(first, lh=0.1, bm=0.1), scored(second, birads="4C")).study_id


def form_in(client: TestClient, study_id: UUID, **fields: str) -> dict[str, str]:
    """What the browser sends where the form of a study's page was filled in like this."""
    page = client.get(f"/studies/{study_id}").text
    [form] = re.findall(r'<form class="reading".*?</form>', page, re.DOTALL)
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)) | fields


def send(client: TestClient, study_id: UUID, form: dict[str, str]) -> tuple[int, str]:
    answer = client.post(f"/studies/{study_id}/reading", data=form)
    return answer.status_code, answer.headers.get("location", answer.text)


def written(sessions: Writing) -> list[tuple[object, ...]]:
    query = (
        "SELECT ordinal, agrees, final_birads, remark, reader FROM verdict JOIN reading ON reading.id = reading_id "
        "JOIN lesion ON lesion.id = verdict.lesion_id ORDER BY recorded_at, ordinal"
    )
    with sessions() as session:
        return [tuple(row) for row in session.execute(text(query))]


def is_read(sessions: Writing) -> bool:
    with sessions() as session:
        return bool(session.scalar(text("SELECT count(*) FROM reading")))


def test_a_radiologist_reads_a_study_gives_verdicts_and_goes_on_to_the_next(
    sessions: Writing, sign_in: SignIn, study_id: UUID
) -> None:
    with sessions.begin() as session:
        behind = ended(session, study("1.9", "b"), scored("L1", lh=0.1, bm=0.05)).study_id
    bea = sign_in("bea")
    assert send(bea, study_id, form_in(bea, study_id, **VERDICT)) == (303, f"/studies/{behind}")
    assert written(sessions) == [
        (1, False, "4B", "as in Mary Roe's first study", "bea"), (2, None, "5", None, "bea"),
    ]  # fmt: skip
    assert send(bea, behind, form_in(bea, behind)) == (303, "/")
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM worklist WHERE read_by = 'bea'")) == 2


def test_everybody_sees_who_said_what_and_only_a_radiologist_has_the_form(
    sessions: Writing, sign_in: SignIn, study_id: UUID
) -> None:
    bea, carl = sign_in("bea"), sign_in("carl")
    send(bea, study_id, form_in(bea, study_id, **VERDICT))
    send(carl, study_id, form_in(carl, study_id, **{"agrees-1": "yes", "final-1": "3"}))
    for name in ("reader", "admin", "bea"):
        page = sign_in(name).get(f"/studies/{study_id}").text
        said = re.findall(r"<b>BI-RADS ([\w]+)</b>.*?<small>(\w+), ", page, re.DOTALL)
        assert said == [("3", "carl"), ("4B", "bea"), ("5", "bea")]
        assert page.count("replaced by a later verdict") == 1
        assert "as in Mary Roe&#39;s first study" in page
        assert "Read by carl" in page
        assert ('class="reading"' in page, "<fieldset" in page) == (name == "bea", name == "bea")


@pytest.mark.parametrize("name", ["reader", "admin"])
def test_an_account_that_is_no_radiologist_s_can_not_write_a_verdict(
    sessions: Writing, sign_in: SignIn, study_id: UUID, name: str
) -> None:
    bea, other = sign_in("bea"), sign_in(name)
    form = form_in(bea, study_id, **VERDICT)
    token = re.search(r'name="token" value="(\w+)"', other.get(f"/studies/{study_id}").text)
    assert token
    status, page = send(other, study_id, form | {"token": token[1]})
    assert (status, "Your account cannot give verdicts. Nothing was saved." in page) == (403, True)
    assert not is_read(sessions)


def test_a_form_that_is_not_this_session_s_is_refused(sessions: Writing, sign_in: SignIn, study_id: UUID) -> None:
    bea, carl = sign_in("bea"), sign_in("carl")
    form = form_in(bea, study_id, **VERDICT)
    for token in ("", "0" * 64, form_in(carl, study_id)["token"]):
        assert send(bea, study_id, form | {"token": token})[0] == 403
    assert not is_read(sessions)


def test_a_stranger_is_sent_to_sign_in(sessions: Writing, stranger: TestClient, study_id: UUID) -> None:
    assert send(stranger, study_id, {"token": "x"} | VERDICT) == (303, "/sign-in")
    assert stranger.get(f"/studies/{study_id}/reading").status_code == 405
    assert not is_read(sessions)


def test_the_same_form_twice_is_one_reading_and_a_changed_one_is_a_correction(
    sessions: Writing, sign_in: SignIn, study_id: UUID
) -> None:
    bea = sign_in("bea")
    form = form_in(bea, study_id, **VERDICT)
    assert send(bea, study_id, form) == send(bea, study_id, form) == (303, "/")
    assert len(written(sessions)) == 2
    assert send(bea, study_id, form | {"final-1": "4A"}) == (303, "/")
    assert [row[2] for row in written(sessions)] == ["4B", "5", "4A", "5"]


def revise(session: Session, study_id: UUID) -> None:
    revised = ledger.record_study(session, study(content="b"))
    place_studies(session, [study_id, revised.study_id])


def score(session: Session, study_id: UUID) -> None:
    assert ledger.requeue(session, study_id, "me")
    done = result(claimed(session, study_id), scored(NAMES[0], lh=0.9, bm=0.9), scored(NAMES[1], birads="4C"))
    assert finish_one(session, done)
    place_studies(session, [study_id])


@pytest.mark.parametrize("change", [revise, score])
def test_what_has_changed_since_it_was_shown_is_refused_in_plain_words_with_what_was_typed(
    sessions: Writing, sign_in: SignIn, change: Callable[[Session, UUID], None]
) -> None:
    with sessions.begin() as session:
        record = study(lesions=(lesion(NAMES[0]), lesion(NAMES[1], "4C")))
        study_id = ended(session, record, refused(NAMES[0]), scored(NAMES[1], birads="4C")).study_id
    bea = sign_in("bea")
    form = form_in(bea, study_id, **{"final-1": "4A", "remark-1": "typed at length"})
    with sessions.begin() as session:
        change(session, study_id)
    status, page = send(bea, study_id, form)
    assert status == 409
    assert "Nothing was saved" in page
    assert "The study has changed since you opened it" in page
    assert "typed at length" in page
    assert not is_read(sessions)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"agrees-1": "no"}, "Give the final category."),
        ({"remark-2": "x"}, "Give the final category."),
        ({"final-1": "4B"}, "Say whether you agree with the advice."),
        ({"final-2": "4B", "remark-2": "ä" * 501}, "The remark is longer than 500 characters."),
    ],
)
def test_what_is_not_complete_is_shown_again_with_what_was_entered(
    sessions: Writing, sign_in: SignIn, study_id: UUID, fields: dict[str, str], sentence: str
) -> None:
    bea = sign_in("bea")
    status, page = send(bea, study_id, form_in(bea, study_id, **fields))
    assert (status, page.count(sentence)) == (422, 1)
    for name, value in fields.items():
        shown = {"agrees": f'value="{value}" checked', "final": f"<option selected>{value}", "remark": f">{value}<"}
        assert shown[name.split("-")[0]] in page
    assert not is_read(sessions)


@pytest.mark.parametrize(
    "fields",
    [{"final-1": "7"}, {"agrees-1": "perhaps"}, {"reading": "x"}, {"advice": "a b"}, {"final-1": ">4A"}],
)
def test_what_no_form_of_ours_sends_is_refused(
    sessions: Writing, sign_in: SignIn, study_id: UUID, fields: dict[str, str]
) -> None:
    bea = sign_in("bea")
    assert send(bea, study_id, form_in(bea, study_id) | fields)[0] == 400
    assert not is_read(sessions)


def test_a_remark_has_500_characters_whatever_they_are_and_however_a_line_ends(
    sessions: Writing, sign_in: SignIn, study_id: UUID
) -> None:
    bea = sign_in("bea")
    remark = "ä\r\n" * 249 + "🩻🩻"
    assert send(bea, study_id, form_in(bea, study_id, **{"final-2": "5", "remark-2": remark}))[0] == 303
    assert written(sessions) == [(2, None, "5", remark.replace("\r\n", "\n"), "bea")]


def test_neither_the_log_nor_the_history_has_a_remark(
    sessions: Writing, sign_in: SignIn, study_id: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bea = sign_in("bea")
    send(bea, study_id, form_in(bea, study_id, **VERDICT))
    send(bea, study_id, form_in(bea, study_id, **VERDICT | {"final-1": ""}))
    assert "Mary" not in caplog.text
    assert f"bea read study {study_id}" in caplog.text
    assert "Mary" not in sign_in("admin").get(f"/studies/{study_id}").text.split('id="history"')[1]


def test_who_else_has_a_study_open_is_said_on_its_page_and_where_it_asks(sign_in: SignIn, study_id: UUID) -> None:
    bea, reader = sign_in("bea"), sign_in("reader")
    assert "Also open now" not in bea.get(f"/studies/{study_id}").text
    assert "Also open now: bea" in reader.get(f"/studies/{study_id}").text
    assert bea.get(f"/studies/{study_id}/state").json()["shown"]["others"] == "Also open now: reader"
    assert bea.get(f"/studies/{uuid4()}").status_code == 404


def test_a_study_that_is_not_listed_is_not_read(sessions: Writing, sign_in: SignIn, study_id: UUID) -> None:
    bea = sign_in("bea")
    form = form_in(bea, study_id)
    assert send(bea, uuid4(), form)[0] == 409
    assert not is_read(sessions)


def test_a_page_of_a_standby_shows_the_study_and_says_that_nothing_was_saved(
    database: Database, site: Site, sessions: Writing, sign_in: SignIn, study_id: UUID
) -> None:
    bea = sign_in("bea")
    form = form_in(bea, study_id, **VERDICT)
    options = {"options": "-c default_transaction_read_only=on"}
    engine = make_engine(str(make_url(database.web_url).update_query_dict(options).render_as_string(False)), role=WEB)
    there = client_of(replace(site, reading=session_factory(engine)))
    there.cookies = bea.cookies
    assert there.get(f"/studies/{study_id}").status_code == 200
    assert send(there, study_id, form)[0] == 503
    assert not is_read(sessions)
    engine.dispose()
