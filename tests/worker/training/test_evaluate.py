"""The measures of a model are what their definitions say."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.training.evaluate import auc, auc_gain, best_threshold, rates

Scored = list[tuple[int, bool]]
scored = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40)


def _arrays(lesions: Scored) -> tuple[np.ndarray, np.ndarray]:
    assume(0 < sum(label for _, label in lesions) < len(lesions))
    return np.array([score / 6 for score, _ in lesions]), np.array([label for _, label in lesions])


@given(scored)
def test_the_auc_is_how_often_a_positive_scores_above_a_negative(lesions: Scored) -> None:
    scores, labels = _arrays(lesions)
    pairs = [
        (positive > negative) + (positive == negative) / 2
        for positive in scores[labels]
        for negative in scores[~labels]
    ]
    assert auc(scores, labels) == pytest.approx(np.mean(pairs))


@given(scored)
def test_the_best_threshold_has_the_highest_youden_index(lesions: Scored) -> None:
    scores, labels = _arrays(lesions)
    assume(len(set(scores)) > 1)

    def youden(threshold: float) -> float:
        found = rates(scores, labels, threshold)
        return found.sensitivity + found.specificity

    best = youden(best_threshold(scores, labels))
    assert best >= max(youden(threshold) for threshold in np.unique(scores)[1:]) - 1e-12


def test_labels_of_one_kind_have_no_auc() -> None:
    with pytest.raises(ValueError, match="both"):
        auc(np.array([0.1, 0.9]), np.array([True, True]))


def test_rates_count_what_reaches_the_threshold() -> None:
    found = rates(np.array([0.2, 0.5, 0.5, 0.9]), np.array([True, True, False, False]), 0.5)
    assert (found.sensitivity, found.specificity) == (0.5, 0.0)


def test_a_clearly_better_score_gains_and_an_equal_one_does_not() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(300) < 0.4
    weak, strong = labels + rng.normal(0, 2, 300), labels + rng.normal(0, 0.4, 300)
    better = auc_gain(strong, weak, labels, seed=1)
    assert better.gain == pytest.approx(auc(strong, labels) - auc(weak, labels))
    assert 0 < better.lower_95 < better.gain
    assert auc_gain(weak, weak, labels, seed=1).lower_95 == 0
    assert auc_gain(weak, strong, labels, seed=1).lower_95 < 0
    assert auc_gain(strong, weak, labels, seed=1) == better
