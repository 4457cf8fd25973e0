from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from db.errors import ModelUnknown, ResultInconsistent
from db.reads import study_queries
from db.schema.records import Claim, LesionResultRecord
from db.schema.tables import PredictionRow, RestratificationRow
from db.writes import ledger
from tests.db.samples import (
    claim_one,
    claimed,
    ended,
    finish_one,
    lesion,
    prediction,
    refused,
    register,
    result,
    scored,
    study,
)


def running(session: Session, *lesions: Any) -> Claim:
    return claimed(session, ledger.record_study(session, study(lesions=lesions or None)).study_id)


def contents(session: Session) -> dict[str, Any]:
    tables = ("study", "lesion", "prediction", "restratification", "study_event")
    return {table: session.execute(text(f"SELECT * FROM {table} ORDER BY id")).all() for table in tables}


def test_a_result_is_stored_as_it_was_given(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        claim = running(session)
        given = scored(lh=0.875, bm=0.25)
        assert finish_one(session, result(claim, given))
    with sessions.begin() as session:
        [detail] = study_queries.study_details(session, claim.study_id)
        assert (detail.state, detail.worklist_class, detail.malignant_probability) == ("done", "maintained", 0.25)
        [stored] = detail.lesions
        assert (stored.age_years, stored.age_source) == (47.0, "job")
        assert (stored.region, stored.region_source) == ((10, 20, 30, 40), "job")
        assert stored.gate == ("overlay_in_roi", "roi_saturated")
        assert (stored.width_mm, stored.height_mm, stored.aspect_ratio) == (8.0, 10.0, 1.25)
        assert (stored.scanner_model, stored.site) == ("Acme Sono 1", "Example Hospital")
        assert (stored.outcome, stored.recommended, stored.rule_version) == ("maintained", "4A", "fig-s5/1")
        assert [(part.model_name, part.probabilities) for part in stored.predictions] == [
            ("DLR_LH", {"low risk": 0.125, "high risk": 0.875}),
            ("DLR_BM", {"benign": 0.75, "malignant": 0.25}),
        ]
        assert [event.event for event in detail.events] == ["received", "claimed", "done"]


def test_what_a_model_can_not_rule_out_is_stored_and_brought_up_to_date(sessions: sessionmaker[Session]) -> None:
    def stored(session: Session) -> Any:
        columns = "outcome::text, uncertain, lh_conformal_set, bm_conformal_set, rule_version"
        return tuple(session.execute(text(f"SELECT {columns} FROM lesion_result WHERE lesion_id = 'L1'")).one())

    def again(session: Session, study_id: UUID, first: LesionResultRecord) -> Any:
        ledger.requeue(session, study_id, "a person")
        assert finish_one(session, result(claimed(session, study_id), first, refused("L2")))
        return stored(session)

    both = ("benign", "malignant")
    with sessions.begin() as session:
        claim = running(session, lesion("L1"), lesion("L2"))
        assert finish_one(session, result(claim, scored(lh_set=("high_risk",), bm_set=both), refused("L2")))
        assert stored(session) == ("maintained", True, ["high_risk"], list(both), "fig-s5/1+conformal/1")
        [detail] = study_queries.study_details(session, claim.study_id)
        assert (detail.lesions[0].uncertain, detail.lesions[1].uncertain) == (True, None)
        assert [part.conformal_set for part in detail.lesions[0].predictions] == [("high_risk",), both]
        certain = scored(lh_set=("high_risk",), bm_set=("malignant",))
        assert again(session, claim.study_id, certain) == (
            "upgraded", False, ["high_risk"], ["malignant"], "fig-s5/1+conformal/1",
        )  # fmt: skip
        assert again(session, claim.study_id, scored()) == ("upgraded", False, None, None, "fig-s5/1")
        former = select(RestratificationRow).where(~RestratificationRow.is_current)
        assert [row.rule_version for row in session.scalars(former)] == ["fig-s5/1+conformal/1"]


def test_an_empty_set_is_not_a_missing_one(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        assert finish_one(session, result(running(session), scored(lh_set=(), bm_set=None)))
        sets = session.execute(text("SELECT lh_conformal_set, bm_conformal_set, uncertain FROM lesion_result")).one()
        assert tuple(sets) == ([], None, True)


@pytest.mark.parametrize("outcome", ["upgraded", "downgraded", "not_applicable"])
def test_advice_that_moves_a_lesion_can_not_be_uncertain(sessions: sessionmaker[Session], outcome: str) -> None:
    with sessions.begin() as session:
        claim = running(session)
        given = scored()
        assert given.assessment is not None
        wrong = replace(given, assessment=replace(given.assessment, outcome=outcome, uncertain=True))
        with pytest.raises(IntegrityError, match="uncertain_is_kept"), session.begin_nested():
            finish_one(session, result(claim, wrong))


def test_a_result_that_is_delivered_twice_is_written_once(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        claim = running(session)
        assert finish_one(session, result(claim, scored()))
    with sessions.begin() as session:
        before = contents(session)
        assert not finish_one(session, result(claim, scored(bm=0.1)))
        assert contents(session) == before


def test_a_result_of_a_replaced_revision_is_refused_and_never_mixed_in(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        claim = running(session)
        ledger.record_study(session, study(content="b"))
        before = contents(session)
        assert not finish_one(session, result(claim, scored()))
        assert contents(session) == before


def test_a_lesion_that_the_result_leaves_out_says_why(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        claim = running(session, lesion("L1"), lesion("L2"))
        assert finish_one(session, result(claim, error_code="file_not_found", error_reason="no file"))
        [detail] = study_queries.study_details(session, claim.study_id)
        assert [(part.state, part.error_code) for part in detail.lesions] == [("failed", "file_not_found")] * 2


def strange(name: str, **changes: Any) -> LesionResultRecord:
    return replace(scored(name), **changes)


@pytest.mark.parametrize(
    ("lesions", "changes"),
    [
        ((scored("L1"), scored("L3")), {}),
        ((scored("L1"), scored("L1")), {}),
        ((scored("L1"),), {}),
        ((scored("L1"), scored("L2")), {"state": "partial", "error_code": "age_missing"}),
        ((scored("L1"), refused("L2")), {"state": "done"}),
        ((refused("L1"), refused("L2")), {"state": "partial"}),
        ((scored("L1"), scored("L2", birads="5")), {}),
        ((scored("L1"), strange("L2", predictions=(prediction("DLR_LH", 0.5),))), {"malignant_probability": 0.5}),
        ((scored("L1"), strange("L2", assessment=None)), {}),
    ],
    ids=[
        "a lesion of another study",
        "a lesion twice",
        "done, and a lesion is missing",
        "partial, and every lesion is scored",
        "done, and a lesion is refused",
        "partial, and no lesion is scored",
        "another BI-RADS category",
        "one model alone",
        "no assessment",
    ],
)
def test_a_result_that_does_not_fit_its_study_is_not_written(
    sessions: sessionmaker[Session], lesions: Any, changes: Any
) -> None:
    with sessions.begin() as session:
        claim = running(session, lesion("L1"), lesion("L2"))
        before = contents(session)
    given = replace(result(claim, scored("L1"), scored("L2")), lesions=lesions, **changes)
    with pytest.raises(ResultInconsistent), sessions.begin() as session:
        finish_one(session, given)
    with sessions.begin() as session:
        assert contents(session) == before


def test_a_score_of_a_model_that_nobody_registered_is_not_written(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        claim = running(session)
    with pytest.raises(ModelUnknown), sessions.begin() as session:
        finish_one(session, result(claim, scored(version="9.9")))
    with sessions.begin() as session:
        assert study_queries.states(session, [claim.study_id]) == {claim.study_id: "running"}


def again(session: Session, claim: Claim, given: LesionResultRecord) -> None:
    """Run a study that ended once more, as another model would."""
    session.execute(text("UPDATE study SET state = 'running', finished_at = NULL, claims = claims + 1"))
    assert finish_one(session, result(replace(claim, attempt=claim.attempt + 1), given))


def test_a_newer_model_adds_predictions_and_erases_none(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        claim = running(session)
        assert finish_one(session, result(claim, scored(lh=0.9, bm=0.9)))
        register(session, "2.0")
        again(session, claim, scored(lh=0.1, bm=0.1, version="2.0"))
        assert session.scalars(select(PredictionRow.positive_probability).order_by(PredictionRow.id)).all() == [
            0.9,
            0.9,
            0.1,
            0.1,
        ]
        advice = session.execute(select(RestratificationRow.outcome, RestratificationRow.is_current)).all()
        assert sorted((row.outcome.value, row.is_current) for row in advice) == [
            ("downgraded", True),
            ("upgraded", False),
        ]
        [row] = study_queries.worklist(session)
        assert (row.upgraded, row.downgraded, row.high_risk_probability) == (0, 1, 0.1)


def test_the_same_model_again_leaves_one_result(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        claim = running(session)
        assert finish_one(session, result(claim, scored(bm=0.9)))
        again(session, claim, scored(bm=0.8))
        assert session.scalars(select(PredictionRow.positive_probability).order_by(PredictionRow.id)).all() == [
            0.9,
            0.8,
        ]
        assert session.scalars(select(RestratificationRow.is_current)).all() == [True]


def test_a_lesion_that_can_not_be_scored_any_more_has_no_advice(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        claim = running(session)
        assert finish_one(session, result(claim, scored()))
        again(session, claim, refused())
        [row] = study_queries.worklist(session)
        assert (row.state, row.upgraded, row.lesions_scored) == ("failed", 0, 0)


def test_advice_can_not_rest_on_another_lesions_scores(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study(lesions=(lesion("L1"), lesion("L2"))), scored("L1"), scored("L2"))
    with sessions() as session, pytest.raises(IntegrityError):
        session.execute(
            text(
                "UPDATE restratification SET lh_prediction_id = (SELECT max(id) - 1 FROM prediction) "
                "WHERE lesion_id = (SELECT min(id) FROM lesion)"
            )
        )


@pytest.mark.parametrize(
    "change",
    [
        "gate = '{handsome}'",
        "gate = ARRAY[NULL]::text[]",
        "gate = NULL",
        "width_mm = NULL",
        "height_mm = 0",
        "aspect_ratio = -1",
    ],
)
def test_no_lesion_has_an_unknown_reason_or_half_a_size(sessions: sessionmaker[Session], change: str) -> None:
    with sessions.begin() as session:
        ended(session, study(), scored())
    with sessions() as session, pytest.raises(IntegrityError):
        session.execute(text(f"UPDATE lesion SET {change}"))


def test_a_thousand_lesions_are_written_with_few_statements(sessions: sessionmaker[Session]) -> None:
    names = [f"L{number}" for number in range(1_000)]
    with sessions.begin() as session:
        claim = running(session, *(lesion(name) for name in names))
        statements: list[str] = []
        event.listen(session.get_bind(), "before_cursor_execute", lambda *call: statements.append(call[2]))
        assert finish_one(session, result(claim, *(scored(name) for name in names)))
        assert len(statements) < 20
        assert study_queries.worklist(session)[0].lesions_scored == 1_000


def test_the_history_says_under_which_models_and_rule_a_study_ended(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = ended(session, study(lesions=(lesion("L1"), lesion("L2"))), scored("L1"), refused("L2")).study_id
        [detail] = study_queries.study_details(session, study_id)
    assert (detail.events[-1].event, dict(detail.events[-1].detail)) == (
        "partial",
        {
            "attempt": 1,
            "code": "age_missing",
            "models": {"DLR_BM": "1.0", "DLR_LH": "1.0"},
            "rule": scored().assessment.rule_version,
        },
    )


def test_the_history_says_which_worker_took_a_study(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study()).study_id
        claim_one(session, study_id, 3, lease_s=5, worker="gpu-1:4711")
        [detail] = study_queries.study_details(session, study_id)
    assert dict(detail.events[-1].detail) == {"attempt": 1, "worker": "gpu-1:4711"}
