"""The result of a study, as documents are made of it, from a real database."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import (
    DEMO,
    claimed,
    ended,
    finish_one,
    lesion,
    refused,
    result,
    scored,
    study,
    writing,
)
from worker.errors import Code, StudyRefused
from worker.reporting.result import read_results


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    with writing(database) as sessions:
        yield sessions


def test_a_result_has_each_lesion_with_what_its_scores_rest_on(sessions: sessionmaker[Session]) -> None:
    record = study(lesions=(lesion("L1"), lesion("L2", "5")), job={"images": {"paths": ["a.dcm", "b.dcm"]}})
    with sessions.begin() as session:
        ended(session, record, scored("L1", lh=0.25, bm=0.75), refused("L2"))
        [found] = read_results(session, "1.2.3")
    assert (found.state, found.paths, found.notices) == ("partial", ("a.dcm", "b.dcm"), (DEMO,))
    one, two = found.lesions
    assert one.lh is not None
    assert one.bm is not None
    assert (one.lh.negative_probability, one.lh.positive_probability) == (0.75, 0.25)
    assert (one.lh.negative_class, one.lh.positive_class, one.lh.predicted_class) == (
        "low risk",
        "high risk",
        "low risk",
    )
    assert (one.bm.negative_class, one.bm.positive_class, one.bm.predicted_class) == (
        "benign",
        "malignant",
        "malignant",
    )
    assert (one.outcome, one.recommended, one.rule_version) == ("maintained", "4A", "fig-s5/1")
    assert (len(one.lh.weights_sha256), len(one.lh.card_sha256)) == (64, 64)
    assert (one.age_years, one.age_source, one.region_source) == (47.0, "job", "job")
    assert one.restratification_id is not None
    assert (two.scores, two.outcome, two.error_code, two.birads) == ((), None, "age_missing", "5")


def test_a_result_says_what_its_models_can_not_rule_out(sessions: sessionmaker[Session]) -> None:
    both = ("low_risk", "high_risk")
    with sessions.begin() as session:
        ended(session, study(), scored(lh_set=both, bm_set=("malignant",)))
        [found] = read_results(session, "1.2.3")
    [one] = found.lesions
    assert (one.uncertain, one.outcome, one.recommended) == (True, "maintained", "4A")
    assert [score.conformal_set for score in one.scores] == [both, ("malignant",)]


def test_each_time_that_a_study_ended_is_told_apart(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        first = ended(session, study(), refused())
    with sessions.begin() as session:
        ledger.requeue(session, first.study_id, "a person")
        assert finish_one(session, result(claimed(session, first.study_id), scored()))
        [again] = read_results(session, first.study_id)
    with sessions.begin() as session:
        ended(session, study(content="b"), scored())
        [revised] = read_results(session, "1.2.3")
    assert [ending.revision for ending in revised.endings] == [1, 1, 2]
    assert revised.endings[:2] == again.endings
    assert len({ending.event_id for ending in revised.endings}) == 3
    assert revised.endings[-1].study_id == revised.study_id
    assert all(ending.at < datetime.now(UTC) for ending in revised.endings)


def test_a_lesion_that_failed_this_time_has_no_scores_of_an_earlier_time(sessions: sessionmaker[Session]) -> None:
    record = study(lesions=(lesion("L1"), lesion("L2")))
    with sessions.begin() as session:
        recorded = ended(session, record, scored("L1"), refused("L2"))
        ledger.requeue(session, recorded.study_id, "a person")
        assert finish_one(session, result(claimed(session, recorded.study_id), refused("L1"), scored("L2")))
        [found] = read_results(session, recorded.study_id)
    assert [lesion.scores == () for lesion in found.lesions] == [True, False]
    assert found.lesions[0].recommended is None


def refusal_of(session: Session, key: object) -> Code:
    with pytest.raises(StudyRefused) as refusal:
        read_results(session, str(key))
    return refusal.value.code


def test_what_has_no_result_is_refused_with_a_code(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        waiting = ledger.record_study(session, study("1.1"))
        message = ledger.record_refusal(session, "a" * 64, {"x": 1}, "job_invalid", "no", "queue")
        former = ended(session, study("1.2"), scored())
        ended(session, study("1.2", content="b"), scored())
        assert refusal_of(session, waiting.study_id) is Code.STUDY_NOT_ENDED
        assert refusal_of(session, message) is Code.RESULT_MISSING
        assert refusal_of(session, former.study_id) is Code.RESULT_MISSING
        assert refusal_of(session, "none such") is Code.STUDY_NOT_FOUND
