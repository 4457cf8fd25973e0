"""The scores of a lesion's images become one score, the same in whatever order they come."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from worker.clinical.aggregation import (
    AGGREGATIONS,
    Aggregation,
    aggregate,
    at_temperature,
    spread,
    views_disagree,
)

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=64)
METHODS = st.sampled_from(AGGREGATIONS)


@pytest.mark.parametrize(
    ("method", "scores", "expected"),
    [
        ("mean", (0.2, 0.6), 0.4),
        ("max", (0.2, 0.6), 0.6),
        ("logit_mean", (0.2, 0.8), 0.5),
        # Odds of 1/9 and 1/4: their geometric mean is 1/6, so 1 in 7.
        ("logit_mean", (0.1, 0.2), 1 / 7),
        ("mean", (0.1, 0.1, 0.1), 0.1),
        ("logit_mean", (0.0, 1.0), 0.5),
        ("logit_mean", (0.0, 0.0), 0.0),
        ("logit_mean", (1.0, 1.0), 1.0),
    ],
)
def test_the_scores_of_a_lesions_images_become_one(
    method: Aggregation, scores: tuple[float, ...], expected: float
) -> None:
    assert aggregate(method, scores) == pytest.approx(expected, abs=1e-15)


@given(method=METHODS, score=st.floats(0, 1))
def test_the_score_of_one_image_stays_what_it_is(method: Aggregation, score: float) -> None:
    assert aggregate(method, [score]) == score


@given(method=METHODS, scores=SCORES, seed=st.integers())
def test_no_order_of_the_images_gives_another_score(method: Aggregation, scores: list[float], seed: int) -> None:
    shuffled = random.Random(seed).sample(scores, len(scores))
    assert aggregate(method, shuffled) == aggregate(method, scores)


@given(method=METHODS, scores=SCORES)
def test_a_lesions_score_lies_between_its_lowest_and_its_highest_image(
    method: Aggregation, scores: list[float]
) -> None:
    assert min(scores) <= aggregate(method, scores) <= max(scores)


@given(method=METHODS, scores=SCORES, place=st.integers(0, 63), more=st.floats(0, 1))
def test_an_image_that_looks_worse_never_lowers_a_lesions_score(
    method: Aggregation, scores: list[float], place: int, more: float
) -> None:
    worse = list(scores)
    worse[place % len(scores)] = max(more, worse[place % len(scores)])
    assert aggregate(method, worse) >= aggregate(method, scores) - 1e-15


@given(scores=st.lists(st.floats(0.05, 0.95), min_size=2, max_size=8), temperature=st.floats(0.25, 10))
def test_a_temperature_before_or_after_the_mean_of_logits_and_the_highest_is_the_same(
    scores: list[float], temperature: float
) -> None:
    methods: tuple[Aggregation, ...] = ("logit_mean", "max")
    for method in methods:
        after = at_temperature(aggregate(method, scores), temperature)
        before = aggregate(method, [at_temperature(score, temperature) for score in scores])
        assert after == pytest.approx(before, abs=1e-9)


def test_a_temperature_before_or_after_the_mean_is_not_the_same() -> None:
    after = at_temperature(aggregate("mean", [0.02, 0.9]), 2)
    before = aggregate("mean", [at_temperature(score, 2) for score in (0.02, 0.9)])
    assert abs(after - before) > 0.03


@given(score=st.floats(0, 1), temperature=st.floats(0.05, 20))
def test_a_temperature_divides_the_logit(score: float, temperature: float) -> None:
    inside = min(max(score, 2**-53), 1 - 2**-53)
    assert at_temperature(score, temperature) == pytest.approx(float(expit(logit(inside) / temperature)), abs=1e-12)
    assert at_temperature(score, 1) == score


@pytest.mark.parametrize(
    ("probabilities", "threshold", "apart", "disagree"),
    [
        ((0.4,), 0.5, 0.0, False),
        ((0.4, 0.6), 0.5, 0.2, True),
        ((0.4, 0.5), 0.5, 0.1, True),
        ((0.5, 0.9), 0.5, 0.4, False),
        ((0.1, 0.49, 0.3), 0.5, 0.39, False),
        ((0.1, 0.2, 0.95), 0.5, 0.85, True),
        ((0.0, 1.0), 0.0, 1.0, False),
    ],
)
def test_views_disagree_where_some_reach_the_threshold_and_some_do_not(
    probabilities: tuple[float, ...], threshold: float, apart: float, disagree: bool
) -> None:
    assert spread(probabilities) == pytest.approx(apart)
    assert views_disagree(probabilities, threshold) is disagree
