"""What of the worklist is shown, in which order, and how far its counts go."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from db.reads import study_queries, worklist_page
from db.reads.study_records import WorklistRow
from tests.db.samples import arrived, ended, lesion, refused, scored, study
from tests.worker.web.conftest import client_of
from worker.scoring.worklist_place import place_studies
from worker.web import listing
from worker.web.languages import language
from worker.web.site import Site
from worker.web.words import Words

SignIn = Callable[..., TestClient]


@pytest.fixture
def rows(sessions: sessionmaker[Session]) -> dict[str, WorklistRow]:
    """A list of some variety, by accession number."""
    with sessions.begin() as session:
        waits = study("1.1", "1", accession_number="WAITS", lesions=(lesion("L1", "5"),))
        arrived(session, waits)
        ended(session, study("1.2", "2", accession_number="UP", priority="stat"), scored(lh=0.9, bm=0.9))
        ended(session, study("1.3", "3", accession_number="DOWN"), scored(lh=0.1, bm=0.1))
        ended(session, study("1.4", "4", accession_number="FAILED", priority="urgent"), refused())
        discordant = study("1.5", "5", accession_number="ODD", lesions=(lesion("L1", "2"),))
        ended(session, discordant, scored(lh=0.9, bm=0.9, birads="2"))
        session.execute(text("UPDATE study SET site = 'North' WHERE accession_number IN ('UP', 'DOWN')"))
        session.execute(text("UPDATE study SET scanner_model = 'Sono 9' WHERE accession_number = 'DOWN'"))
        session.execute(text("UPDATE study SET laterality = 'both' WHERE accession_number = 'UP'"))
        session.execute(text("UPDATE study SET laterality = 'left' WHERE accession_number = 'DOWN'"))
        session.execute(text("UPDATE study SET laterality = 'right' WHERE accession_number = 'FAILED'"))
        early = "UPDATE study SET received_at = '2026-01-31 23:30+00' WHERE accession_number = 'DOWN'"
        session.execute(text(early))
        place_studies(session, session.scalars(text("SELECT id FROM study")).all())
    with sessions() as session:
        return {str(row.accession_number): row for row in study_queries.worklist(session)}


def shown(html: str) -> list[str]:
    return re.findall(r'<th scope="row"><bdi><a [^>]*>([^<]+)</a>', html)


def in_order(rows: dict[str, WorklistRow], *names: str) -> list[str]:
    return [name for name in rows if name in names]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ("WAITS", "UP", "DOWN", "FAILED", "ODD")),
        ("tier=suspicious", ("WAITS", "UP")),
        ("tier=to_be_looked_at", ("FAILED",)),
        ("tier=low", ("DOWN",)),
        ("tier=suspicious&priority=stat", ("UP",)),
        ("state=queued", ("WAITS",)),
        ("state=done", ("UP", "DOWN", "ODD")),
        ("class=upgraded", ("UP",)),
        ("class=needs_attention&state=failed&priority=urgent", ("FAILED",)),
        ("side=left", ("UP", "DOWN")),
        ("side=right", ("UP", "FAILED")),
        ("site=North", ("UP", "DOWN")),
        ("scanner=Sono+9", ("DOWN",)),
        ("to=2026-02-01", ("DOWN",)),
        ("from=2026-02-02", ("WAITS", "UP", "FAILED", "ODD")),
        ("read=yes", ()),
        ("read=any", ("WAITS", "UP", "DOWN", "FAILED", "ODD")),
        ("tier=nonsense&side=top&from=yesterday&site=", ("WAITS", "UP", "DOWN", "FAILED", "ODD")),
    ],
)
def test_a_filter_leaves_studies_out_in_the_same_order(
    query: str, names: tuple[str, ...], rows: dict[str, WorklistRow], sign_in: SignIn
) -> None:
    assert shown(sign_in().get(f"/?{query}").text) == in_order(rows, *names)


@pytest.mark.parametrize(("zone", "day"), [("UTC", "2026-01-31"), ("Asia/Kolkata", "2026-02-01")])
def test_a_day_is_one_of_the_site(
    zone: str, day: str, rows: dict[str, WorklistRow], site: Site, sign_in: SignIn
) -> None:
    there = client_of(replace(site, zone=ZoneInfo(zone)))
    there.cookies = sign_in().cookies
    assert shown(there.get(f"/?from={day}&to={day}").text) == ["DOWN"]
    another = f"{datetime.fromisoformat(day) - timedelta(days=1):%Y-%m-%d}"
    assert shown(there.get(f"/?from={another}&to={another}").text) == []


def test_filters_and_what_is_suggested_for_them_stay_on_the_page(rows: dict[str, WorklistRow], sign_in: SignIn) -> None:
    html = sign_in().get("/?tier=suspicious&side=left&site=North&from=2026-01-01").text
    assert '<input type="hidden" name="tier" value="suspicious">' in html
    assert '<option value="left" selected>Left</option>' in html
    assert 'name="site" list="all-site" value="North"' in html
    assert 'name="from" value="2026-01-01"' in html
    assert '<option value="Sono 9">' in html
    assert 'aria-current="true">Suspicious <b>2</b>' in html


def test_a_study_that_was_read_is_left_out_and_can_be_shown(
    rows: dict[str, WorklistRow], sessions: sessionmaker[Session], sign_in: SignIn
) -> None:
    with sessions.begin() as session:
        study_id = {"id": rows["UP"].study_id}
        session.execute(
            text("UPDATE study SET read_at = now(), read_by = 'anna', read_tier = 'suspicious' WHERE id = :id"),
            study_id,
        )
        session.execute(text("UPDATE worklist_entry SET is_read = true WHERE study_id = :id"), study_id)
    reader = sign_in()
    assert "UP" not in shown(reader.get("/").text)
    html = reader.get("/?read=yes").text
    assert shown(html) == ["UP"]
    assert '<span class="mark read">' in html
    assert shown(reader.get("/?read=any").text)[-1] == "UP"
    assert "Suspicious <b>1</b>" in html


# --- in words


def test_each_study_says_why_it_stands_where_it_stands_and_what_is_noted_of_it(
    rows: dict[str, WorklistRow], sign_in: SignIn
) -> None:
    reader = sign_in()
    html = reader.get("/").text
    for row in rows.values():
        reason = row.place_reason.replace("marked STAT", "Stat")
        assert f'<small class="reason">{reason}</small>' in html
        assert reason in reader.get(f"/studies/{row.study_id}").text
    for name, sign, word in (("waiting", "…", "Waits for scores"), ("discordant", "≠", "Discordant")):
        assert re.search(f'<span class="mark {name}" title="[^"]+"><span aria-hidden="true">{sign}</span> {word}', html)
    assert "Both breasts" in html


def test_a_reason_is_in_the_language_of_the_page(rows: dict[str, WorklistRow], sign_in: SignIn) -> None:
    html = sign_in().get("/", headers={"Accept-Language": "de"}).text
    assert "Läsion 1, BI-RADS 5: schon ihre Kategorie ist hochverdächtig" in html
    assert "(Notfall: vor allen Stufen)" in html
    assert "Verdächtig" in html


@pytest.mark.parametrize(
    ("code", "number", "said"),
    [("en", 0, "0"), ("en", 10_000, "10,000"), ("en", 10_001, "10,000+"), ("de", 10_001, "10.000+")],
)
def test_a_count_is_exact_up_to_a_point(code: str, number: int, said: str) -> None:
    assert Words(language(code)).count(number) == said


# --- another order


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("accession", ["DOWN", "FAILED", "ODD", "UP", "WAITS"]),
        ("priority", ["UP", "FAILED"]),
        ("scanner", ["UP", "ODD", "DOWN"]),
        ("received", []),
    ],
)
def test_another_order_says_that_it_is_not_that_of_reading(
    sort: str, names: list[str], rows: dict[str, WorklistRow], sign_in: SignIn
) -> None:
    html = sign_in().get(f"/?sort={sort}&read=any").text
    found = shown(html)
    assert sorted(found) == sorted(rows)
    assert [name for name in found if name in names] == names
    assert "This is not the reading order" in html
    assert '<a href="/?read=any">Back to the reading order</a>' in html
    assert html.count("aria-sort=") == 1
    assert 'class="group"' not in html
    if sort == "received":
        assert found[-1] == "DOWN"


def test_another_order_goes_on_page_by_page(
    rows: dict[str, WorklistRow], sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "ROWS", 2)
    reader, address, found = sign_in(), "/?sort=accession", []
    while address:
        html = reader.get(address).text
        found += shown(html)
        further = re.search(r'rel="next" href="([^"]+)"', html)
        address = further[1].replace("&amp;", "&") if further else ""
    assert found == sorted(rows)


def test_a_sort_that_is_none_is_the_reading_order(rows: dict[str, WorklistRow], sign_in: SignIn) -> None:
    html = sign_in().get("/?sort=study_id;--").text
    assert shown(html) == list(rows)
    assert "not the reading order" not in html


# --- a place


def test_a_place_is_gone_to(rows: dict[str, WorklistRow], sign_in: SignIn) -> None:
    reader = sign_in()
    for row in rows.values():
        answer = reader.get(f"/place?number={row.position}")
        assert answer.headers["location"] == f"/studies/{row.study_id}"
    for number in ("0", "6", "999999999", "-1", "x", "", "9" * 30):
        answer = reader.get(f"/place?number={number}")
        assert answer.status_code == 404, number
        assert "No study stands at this place" in answer.text


def test_beyond_the_places_that_are_counted_it_is_said_so(
    rows: dict[str, WorklistRow], sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncounted = worklist_page._rows

    def beyond(*given: object) -> list[WorklistRow]:
        return [replace(row, position=None) for row in uncounted(*given)]  # type: ignore[arg-type]

    monkeypatch.setattr(worklist_page, "_rows", beyond)
    reader = sign_in()
    assert "after 10,000" in reader.get("/").text
    assert "After place 10,000" in reader.get(f"/studies/{rows['UP'].study_id}").text


def test_the_day_of_today_is_within_its_own_bounds(rows: dict[str, WorklistRow], sign_in: SignIn) -> None:
    today = f"{datetime.now(UTC).astimezone():%Y-%m-%d}"
    assert shown(sign_in().get(f"/?from={today}&to={today}").text) == [name for name in rows if name != "DOWN"]
