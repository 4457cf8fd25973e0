"""A radiologist's final category beside the advice: what it makes of a 4A lesion, and how far the two agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.clinical.agreement import Override, kappa, outcome_of, override_of
from worker.clinical.categories import Outcome

DOWN, KEEP, UP = Outcome.DOWNGRADED, Outcome.MAINTAINED, Outcome.UPGRADED

MADE_OF_4A = {
    "0": None, "1": DOWN, "2": DOWN, "3": DOWN, "4": None, "4A": KEEP, "4B": UP, "4C": UP, "5": UP, "6": UP,
}  # fmt: skip

# Each advice and final category, with the override where the radiologist agrees, and where he does not.
OVERRIDES = {
    (DOWN, "0"): (None, "let_go"),
    (DOWN, "1"): (None, "other"),
    (DOWN, "2"): (None, "other"),
    (DOWN, "3"): (None, "let_go"),
    (DOWN, "4"): ("let_go", "let_go"),
    (DOWN, "4A"): ("let_go", "let_go"),
    (DOWN, "4B"): ("let_go", "let_go"),
    (DOWN, "4C"): ("let_go", "let_go"),
    (DOWN, "5"): ("let_go", "let_go"),
    (DOWN, "6"): ("let_go", "let_go"),
    (KEEP, "0"): (None, "other"),
    (KEEP, "1"): ("too_high", "too_high"),
    (KEEP, "2"): ("too_high", "too_high"),
    (KEEP, "3"): ("too_high", "too_high"),
    (KEEP, "4"): (None, "other"),
    (KEEP, "4A"): (None, "other"),
    (KEEP, "4B"): ("too_low", "too_low"),
    (KEEP, "4C"): ("too_low", "too_low"),
    (KEEP, "5"): ("too_low", "too_low"),
    (KEEP, "6"): ("too_low", "too_low"),
    (UP, "0"): (None, "other"),
    (UP, "1"): ("too_high", "too_high"),
    (UP, "2"): ("too_high", "too_high"),
    (UP, "3"): ("too_high", "too_high"),
    (UP, "4"): (None, "other"),
    (UP, "4A"): ("too_high", "too_high"),
    (UP, "4B"): (None, "other"),
    (UP, "4C"): (None, "other"),
    (UP, "5"): (None, "other"),
    (UP, "6"): (None, "other"),
}

COUNTS = st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), st.integers(0, 30))


@pytest.mark.parametrize(("final", "made"), MADE_OF_4A.items())
def test_a_final_category_downgrades_keeps_or_upgrades_a_4a_lesion(final: str, made: Outcome | None) -> None:
    assert outcome_of(final) is made


@pytest.mark.parametrize(("said", "overrides"), OVERRIDES.items(), ids=str)
def test_each_verdict_overrides_its_advice_in_one_way_or_not_at_all(
    said: tuple[Outcome, str], overrides: tuple[str | None, str]
) -> None:
    advised, final = said
    assert (override_of(advised, final, agrees=True), override_of(advised, final, agrees=False)) == overrides
    assert override_of(advised, final, agrees=None) == overrides[0]


def test_advice_that_would_have_let_a_lesion_go_is_the_first_of_the_overrides() -> None:
    assert list(Override) == ["let_go", "too_low", "too_high", "other"]


# The figures are those of sklearn.metrics.cohen_kappa_score, version 1.9.1.
@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        ({"aa": 50, "ab": 26, "ac": 24, "ba": 24, "bb": 4, "bc": 32, "ca": 6, "cb": 30, "cc": 4}, -0.0923076923),
        ({"aa": 20, "ab": 5, "ba": 10, "bb": 15}, 0.4),
        ({"aa": 3, "bb": 4}, 1.0),
        ({"aa": 3}, None),
        ({}, None),
    ],
)
def test_kappa_is_the_one_that_another_program_finds(counts: dict[str, int], wanted: float | None) -> None:
    found = kappa(table(counts))
    assert (found and found.value) == (wanted if wanted is None else pytest.approx(wanted, abs=1e-9))


def table(counts: dict[str, int]) -> dict[tuple[str, str], int]:
    return {(pair[0], pair[1]): count for pair, count in counts.items()}


# Two raters on 100 subjects: J. L. Fleiss, B. Levin, M. C. Paik, Statistical Methods for Rates and Proportions,
# table 18.1: kappa 0.68, its standard error 0.087. The digits are those of cohens_kappa of statsmodels, version 0.15.
@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        ({"aa": 75, "ab": 1, "ac": 4, "ba": 5, "bb": 4, "bc": 1, "cc": 10}, (0.6765, 0.0877)),
        ({"aa": 20, "ab": 5, "ba": 10, "bb": 15}, (0.4, 0.126996)),
        ({"aa": 20, "ab": 5, "bb": 15, "bc": 10}, (0.5, 0.091287)),
    ],
)
def test_the_interval_of_kappa_is_the_one_of_a_worked_example(
    counts: dict[str, int], wanted: tuple[float, float]
) -> None:
    value, error = wanted
    found = kappa(table(counts))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx(
        (value, value - 1.959964 * error, value + 1.959964 * error), abs=1e-4
    )


@pytest.mark.parametrize("counts", [{"aa": 3, "bb": 4}, {"ab": 5}, {"ab": 3, "ba": 0}])
def test_kappa_has_no_interval_where_nothing_varies(counts: dict[str, int]) -> None:
    found = kappa(table(counts))
    assert found is not None
    assert (found.low, found.high) == (None, None)


@given(COUNTS)
def test_kappa_does_not_depend_on_who_is_named_first_and_lies_within_its_interval(
    counts: dict[tuple[str, str], int],
) -> None:
    found = kappa(counts)
    assert kappa({(second, first): count for (first, second), count in counts.items()}) == found
    if found is not None:
        low, high = (found.value,) * 2 if found.low is None else (found.low, found.high or 1.0)
        assert -1 <= low <= found.value <= high <= 1


@given(COUNTS)
def test_the_interval_of_kappa_is_the_delta_method_s(counts: dict[tuple[str, str], int]) -> None:
    """From kappa's slopes, found by moving each share a little: no formula of its own is needed."""
    found, total = kappa(counts), sum(counts.values())
    if found is None or found.low is None or found.high is None or not -1 < found.low < found.high < 1:
        return
    shares = {pair: count / total for pair, count in counts.items()}
    slopes = {pair: (_kappa_of(shares | {pair: share + 1e-6}) - _kappa_of(shares | {pair: share - 1e-6})) / 2e-6
              for pair, share in shares.items()}  # fmt: skip
    mean = sum(share * slopes[pair] for pair, share in shares.items())
    variance = sum(share * (slopes[pair] - mean) ** 2 for pair, share in shares.items()) / total
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * variance**0.5, rel=1e-3, abs=1e-5)


def _kappa_of(shares: dict[tuple[str, str], float]) -> float:
    words = {word for pair in shares for word in pair}
    agreed = sum(share for (first, second), share in shares.items() if first == second)
    by_chance = sum(
        sum(share for (first, _), share in shares.items() if first == word)
        * sum(share for (_, second), share in shares.items() if second == word)
        for word in words
    )
    return (agreed - by_chance) / (1 - by_chance)
