"""What radiologists say: recorded once, corrected without a loss, refused when it is of what is no longer shown."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from uuid import UUID, uuid4

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from db.errors import VerdictOutdated
from db.reads import worklist_page
from db.reads.verdicts import advice_keys, others_reading, said_of, verdicts
from db.schema.roles import WEB
from db.schema.vocabulary import ReadingSource
from db.session import make_engine, session_factory
from db.writes import ledger
from db.writes.verdicts import LesionVerdict, Reading, note_open, record_reading
from tests.conftest import Database
from tests.db.samples import claimed, ended, finish_one, lesion, refused, result, scored, study
from tests.db.schema.test_roles import DENIED, sqlstate
from worker.scoring.worklist_place import place_studies

BEA = "bea"
PAGE = ReadingSource.PAGE


@pytest.fixture
def page(database: Database, sessions: sessionmaker[Session]) -> Iterator[sessionmaker[Session]]:
    """Sessions of dlr_web, on the ledger of ``sessions``."""
    engine = make_engine(database.web_url, role=WEB)
    yield session_factory(engine)
    engine.dispose()


def record(sessions: sessionmaker[Session], uid: str = "1.2.3", **scores: float) -> UUID:
    with sessions.begin() as session:
        return ended(session, study(uid, uid), scored(**(scores or {"lh": 0.1, "bm": 0.1}))).study_id


def reading_of(page: sessionmaker[Session], study_id: UUID, final: str | None = "4A", **changes: object) -> Reading:
    """A reading of what is shown now, with the same verdict on each lesion."""
    with page() as session:
        keys = advice_keys(session, study_id)
    said = [LesionVerdict(one.lesion, agrees=False, final=final) for one in keys] if final else []
    advice = [one.advice for one in keys if one.advice is not None]
    whole = Reading(uuid4(), study_id, BEA, PAGE, advice, said)
    return replace(whole, **changes)  # type: ignore[arg-type]


def read(page: sessionmaker[Session], reading: Reading) -> bool:
    with page.begin() as session:
        return record_reading(session, reading)


def rows(sessions: sessionmaker[Session], query: str) -> Sequence[tuple[object, ...]]:
    with sessions() as session:
        return [tuple(row) for row in session.execute(text(query))]


def test_a_reading_marks_its_study_with_who_and_when_and_takes_it_off_the_front_of_the_list(
    sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    first, second = record(sessions, "1.1", lh=0.9, bm=0.9), record(sessions, "1.2")
    assert read(page, reading_of(page, first, final=None))
    [at, by, tier] = rows(sessions, f"SELECT read_at, read_by, read_tier FROM study WHERE id = '{first}'")[0]
    assert (by, tier) == (BEA, "suspicion/2 suspicious")
    assert isinstance(at, datetime)
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=1)
    assert rows(sessions, "SELECT study_id, read_by FROM worklist ORDER BY position") == [(second, None), (first, BEA)]
    events = rows(
        sessions, f"SELECT event, detail FROM study_event WHERE study_id = '{first}' ORDER BY id DESC LIMIT 1"
    )
    assert events == [("read", {"source": "page", "tier": "suspicion/2 suspicious"})]


def test_a_verdict_is_kept_with_the_advice_that_was_shown(
    sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    study_id = record(sessions)
    reading = reading_of(page, study_id)
    [said] = reading.verdicts
    assert read(page, replace(reading, verdicts=[replace(said, remark="looks like Mary Roe's")]))
    with sessions() as session:
        [one] = verdicts(session)
    assert (one.study_id, one.lesion_id, one.original, one.outcome, one.recommended) == (
        study_id, "L1", "4A", "downgraded", "3",
    )  # fmt: skip
    assert (one.agrees, one.final_birads, one.reader, one.source, one.lh_version) == (False, "4A", BEA, "page", "1.0")
    with page() as session:
        assert [(was.final_birads, was.remark) for was in said_of(session, study_id)[1]] == [
            ("4A", "looks like Mary Roe's")
        ]


def test_the_same_reading_twice_is_one(sessions: sessionmaker[Session], page: sessionmaker[Session]) -> None:
    reading = reading_of(page, record(sessions))
    assert [read(page, reading), read(page, reading)] == [True, False]
    assert rows(sessions, "SELECT count(*) FROM reading") == rows(sessions, "SELECT count(*) FROM verdict") == [(1,)]
    assert rows(sessions, "SELECT count(*) FROM study_event WHERE event = 'read'") == [(1,)]


def test_the_same_reading_at_once_is_one(sessions: sessionmaker[Session], page: sessionmaker[Session]) -> None:
    reading = reading_of(page, record(sessions))
    new: list[bool] = []
    both = [Thread(target=lambda: new.append(read(page, reading))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(new) == [False, True]


def test_a_correction_is_a_row_more_and_the_latest_reading_counts(
    sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    study_id = record(sessions)
    for final, by in (("4A", BEA), ("3", "carl"), ("4B", BEA)):
        assert read(page, reading_of(page, study_id, final, reader=by))
    with page() as session:
        assert [(one.final_birads, one.reader) for one in said_of(session, study_id)[1]] == [
            ("4B", BEA), ("3", "carl"), ("4A", BEA),
        ]  # fmt: skip
    with sessions() as session:
        assert [(one.final_birads, one.reader) for one in verdicts(session)] == [("4B", BEA)]


def test_what_comes_later_and_was_read_earlier_does_not_count(
    sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    study_id = record(sessions)
    assert read(page, reading_of(page, study_id, "4A"))
    earlier = datetime.now(UTC) - timedelta(days=2)
    imported = reading_of(page, study_id, "3", read_at=earlier, reader="ris", source=ReadingSource.IMPORT)
    assert read(sessions, imported)
    with sessions() as session:
        assert [one.final_birads for one in verdicts(session)] == ["4A"]
    assert rows(sessions, "SELECT read_by FROM study") == [(BEA,)]


def corrected(sessions: sessionmaker[Session], study_id: UUID) -> None:
    with sessions.begin() as session:
        revised = ledger.record_study(session, study("1.2.3", "another"))
        place_studies(session, [study_id, revised.study_id])


def scored_again(sessions: sessionmaker[Session], study_id: UUID) -> None:
    with sessions.begin() as session:
        assert ledger.requeue(session, study_id, "me")
        assert finish_one(session, result(claimed(session, study_id), scored("L1"), scored("L2")))
        place_studies(session, [study_id])


def put_aside(sessions: sessionmaker[Session], study_id: UUID) -> None:
    with sessions.begin() as session:
        assert ledger.requeue(session, study_id, "me")
        assert finish_one(session, result(claimed(session, study_id), refused("L1"), refused("L2")))
        assert ledger.discard(session, study_id, "seen", "me")
        place_studies(session, [study_id])


@pytest.mark.parametrize("change", [corrected, scored_again, put_aside])
@pytest.mark.parametrize("final", ["4A", None])
def test_a_reading_of_what_is_no_longer_current_is_refused_and_writes_nothing(
    sessions: sessionmaker[Session], page: sessionmaker[Session], change: object, final: str | None
) -> None:
    with sessions.begin() as session:
        both = (lesion("L1"), lesion("L2"))
        study_id = ended(session, study(lesions=both), refused("L1"), refused("L2")).study_id
    reading = replace(reading_of(page, study_id, None), verdicts=[])
    change(sessions, study_id)  # type: ignore[operator]
    with pytest.raises(VerdictOutdated):
        read(page, reading)
    assert rows(sessions, "SELECT 1 FROM reading UNION ALL SELECT 1 FROM verdict") == []
    assert rows(sessions, "SELECT 1 FROM study WHERE read_at IS NOT NULL") == []


def test_a_reading_that_was_recorded_stays_recorded_when_it_is_sent_again_after_a_change(
    sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    study_id = record(sessions)
    reading = reading_of(page, study_id)
    assert read(page, reading)
    corrected(sessions, study_id)
    assert not read(page, reading)


def test_advice_that_was_not_shown_is_not_judged(sessions: sessionmaker[Session], page: sessionmaker[Session]) -> None:
    study_id, other = record(sessions), record(sessions, "1.9")
    with page() as session:
        [strange] = advice_keys(session, other)
    reading = reading_of(page, study_id)
    for advice in ([], [strange.advice], [*reading.advice, strange.advice]):
        with pytest.raises(VerdictOutdated):
            read(page, replace(reading, advice=advice))
    with pytest.raises(DBAPIError):
        read(page, replace(reading, verdicts=[LesionVerdict(strange.lesion, agrees=True, final="3")]))
    assert rows(sessions, "SELECT 1 FROM reading") == []


@pytest.mark.parametrize(
    ("outcome", "agrees", "is_taken"),
    [("4A", True, True), ("4A", None, True), ("4B", None, True), ("4B", True, False), ("unscored", False, False)],
)
def test_only_advice_can_be_agreed_with(
    sessions: sessionmaker[Session], page: sessionmaker[Session], outcome: str, agrees: bool | None, is_taken: bool
) -> None:
    with sessions.begin() as session:
        birads = "4A" if outcome == "unscored" else outcome
        marked = (lesion("L1", birads),)
        what = refused("L1") if outcome == "unscored" else scored("L1", birads=birads)
        study_id = ended(session, study(lesions=marked), what).study_id
    reading = reading_of(page, study_id)
    reading = replace(reading, verdicts=[replace(one, agrees=agrees) for one in reading.verdicts])
    if is_taken:
        assert read(page, reading)
    else:
        with pytest.raises(DBAPIError):
            read(page, reading)


@pytest.mark.parametrize(("remark", "is_taken"), [("ä" * 500, True), ("ä" * 501, False), ("", False)])
def test_a_remark_has_500_characters_at_most(
    sessions: sessionmaker[Session], page: sessionmaker[Session], remark: str, is_taken: bool
) -> None:
    reading = reading_of(page, record(sessions))
    reading = replace(reading, verdicts=[replace(one, remark=remark) for one in reading.verdicts])
    if is_taken:
        assert read(page, reading)
    else:
        with pytest.raises(DBAPIError):
            read(page, reading)


def test_a_verdict_can_not_be_added_to_somebody_elses_reading(
    sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    reading = reading_of(page, record(sessions), final=None)
    assert read(page, reading)
    with sessions() as session:
        key = session.scalar(text("SELECT id FROM lesion"))
    late = f"INSERT INTO verdict (reading_id, lesion_id, final_birads) VALUES ('{reading.key}', {key}, '3')"
    with page() as session, pytest.raises(DBAPIError, match="23514"):
        session.execute(text(late))


def test_the_page_gives_neither_the_time_nor_the_tier_and_no_other_source_than_itself(
    sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    study_id = record(sessions)
    for given in ({"read_at": datetime(2020, 1, 1, tzinfo=UTC)}, {"source": ReadingSource.IMPORT}):
        with pytest.raises(DBAPIError, match=DENIED):
            read(page, reading_of(page, study_id, **given))
    future = reading_of(page, study_id, read_at=datetime.now(UTC) + timedelta(days=1), source=ReadingSource.IMPORT)
    assert read(sessions, future)
    assert rows(sessions, "SELECT read_at <= now(), tier FROM reading") == [(True, "suspicion/2 low")]


INSERT = "INSERT INTO reading (id, study_id, reader, advice) SELECT gen_random_uuid(), '{}', 'x', ARRAY[{}]::bigint[]"
CHANGES = (
    "UPDATE reading SET reader = NULL", "UPDATE reading SET reader = 'x'", "DELETE FROM reading",
    "UPDATE verdict SET final_birads = '3'", "UPDATE verdict SET remark = NULL", "DELETE FROM verdict",
    "TRUNCATE verdict", "TRUNCATE reading, verdict",
)  # fmt: skip


@pytest.mark.parametrize("who", ["reader_url", "shadow_url", "web_url", "writer_url"])
def test_who_may_write_a_reading(
    database: Database, sessions: sessionmaker[Session], page: sessionmaker[Session], who: str
) -> None:
    study_id = record(sessions)
    reading = reading_of(page, study_id)
    engine = make_engine(getattr(database, who), role=None, poolclass=NullPool)
    found = sqlstate(engine, INSERT.format(study_id, *reading.advice))
    assert found == (None if who in ("web_url", "writer_url") else DENIED)
    if who not in ("writer_url",):
        for table in ("reading", "verdict"):
            assert sqlstate(engine, f"SELECT 1 FROM {table}") == DENIED


@pytest.mark.parametrize("who", ["reader_url", "shadow_url", "web_url", "writer_url", "owner_url", "superuser_url"])
def test_nobody_changes_or_removes_what_was_said_not_even_its_owner(
    database: Database, sessions: sessionmaker[Session], page: sessionmaker[Session], who: str
) -> None:
    reading = reading_of(page, record(sessions))
    assert read(page, replace(reading, verdicts=[replace(one, remark="r") for one in reading.verdicts]))
    engine = make_engine(getattr(database, who), role=None, poolclass=NullPool)
    for statement in CHANGES:
        assert sqlstate(engine, statement) == DENIED, statement
        if who == "superuser_url":
            assert sqlstate(engine, f"SET LOCAL session_replication_role = replica; {statement}") == DENIED, statement


def test_no_remark_and_no_name_is_left_once_the_study_was_purged(
    sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    reading = reading_of(page, record(sessions))
    assert read(page, replace(reading, verdicts=[replace(one, remark="Mary Roe") for one in reading.verdicts]))
    with sessions.begin() as session:
        assert ledger.purge(session, datetime.now(UTC) + timedelta(days=1), "me", 10)[0] == 1
    assert rows(sessions, "SELECT reader FROM reading") == rows(sessions, "SELECT remark FROM verdict") == [(None,)]
    assert rows(sessions, "SELECT read_by FROM study") == [(None,)]
    assert rows(sessions, "SELECT final_birads, agrees FROM lesion_verdict") == [("4A", False)]


def test_no_remark_is_in_the_view_for_readers_and_none_in_the_history(
    database: Database, sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    reading = reading_of(page, record(sessions))
    assert read(page, replace(reading, verdicts=[replace(one, remark="Mary Roe") for one in reading.verdicts]))
    engine = make_engine(database.reader_url, role=None, poolclass=NullPool)
    with engine.connect() as connection:
        assert "Mary" not in str(connection.execute(text("SELECT * FROM lesion_verdict")).all())
    assert "Mary" not in str(rows(sessions, "SELECT detail FROM study_event"))


def test_the_next_study_is_the_first_unread_one_behind_whether_or_not_this_one_is_read(
    sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    ids = [record(sessions, f"1.{number}", lh=0.9, bm=0.9 - number / 10) for number in range(3)]
    for _ in range(2):
        with page() as session:
            assert [worklist_page.next_to_read(session, one) for one in ids] == [ids[1], ids[2], None]
        read(page, reading_of(page, ids[0]))
    read(page, reading_of(page, ids[1]))
    with page() as session:
        assert [worklist_page.next_to_read(session, one) for one in ids] == [ids[2], ids[2], None]
        assert worklist_page.next_to_read(session, uuid4()) is None


def test_who_has_a_study_open_is_seen_by_the_others_for_half_a_minute(
    database: Database, sessions: sessionmaker[Session], page: sessionmaker[Session]
) -> None:
    study_id = record(sessions)
    with page.begin() as session:
        for who in (BEA, "carl", BEA):
            note_open(session, study_id, who)
    with page() as session:
        assert others_reading(session, study_id, BEA) == ["carl"]
        assert others_reading(session, study_id, "dora") == [BEA, "carl"]
        assert others_reading(session, uuid4(), BEA) == []
    owner = make_engine(database.owner_url, role=None, poolclass=NullPool)
    with owner.begin() as connection:
        connection.execute(text("UPDATE open_study SET seen_at = now() - interval '31 s' WHERE reader = 'carl'"))
    with page() as session:
        assert others_reading(session, study_id, BEA) == []
    with page.begin() as session:
        note_open(session, study_id, BEA)
    assert rows(session_factory(owner), "SELECT reader FROM open_study") == [(BEA,)]
