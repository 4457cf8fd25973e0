"""Ratios are made round by round, and a figure says whether its goal was reached."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measuring import Figure, Ratio, as_markdown, in_turns, percentile

rates = st.floats(0.1, 1e6)


@given(st.lists(st.tuples(rates, rates), min_size=1, max_size=9))
def test_the_median_lies_within_the_spread_of_the_rounds(pairs: list[tuple[float, float]]) -> None:
    ratio = Ratio(*zip(*pairs, strict=True))
    low, high = ratio.spread
    assert low <= ratio.median <= high
    assert ratio.rounds == [ours / peers for ours, peers in pairs]


def test_both_ways_take_turns() -> None:
    order: list[str] = []
    in_turns(lambda: order.append("ours") or 2.0, lambda: order.append("peer") or 1.0, rounds=3)
    assert order == ["ours", "peer"] * 3


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value


@pytest.mark.parametrize(("passed", "word"), [(True, "yes"), (False, "NO"), (None, "reported")])
def test_a_row_says_whether_its_goal_was_reached(passed: bool | None, word: str) -> None:
    figure = Figure("row", "ours / theirs", 1.5, (1.25, 1.75), passed, "3/s", "2/s", goal=">= 1")
    assert as_markdown([figure]).splitlines()[-1] == (
        f"| row | ours / theirs | >= 1 | 1.5 | 1.25 to 1.75 | {word} | 3/s | 2/s |"
    )
