"""What the models say of a lesion follows from its images, its cards, and nothing else."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.special import expit

from tests.worker.inference.samples import sample_card
from worker.clinical.aggregation import AGGREGATIONS, Aggregation, aggregate
from worker.errors import Code, ImagesRefused, LesionRefused
from worker.evaluation.calibration import scaled
from worker.inference.lesion_score import (
    ImageProbabilities,
    answers_of,
    joined,
    lesion_score,
    lesion_scores,
    score_of,
)
from worker.inference.model_card import ModelCard
from worker.inference.runner import probabilities
from worker.study import ImageScore, Scores

LOGITS = st.integers(1, 8).flatmap(lambda count: arrays(np.float32, (count, 2), elements=st.floats(-9, 9, width=32)))
PAIR_LOGITS = st.integers(1, 8).flatmap(
    lambda count: arrays(np.float32, (count, 2, 2), elements=st.floats(-9, 9, width=32))
)
TEMPERATURES = st.sampled_from([0.5, 1.0, 2.5])


def cards(lh: Aggregation = "mean", bm: Aggregation = "mean", **changes: object) -> tuple[ModelCard, ModelCard]:
    of_lh = {"name": "DLR_LH", "classes": ["low_risk", "high_risk"], "positive_class": "high_risk"}
    return sample_card(**{**of_lh, "aggregation": lh, **changes}), sample_card(**{"aggregation": bm, **changes})


def scored(
    both: tuple[ModelCard, ModelCard], logits: NDArray[np.float32], min_images: int = 1, **refused: LesionRefused
) -> Scores:
    by_place = {int(place.removeprefix("image_")): why for place, why in refused.items()}
    return lesion_scores(both, answers_of(both, logits, by_place), min_images)


@given(logits=LOGITS, method=st.sampled_from(AGGREGATIONS), temperature=TEMPERATURES)
def test_of_one_image_it_is_what_the_model_says_of_that_image_to_the_bit(
    logits: NDArray[np.float32], method: Aggregation, temperature: float
) -> None:
    card = sample_card(aggregation=method, temperature=temperature)
    found = lesion_score(card, ImageProbabilities.of(card, logits[:1]))
    assert found == score_of(card, probabilities(logits[:1], np.array([temperature]))[0].tolist())


@given(
    logits=LOGITS, method=st.sampled_from(AGGREGATIONS), temperature=TEMPERATURES, seed=st.integers(),
    malignant_first=st.booleans(),
)  # fmt: skip
def test_service_and_evaluation_put_the_same_scores_together_to_the_same_number_in_any_order(
    logits: NDArray[np.float32], method: Aggregation, temperature: float, seed: int, malignant_first: bool
) -> None:
    """What training and `dlr models calibrate` have is a table of scores before any temperature."""
    classes = ["malignant", "benign"] if malignant_first else ["benign", "malignant"]
    card = sample_card(aggregation=method, temperature=temperature, classes=classes)
    place = card.positive_index
    in_the_table = aggregate(method, probabilities(logits)[:, place].tolist())
    evaluated = float(scaled(np.array([in_the_table]), temperature)[0])
    shuffled = logits[random.Random(seed).sample(range(len(logits)), len(logits))]
    served = lesion_score(card, ImageProbabilities.of(card, shuffled))
    assert served.positive_probability == pytest.approx(evaluated, abs=1e-9)
    assert sum(value for _, value in served.probabilities) == pytest.approx(1, abs=1e-12)
    assert served.positive is (served.positive_probability >= card.threshold)


@given(logits=PAIR_LOGITS, temperature=TEMPERATURES)
def test_each_image_keeps_what_the_models_would_say_of_it_alone(
    logits: NDArray[np.float32], temperature: float
) -> None:
    both = cards("max", "logit_mean", temperature=temperature)
    found = scored(both, logits)
    alone = [scored(both, logits[place : place + 1]) for place in range(len(logits))]
    assert list(found.images) == [ImageScore(one.lh.positive_probability, one.bm.positive_probability) for one in alone]
    assert found.lh.positive_probability == pytest.approx(max(one.lh for one in found.scored_images), abs=1e-12)


def test_the_two_models_may_put_images_together_in_different_ways() -> None:
    logits = np.array([[[0, -2], [0, -2]], [[0, 3], [0, 3]]], np.float32)
    found = scored(cards("max", "mean", threshold=0.5), logits)
    low, high = float(expit(-2)), float(expit(3))
    assert found.lh.positive_probability == pytest.approx(high)
    assert found.bm.positive_probability == pytest.approx((low + high) / 2)
    assert (found.lh_spread, found.bm_spread) == (pytest.approx(high - low), pytest.approx(high - low))
    assert found.views_disagree


def test_views_that_agree_on_both_models_do_not_disagree() -> None:
    logits = np.array([[[0, 1], [0, -1]], [[0, 2], [0, -2]]], np.float32)
    assert not scored(cards(threshold=0.5), logits).views_disagree


def test_the_conformal_set_is_of_the_lesion_and_not_of_its_images() -> None:
    both = cards(conformal={"coverage": 0.9, "quantile": 0.3, "lesions": 100})
    # Each image alone is certain, and they contradict each other.
    found = scored(both, np.array([[[0, 3], [0, 3]], [[0, -3], [0, -3]]], np.float32))
    assert found.bm.conformal_set == ()
    assert scored(both, np.array([[[0, 3], [0, 3]]], np.float32)).bm.conformal_set == ("malignant",)


def test_an_image_that_was_refused_is_listed_and_the_lesion_is_scored_on_the_others() -> None:
    logits = np.array([[[0, 1], [0, 1]], [[0, np.nan], [0, 2]], [[0, 3], [0, 3]]], np.float32)
    found = scored(cards("max", "max"), logits)
    assert isinstance(found.images[1], LesionRefused)
    assert found.images[1].code is Code.SCORES_NOT_FINITE
    assert found.bm.positive_probability == pytest.approx(expit(3))
    assert len(found.scored_images) == 2
    others = scored(cards("max", "max"), logits[[0, 2]])
    assert (found.lh, found.bm, found.scored_images) == (others.lh, others.bm, others.images)


def test_a_lesion_none_of_whose_images_has_scores_is_refused_with_the_code_of_the_first() -> None:
    logits = np.full((2, 2, 2), np.nan, np.float32)
    with pytest.raises(ImagesRefused) as refused:
        scored(cards(), logits, image_0=LesionRefused(Code.INFERENCE_FAILED))
    assert refused.value.code is Code.INFERENCE_FAILED
    assert {place: why.code for place, why in refused.value.images.items()} == {
        0: Code.INFERENCE_FAILED, 1: Code.SCORES_NOT_FINITE,
    }  # fmt: skip


@pytest.mark.parametrize(("min_images", "enough"), [(1, True), (2, True), (3, False)])
def test_a_lesion_with_fewer_scored_images_than_the_cards_ask_for_is_refused(min_images: int, enough: bool) -> None:
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1] = np.nan
    if enough:
        assert len(scored(cards(), logits, min_images).scored_images) == 2
        return
    with pytest.raises(ImagesRefused) as refused:
        scored(cards(), logits, min_images)
    assert (refused.value.code, set(refused.value.images)) == (Code.IMAGES_TOO_FEW, {1})


@given(logits=PAIR_LOGITS, cut=st.integers(0, 8))
def test_images_that_went_in_several_batches_are_put_together_as_in_one(logits: NDArray[np.float32], cut: int) -> None:
    both = cards("mean", "logit_mean", temperature=2.5)
    whole = answers_of(both, logits, {0: LesionRefused(Code.INFERENCE_FAILED)})
    parts = [whole.at(first, end) for first, end in ((0, cut), (cut, len(logits))) if first < min(end, len(logits))]
    if len(logits) > 1:
        assert lesion_scores(both, joined(parts), 1) == lesion_scores(both, whole, 1)


SURE = {"coverage": 0.9, "quantile": 0.7, "lesions": 50}
SITES = {"North": {"threshold": 0.31, "temperature": 2.0, "lesions": 80, "positives": 30}}


@given(logits=PAIR_LOGITS, site=st.sampled_from([None, "South", "north", "North"]), temperature=TEMPERATURES)
def test_a_sites_own_scale_is_used_at_that_site_alone(
    logits: NDArray[np.float32], site: str | None, temperature: float
) -> None:
    with_sites, without = (cards(temperature=temperature, **more) for more in ({"sites": SITES}, {}))
    of_site = cards(temperature=2.0, threshold=0.31)
    found = lesion_scores(with_sites, answers_of(with_sites, logits, {}), 1, site)
    expected = of_site if site == "North" else without
    theirs = lesion_scores(expected, answers_of(expected, logits, {}), 1, site)
    for one, other in ((found.lh, theirs.lh), (found.bm, theirs.bm)):
        assert (one.threshold, one.positive_probability) == (other.threshold, pytest.approx(other.positive_probability))
        assert one.positive is (one.positive_probability >= one.threshold)
    assert [(image.lh, image.bm) for image in found.scored_images] == [
        (pytest.approx(image.lh), pytest.approx(image.bm)) for image in theirs.scored_images
    ]


@given(logits=LOGITS, temperature=TEMPERATURES)
def test_a_sites_temperature_alone_changes_no_conformal_set(logits: NDArray[np.float32], temperature: float) -> None:
    """It is the card's set, on the site's scale; a set on its very edge may round to either side."""
    card = sample_card(temperature=temperature, conformal=SURE, sites=SITES)
    plain = lesion_score(card, ImageProbabilities.of(card, logits))
    own = card.at_site("North")
    at_north = lesion_score(own, ImageProbabilities.of(card, logits).on_scale_of(own))
    assert card.conformal is not None
    edges = [abs(1 - probability - card.conformal.quantile) for _, probability in plain.probabilities]
    assert min(edges) < 1e-6 or at_north.conformal_set == plain.conformal_set
