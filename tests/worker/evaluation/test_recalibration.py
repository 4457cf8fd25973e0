"""A card made anew: a temperature moves probabilities, and neither a class nor a conformal set by itself."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import expit

from tests.worker.inference.samples import sample_card
from worker.clinical.conformal import conformal_quantile
from worker.clinical.proportions import proportion
from worker.errors import Code, ModelRefused, SetupRefused
from worker.evaluation.discrimination import Labels, Scores
from worker.evaluation.recalibration import carried, recalibrated, rescaled, sets_of
from worker.inference.lesion_score import score_of
from worker.inference.model_card import ModelCard
from worker.inference.runner import probabilities, temperatures_of
from worker.study import Score

AT = datetime(2026, 11, 27, tzinfo=UTC)
NEAR = 1e-9
"""Probabilities so near to a threshold are on either side of it on one device and another."""

HALVES = {"edges": [0.0, 0.5, 1.0], "shares": [0.25, 0.75]}
logits = st.floats(-8, 8, width=32)
temperatures = st.floats(0.5, 4)


def served(card: ModelCard, logit: float) -> Score:
    """What the engine says of a lesion with these logits."""
    row = np.array([[[0.0, logit]]], np.float32)
    return score_of(card, probabilities(row, temperatures_of([card]))[0, 0].tolist())


def too_sure(count: int = 4000, by: float = 2.5) -> tuple[Scores, Labels]:
    """Scores of a model whose logits are too large by a factor."""
    rng = np.random.default_rng(20261127)
    true = rng.normal(0, 2, count)
    return expit(by * true), rng.random(count) < expit(true)


@given(st.lists(logits, min_size=1, max_size=20), temperatures, temperatures, st.floats(0.05, 0.95), st.booleans())
def test_no_lesion_changes_its_class_by_a_temperature_alone(
    lesions: list[float], before: float, by: float, threshold: float, on_a_lesion: bool
) -> None:
    if on_a_lesion:
        threshold = served(sample_card(temperature=before), lesions[0]).positive_probability
        assume(0.0001 < threshold < 0.9999)
    card = sample_card(temperature=before, threshold=threshold)
    after = rescaled(card, by)
    assert after.temperature == pytest.approx(before * by)
    for logit in lesions:
        score = served(card, logit)
        if score.positive_probability == threshold or abs(score.positive_probability - threshold) > NEAR:
            assert served(after, logit).predicted_class == score.predicted_class


@given(st.lists(logits, min_size=1, max_size=20), temperatures, st.floats(0.05, 0.95))
def test_no_conformal_set_changes_by_a_temperature_alone(lesions: list[float], by: float, quantile: float) -> None:
    card = sample_card(conformal={"coverage": 0.9, "quantile": quantile, "lesions": 50})
    after = rescaled(card, by)
    for logit in lesions:
        score = served(card, logit)
        if all(abs(1 - one - quantile) > NEAR for _, one in score.probabilities):
            assert served(after, logit).conformal_set == score.conformal_set


@given(st.lists(st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=9, max_size=40), temperatures)
def test_the_quantile_of_rescaled_scores_is_the_rescaled_quantile(lesions: list[tuple[float, bool]], by: float) -> None:
    true_class = [score if label else 1 - score for score, label in lesions]
    later = conformal_quantile([carried(one, by) for one in true_class], 0.9)
    assert later == pytest.approx(carried(conformal_quantile(true_class, 0.9), by), rel=1e-9)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_that_everybody_or_nobody_reaches_stays(threshold: float) -> None:
    assert rescaled(sample_card(threshold=threshold), 3.0).threshold == threshold


def test_a_threshold_that_would_be_lost_is_refused() -> None:
    with pytest.raises(ModelRefused) as refused:
        rescaled(sample_card(threshold=0.999), 0.1)
    assert (refused.value.code, "threshold" in refused.value.reason) == (Code.CARD_INVALID, True)


def test_the_reference_of_drift_goes_along_and_bins_that_become_one_are_joined() -> None:
    spread = {"edges": [0.0, 1e-9, 0.2, 0.5, 0.8, 1.0], "shares": [0.1, 0.2, 0.3, 0.25, 0.15]}
    ages = {"edges": [0.0, 50.0, 120.0], "shares": [0.4, 0.6]}
    card = sample_card(reference={"lesions": 100, "age_years": ages, "positive_probability": spread})
    after = rescaled(card, 2.0).reference
    assert after is not None
    assert after.age_years.edges == (0.0, 50.0, 120.0)
    assert after.positive_probability.shares == (0.1, 0.2, 0.3, 0.25, 0.15)
    # odds of 1 to 4 become odds of 1 to 2
    assert after.positive_probability.edges == pytest.approx((0, 1e-9**0.5, 1 / 3, 0.5, 2 / 3, 1), rel=1e-4)
    joined = rescaled(card, 0.02).reference
    assert joined is not None
    # all that was below 0.2 is in one bin, and so is all above 0.8: these edges are 0 and 1 now, to the last digit
    assert joined.positive_probability.edges == pytest.approx((0, 1e-30, 0.5, 1), abs=1e-29)
    assert joined.positive_probability.shares == pytest.approx((0.3, 0.3, 0.4))


def test_a_temperature_is_found_and_multiplies_the_present_one() -> None:
    made = recalibrated(
        sample_card(temperature=2.0, threshold=0.8), *too_sure(), "2.0", fit_temperature=True, coverage=None,
        created_at=AT,
    )  # fmt: skip
    assert made.card.temperature == pytest.approx(2.0 * 2.5, rel=0.1)
    assert made.card.threshold == pytest.approx(carried(0.8, made.card.temperature / 2), rel=1e-9)
    assert (made.card.version, made.card.created_at, made.card.conformal) == ("2.0", AT, None)
    assert made.card.weights_sha256 == sample_card().weights_sha256
    assert made.sets == {}


@pytest.mark.parametrize("fit_temperature", [False, True])
def test_a_set_covers_what_was_asked_for_with_and_without_a_temperature(fit_temperature: bool) -> None:
    scores, labels = too_sure()
    made = recalibrated(sample_card(), scores, labels, "2.0", fit_temperature=fit_temperature, coverage=0.9)
    conformal, found = made.card.conformal, made.sets["all"]
    assert conformal is not None
    assert (conformal.coverage, conformal.lesions) == (0.9, len(labels))
    assert found.covered.count == 3601
    assert found.certain.count + found.both.count + found.neither.count == len(labels)
    assert made.sets["malignant"].covered.total == made.positives == int(labels.sum())
    assert made.sets["malignant"].covered.count + made.sets["benign"].covered.count == found.covered.count
    other = recalibrated(sample_card(), scores, labels, "2.0", fit_temperature=not fit_temperature, coverage=0.9)
    assert {name: one.certain for name, one in other.sets.items()} == {
        name: one.certain for name, one in made.sets.items()
    }


def test_a_set_that_the_card_has_is_carried_over_where_no_other_is_asked_for() -> None:
    card = sample_card(conformal={"coverage": 0.95, "quantile": 0.8, "lesions": 77})
    made = recalibrated(card, *too_sure(), "2.0", fit_temperature=True, coverage=None)
    assert made.card.conformal is not None
    assert (made.card.conformal.coverage, made.card.conformal.lesions) == (0.95, 77)
    assert made.card.conformal.quantile == pytest.approx(carried(0.8, made.card.temperature))


def test_what_sets_say_is_counted_by_hand() -> None:
    card = sample_card(threshold=0.3, conformal={"coverage": 0.9, "quantile": 0.4, "lesions": 50})
    # malignant from 0.6, benign up to 0.4, neither between; at 0.35 benign alone, and malignant by the threshold
    scores = np.array([0.9, 0.7, 0.5, 0.35, 0.1])
    labels = np.array([True, False, True, False, False])
    found = sets_of(card, scores, labels)
    assert found is not None
    assert (found.covered, found.certain) == (proportion(3, 5), proportion(3, 5))
    assert (found.both, found.neither) == (proportion(0, 5), proportion(1, 5))
    assert sets_of(sample_card(), scores, labels) is None


def test_lesions_are_counted_apart_where_that_is_asked_for() -> None:
    scores, labels = too_sure(200)
    part = np.arange(200) < 50
    made = recalibrated(sample_card(), scores, labels, "2.0", fit_temperature=False, coverage=0.9, parts={"4A": part})
    assert made.sets["4A"] == sets_of(made.card, scores[part], labels[part])


@pytest.mark.parametrize(
    ("scores", "labels", "asked", "said"),
    [
        ([0.2, 0.3, 0.7, 0.9], [False, False, True, True], {"fit_temperature": True, "coverage": None}, "separate"),
        ([0.2, 0.3, 0.7, 0.9], [True, True, True, True], {"fit_temperature": True, "coverage": None}, "both classes"),
        ([0.5, 0.5], [False, True], {"fit_temperature": False, "coverage": 0.9}, "takes 9 lesions at least"),
        ([], [], {"fit_temperature": True, "coverage": None}, "both classes"),
    ],
)
def test_too_few_lesions_are_refused(
    scores: list[float], labels: list[bool], asked: dict[str, object], said: str
) -> None:
    with pytest.raises(SetupRefused) as refused:
        recalibrated(sample_card(), np.array(scores), np.array(labels, bool), "2.0", **asked)  # type: ignore[arg-type]
    assert refused.value.code is Code.LESIONS_TOO_FEW
    assert said in refused.value.reason


def test_a_version_that_is_none_is_refused() -> None:
    with pytest.raises(ModelRefused) as refused:
        recalibrated(sample_card(), *too_sure(), "../2", fit_temperature=True, coverage=None)
    assert refused.value.code is Code.CARD_INVALID
    assert "version" in refused.value.reason
