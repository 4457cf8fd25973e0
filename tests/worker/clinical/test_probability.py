"""A probability as people read it says what the number says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.clinical.probability import said

FRACTIONS = st.floats(0, 1)


@pytest.mark.parametrize(
    ("probability", "threshold", "text"),
    [
        (0.7314, None, "0.731"),
        (0.7314, 0.5, "0.731"),
        (0.4996, 0.5, "0.4996"),
        (0.49999, 0.5, "0.49999"),
        (0.5, 0.5, "0.500"),
        (0.4996, None, "0.500"),
        (0.12345, 0.1234, "0.1235"),
        (0.0, 0.5, "0.000"),
        (1.0, 0.5, "1.000"),
        (0.0004, 0.5, "< 0.001"),
        (0.9996, 0.5, "> 0.999"),
        (0.9996, None, "> 0.999"),
    ],
)
def test_as_few_decimals_as_tell_it_from_its_threshold(probability: float, threshold: float | None, text: str) -> None:
    assert said(probability, threshold) == text


@given(probability=FRACTIONS, threshold=FRACTIONS)
def test_it_is_on_the_same_side_of_the_threshold_as_the_number_and_certain_only_if_that_is(
    probability: float, threshold: float
) -> None:
    text = said(probability, threshold)
    if not text.startswith(("<", ">")):
        assert (float(text) >= threshold) is (probability >= threshold)
        assert (float(text) in (0, 1)) is (probability in (0, 1))
        assert abs(float(text) - probability) <= 0.0005
