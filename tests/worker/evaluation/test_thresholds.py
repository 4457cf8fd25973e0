"""What a threshold gives, counted by hand; and how one is chosen, ties included."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.worker.evaluation.asah import POOR_OUTCOME, S100B, WFNS
from worker.clinical.proportions import proportion
from worker.evaluation.evaluation_options import ChosenBy
from worker.evaluation.thresholds import OperatingPoint, operating_point, sensitivity_threshold, youden_threshold

Scored = list[tuple[int, bool]]
scored = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=40)


def arrays(lesions: Scored) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([label for _, label in lesions])
    assume(0 < labels.sum() < len(labels))
    return np.array([score / 8 for score, _ in lesions]), labels


def at(scores: np.ndarray, labels: np.ndarray, threshold: float) -> OperatingPoint:
    return operating_point(scores, labels, threshold, ChosenBy.GIVEN, used=True)


def test_counts_and_rates_at_a_threshold() -> None:
    scores = np.array([0.9, 0.8, 0.5, 0.4, 0.7, 0.3, 0.2, 0.1, 0.1, 0.05])
    labels = np.array([True] * 4 + [False] * 6)
    found = at(scores, labels, 0.5)
    assert (found.true_positives, found.false_negatives) == (3, 1)
    assert (found.true_negatives, found.false_positives) == (5, 1)
    assert (found.sensitivity, found.specificity) == (proportion(3, 4), proportion(5, 6))
    assert (found.ppv, found.npv, found.accuracy) == (proportion(3, 4), proportion(5, 6), proportion(8, 10))
    # R's prop.test(3, 4, correct = FALSE) and binom::binom.wilson(3, 4).
    assert (found.sensitivity.low, found.sensitivity.high) == pytest.approx((0.3006418, 0.9544127), abs=1e-6)


def test_a_score_on_the_threshold_is_positive_as_on_a_card() -> None:
    found = at(np.array([0.5, 0.4999999]), np.array([True, False]), 0.5)
    assert (found.true_positives, found.true_negatives) == (1, 1)


def test_youdens_threshold_of_published_data() -> None:
    # pROC's manual, coords(roc(outcome ~ s100b), "best"): 0.205, specificity 0.8055556, sensitivity 0.6341463.
    found = at(S100B, POOR_OUTCOME, youden_threshold(S100B, POOR_OUTCOME))
    assert found.threshold == pytest.approx(0.205)
    assert (found.specificity.rate, found.sensitivity.rate) == pytest.approx((0.8055556, 0.6341463), abs=1e-7)


@pytest.mark.parametrize(
    ("positives", "negatives", "youden", "all_found"),
    [
        ([0.8, 0.9], [0.1, 0.2], 0.5, 0.5),
        ([0.2, 0.9], [0.1, 0.4], 0.15, 0.15),  # as good as 0.65, and misses none
        ([0.5, 0.5], [0.5, 0.5], 0.5, 0.5),
        ([0.1, 0.9], [0.2, 0.3], 0.6, 0.1),  # the lowest score itself, below which nothing is
    ],
    ids=["apart", "tie", "all-the-same", "lowest-positive"],
)
def test_chosen_thresholds(positives: list[float], negatives: list[float], youden: float, all_found: float) -> None:
    scores, labels = np.array(positives + negatives), np.array([True] * len(positives) + [False] * len(negatives))
    assert youden_threshold(scores, labels) == pytest.approx(youden)
    assert sensitivity_threshold(scores, labels, 1) == pytest.approx(all_found)


def test_positives_with_one_score_stay_together() -> None:
    # Grades 1 to 5: no threshold has a sensitivity of 0.8 exactly, and the next above it is taken.
    found = at(WFNS, POOR_OUTCOME, sensitivity_threshold(WFNS, POOR_OUTCOME, 0.8))
    higher = at(WFNS, POOR_OUTCOME, found.threshold + 1)
    assert (higher.sensitivity.rate or 0) < 0.8 <= (found.sensitivity.rate or 0)


def test_scores_that_have_no_number_between_them_are_parted() -> None:
    low, high = 0.5, float(np.nextafter(0.5, 1))
    assert youden_threshold(np.array([low, high]), np.array([False, True])) == high


@given(scored)
def test_no_threshold_has_a_higher_youden_index(lesions: Scored) -> None:
    scores, labels = arrays(lesions)

    def index(threshold: float) -> float:
        found = at(scores, labels, threshold)
        return (found.sensitivity.rate or 0) + (found.specificity.rate or 0)

    best = index(youden_threshold(scores, labels))
    assert best >= max(index(threshold) for threshold in [*scores, 1.1]) - 1e-12


@given(scored, st.floats(0.01, 1))
def test_the_threshold_for_a_sensitivity_is_the_highest_that_reaches_it(lesions: Scored, wanted: float) -> None:
    scores, labels = arrays(lesions)
    threshold = sensitivity_threshold(scores, labels, wanted)
    reached = at(scores, labels, threshold).sensitivity.rate or 0
    assert reached >= wanted - 1e-9
    higher = [value for value in np.unique(scores) if value > threshold and not np.isclose(value, threshold)]
    next_up = [value for value in higher if (scores >= value).sum() < (scores >= threshold).sum()]
    assert all((at(scores, labels, value).sensitivity.rate or 0) < wanted for value in next_up)
