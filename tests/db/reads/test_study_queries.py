from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.reads import study_queries
from db.writes import ledger
from tests.db.samples import (
    DEMO,
    arrived,
    claimed,
    ended,
    finish_one,
    lesion,
    model,
    refused,
    register,
    result,
    scored,
    study,
)


def test_the_worklist_is_in_reading_order(sessions: sessionmaker[Session]) -> None:
    cases = {
        "1.1": (study("1.1"), scored(lh=0.1, bm=0.1)),
        "1.2": (study("1.2", lesions=(lesion(birads="5"),)), scored(lh=0.9, bm=0.9, birads="5")),
        "1.3": (study("1.3"), scored(lh=0.9, bm=0.1)),
        "1.4": (study("1.4"), refused()),
        "1.5": (study("1.5"), scored(lh=0.9, bm=0.8)),
        "1.6": (study("1.6"), scored(lh=0.9, bm=0.9)),
        "1.7": (study("1.7", priority="stat"), scored(lh=0.9, bm=0.6)),
    }
    for record, lesion_result in cases.values():
        with sessions.begin() as session:
            ended(session, record, lesion_result)
    with sessions.begin() as session:
        rows = study_queries.worklist(session)
        assert [row.study_instance_uid for row in rows] == ["1.7", "1.2", "1.6", "1.5", "1.4", "1.3", "1.1"]
        assert [row.position for row in rows] == [1, 2, 3, 4, 5, 6, 7]
        assert study_queries.worklist(session, limit=3) == rows[:3]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(4)))
def test_studies_of_one_class_and_score_are_read_as_they_arrived(
    sessions: sessionmaker[Session], order: list[int]
) -> None:
    with sessions.begin() as session:
        session.execute(text("DELETE FROM worklist_entry"))
    studies = []
    for number in range(4):
        with sessions.begin() as session:
            studies.append(arrived(session, study(f"1.{number}.{uuid4().int}")).study_id)
    for number in order:
        with sessions.begin() as session:
            assert finish_one(session, result(claimed(session, studies[number]), scored()))
    with sessions.begin() as session:
        assert [row.study_id for row in study_queries.worklist(session)] == studies


def test_a_worklist_row_sums_its_study_up(sessions: sessionmaker[Session]) -> None:
    lesions = (lesion("L1"), lesion("L2"), lesion("L3", "4C"), lesion("L4"), lesion("L5"))
    results = (
        scored("L1", 0.9, 0.6),
        scored("L2", 0.2, 0.1),
        scored("L3", 0.7, 0.95, birads="4C"),
        scored("L4", 0.6, 0.2),
        refused("L5"),
    )
    with sessions.begin() as session:
        ended(session, study(lesions=lesions), *results)
        [row] = study_queries.worklist(session)
    assert (row.lesions, row.lesions_scored, row.state, row.worklist_class) == (5, 4, "partial", "upgraded")
    assert (row.upgraded, row.maintained, row.not_applicable, row.downgraded) == (1, 1, 1, 1)
    assert (row.highest_birads, row.malignant_probability, row.high_risk_probability) == ("4C", 0.95, 0.9)
    assert row.notice == DEMO
    assert row.accession_number == "A1"
    assert row.uncertain == 0


def test_a_study_whose_models_are_not_certain_stands_among_the_kept_ones_and_counts_them(
    sessions: sessionmaker[Session],
) -> None:
    certain = {"lh_set": ("high_risk",), "bm_set": ("malignant",)}
    with sessions.begin() as session:
        ended(session, study("1.1"), scored(lh=0.2, bm=0.1, lh_set=("low_risk",), bm_set=("benign", "malignant")))
        ended(session, study("1.2"), scored(lh=0.9, bm=0.3))
        two = (lesion("L1"), lesion("L2"))
        ended(session, study("1.3", lesions=two), scored("L1", **certain), scored("L2", lh_set=(), bm_set=()))
        rows = study_queries.worklist(session)
    assert [(row.study_instance_uid, row.worklist_class, row.maintained, row.uncertain) for row in rows] == [
        ("1.3", "upgraded", 1, 1),
        ("1.2", "maintained", 1, 0),
        ("1.1", "maintained", 1, 1),
    ]


def test_failed_studies_say_why_and_for_which_lesions(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1"), scored())
        lesions = (lesion("L1"), lesion("L2"), lesion("L3"))
        ended(session, study("1.2", lesions=lesions), refused("L1"), scored("L2"), refused("L3", "roi_outside_image"))
        [row] = study_queries.failed(session)
    assert (row.study_instance_uid, row.state, row.lesions, row.lesions_failed) == ("1.2", "partial", 3, 2)
    assert row.lesion_errors == "L1: age_missing; L3: roi_outside_image"


def test_each_lesion_has_one_row_with_what_its_scores_rest_on(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study(lesions=(lesion("L1"), lesion("L2"))), scored("L1", lh=0.25, bm=0.75), refused("L2"))
        first, second = session.execute(text("SELECT * FROM lesion_result ORDER BY ordinal")).mappings().all()
    assert (first["low_risk_probability"], first["high_risk_probability"], first["lh_class"]) == (
        0.75,
        0.25,
        "low risk",
    )
    assert (first["benign_probability"], first["malignant_probability"], first["bm_class"]) == (0.25, 0.75, "malignant")
    assert (first["original"], first["outcome"], first["recommended"]) == ("4A", "maintained", "4A")
    assert (first["lh_version"], first["bm_threshold"], len(first["bm_sha256"])) == ("1.0", 0.5, 64)
    assert (first["age_years"], first["age_source"], first["region_source"]) == (47.0, "job", "job")
    assert (first["notice"], first["state"]) == (DEMO, "scored")
    assert (first["gate"], second["gate"]) == (["overlay_in_roi", "roi_saturated"], [])
    assert (first["width_mm"], first["height_mm"], first["aspect_ratio"]) == (8.0, 10.0, 1.25)
    assert (first["scanner_model"], first["site"], second["site"]) == ("Acme Sono 1", "Example Hospital", None)
    assert (second["state"], second["error_code"], second["outcome"], second["notice"]) == (
        "failed",
        "age_missing",
        None,
        None,
    )


def test_the_summary_counts_the_4a_lesions_and_keeps_demo_models_apart(sessions: sessionmaker[Session]) -> None:
    cases = [(0.9, 0.9), (0.9, 0.7), (0.9, 0.1), (0.1, 0.1), (0.1, 0.2), (0.2, 0.2), (0.1, 0.3)]
    with sessions.begin() as session:
        for number, (lh, bm) in enumerate(cases):
            ended(session, study(f"1.1.{number}"), scored(lh=lh, bm=bm))
        ended(session, study("1.2", lesions=(lesion(birads="5"),)), scored(birads="5"))
        ended(session, study("1.3", "a"), scored())
        ledger.record_study(session, study("1.3", "b"))
        register(session, "2.0", notice=None)
        ended(session, study("1.4"), scored(lh=0.1, bm=0.1, version="2.0"))
        rows = study_queries.summary(session)
    assert [(row.notice, row.outcome, row.lesions, row.percent_of_4a) for row in rows] == [
        (DEMO, "upgraded", 2, Decimal("28.6")),
        (DEMO, "maintained", 1, Decimal("14.3")),
        (DEMO, "not_applicable", 1, None),
        (DEMO, "downgraded", 4, Decimal("57.1")),
        (None, "upgraded", 0, Decimal("0.0")),
        (None, "maintained", 0, Decimal("0.0")),
        (None, "not_applicable", 0, None),
        (None, "downgraded", 1, Decimal("100.0")),
    ]
    assert rows[0].mean_malignant_probability == pytest.approx(0.8)


def test_notices_of_two_models_that_differ_are_both_shown(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ledger.register_model(session, model("DLR_BM", notice="trial"))
        ended(session, study(), scored())
        [row] = study_queries.worklist(session)
    assert row.notice == f"{DEMO}; trial"


def test_studies_are_counted_by_state_without_their_earlier_revisions(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ledger.record_study(session, study("1.1", "a"))
        ledger.record_study(session, study("1.1", "b"))
        ended(session, study("1.2"), scored())
        assert study_queries.counts_by_state(session) == {
            "queued": 1,
            "running": 0,
            "done": 1,
            "partial": 0,
            "failed": 0,
        }


def test_a_study_is_found_by_its_id_its_uid_and_its_accession_number(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        one = ledger.record_study(session, study("1.1", accession_number="A7")).study_id
        two = ledger.record_study(session, study("1.2", accession_number="A7")).study_id
        digits = ledger.record_study(session, study("1.3", accession_number="1" * 32)).study_id

        def found(key: str) -> set[object]:
            return {detail.study_id for detail in study_queries.study_details(session, key)}

        assert found(str(one)) == found(str(one).upper()) == found("1.1") == {one}
        assert found("A7") == {one, two}
        assert found("1" * 32) == {digits}
        assert found("1.") == found("") == found("9") == set()


def test_a_name_is_found_however_its_letters_were_typed(sessions: sessionmaker[Session]) -> None:
    composed, decomposed = "\xdcbung-\u68c0\u67e5", "U\u0308bung-\u68c0\u67e5"
    with sessions.begin() as session:
        one = ledger.record_study(session, study("1.1", accession_number=composed)).study_id
        of_before = ledger.record_study(session, study("1.2", accession_number=decomposed)).study_id
        assert [found.study_id for found in study_queries.study_details(session, composed)] == [one]
        assert {found.study_id for found in study_queries.study_details(session, decomposed)} == {one, of_before}
        assert study_queries.study_details(session, "no\0 text\udcff") == []
