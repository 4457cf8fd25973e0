"""What a card says of the lesions that its model was tested on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.inference.card_parts import Histogram
from worker.telemetry.drift import psi
from worker.training.reference import BINS, reference_of


def counts(histogram: Histogram, values: np.ndarray) -> list[int]:
    """As PostgreSQL's width_bucket counts."""
    places = np.searchsorted(histogram.edges[1:-1], values, side="right")
    return [int((places == place).sum()) for place in range(len(histogram.shares))]


def test_bins_have_about_as_many_lesions_each() -> None:
    rng = np.random.default_rng(1)
    made = reference_of(np.clip(rng.normal(44, 12, 1000), 16, 95), rng.beta(0.5, 0.5, 1000))
    assert made.lesions == 1000
    for histogram in (made.age_years, made.positive_probability):
        assert len(histogram.shares) == BINS
        assert histogram.shares == pytest.approx([1 / BINS] * BINS, abs=0.01)
    assert (made.age_years.edges[0], made.age_years.edges[-1]) == (0, 120)
    assert (made.positive_probability.edges[0], made.positive_probability.edges[-1]) == (0, 1)


@given(st.lists(st.tuples(st.integers(0, 120), st.floats(0, 1)), min_size=1, max_size=60))
def test_whatever_the_values_the_same_ones_show_no_drift(values: list[tuple[int, float]]) -> None:
    ages, probabilities = (np.array(one, float) for one in zip(*values, strict=True))
    made = reference_of(ages, probabilities)
    assert psi(made.age_years.shares, counts(made.age_years, ages)) == pytest.approx(0, abs=1e-4)
    assert psi(made.positive_probability.shares, counts(made.positive_probability, probabilities)) < 1e-4


def test_other_patients_and_another_machine_do() -> None:
    rng = np.random.default_rng(2)
    ages, probabilities = rng.integers(20, 80, 1000).astype(float), rng.random(1000)
    made = reference_of(ages, probabilities)
    assert psi(made.age_years.shares, counts(made.age_years, ages + 15)) > 0.2
    assert psi(made.positive_probability.shares, counts(made.positive_probability, probabilities**2)) > 0.2
    alike = rng.integers(20, 80, 1000).astype(float)
    assert psi(made.age_years.shares, counts(made.age_years, alike)) < 0.1
