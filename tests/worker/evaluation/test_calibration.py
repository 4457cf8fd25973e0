"""Brier, ECE and temperature scaling are what their definitions say."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import expit

from worker.evaluation.calibration import TEMPERATURES, reliability, scaled, temperature
from worker.evaluation.discrimination import auc

FOUR = np.array([0.1, 0.3, 0.8, 1.0]), np.array([False, True, True, True])

probabilities = st.lists(st.tuples(st.integers(1, 99), st.booleans()), min_size=2, max_size=40)


def test_brier_and_log_loss_by_hand() -> None:
    found = reliability(*FOUR)
    assert found.brier == pytest.approx((0.01 + 0.49 + 0.04 + 0) / 4)
    assert found.log_loss == pytest.approx(-(np.log(0.9) + np.log(0.3) + np.log(0.8)) / 4, abs=1e-8)


def test_the_calibration_error_by_hand_with_edges_in_the_bin_above() -> None:
    found = reliability(*FOUR)
    filled = {one.low: (one.mean_probability, one.observed.count, one.observed.total)
              for one in found.bins if one.observed.total}  # fmt: skip
    assert filled == {0.1: (0.1, 0, 1), 0.3: (0.3, 1, 1), 0.8: (0.8, 1, 1), 0.9: (1.0, 1, 1)}
    assert found.expected_calibration_error == pytest.approx((0.1 + 0.7 + 0.2 + 0) / 4)
    assert found.bins[0].mean_probability is None


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_a_temperature_is_found_again(true_temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, 60_000)
    labels = rng.random(60_000) < expit(logits / true_temperature)
    found = temperature(expit(logits), labels)
    assert found == pytest.approx(true_temperature, rel=0.03)


def test_the_temperature_is_the_least_of_a_grid() -> None:
    rng = np.random.default_rng(2)
    scores = rng.random(300)
    labels = rng.random(300) < 0.2 + 0.6 * scores
    best = reliability(scaled(scores, temperature(scores, labels)), labels).log_loss
    assert best <= min(reliability(scaled(scores, by), labels).log_loss for by in np.geomspace(0.1, 10, 200)) + 1e-9


def test_scores_that_part_the_classes_get_the_lowest_temperature() -> None:
    assert temperature(np.array([0.2, 0.3, 0.7, 0.9]), np.array([False, False, True, True])) == pytest.approx(
        TEMPERATURES[0]
    )


@given(probabilities, st.floats(0.5, 20))
def test_scaling_keeps_the_order_and_so_the_auc(lesions: list[tuple[int, bool]], by: float) -> None:
    scores, labels = np.array([score / 100 for score, _ in lesions]), np.array([label for _, label in lesions])
    assume(0 < labels.sum() < len(labels))
    after = scaled(scores, by)
    assert auc(after, labels) == auc(scores, labels)
    assert ((after >= 0.5) == (scores >= 0.5)).all()
    assert ((after > 0) & (after < 1)).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(*TEMPERATURES))
def test_scaling_never_turns_an_order_round(scores: list[float], by: float) -> None:
    ordered = np.sort(np.array(scores))
    after = scaled(ordered, by)
    assert (np.diff(after) >= 0).all()
    assert np.isfinite(after).all()


@given(probabilities)
def test_a_temperature_of_1_changes_nothing(lesions: list[tuple[int, bool]]) -> None:
    scores = np.array([score / 100 for score, _ in lesions])
    assert scaled(scores, 1) == pytest.approx(scores)
