"""An evaluation as a whole: which lesions count, which threshold is used, and what a reader is told."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.worker.evaluation.samples import BM, LH, lesion, many, material
from worker.clinical.categories import Birads
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.evaluation import caveats
from worker.evaluation.document import Evaluation, as_plain, schema, to_json
from worker.evaluation.evaluation import evaluate
from worker.evaluation.evaluation_options import Choice, ChosenBy, Options
from worker.evaluation.ground_truth import Truth, answers
from worker.evaluation.lesions import JudgedLesion, Material, Scorer, Source, by_lesion, named_apart, pairs_of
from worker.evaluation.thresholds import sensitivity_threshold, youden_threshold

NOW = datetime(2026, 11, 23, tzinfo=UTC)
QUICK = Options(resamples=50)
BARE_LH, BARE_BM = Scorer("DLR_LH", "1.0"), Scorer("DLR_BM", "1.0")


def without_thresholds(lesions: tuple[JudgedLesion, ...] | None = None) -> Material:
    bare = {LH: BARE_LH, BM: BARE_BM}
    made = [replace(one, scores={bare[by]: score for by, score in one.scores.items()}) for one in lesions or many()]
    return Material(Source.SCORES, tuple(made), (BARE_BM, BARE_LH), pairs_of((BARE_BM, BARE_LH)))


def used(found: Evaluation, model: str) -> tuple[float, ChosenBy]:
    [point] = [at for one in found.questions[0].judged if one.model == model for at in one.operating_points if at.used]
    return point.threshold, point.chosen_by


def test_both_models_are_asked_of_pathology_and_dlr_lh_of_the_category_too() -> None:
    found = evaluate(material(), QUICK, NOW)
    asked = {question.truth: [one.model for one in question.judged] for question in found.questions}
    assert asked == {Truth.PATHOLOGY: ["DLR_BM", "DLR_LH"], Truth.BIRADS: ["DLR_LH"]}
    [compared] = found.questions[0].comparisons
    assert (compared.first, compared.second, compared.lesions) == ("DLR_BM 1.0", "DLR_LH 1.0", 300)


def test_calibration_is_of_a_models_own_question_and_the_decision_curve_of_malignancy() -> None:
    (bm, lh), (lh_own,) = (question.judged for question in evaluate(material(), QUICK, NOW).questions)
    assert [one.calibration is not None for one in (bm, lh, lh_own)] == [True, False, True]
    assert [bool(one.decision_curve) for one in (bm, lh, lh_own)] == [True, False, False]


def test_the_category_says_high_risk_from_4a_on_and_0_says_nothing() -> None:
    made = [lesion(name, birads=name) for name in ("0", "1", "3", "4", "4A", "5", "6")]
    found = answers(made, LH, Truth.BIRADS)
    assert dict(zip([one.lesion_id for one in found.lesions], found.labels.tolist(), strict=True)) == {
        "1": False, "3": False, "4": True, "4A": True, "5": True, "6": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "threshold", "by"),
    [
        (Options(bm_threshold=0.3), 0.3, ChosenBy.GIVEN),
        (Options(), 0.5, ChosenBy.CARD),
        (Options(lh_threshold=0.2), 0.5, ChosenBy.CARD),
    ],
    ids=["asked-for", "card", "asked-for-the-other"],
)
def test_the_threshold_that_was_asked_for_comes_before_the_cards(
    options: Options, threshold: float, by: ChosenBy
) -> None:
    found = evaluate(material(), replace(options, resamples=0), NOW)
    assert used(found, "DLR_BM") == (threshold, by)
    assert found.restratifications[0].bm_threshold == threshold
    assert not any("was chosen on the lesions" in notice for notice in found.notices)


@pytest.mark.parametrize("choose", Choice)
def test_without_a_threshold_one_is_chosen_and_the_reader_is_told(choose: Choice) -> None:
    found = evaluate(without_thresholds(), Options(choose=choose, sensitivity=0.9, resamples=0), NOW)
    known = answers(without_thresholds().lesions, BARE_BM, Truth.PATHOLOGY)
    expected = {
        Choice.YOUDEN: youden_threshold(known.scores, known.labels),
        Choice.SENSITIVITY: sensitivity_threshold(known.scores, known.labels, 0.9),
    }
    assert used(found, "DLR_BM") == (expected[choose], ChosenBy(choose))
    assert caveats.OPTIMISTIC.format(names="DLR_BM 1.0 and of DLR_LH 1.0") in found.notices


def test_4a_lesions_alone_choose_dlr_lhs_threshold_by_pathology() -> None:
    of_4a = tuple(one for one in many() if one.birads == "4A")
    found = evaluate(without_thresholds(of_4a), QUICK, NOW)
    assert [question.truth for question in found.questions] == [Truth.PATHOLOGY]
    known = answers(without_thresholds(of_4a).lesions, BARE_LH, Truth.PATHOLOGY)
    assert found.restratifications[0].lh_threshold == youden_threshold(known.scores, known.labels)


def test_validation_chooses_and_test_is_measured_on() -> None:
    splits = [Split.TRAIN, Split.VALIDATION, Split.TEST, Split.TEST, None]
    made = tuple(replace(one, split=splits[n % 5]) for n, one in enumerate(many()))
    found = evaluate(without_thresholds(made), QUICK, NOW)
    validation = without_thresholds(tuple(one for one in made if one.split is Split.VALIDATION))
    known = answers(validation.lesions, BARE_BM, Truth.PATHOLOGY)
    assert used(found, "DLR_BM")[0] == youden_threshold(known.scores, known.labels)
    assert found.cohort.lesions == 120
    assert sorted(found.cohort.left_out.values()) == [60, 120]
    calibration = found.questions[0].judged[0].calibration
    assert calibration is not None
    assert calibration.fitted_on == "validation"
    assert caveats.VALIDATED.format(names="DLR_BM 1.0 and of DLR_LH 1.0") in found.notices
    assert not any("are measured on" in notice for notice in found.notices)
    assert evaluate(material(made), Options(split=Split.TRAIN, resamples=0), NOW).cohort.lesions == 60


def test_what_a_validation_of_one_class_could_not_choose_is_said_to_be_of_the_tested_lesions() -> None:
    tested = tuple(replace(one, split=Split.TEST) for one in many())
    benign = tuple(
        replace(one, lesion_id=f"V{one.lesion_id}", split=Split.VALIDATION, malignant=False, birads=Birads("3"))
        for one in many()[:5]
    )
    found = evaluate(material((*tested, *benign)), QUICK, NOW)
    names = "DLR_BM 1.0 and of DLR_LH 1.0"
    assert caveats.FITTED.format(names=names) in found.notices
    assert not any("of the split validation" in notice for notice in found.notices)
    assert found.questions[0].judged[0].calibration is not None
    assert found.questions[0].judged[0].calibration.fitted_on == "same_lesions"


def test_a_split_that_no_lesion_is_of_is_told_with_those_that_there_are() -> None:
    made = tuple(replace(one, split=(Split.VALIDATION, Split.EXTERNAL)[place % 2]) for place, one in enumerate(many()))
    with pytest.raises(SetupRefused) as refused:
        evaluate(material(made), QUICK, NOW)
    assert refused.value.code is Code.LESIONS_TOO_FEW
    assert refused.value.reason.endswith("see --split: external, validation")


@pytest.mark.parametrize("split", Split)
def test_lesions_that_a_model_may_have_learned_from_are_said_to_be_such(split: Split) -> None:
    made = tuple(replace(one, split=list(Split)[place % 4]) for place, one in enumerate(many()))
    found = evaluate(material(made), replace(QUICK, split=split), NOW)
    said = caveats.LEARNED.format(split=split) in found.notices
    assert said is (split in (Split.TRAIN, Split.VALIDATION))


def test_of_a_manifest_without_splits_a_reader_is_told_that_all_of_it_was_used() -> None:
    made = replace(material(), source=Source.MANIFEST)
    assert caveats.NO_SPLITS in evaluate(made, QUICK, NOW).notices
    split = tuple(replace(one, split=Split.TEST) for one in many())
    assert caveats.NO_SPLITS not in evaluate(replace(made, lesions=split), QUICK, NOW).notices
    assert caveats.NO_SPLITS not in evaluate(material(), QUICK, NOW).notices


def test_patients_with_several_lesions_are_told_of_and_drawn_together() -> None:
    found = evaluate(material(), QUICK, NOW)
    by = found.questions[0].judged[0].bootstrap
    assert by is not None
    assert (by.unit, by.units, found.cohort.patients) == ("patient", 150, 150)
    assert caveats.CLUSTERED in found.notices
    unknown = evaluate(material(tuple(replace(one, patient=None) for one in many())), QUICK, NOW)
    assert unknown.cohort.patients is None
    assert caveats.LESIONS_ALONE in unknown.notices


def test_a_models_own_notice_comes_first() -> None:
    demo = replace(BM, notice="demo, synthetic")
    made = tuple(replace(one, scores={demo: one.scores[BM]}) for one in many())
    found = evaluate(Material(Source.DATABASE, made, (demo,), ()), QUICK, NOW)
    assert found.notices[0] == "DLR_BM 1.0: demo, synthetic"
    assert caveats.SELECTED in found.notices
    assert caveats.NAMES not in found.notices


@pytest.mark.parametrize("malignant", [True, False])
def test_lesions_of_one_kind_are_too_few(malignant: bool) -> None:
    with pytest.raises(SetupRefused) as refused:
        evaluate(material((lesion("a", malignant=malignant), lesion("b", malignant=malignant))), QUICK, NOW)
    assert refused.value.code is Code.LESIONS_TOO_FEW


def test_two_lesions_are_enough_for_a_document_of_numbers() -> None:
    found = evaluate(material((lesion("a", 0.9, 0.9, malignant=True), lesion("b"))), QUICK, NOW)
    assert found.questions[0].judged[0].auc.interval is None
    assert "NaN" not in to_json(found)
    assert "Infinity" not in to_json(found)


def test_a_temperature_that_fits_nothing_is_not_shown_as_if_it_did() -> None:
    parted = (lesion("a", 0.9, 0.9, malignant=True), lesion("b"), lesion("c", 0.8, 0.8, malignant=True), lesion("d"))
    said = caveats.UNFITTED.format(names="DLR_BM 1.0")
    assert said in evaluate(material(parted), QUICK, NOW).notices
    assert not [one for one in evaluate(material(), QUICK, NOW).notices if one.startswith("No temperature fits")]


def test_versions_that_scored_different_lesions_are_compared_on_those_that_both_did() -> None:
    newer = Scorer("DLR_BM", "2.0", 0.5)
    made = tuple(
        replace(one, scores={**one.scores, newer: one.scores[BM] ** 2}) if n % 3 else one
        for n, one in enumerate(many())
    )
    found = evaluate(Material(Source.SCORES, made, (BM, newer), ()), QUICK, NOW)
    [compared] = found.questions[0].comparisons
    assert compared.lesions == 200
    assert (compared.difference.value, compared.difference.p_value) == (0, 1)
    assert [one.lesions for one in found.questions[0].judged] == [300, 200]


def test_the_document_is_read_back_and_is_the_same_twice() -> None:
    found = evaluate(material(), QUICK, NOW)
    assert to_json(found) == to_json(evaluate(material(), QUICK, NOW))
    assert TypeAdapter(Evaluation).validate_json(to_json(found)) == found
    assert list(as_plain(found))[:4] == ["schema_version", "created_at", "software", "source"]
    assert '"missed_cancers"' in schema()


def test_the_counts_of_the_histogram_are_the_lesions() -> None:
    judged = evaluate(material(), QUICK, NOW).questions[0].judged[0]
    assert sum(judged.histogram.positives) == judged.positives
    assert sum(judged.histogram.negatives) == judged.lesions - judged.positives
    assert np.isclose(sum(one.observed.total for one in judged.calibration.as_scored.bins), judged.lesions)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("versions", "pairs"),
    [
        ([("DLR_LH", "a"), ("DLR_BM", "a")], [("a", "a")]),
        ([("DLR_BM", "a"), ("DLR_BM", "b"), ("DLR_LH", "a")], [("a", "a"), ("a", "b")]),
        ([("DLR_BM", "a"), ("DLR_BM", "b"), ("DLR_LH", "a"), ("DLR_LH", "b")], [("a", "a"), ("b", "b")]),
        ([("DLR_BM", "x"), ("DLR_LH", "y")], [("y", "x")]),
        ([("DLR_BM", "a")], []),
    ],
)
def test_versions_of_one_name_advise_together(versions: list[tuple[str, str]], pairs: list[tuple[str, str]]) -> None:
    found = pairs_of(tuple(Scorer(*version) for version in versions))
    assert [(pair.lh.version, pair.bm.version) for pair in found] == pairs


def test_lesions_are_named_by_their_patients_too_where_their_ids_are_alike() -> None:
    assert named_apart([("P1", "L1"), ("P2", "L2"), (None, "L3")]) == ["L1", "L2", "L3"]
    assert named_apart([("P1", "L1"), ("P2", "L1"), (None, "L3")]) == ["P1/L1", "P2/L1", "L3"]


def test_the_images_of_a_lesion_are_put_together_under_its_name() -> None:
    assert by_lesion([]) == {}
    assert by_lesion([("P1", "L2"), ("P2", "L1"), ("P1", "L2")]) == {"L2": [0, 2], "L1": [1]}
    assert by_lesion([("P1", "L1"), ("P2", "L1"), ("P1", "L1")]) == {"P1/L1": [0, 2], "P2/L1": [1]}


KEYS = st.tuples(st.text("p/%25F", max_size=4), st.text("p/%25F", max_size=4))


@given(st.lists(KEYS, unique=True))
def test_no_two_lesions_have_one_name_whatever_their_keys(keys: list[tuple[str, str]]) -> None:
    assert sorted(place for places in by_lesion(keys).values() for place in places) == list(range(len(keys)))
