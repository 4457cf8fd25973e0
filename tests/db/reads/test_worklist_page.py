from collections.abc import Iterator
from dataclasses import fields
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from db.migrate import PAGE_VIEWS
from db.reads import study_queries, worklist_page
from db.reads.study_records import WorklistRow
from db.reads.worklist_page_records import ListedRow, WorklistChoices, WorklistFilter
from db.schema.roles import WEB
from db.session import make_engine, session_factory
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import arrived, claim_one, digest, ended, lesion, refused, scored, study
from tests.db.schema.test_roles import DENIED, TABLES, sqlstate
from worker.scoring.worklist_place import place_studies


@pytest.fixture
def page_engine(database: Database) -> Iterator[Engine]:
    engine = make_engine(database.web_url, role=WEB)
    yield engine
    engine.dispose()


@pytest.fixture
def reading(page_engine: Engine) -> sessionmaker[Session]:
    """Sessions of dlr_web."""
    return session_factory(page_engine)


def as_listed(row: ListedRow) -> WorklistRow:
    """The row of the view ``worklist``."""
    return WorklistRow(*(getattr(row, field.name) for field in fields(WorklistRow)))


def list_several(sessions: sessionmaker[Session], count: int) -> None:
    with sessions.begin() as session:
        for number in range(count):
            priority = ("stat", "urgent", "routine")[number % 3]
            record = study(f"1.2.{number}", str(number), accession_number=f"A{number:03}", priority=priority)
            ended(session, record, scored(lh=0.9, bm=0.5 + number / 1000) if number % 5 else refused())


def test_the_rows_are_those_of_the_view_in_its_order(
    sessions: sessionmaker[Session], reading: sessionmaker[Session]
) -> None:
    list_several(sessions, 17)
    with sessions() as session:
        wanted = study_queries.worklist(session)
    with reading() as session:
        pages: list[tuple[ListedRow, ...]] = []
        behind = None
        while True:
            part = worklist_page.excerpt(session, WorklistFilter(), 5, behind)
            pages.append(part.rows)
            if not part.more:
                break
            behind = part.rows[-1].study_id
    assert [len(rows) for rows in pages] == [5, 5, 5, 2]
    assert [as_listed(row) for rows in pages for row in rows] == wanted


def test_what_was_refused_is_no_study_of_the_list_and_is_found_beside_it(
    sessions: sessionmaker[Session], reading: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        refusals = [
            ledger.record_refusal(
                session,
                digest(number),
                {},
                "job_invalid",
                "no",
                "queue",
                accession_number=number,
            )
            for number in ("A-1", "A-2", "B-1")
        ]
        ledger.discard(session, refusals[2], "a test", "anne")
    with reading() as session:
        assert worklist_page.excerpt(session, WorklistFilter(), 50).rows == ()
        assert worklist_page.worklist_state(session).listed == 0
        assert {row.study_id for row in worklist_page.refused(session, 9)} == set(refusals[:2])
        assert len(worklist_page.refused(session, 1)) == 1
        assert [row.study_id for row in worklist_page.refused(session, 9, "a-2")] == [refusals[1]]


@pytest.mark.parametrize(
    "wanted",
    [
        WorklistFilter(worklist_class="needs_attention"),
        WorklistFilter(state="failed", priority="stat"),
        WorklistFilter(priority="urgent"),
        WorklistFilter(accession_number="a01"),
        WorklistFilter(accession_number="%"),
        WorklistFilter(state="partial"),
    ],
    ids=str,
)
def test_a_condition_leaves_rows_out_and_changes_no_position(
    wanted: WorklistFilter, sessions: sessionmaker[Session], reading: sessionmaker[Session]
) -> None:
    list_several(sessions, 17)
    with sessions() as session:
        expected = [
            row
            for row in study_queries.worklist(session)
            if wanted.worklist_class in (None, row.worklist_class)
            and wanted.state in (None, row.state)
            and wanted.priority in (None, row.priority)
            and (wanted.accession_number or "").lower() in (row.accession_number or "").lower()
        ]
    with reading() as session:
        found = worklist_page.excerpt(session, wanted, 50)
    assert [as_listed(row) for row in found.rows] == expected
    assert not found.more


@pytest.mark.parametrize("part", ["\xfcb", "U\u0308B", "\xdc", "\u67e5", "%", "_", "\\", "\udcff"])
def test_a_part_of_a_number_is_found_however_its_letters_were_typed(
    part: str, sessions: sessionmaker[Session], reading: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        arrived(session, study("1.1", accession_number="\xdcbung-\u68c0\u67e5"))
    with reading() as session:
        assert len(worklist_page.searched(session, part, 50).rows) == (part not in "%_\\\udcff")


def test_the_state_of_the_list_tells_when_it_changed(
    sessions: sessionmaker[Session], reading: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        waits = ledger.record_study(session, study("1.2.9", "9"))
    with reading() as session:
        before = worklist_page.worklist_state(session)
        assert (before.listed, before.queued, before.running, before.changed_at) == (0, 1, 0, None)
        assert worklist_page.listed(session, waits.study_id) is None
    with sessions.begin() as session:
        ended(session, study("1.2.9", "9"), scored())
    with reading() as session:
        after = worklist_page.worklist_state(session)
        assert (after.listed, after.queued) == (1, 0)
        assert after != before
        row = worklist_page.listed(session, waits.study_id)
        assert row is not None
        assert row.state == "done"
        assert worklist_page.waiting(session, waits.study_id) is None


def test_its_places_and_counts_are_those_of_the_worklist(
    sessions: sessionmaker[Session], reading: sessionmaker[Session]
) -> None:
    list_several(sessions, 10)
    with sessions.begin() as session:
        aside = study_queries.failed(session)[0]
        assert ledger.discard(session, aside.study_id, "seen", "me")
        place_studies(session, [aside.study_id])
        worklist = [(row.position, row.study_id) for row in study_queries.worklist(session)]
        claim_one(session, ledger.record_study(session, study("1.2.99", "99")).study_id)
    with reading() as session:
        state = worklist_page.worklist_state(session)
        places = session.execute(text("SELECT position, study_id FROM worklist_position ORDER BY position")).all()
    assert [tuple(place) for place in places] == worklist
    assert (state.listed, state.queued, state.running) == (len(worklist), 0, 1)


def test_a_lesion_has_an_image_once_its_region_is_known(
    sessions: sessionmaker[Session], reading: sessionmaker[Session]
) -> None:
    record = study(lesions=(lesion("L1"), lesion("L2")), job={"images": {"kind": "files", "paths": ["a/b.dcm"]}})
    with sessions.begin() as session:
        recorded = ended(session, record, scored("L1"), refused("L2"))
    with reading() as session:
        image = worklist_page.lesion_image(session, recorded.study_id, 1)
        assert image is not None
        assert image.paths == ["a/b.dcm"]
        assert (image.region_x, image.region_y, image.region_width, image.region_height) == (10, 20, 30, 40)
        assert worklist_page.lesion_image(session, recorded.study_id, 2) is None
        assert worklist_page.lesion_image(session, uuid4(), 1) is None
        assert [row.state for row in worklist_page.lesions(session, recorded.study_id)] == ["scored", "failed"]
        assert [row.event for row in worklist_page.history(session, recorded.study_id)] == [
            "received",
            "claimed",
            "partial",
        ]


def test_the_page_reads_no_table_but_of_who_is_there_and_changes_nothing(
    sessions: sessionmaker[Session], database: Database
) -> None:
    engine = make_engine(database.web_url, role=None)
    for table in set(TABLES) - {"open_study"}:
        for statement in ("SELECT 1 FROM {}", "DELETE FROM {}", "TRUNCATE {}"):
            assert sqlstate(engine, statement.format(table)) == DENIED, (table, statement)
    for statement in ("SET ROLE dlr_writer", "UPDATE study_history SET event = 'never'", "CREATE TABLE mine (id int)"):
        assert sqlstate(engine, statement) == DENIED, statement
    engine.dispose()


def test_a_reader_does_not_see_what_is_for_the_page_alone(database: Database) -> None:
    engine = make_engine(database.reader_url, role=None)
    for view in PAGE_VIEWS:
        assert sqlstate(engine, f"SELECT 1 FROM {view}") == DENIED, view
    engine.dispose()


def test_what_else_a_sender_wrote_stays_out_of_reach(
    sessions: sessionmaker[Session], reading: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        recorded = ended(session, study(job={"images": {"paths": []}, "patient_name": "Roe"}), scored())
    with reading() as session:
        image = worklist_page.lesion_image(session, recorded.study_id, 1)
    assert "Roe" not in repr(image)


# --- what is looked for


def test_a_search_finds_what_has_exactly_this_name_before_what_has_a_part_of_it(
    sessions: sessionmaker[Session], reading: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        ids = {
            number: arrived(session, study(uid, number, accession_number=number, lesions=lesions)).study_id
            for number, uid, lesions in (
                ("A1", "1.2.1", (lesion("left"),)),
                ("A12", "1.2.2", (lesion("left"), lesion("right"))),
                ("B1", "1.2.3", (lesion("A1"),)),
            )
        }
    with reading() as session:
        for text, found in {
            "A1": ["A1"],
            "a1": ["A1", "A12"],
            "1.2.2": ["A12"],
            "left": ["A1", "A12"],
            "right": ["A12"],
            "1": ["A1", "A12", "B1"],
            "1.2": [],
        }.items():
            part = worklist_page.searched(session, text, 50)
            assert {row.study_id for row in part.rows} == {ids[one] for one in found}, text
        assert worklist_page.searched(session, "left", 1).more
        assert worklist_page.named(session, "A1") == [ids["A1"]]
        assert worklist_page.named(session, "1.2.3") == [ids["B1"]]
        assert worklist_page.named(session, "A") == []


def test_sites_and_scanners_are_suggested_from_the_studies_that_stand_first(
    sessions: sessionmaker[Session], reading: sessionmaker[Session]
) -> None:
    list_several(sessions, 5)
    with reading() as session:
        assert worklist_page.choices(session) == WorklistChoices(("Example Hospital",), ("Acme Sono 1",))
