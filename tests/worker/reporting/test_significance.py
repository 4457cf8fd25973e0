"""The tests of Table S1 by their textbook formulas, and P values as the study prints them."""

from math import sqrt
from statistics import fmean, variance

import pytest

from worker.reporting.significance import chi_squared_test, printed, t_test


def test_the_t_test_pools_the_variances() -> None:
    benign, malignant = [1.0, 2.0, 3.0, 4.0, 9.0], [5.0, 30.0, 7.0]
    pooled = (4 * variance(benign) + 2 * variance(malignant)) / 6
    expected = (fmean(benign) - fmean(malignant)) / sqrt(pooled * (1 / 5 + 1 / 3))
    found = t_test(benign, malignant)
    assert (found.value, found.degrees) == (pytest.approx(expected), 6)
    # Student's t with 2 degrees of freedom has a closed form: p = 1 - t / sqrt(2 + t * t).
    small = t_test([1.0, 2.0], [3.0, 5.0])
    assert small.value is not None
    assert small.p_value == pytest.approx(1 - abs(small.value) / sqrt(2 + small.value**2))


def test_two_by_two_is_corrected_by_yates_and_nothing_else_is() -> None:
    a, b, c, d = 319, 119, 246, 62  # margin_indistinct
    yates = 746 * (abs(a * d - b * c) - 746 / 2) ** 2 / ((a + b) * (c + d) * (a + c) * (b + d))
    found = chi_squared_test([a, b], [c, d])
    assert (found.value, found.degrees, found.remark) == (pytest.approx(yates), 1, None)
    rows = [[30, 20, 10], [10, 20, 30]]
    plain = chi_squared_test(*rows)
    assert (plain.value, plain.degrees) == (pytest.approx(20.0), 2)  # 4 cells of 10 * 10 / 20
    assert chi_squared_test([30, 0, 10], [10, 0, 30]) == chi_squared_test([30, 10], [10, 30])


@pytest.mark.parametrize(
    ("benign", "malignant", "remark"),
    [
        ([1.0], [2.0, 3.0], "fewer than two"),
        ([], [], "fewer than two"),
        ([1.0, 1.0], [2.0, 2.0], "the same value"),
    ],
)
def test_means_that_can_not_be_compared_have_no_p_value(
    benign: list[float], malignant: list[float], remark: str
) -> None:
    found = t_test(benign, malignant)
    assert (found.value, found.p_value, remark in (found.remark or "")) == (None, None, True)


@pytest.mark.parametrize(
    ("benign", "malignant", "remark"),
    [([5, 0], [7, 0], "the same level"), ([5, 5], [0, 0], "no lesion of a class"), ([0, 0], [0, 0], "no lesion")],
)
def test_levels_that_can_not_be_compared_have_no_p_value(benign: list[int], malignant: list[int], remark: str) -> None:
    found = chi_squared_test(benign, malignant)
    assert (found.value, found.p_value, remark in (found.remark or "")) == (None, None, True)


@pytest.mark.parametrize(
    ("p_value", "text"),
    [
        (1.2e-51, "<0.001"), (0.0, "<0.001"), (0.00099, "<0.001"), (0.001, "0.001"), (0.0021074, "0.002"),
        (0.0338846, "0.034"), (0.0449, "0.045"), (0.0499, "0.0499"), (0.0501, "0.0501"), (0.0597950, "0.0598"),
        (0.0999, "0.0999"), (0.1, "0.100"), (0.1883082, "0.188"), (0.3322115, "0.332"), (0.3340561, "0.334"),
        (0.3576, "0.358"), (1.0, "1.000"),
    ],
)  # fmt: skip
def test_a_p_value_has_the_digits_that_the_study_prints(p_value: float, text: str) -> None:
    assert printed(p_value) == text
