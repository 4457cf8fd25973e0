"""Rates with their intervals, and how they are held against the study's."""

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.clinical.categories import Outcome
from worker.clinical.proportions import (
    ARMS,
    FEWEST_LESIONS,
    SIGNIFICANCE,
    STUDY,
    Comparison,
    Verdict,
    compare,
    proportion,
    study_rate,
)

# R. G. Newcombe, Statistics in Medicine 17 (1998) 857, Table I, method 3 (Wilson's score, no continuity correction).
NEWCOMBE = [
    # count, total, low, high
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
]

# scipy 1.17: scipy.stats.chisquare([d, m, u], [41 / 148 * n, 80 / 148 * n, 27 / 148 * n])
SCIPY = [
    # downgraded, maintained, upgraded, statistic, p
    (41, 80, 27, 0.0, 1.0),
    (59, 62, 27, 11.952439024390245, 0.002538404583085759),
    (60, 30, 10, 52.0827009936766, 4.902133993022443e-12),
    (8, 15, 5, 0.01112240289069558, 0.9944542334100418),
    (3000, 5250, 1750, 26.546691508581755, 1.7197257039725471e-06),
]


def counts(downgraded: int, maintained: int, upgraded: int) -> dict[Outcome, int]:
    return dict(zip(ARMS, (downgraded, maintained, upgraded), strict=True))


def compared(downgraded: int, maintained: int, upgraded: int) -> Comparison:
    return compare(counts(downgraded, maintained, upgraded))


@pytest.mark.parametrize(("count", "total", "low", "high"), NEWCOMBE)
def test_an_interval_is_the_published_one(count: int, total: int, low: float, high: float) -> None:
    found = proportion(count, total)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(st.integers(0, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_an_interval_holds_its_rate_and_the_other_answer_has_the_mirrored_one(pair: tuple[int, int]) -> None:
    count, total = pair
    found, other = proportion(count, total), proportion(total - count, total)
    assert 0 <= found.low <= found.high <= 1
    assert found.rate is None or found.holds(found.rate)
    assert isclose(found.low, 1 - other.high, abs_tol=1e-12)


@given(st.integers(1, 200), st.integers(2, 50))
def test_more_lesions_of_one_rate_leave_a_narrower_interval(total: int, times: int) -> None:
    few, many = proportion(total // 2, total), proportion(total // 2 * times, total * times)
    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize(("count", "total"), [(-1, 3), (4, 3), (1, 0)])
def test_a_count_beyond_its_total_is_no_rate(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="count"):
        proportion(count, total)


def test_of_nothing_nothing_is_known() -> None:
    none = proportion(0, 0)
    assert (none.rate, none.low, none.high) == (None, 0.0, 1.0)


def test_the_study_s_own_lesions_have_its_published_rates() -> None:
    found = compare(STUDY)
    assert found.lesions == 148
    assert {arm.value: round(100 * (rate.rate or 0), 1) for arm, rate in found.rates.items()} == {
        "downgraded": 27.7,
        "maintained": 54.1,
        "upgraded": 18.2,
    }
    assert (found.outside, found.verdict) == ((), Verdict.AS_STUDIED)


@pytest.mark.parametrize(("downgraded", "maintained", "upgraded", "statistic", "p"), SCIPY)
def test_the_test_is_pearson_s(downgraded: int, maintained: int, upgraded: int, statistic: float, p: float) -> None:
    found = compared(downgraded, maintained, upgraded)
    assert found.chi_squared is not None
    assert found.p_value is not None
    assert (found.chi_squared, found.p_value) == (pytest.approx(statistic), pytest.approx(p))


@pytest.mark.parametrize(
    ("lesions", "verdict", "outside"),
    [
        ((41, 80, 27), "as_studied", []),
        ((50, 73, 25), "as_studied", []),
        ((59, 62, 27), "differs", ["downgraded", "maintained"]),
        ((20, 100, 28), "differs", ["downgraded", "maintained"]),
        ((0, 28, 0), "differs", ["downgraded", "maintained", "upgraded"]),
        ((27, 0, 0), "too_few", ["downgraded", "maintained", "upgraded"]),
        ((0, 0, 0), "too_few", []),
        ((3_000, 5_250, 1_750), "differs_little", ["downgraded", "maintained"]),
        ((4_000, 4_250, 1_750), "differs", ["downgraded", "maintained"]),
    ],
)
def test_rates_are_held_against_the_study_s(lesions: tuple[int, int, int], verdict: str, outside: list[str]) -> None:
    found = compared(*lesions)
    assert (found.verdict, [arm.value for arm in found.outside]) == (verdict, outside)
    assert (found.p_value is None) == (verdict == "too_few")


def test_the_fewest_lesions_are_the_first_of_which_the_study_expects_five_in_each_arm() -> None:
    least = min(STUDY.values()) / sum(STUDY.values())
    assert least * FEWEST_LESIONS >= 5 > least * (FEWEST_LESIONS - 1)


@given(st.tuples(*[st.integers(0, 3000)] * 3))
def test_an_alarm_rests_on_the_test_and_on_a_rate_that_the_study_rules_out(lesions: tuple[int, int, int]) -> None:
    found = compared(*lesions)
    if found.verdict is Verdict.DIFFERS:
        assert found.p_value is not None
        assert found.p_value < SIGNIFICANCE
        assert any(not study_rate(arm).holds(found.rates[arm].rate or 0) for arm in ARMS)
    if found.verdict is Verdict.AS_STUDIED:
        assert found.p_value is not None
        assert found.p_value >= SIGNIFICANCE


@given(st.permutations(ARMS), st.tuples(*[st.integers(0, 3000)] * 3))
def test_lesions_that_are_not_4a_do_not_count(order: list[Outcome], lesions: tuple[int, int, int]) -> None:
    plain = counts(*lesions)
    mixed = {Outcome.NOT_APPLICABLE: 77} | {arm: plain[arm] for arm in order}
    assert compare(mixed) == compare(plain)
