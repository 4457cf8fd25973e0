"""The bootstrap draws patients with all their lesions, and the same seed gives the same intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.evaluation.asah import NDKA, POOR_OUTCOME
from worker.evaluation.discrimination import auc
from worker.evaluation.resampling import FEWEST_OF_A_CLASS, GRID, Bootstrapped, bootstrap


def drawn(
    scores: np.ndarray, labels: np.ndarray, patients: list[str] | None = None, resamples: int = 400, seed: int = 1
) -> Bootstrapped:
    found = bootstrap(scores, labels, patients, 0.5, resamples=resamples, seed=seed)
    assert found is not None
    return found


def samples(count: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.4
    return np.clip(rng.normal(0.4 + 0.2 * labels, 0.15), 0, 1), labels


def test_the_interval_is_close_to_delongs_where_lesions_are_independent() -> None:
    delongs = auc(NDKA, POOR_OUTCOME).interval
    found = drawn(NDKA, POOR_OUTCOME, resamples=2000)
    assert delongs is not None
    assert (found.auc.low, found.auc.high) == pytest.approx((delongs.low, delongs.high), abs=0.02)
    assert (found.unit, found.units) == ("lesion", 113)


def test_a_seed_gives_its_intervals_again_and_another_gives_others() -> None:
    scores, labels = samples(200)
    assert drawn(scores, labels) == drawn(scores, labels)
    assert drawn(scores, labels, seed=2) != drawn(scores, labels)


def test_lesions_that_are_each_others_copies_widen_the_interval() -> None:
    scores, labels = samples(120)
    four_times = [f"P{place}" for place in range(120) for _ in range(4)]
    copies = np.repeat(scores, 4), np.repeat(labels, 4)
    alone, together = drawn(*copies), drawn(*copies, patients=four_times)
    once = drawn(scores, labels)
    assert (together.unit, together.units) == ("patient", 120)
    assert together.auc.high - together.auc.low > 1.6 * (alone.auc.high - alone.auc.low)
    assert together.auc.high - together.auc.low == pytest.approx(once.auc.high - once.auc.low, rel=0.2)


def test_the_band_goes_from_the_left_to_the_upper_right_corner() -> None:
    found = drawn(*samples(200))
    assert len(found.band) == len(GRID)
    assert (found.band[-1].low, found.band[-1].high) == (1, 1)
    assert all(one.low <= other.low + 1e-12 for one, other in zip(found.band, found.band[1:], strict=False))


@pytest.mark.parametrize("positives", [FEWEST_OF_A_CLASS - 1, 0])
def test_too_few_of_a_class_are_not_drawn(positives: int) -> None:
    labels = np.arange(50) < positives
    assert bootstrap(np.linspace(0, 1, 50), labels, None, 0.5, resamples=100, seed=1) is None
    assert bootstrap(np.linspace(0, 1, 50), ~labels, None, 0.5, resamples=100, seed=1) is None


@pytest.mark.parametrize("cancers", [1, FEWEST_OF_A_CLASS - 1])
def test_too_few_patients_with_a_lesion_of_a_class_are_not_drawn(cancers: int) -> None:
    labels = np.arange(80) < 30
    patients = [f"C{place % cancers}" if place < 30 else f"P{place}" for place in range(80)]
    scores = np.linspace(1, 0, 80)
    assert bootstrap(scores, labels, patients, 0.5, resamples=100, seed=1) is None
    assert bootstrap(scores, ~labels, patients, 0.5, resamples=100, seed=1) is None
    assert bootstrap(scores, labels, None, 0.5, resamples=100, seed=1) is not None


def test_none_is_drawn_where_none_is_asked_for() -> None:
    assert bootstrap(*samples(100), None, 0.5, resamples=0, seed=1) is None


@given(st.integers(0, 1000))
def test_a_draw_is_what_the_plain_way_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.r_[np.ones(12, bool), np.zeros(12, bool)]
    scores = rng.integers(0, 5, 24) / 4
    found = drawn(scores, labels, resamples=1, seed=seed)
    again = np.random.default_rng(seed)
    while True:
        chosen = again.integers(24, size=24)
        if 0 < labels[chosen].sum() < 24:
            break
    picked, truth = scores[chosen], labels[chosen]
    assert found.auc.low == pytest.approx(auc(picked, truth).value)
    assert found.sensitivity.low == pytest.approx((picked[truth] >= 0.5).mean())
    assert found.specificity.high == pytest.approx((picked[~truth] < 0.5).mean())
