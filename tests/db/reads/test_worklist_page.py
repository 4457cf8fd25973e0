from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from db.migrate import PAGE_VIEWS
from db.reads import study_queries, worklist_filter, worklist_page
from db.reads.study_records import WorklistRow
from db.reads.worklist_page_records import ListedRow, WorklistChoices, WorklistFilter
from db.schema.metadata import TABLES
from db.schema.roles import WEB
from db.schema.vocabulary import Priority, StudyState, WorklistClass
from db.session import make_engine, session_factory
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import arrived, claim_one, digest, ended, lesion, read, refused, scored, study
from tests.db.schema.test_roles import DENIED, sqlstate
from worker.clinical.reading_order.policy import built_in_document, parse_policy
from worker.scoring.reading_policy import apply_policy
from worker.scoring.worklist_place import place_studies

NOON = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)


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


def list_all_kinds(sessions: sessionmaker[Session]) -> None:
    """Studies that differ in whatever a filter looks at."""
    with sessions.begin() as session:
        for number in range(24):
            priority = ("stat", "urgent", "routine")[number % 3]
            birads = ("4A", "5", "2", "4A")[number % 4]
            record = study(
                f"1.2.{number}",
                str(number),
                accession_number=f"A{number:03}",
                priority=priority,
                lesions=(lesion(birads=birads), lesion("L2", birads)),
            )
            there = {
                "site": ("North", "South", None)[number % 3],
                "scanner_model": ("Acme 1", "Acme 2")[number // 3 % 2],
                "laterality": ("left", "right", None)[number % 3 if number % 4 else 2],
            }
            lesions = [
                replace(scored(name, (0.9, 0.1)[number % 2], 0.9, birads), **there | other)
                for name, other in (("L1", {}), ("L2", {"laterality": "left"} if number == 7 else {}))
            ]
            if number % 8 == 3:
                arrived(session, record)
            elif number % 8 == 6:
                claim_one(session, arrived(session, record).study_id)
            else:
                lesions[1] = refused("L2") if number in (4, 9) else lesions[1]
                lesions = [refused("L1"), refused("L2")] if number in (8, 13) else lesions
                ended(session, record, *lesions)
        session.execute(
            text(
                "UPDATE study SET received_at ="
                " timestamptz '2026-11-29 12:00Z' - substr(study_instance_uid, 5)::int * interval '1 hour'"
            )
        )
        place_studies(session, session.scalars(text("SELECT id FROM study")).all())
        for number in (0, 5, 12, 13):
            found = session.scalar(
                text("SELECT id FROM study WHERE study_instance_uid = :uid"), {"uid": f"1.2.{number}"}
            )
            read(session, found, "anne", "4A")


EACH = [
    *(WorklistFilter(worklist_class=word) for word in WorklistClass),
    *(WorklistFilter(state=word) for word in StudyState),
    *(WorklistFilter(priority=word) for word in Priority),
    *(WorklistFilter(tier=number) for number in range(1, 6)),
    *(WorklistFilter(site=name) for name in ("North", "South", "north")),
    *(WorklistFilter(scanner_model=name) for name in ("Acme 1", "Acme 2", "Acme")),
    *(WorklistFilter(laterality=word) for word in ("left", "right")),
    *(WorklistFilter(accession_number=part) for part in ("a01", "A003", "3", "%", "b")),
    WorklistFilter(received_from=NOON - timedelta(hours=9)),
    WorklistFilter(received_before=NOON - timedelta(hours=9)),
    WorklistFilter(received_from=NOON - timedelta(hours=12), received_before=NOON - timedelta(hours=3)),
    WorklistFilter(state="failed", priority="stat"),
    WorklistFilter(tier=1, site="North", laterality="left"),
    WorklistFilter(tier=4, priority="routine"),
    WorklistFilter(tier=99),
]


def is_wanted(row: WorklistRow, wanted: WorklistFilter, tiers: Mapping[str, int]) -> bool:
    """Whether a filter lets a row of the view ``worklist`` through."""
    return (
        wanted.worklist_class in (None, row.worklist_class)
        and wanted.state in (None, row.state)
        and wanted.priority in (None, row.priority)
        and wanted.tier in (None, tiers[row.tier])
        and wanted.site in (None, row.site)
        and wanted.scanner_model in (None, row.scanner_model)
        and (wanted.laterality is None or row.laterality in (wanted.laterality, "both"))
        and (wanted.received_from is None or row.received_at >= wanted.received_from)
        and (wanted.received_before is None or row.received_at < wanted.received_before)
        and wanted.read in (None, row.read_at is not None)
        and (wanted.accession_number or "").lower() in (row.accession_number or "").lower()
    )


BY_PROBABILITY = built_in_document("suspicion/2").replace(
    'order = ["priority", "probability"]', 'order = ["probability", "priority"]'
)
"""A policy whose tiers are not sorted by priority first."""


@pytest.mark.parametrize(
    "document",
    [None, built_in_document("outcome/1"), BY_PROBABILITY],
    ids=["suspicion/2", "outcome/1", "by probability"],
)
def test_a_filter_leaves_rows_out_and_changes_neither_order_nor_position(
    sessions: sessionmaker[Session], reading: sessionmaker[Session], document: str | None
) -> None:
    list_all_kinds(sessions)
    if document is not None:
        apply_policy(sessions, parse_policy(document), document, "test", lambda _: None)
    with sessions() as session:
        rows = study_queries.worklist(session)
    assert len(rows) == 24
    counts: Counter[bool] = Counter()
    with reading() as session:
        tiers = {count.tier: count.tier_number for count in worklist_page.tier_counts(session)}
        for one in EACH:
            for wanted in (replace(one, read=read_or_not) for read_or_not in (False, True, None)):
                expected = [row for row in rows if is_wanted(row, wanted, tiers)]
                found = worklist_page.excerpt(session, wanted, 50)
                assert [as_listed(row) for row in found.rows] == expected, wanted
                assert not found.more
                assert not found.ends_only
                counts[bool(expected)] += 1
                if len(expected) > 1:
                    behind = worklist_page.excerpt(session, wanted, 1, expected[0].study_id)
                    assert [row.study_id for row in behind.rows] == [expected[1].study_id], wanted
                    assert behind.more == (len(expected) > 2)
    assert min(counts.values()) > 5, "some filters match, and some do not"


def test_in_a_long_list_a_number_is_found_by_its_beginning_and_by_its_end(
    sessions: sessionmaker[Session], reading: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist_filter, "SEARCHED", 9)
    list_several(sessions, 10)
    with reading() as session:
        for part, count in {"a0": 10, "A003": 1, "3": 1, "004": 1, "0": 1, "00": 1, "a": 10, "%": 0, "b": 0}.items():
            found = worklist_page.excerpt(session, WorklistFilter(accession_number=part), 50)
            assert (len(found.rows), found.ends_only) == (count, True), part
        assert (
            len(worklist_page.sorted_excerpt(session, WorklistFilter(accession_number="a0"), "accession", 50, 0).rows)
            == 10
        )
        assert not worklist_page.excerpt(session, WorklistFilter(), 50).ends_only


def test_neighbours_are_of_those_that_are_to_be_read_or_of_the_others(
    sessions: sessionmaker[Session], reading: sessionmaker[Session]
) -> None:
    list_all_kinds(sessions)
    with reading() as session:
        for is_read in (False, True):
            ids = [row.study_id for row in worklist_page.excerpt(session, WorklistFilter(read=is_read), 50).rows]
            pairs = zip([None, *ids], [*ids[1:], None], strict=False)
            assert [worklist_page.beside(session, one) for one in ids] == list(pairs)


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
        image = worklist_page.lesion_image(session, recorded.study_id, 1, 1)
        assert image is not None
        assert image.paths == ["a/b.dcm"]
        assert (image.region_x, image.region_y, image.region_width, image.region_height) == (10, 20, 30, 40)
        assert worklist_page.lesion_image(session, recorded.study_id, 2, 1) is None
        assert worklist_page.lesion_image(session, uuid4(), 1, 1) is None
        assert worklist_page.lesion_image(session, recorded.study_id, 1, 2) is None
        assert worklist_page.pictured(session, recorded.study_id) == {(1, 1)}
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
    for table in set(TABLES.tables) - {"open_study", "web_session"}:
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
        image = worklist_page.lesion_image(session, recorded.study_id, 1, 1)
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
