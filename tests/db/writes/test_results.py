from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from db.errors import ModelUnknown, ResultInconsistent
from db.reads import study_queries
from db.schema.records import Claim, ImageResultRecord, LesionImageRecord, LesionResultRecord
from db.schema.tables import PredictionRow, RestratificationRow
from db.writes import ledger
from tests.db.samples import (
    DEMO,
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
    scored_image,
    study,
)


def running(session: Session, *lesions: Any) -> Claim:
    return claimed(session, ledger.record_study(session, study(lesions=lesions or None)).study_id)


def contents(session: Session) -> dict[str, Any]:
    tables = ("study", "lesion", "marked_image", "prediction", "restratification", "study_event")
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
        [image] = stored.images
        assert (image.region, image.region_source) == ((10, 20, 30, 40), "job")
        assert image.gate == ("overlay_in_roi", "roi_saturated")
        assert (image.width_mm, image.height_mm, image.aspect_ratio) == (8.0, 10.0, 1.25)
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
    ["gate = '{handsome}'", "gate = ARRAY[NULL]::text[]", "gate = NULL", "width_mm = NULL", "height_mm = 0"],
)
def test_no_image_has_an_unknown_reason_or_half_a_size(sessions: sessionmaker[Session], change: str) -> None:
    with sessions.begin() as session:
        ended(session, study(), scored())
    with sessions() as session, pytest.raises(IntegrityError):
        session.execute(text(f"UPDATE marked_image SET {change}"))


REFUSED_IMAGE = ImageResultRecord("failed", "file_truncated", "the file is cut off")


def two_planes(session: Session, *images: ImageResultRecord, **place: Any) -> UUID:
    """A lesion on two images, scored."""
    marked = tuple(LesionImageRecord(f"1.2.3.{number}", 1, None, plane) for number, plane in enumerate(PLANES))
    record = study(lesions=(lesion(images=marked, **place),))
    return ended(session, record, replace(scored(lh=0.6, bm=0.7), images=images)).study_id


PLANES = ("radial", "antiradial")


def row_of(session: Session, view: str) -> list[dict[str, Any]]:
    return [dict(row) for row in session.execute(text(f"SELECT * FROM {view} ORDER BY ordinal")).mappings()]


def test_each_image_has_its_own_scores_and_their_lesion_one_advice(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        two_planes(session, scored_image(0.9, 0.95), scored_image(0.3, 0.45, gate=("roi_blank",)))
        [row] = row_of(session, "lesion_result")
        assert (row["images"], row["images_refused"], row["outcome"], row["views_disagree"]) == (2, 0, "upgraded", True)
        assert (row["high_risk_spread"], row["malignant_spread"]) == (0.9 - 0.3, 0.95 - 0.45)
        assert row["gate"] == ["overlay_in_roi", "roi_saturated", "roi_blank"]
        images = session.execute(text("SELECT * FROM image_result ORDER BY image")).mappings().all()
        assert [
            (one["image"], one["plane"], one["state"], one["high_risk_probability"], one["malignant_probability"])
            for one in images
        ] == [(1, "radial", "scored", 0.9, 0.95), (2, "antiradial", "scored", 0.3, 0.45)]
        assert [one["notice"] for one in images] == [DEMO, DEMO]


@pytest.mark.parametrize(
    ("first", "second", "disagree"),
    [
        ((0.5, 0.9), (0.9, 0.5), False),
        ((0.49, 0.9), (0.5, 0.9), True),
        ((0.9, 0.5), (0.9, 0.49), True),
        ((0.1, 0.2), (0.3, 0.4), False),
        ((0.9, 0.1), (0.9, 0.1), False),
    ],
)
def test_views_disagree_where_one_model_is_on_both_sides_of_its_threshold(
    sessions: sessionmaker[Session], first: tuple[float, float], second: tuple[float, float], disagree: bool
) -> None:
    with sessions.begin() as session:
        two_planes(session, scored_image(*first), scored_image(*second))
        [row] = row_of(session, "lesion_result")
        assert row["views_disagree"] is disagree


def test_an_image_that_was_refused_is_told_and_counts_for_nothing(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = two_planes(session, scored_image(0.9, 0.9), REFUSED_IMAGE)
        [row] = row_of(session, "lesion_result")
        assert (row["state"], row["images"], row["images_refused"], row["views_disagree"]) == ("scored", 2, 1, False)
        assert (row["high_risk_spread"], row["error_code"]) == (0.0, None)
        second = session.execute(text("SELECT * FROM image_result WHERE image = 2")).mappings().one()
        assert (second["state"], second["error_code"]) == ("failed", "file_truncated")
        assert (second["error_reason"], second["high_risk_probability"]) == ("the file is cut off", None)
        [detail] = study_queries.study_details(session, study_id)
        assert detail.state == "done"
        assert detail.events[-1].detail["images_refused"] == 1


def test_the_images_of_a_lesion_that_failed_as_a_whole_failed_as_it_did(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        marked = tuple(LesionImageRecord(f"1.2.3.{number}", 1, None) for number in range(2))
        ended(session, study(lesions=(lesion(images=marked),)), refused(code="file_not_found"))
        codes = session.scalars(text("SELECT error_code FROM image_result")).all()
        assert codes == ["file_not_found", "file_not_found"]
        [row] = row_of(session, "lesion_result")
        assert (row["images_refused"], row["views_disagree"]) == (2, None)


@pytest.mark.parametrize("images", [(scored_image(),), (scored_image(),) * 3, (REFUSED_IMAGE,) * 2])
def test_a_result_of_other_images_than_the_lesions_or_of_none_that_was_scored_is_not_written(
    sessions: sessionmaker[Session], images: tuple[ImageResultRecord, ...]
) -> None:
    with pytest.raises(ResultInconsistent), sessions.begin() as session:
        two_planes(session, *images)


def test_a_newer_model_s_scores_of_images_stand_beside_the_older_one_s(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        claim = running(session)
        assert finish_one(session, result(claim, scored(lh=0.9, bm=0.9)))
        register(session, "2.0")
        again(session, claim, scored(lh=0.1, bm=0.2, version="2.0"))
        [detail] = study_queries.study_details(session, claim.study_id)
        [image] = detail.lesions[0].images
        assert sorted((one.model_name, one.model_version, one.positive_probability) for one in image.predictions) == [
            ("DLR_BM", "1.0", 0.9),
            ("DLR_BM", "2.0", 0.2),
            ("DLR_LH", "1.0", 0.9),
            ("DLR_LH", "2.0", 0.1),
        ]
        assert session.scalar(text("SELECT malignant_probability FROM image_result")) == 0.2


SIDES = [
    # the sender's, the first image's, the second's: the lesion's
    ("left", "right", "right", "left"),
    (None, "right", "right", "right"),
    (None, "right", None, "right"),
    (None, None, None, None),
]


@pytest.mark.parametrize(("stated", "first", "second", "side"), SIDES)
def test_what_the_sender_said_of_the_side_stays(
    sessions: sessionmaker[Session], stated: str | None, first: str | None, second: str | None, side: str | None
) -> None:
    with sessions.begin() as session:
        marked = tuple(LesionImageRecord(f"1.2.3.{number}", 1, None) for number in range(2))
        images = scored_image(laterality=first), scored_image(laterality=second)
        done = replace(scored(), images=images, laterality=stated or first)
        ended(session, study(lesions=(lesion(images=marked, laterality=stated),)), done)
        [row] = row_of(session, "lesion_result")
        assert row["laterality"] == side
        assert session.scalar(text("SELECT laterality FROM study")) == side


def test_a_study_whose_lesion_s_images_are_of_both_sides_is_of_both(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        two_planes(session, scored_image(laterality="left"), scored_image(laterality="right"))
        [row] = row_of(session, "lesion_result")
        assert row["laterality"] is None
        assert session.scalar(text("SELECT laterality FROM study")) == "both"


def test_lesions_are_counted_and_never_their_images(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        two_planes(session, scored_image(), scored_image())
        summary = {row.outcome: row.lesions for row in study_queries.summary(session)}
        assert summary == {"upgraded": 1, "maintained": 0, "not_applicable": 0, "downgraded": 0}
        [listed] = study_queries.worklist(session)
        assert (listed.lesions, listed.lesions_scored, listed.images) == (1, 1, 2)


def test_a_thousand_lesions_are_written_with_few_statements(sessions: sessionmaker[Session]) -> None:
    names = [f"L{number}" for number in range(1_000)]
    with sessions.begin() as session:
        claim = running(session, *(lesion(name) for name in names))
        statements: list[str] = []
        event.listen(session.get_bind(), "before_cursor_execute", lambda *call: statements.append(call[2]))
        assert finish_one(session, result(claim, *(scored(name) for name in names)))
        assert len(statements) < 9
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
