"""What pathology said: recorded once, corrected without a loss, and held against the advice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import NullPool, text
from sqlalchemy.orm import Session, sessionmaker

from db.reads import study_queries
from db.session import make_engine
from db.writes import ledger
from db.writes.pathology import (
    FoundLesion,
    PathologyRecord,
    detached,
    find_lesions,
    find_studies,
    record_pathology,
    results,
)
from tests.conftest import Database
from tests.db.samples import DEMO, ended, lesion, refused, scored, study
from tests.db.schema.test_roles import DENIED, sqlstate

ANNE = "anne@ward"
LATER = datetime.now(UTC) + timedelta(days=1)
DAY = date(2026, 3, 2)


def found(session: Session, uid: str, name: str = "L1") -> FoundLesion:
    [one] = find_studies(session, [uid])[uid]
    return find_lesions(session, [one.study_id])[one.study_id, name]


def report(session: Session, uid: str = "1.2.3", result: str = "benign", **changes: object) -> str:
    values: dict[str, object] = {"histology": None, "reported_on": DAY} | changes
    record = PathologyRecord(found(session, uid), result, **values)  # type: ignore[arg-type]
    [change] = record_pathology(session, [record], ANNE)
    return change.value


def rows(session: Session) -> Sequence[tuple[object, ...]]:
    query = "SELECT result::text, histology, reported_on, is_current FROM pathology ORDER BY id"
    return [tuple(row) for row in session.execute(text(query))]


@dataclass(frozen=True)
class Step:
    result: str
    change: str
    more: dict[str, object] = field(default_factory=dict)


CORRECTIONS = {
    "the same again": [Step("benign", "new"), Step("benign", "unchanged")],
    "another result of the same day": [Step("benign", "new"), Step("malignant", "corrected")],
    "a later report": [Step("malignant", "new"), Step("benign", "corrected", {"reported_on": date(2026, 3, 9)})],
    "another code": [Step("benign", "new"), Step("benign", "corrected", {"histology": "8500/3"})],
    "an earlier report, late": [
        Step("malignant", "new"),
        Step("benign", "outdated", {"reported_on": date(2026, 3, 1)}),
    ],
    "the file of before": [
        Step("benign", "new"),
        Step("malignant", "corrected"),
        Step("benign", "outdated"),
        Step("malignant", "unchanged"),
    ],
}


@pytest.mark.parametrize("steps", CORRECTIONS.values(), ids=CORRECTIONS)
def test_a_report_is_recorded_corrected_or_changes_nothing(sessions: sessionmaker[Session], steps: list[Step]) -> None:
    with sessions.begin() as session:
        ended(session, study(), scored())
    for step in steps:
        with sessions.begin() as session:
            assert report(session, result=step.result, **step.more) == step.change
    with sessions.begin() as session:
        written = [step for step in steps if step.change in ("new", "corrected")]
        counted = [
            (row[0], row[3])
            for row in rows(session)
            if row[2] in {step.more.get("reported_on", DAY) for step in written}
        ]
        assert counted == [(step.result, place == len(written)) for place, step in enumerate(written, start=1)]
        assert [one.result for one in results(session)] == [written[-1].result]


def test_an_earlier_report_that_comes_late_is_kept_once_and_does_not_count(sessions: sessionmaker[Session]) -> None:
    earlier = date(2026, 3, 1)
    with sessions.begin() as session:
        ended(session, study(), scored())
        assert report(session, result="benign") == "new"
        assert [report(session, result="malignant", reported_on=earlier) for _ in range(2)] == ["outdated", "outdated"]
        assert [(row[0], row[3]) for row in rows(session)] == [("benign", True), ("malignant", False)]
        assert report(session, result="benign") == "unchanged"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reports=st.lists(
        st.tuples(st.sampled_from(["benign", "malignant"]), st.integers(1, 5).map(lambda day: date(2026, 3, day))),
        max_size=8,
    ),
    batch=st.booleans(),
)
def test_whatever_comes_in_whatever_order_one_row_is_current_and_a_repetition_changes_nothing(
    sessions: sessionmaker[Session], reports: list[tuple[str, date]], batch: bool
) -> None:
    uid = f"1.{uuid4().int}"
    with sessions.begin() as session:
        study_id = ended(session, study(uid), scored()).study_id
        records = [PathologyRecord(found(session, uid), result, None, day) for result, day in reports]
        for part in [records] if batch else [[one] for one in records]:
            record_pathology(session, part, ANNE)
        now = [one for one in results(session) if one.study_id == study_id]
        again = record_pathology(session, records, ANNE)
        assert [one for one in results(session) if one.study_id == study_id] == now
        assert {change.value for change in again} <= {"unchanged", "outdated"}
        assert [one.reported_on for one in now] == ([max(day for _, day in reports)] if reports else [])


def test_the_history_says_who_what_and_of_which_lesion_by_its_ordinal(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = ended(session, study(lesions=(lesion("left, Mary Roe"),)), scored("left, Mary Roe")).study_id
        record = PathologyRecord(found(session, "1.2.3", "left, Mary Roe"), "malignant", "8500/3", DAY)
        record_pathology(session, [record, record], ANNE)
        [detail] = study_queries.study_details(session, study_id)
    assert [(event.event, dict(event.detail)) for event in detail.events][-1] == (
        "pathology",
        {"by": ANNE, "change": "new", "lesion": 1, "result": "malignant"},
    )


def test_a_study_is_found_by_its_id_uid_or_accession_number_and_two_are_two(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        first = ended(session, study("1.1", accession_number="A1"), scored()).study_id
        ended(session, study("1.2", accession_number="A1"), scored())
        third = ended(session, study("1.3", accession_number="A3"), scored()).study_id
        keys = [str(first).upper(), str(first), "1.1", "A1", "A3", "A9", "1.9", str(first).replace("-", "")]
        studies = find_studies(session, keys)
    assert {key: len(ones) for key, ones in studies.items()} == {
        str(first).upper(): 1, str(first): 1, "1.1": 1, "A1": 2, "A3": 1,
    }  # fmt: skip
    assert (studies["A3"][0].study_id, studies["1.1"][0].study_id) == (third, first)


def test_both_views_show_a_downgraded_cancer_and_nothing_else_is_one(
    database: Database, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1"), scored(lh=0.1, bm=0.2))
        ended(session, study("1.2"), scored(lh=0.1, bm=0.1))
        ended(session, study("1.3"), scored(lh=0.9, bm=0.1))
        ended(session, study("1.4"), refused())
        ended(session, study("1.5", lesions=(lesion(birads="5"),)), scored(lh=0.1, bm=0.1, birads="5"))
        for uid in ("1.1", "1.3", "1.4", "1.5"):
            report(session, uid, "malignant")
        report(session, "1.2", "benign")
    with make_engine(database.reader_url, role=None, poolclass=NullPool).connect() as reader:
        shown = reader.execute(
            text("SELECT study_instance_uid, outcome::text, result::text FROM pathology_result")
        ).all()
        [missed] = reader.execute(text("SELECT * FROM downgraded_cancer")).mappings().all()
    assert sorted(map(tuple, shown)) == [
        ("1.1", "downgraded", "malignant"),
        ("1.2", "downgraded", "benign"),
        ("1.3", "maintained", "malignant"),
        ("1.4", None, "malignant"),
        ("1.5", "not_applicable", "malignant"),
    ]
    assert (missed["study_instance_uid"], missed["lesion_id"], missed["high_risk_probability"]) == ("1.1", "L1", 0.1)
    assert (missed["malignant_probability"], missed["bm_threshold"], missed["notice"]) == (0.2, 0.5, DEMO)


def test_a_correction_to_benign_ends_a_downgraded_cancer(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study(), scored(lh=0.1, bm=0.1))
        report(session, result="malignant")
        assert session.scalar(text("SELECT count(*) FROM downgraded_cancer")) == 1
        report(session, result="benign", reported_on=date(2026, 3, 9))
        assert session.scalar(text("SELECT count(*) FROM downgraded_cancer")) == 0
        assert [row[0] for row in rows(session)] == ["malignant", "benign"]


def test_a_result_that_a_newer_revision_left_behind_is_told_until_that_has_one(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        first = ended(session, study(content="a"), scored(lh=0.1, bm=0.1)).study_id
        report(session, result="malignant")
        assert detached(session) == []
        ended(session, study(content="b"), scored())
        assert results(session) == []
        [left] = detached(session)
        assert (left.study_id, left.lesion_id, left.outcome, left.result) == (first, "L1", "downgraded", "malignant")
        report(session, result="malignant")
        assert detached(session) == []


def test_a_purge_leaves_benign_or_malignant_and_neither_code_nor_day(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study(), scored(lh=0.1, bm=0.1))
        report(session, result="benign", histology="8140/3")
        report(session, result="malignant", histology="8500/3", reported_on=date(2026, 3, 9))
        ledger.purge(session, LATER, ANNE, 10)
        assert rows(session) == [("benign", None, None, False), ("malignant", None, None, True)]
        assert session.scalar(text("SELECT count(*) FROM downgraded_cancer")) == 1


REWRITES = (
    "UPDATE pathology SET result = 'benign'",
    "UPDATE pathology SET histology = 'other'",
    "UPDATE pathology SET reported_on = '2020-01-01'",
    "UPDATE pathology SET recorded_at = now() - interval '1 day'",
    "UPDATE pathology SET is_current = NOT is_current WHERE NOT is_current",
    "DELETE FROM pathology",
    "TRUNCATE pathology",
)


@pytest.mark.parametrize("who", ["writer_url", "owner_url", "superuser_url"])
def test_nobody_rewrites_what_pathology_said_not_even_its_owner(
    database: Database, sessions: sessionmaker[Session], who: str
) -> None:
    with sessions.begin() as session:
        ended(session, study(), scored())
        report(session, result="benign")
        report(session, result="malignant", histology="8500/3")
    engine = make_engine(getattr(database, who), role=None, poolclass=NullPool)
    for statement in REWRITES:
        assert sqlstate(engine, statement) == DENIED, statement
    if who == "superuser_url":
        for statement in REWRITES:
            assert sqlstate(engine, f"SET LOCAL session_replication_role = replica; {statement}") == DENIED, statement


def test_a_reader_sees_no_row_of_the_table(database: Database) -> None:
    engine = make_engine(database.reader_url, role=None, poolclass=NullPool)
    for statement in ("SELECT 1 FROM pathology", "DELETE FROM pathology", "SELECT pathology_is_append_only()"):
        assert sqlstate(engine, statement) == DENIED, statement
