"""AUC, its interval and the paired test are those of published results, and of the definitions."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tests.worker.evaluation.asah import NDKA, POOR_OUTCOME, S100B, WFNS
from worker.evaluation.discrimination import MOST_POINTS, auc, compare_aucs, delong, roc

Scored = list[tuple[int, int, bool]]
scored = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans()), min_size=4, max_size=40)


def arrays(lesions: Scored) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = np.array([label for *_, label in lesions])
    assume(1 < labels.sum() < len(labels) - 1)
    return np.array([one / 6 for one, _, _ in lesions]), np.array([other / 6 for _, other, _ in lesions]), labels


@pytest.mark.parametrize(
    ("scores", "value", "variance"),
    [
        (WFNS, 0.8236789, 0.00146991470882363),
        (S100B, 0.7313686, 0.00266868245717244),
        (NDKA, 0.611957994579946, 0.0031908105493913),
    ],
    ids=["wfns", "s100b", "ndka"],
)
def test_auc_and_variance_are_the_published_ones(scores: np.ndarray, value: float, variance: float) -> None:
    found = auc(scores, POOR_OUTCOME)
    assert found.value == pytest.approx(value, abs=5e-8)
    assert found.standard_error is not None
    assert found.standard_error**2 == pytest.approx(variance, rel=1e-12)


def test_the_interval_is_the_published_one() -> None:
    interval = auc(NDKA, POOR_OUTCOME).interval
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.501244999271703, 0.722670989888189), rel=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "z", "p_value", "low", "high"),
    [
        (WFNS, S100B, 2.20898359144091, 0.0271757822291882, 0.0104061769564846, 0.174214419249478),
        (WFNS, NDKA, 2.79777591868904, 0.00514557970691098, 0.0634011709339876, 0.3600405634833566),
        (NDKA, S100B, -1.39077002573558, 0.164295175223054, -0.2876917446341914, 0.0488706064228094),
    ],
    ids=["wfns-s100b", "wfns-ndka", "ndka-s100b"],
)
def test_the_paired_test_is_the_published_one(
    one: np.ndarray, other: np.ndarray, z: float, p_value: float, low: float, high: float
) -> None:
    found = compare_aucs(one, other, POOR_OUTCOME)
    assert (found.z, found.p_value) == pytest.approx((z, p_value), rel=1e-9)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high), rel=1e-9)


def test_the_covariances_are_the_published_ones() -> None:
    _, covariance = delong([WFNS, NDKA, S100B], POOR_OUTCOME)
    published = [covariance[0, 1], covariance[1, 2], covariance[0, 2]]
    assert published == pytest.approx([-0.000532967856762438, -0.000756164938056579, 0.00119615567376754], rel=1e-9)


def test_the_logits_interval_is_worked_out_by_hand_and_keeps_within_0_and_1() -> None:
    # For wfns: log(0.8236789 / 0.1763211) = 1.541537; 0.0383394 / (0.8236789 * 0.1763211) * 1.959964 = 0.517408.
    found = auc(WFNS, POOR_OUTCOME)
    assert found.logit_interval is not None
    assert (found.logit_interval.low, found.logit_interval.high) == pytest.approx((0.735774, 0.886848), abs=2e-5)


def test_scores_that_part_the_classes_wholly_have_no_interval() -> None:
    found = auc(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    assert (found.value, found.standard_error, found.interval, found.logit_interval) == (1, 0, None, None)


def test_a_single_lesion_of_a_class_has_no_variance() -> None:
    found = auc(np.array([0.1, 0.2, 0.15]), np.array([False, False, True]))
    assert (found.value, found.standard_error, found.interval) == (0.5, None, None)
    assert compare_aucs(np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0]), np.array([False, False, True])).z is None


@pytest.mark.parametrize("label", [True, False])
def test_lesions_of_one_class_have_no_auc(label: bool) -> None:
    with pytest.raises(ValueError, match="both classes"):
        auc(np.array([0.1, 0.2]), np.array([label, label]))


@given(scored)
def test_the_auc_is_scikit_learns_and_the_variance_that_of_the_definition(lesions: Scored) -> None:
    scores, _, labels = arrays(lesions)
    positive, negative = scores[labels], scores[~labels]
    wins = (positive[:, None] > negative) + (positive[:, None] == negative) / 2
    variance = wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative)
    found = auc(scores, labels)
    assert found.value == pytest.approx(roc_auc_score(labels, scores))
    assert found.standard_error == pytest.approx(np.sqrt(variance), abs=1e-9)


@given(scored)
def test_two_scores_the_other_way_round_give_the_same_p_value(lesions: Scored) -> None:
    one, other, labels = arrays(lesions)
    forth, back = compare_aucs(one, other, labels), compare_aucs(other, one, labels)
    assert forth.value == pytest.approx(-back.value)
    assert forth.p_value == (None if back.p_value is None else pytest.approx(back.p_value))
    assert compare_aucs(one, one, labels).p_value == 1


@given(scored)
def test_the_area_below_the_curve_is_the_auc(lesions: Scored) -> None:
    scores, _, labels = arrays(lesions)
    curve = roc(scores, labels)
    area = np.trapezoid([at.sensitivity for at in curve], [at.false_positive_rate for at in curve])
    assert area == pytest.approx(auc(scores, labels).value)
    ends = [(at.false_positive_rate, at.sensitivity) for at in (curve[0], curve[-1])]
    assert ends == [(0, 0), (1, 1)]


def test_a_long_curve_is_thinned_out() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(5000) < 0.5
    curve = roc(rng.random(5000), labels)
    assert len(curve) == MOST_POINTS
    assert curve[-1].sensitivity == 1
