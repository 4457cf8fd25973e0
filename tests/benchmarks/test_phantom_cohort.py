"""Differences of several cohorts become one, by a random-effects model."""

import pytest

from benchmarks.phantom_cohort import combined


def of(difference: float, standard_error: float) -> dict[str, float]:
    return {"difference": difference, "standard_error": standard_error, "p_value": 0.0}


def test_one_cohort_stays_as_it_is() -> None:
    found = combined([of(0.02, 0.01)])
    assert (found["difference"], found["heterogeneity"]) == (pytest.approx(0.02), pytest.approx(0))
    assert (found["low"], found["high"]) == (pytest.approx(0.02 - 0.0196, abs=1e-6), pytest.approx(0.0396, abs=1e-6))
    assert found["p_value"] == pytest.approx(0.0455, abs=1e-4)


def test_four_alike_halve_the_standard_error() -> None:
    found = combined([of(0.01, 0.01)] * 4)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.959964 * 0.005, abs=1e-6)
    assert found["p_value"] == pytest.approx(0.0455, abs=1e-4)


def test_the_surer_one_counts_more() -> None:
    found = combined([of(0.0, 0.01), of(0.02, 0.02)])
    assert found["heterogeneity"] == pytest.approx((0.004 / 0.01) ** 2 + (0.016 / 0.02) ** 2)
    assert (found["difference"], found["between"]) == (pytest.approx(0.004), 0)


def test_what_does_not_agree_makes_the_whole_less_sure() -> None:
    """By hand: weights of 10,000 each, Q 50, one degree of freedom, so the variance between is 49 / 10,000."""
    found = combined([of(0.0, 0.01), of(0.1, 0.01)])
    assert found["heterogeneity"] == pytest.approx(50)
    assert found["between"] ** 2 == pytest.approx(49 / 10_000)
    assert found["difference"] == pytest.approx(0.05)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.959964 * ((0.0001 + 0.0049) / 2) ** 0.5, abs=1e-6)
    assert found["p_value"] > 0.05
