"""The population stability index: worked by hand, and its laws."""

from math import isclose, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.telemetry.drift import FEWEST, LEAST_SHARE, psi, psi_of_enough

COUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=20).filter(any)


@pytest.mark.parametrize(
    ("reference", "observed", "expected"),
    [
        ((0.5, 0.5), (50, 50), 0.0),
        ((1.0,), (7,), 0.0),
        # (0.6 - 0.5) ln(0.6 / 0.5) + (0.4 - 0.5) ln(0.4 / 0.5)
        ((0.5, 0.5), (60, 40), 0.1 * log(1.2) - 0.1 * log(0.8)),
        # A tenth of the values moved from the first to the last of four bins.
        ((0.25, 0.25, 0.25, 0.25), (15, 25, 25, 35), -0.1 * log(0.6) + 0.1 * log(1.4)),
        # Nothing where half was expected: the empty bin counts as one in ten thousand.
        ((0.5, 0.5), (0, 100), (LEAST_SHARE - 0.5) * log(LEAST_SHARE / 0.5) + 0.5 * log(2)),
        # What the reference never had.
        ((1.0, 0.0), (90, 10), -0.1 * log(0.9) + (0.1 - LEAST_SHARE) * log(0.1 / LEAST_SHARE)),
    ],
)
def test_it_is_what_it_is_by_hand(reference: tuple[float, ...], observed: tuple[int, ...], expected: float) -> None:
    assert isclose(psi(reference, observed), expected, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("observed", "reading"),
    [((105, 195, 400, 200, 100), "none"), ((160, 240, 340, 170, 90), "some"), ((250, 300, 300, 100, 50), "much")],
)
def test_the_customary_reading(observed: tuple[int, ...], reading: str) -> None:
    index = psi((0.1, 0.2, 0.4, 0.2, 0.1), observed)
    assert reading == ("none" if index < 0.05 else "some" if index < 0.2 else "much")


@given(COUNTS)
def test_it_is_nothing_where_the_shares_are_the_same(counts: list[int]) -> None:
    reference = [count / sum(counts) for count in counts]
    assert isclose(psi(reference, counts), 0, abs_tol=1e-9)
    assert isclose(psi(reference, [3 * count for count in counts]), 0, abs_tol=1e-9)


@given(st.data())
def test_it_is_finite_never_negative_and_the_same_in_any_order_of_the_bins(data: st.DataObject) -> None:
    counts = data.draw(COUNTS)
    parts = data.draw(st.lists(st.integers(0, 1000), min_size=len(counts), max_size=len(counts)).filter(any))
    reference = [part / sum(parts) for part in parts]
    index = psi(reference, counts)
    assert isfinite(index)
    assert index >= 0
    order = data.draw(st.permutations(range(len(counts))))
    assert isclose(psi([reference[at] for at in order], [counts[at] for at in order]), index, abs_tol=1e-9)


@given(st.integers(0, 499), st.integers(1, 500))
def test_the_further_it_moves_the_larger_it_is(moved: int, further: int) -> None:
    moved, more = sorted((moved, min(moved + further, 500)))
    near, far = (psi((0.5, 0.5), (500 - shift, 500 + shift)) for shift in (moved, more))
    assert far > near


@pytest.mark.parametrize(("reference", "observed"), [((0.5, 0.5), (1,)), ((0.5, 0.5), (0, 0)), ((), ())])
def test_bins_that_do_not_fit_and_nothing_at_all_are_no_index(
    reference: tuple[float, ...], observed: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="counts"):
        psi(reference, observed)


@pytest.mark.parametrize(("values", "is_told"), [(0, False), (FEWEST - 2, False), (FEWEST, True)])
def test_few_values_tell_nothing(values: int, is_told: bool) -> None:
    assert (psi_of_enough((0.5, 0.5), (values, 0)) is not None) == is_told
