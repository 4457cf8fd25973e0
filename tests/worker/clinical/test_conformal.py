"""A conformal set holds the true class as often as was promised, and no more is promised than that."""

from itertools import pairwise
from random import Random
from statistics import fmean, stdev

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.clinical.conformal import conformal_quantile, conformal_set, fewest_lesions

probability = st.floats(0, 1)
probabilities = st.lists(probability, min_size=1, max_size=60)
coverages = st.sampled_from([0.5, 0.8, 0.9, 0.95])


@pytest.mark.parametrize(
    ("true_class", "coverage", "quantile"),
    [
        # The 8th lowest of 8 scores, the 9th of 9, the 9th of 10: ceil((n + 1) * coverage).
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2], 0.8, 0.8),
        ([0.9] * 8 + [0.25], 0.9, 0.75),
        ([0.9] * 8 + [0.5, 0.25], 0.8, 0.5),
        ([0.25], 0.5, 0.75),
        ([1.0, 1.0, 1.0], 0.75, 0.0),
        ([0.0, 0.0, 0.0], 0.75, 1.0),
    ],
)
def test_the_quantile_is_the_score_of_the_rank_that_the_sources_give(
    true_class: list[float], coverage: float, quantile: float
) -> None:
    assert conformal_quantile(true_class, coverage) == pytest.approx(quantile, abs=1e-15)


@pytest.mark.parametrize(
    ("coverage", "fewest"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999), (0.85, 6), (0.29, 1)]
)
def test_so_many_lesions_are_enough_and_one_fewer_is_not(coverage: float, fewest: int) -> None:
    assert fewest_lesions(coverage) == fewest
    conformal_quantile([0.5] * fewest, coverage)
    with pytest.raises(ValueError, match="too few"):
        conformal_quantile([0.5] * (fewest - 1), coverage)


@pytest.mark.parametrize(
    ("malignant", "quantile", "found"),
    [
        (0.9, 0.3, ("malignant",)),
        (0.1, 0.3, ("benign",)),
        (0.5, 0.3, ()),
        (0.5, 0.5, ("benign", "malignant")),
        (0.6, 0.7, ("benign", "malignant")),
        (0.7, 0.7, ("benign", "malignant")),
        (0.75, 0.25, ("malignant",)),
        (1.0, 0.0, ("malignant",)),
        (1.0, 1.0, ("benign", "malignant")),
    ],
)
def test_a_class_is_in_from_one_less_the_quantile_on(malignant: float, quantile: float, found: tuple[str, ...]) -> None:
    assert conformal_set((("benign", 1 - malignant), ("malignant", malignant)), quantile) == found


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("sharpness", [0.4, 2.0])
def test_of_exchangeable_lesions_the_promised_share_is_covered_and_hardly_more(
    coverage: float, sharpness: float
) -> None:
    rng, lesions, tried, runs = Random(20261127), 19, 20, 600

    def true_class() -> float:
        """A model that is right more often than not, and wrongly calibrated."""
        return 1 / (1 + 2.718281828 ** (-sharpness * rng.gauss(1, 1)))

    def covered() -> float:
        quantile = conformal_quantile([true_class() for _ in range(lesions)], coverage)
        return fmean("true" in conformal_set([("true", true_class())], quantile) for _ in range(tried))

    shares = [covered() for _ in range(runs)]
    error = stdev(shares) / runs**0.5
    # Scores without ties: the expectation lies from the coverage to 1 / (n + 1) above it.
    assert coverage - 4 * error <= fmean(shares) <= coverage + 1 / (lesions + 1) + 4 * error


@given(probabilities, coverages)
def test_the_lesions_that_it_was_calibrated_on_are_covered_ties_and_all(
    true_class: list[float], coverage: float
) -> None:
    assume(len(true_class) >= fewest_lesions(coverage))
    quantile = conformal_quantile(true_class, coverage)
    covered = sum("true" in conformal_set([("true", one)], quantile) for one in true_class)
    assert covered >= coverage * len(true_class)


@given(st.lists(st.tuples(st.text(max_size=3), probability), max_size=5), probability, st.randoms())
def test_the_order_of_the_classes_does_not_matter(
    classes: list[tuple[str, float]], quantile: float, random: Random
) -> None:
    shuffled = random.sample(classes, len(classes))
    assert sorted(conformal_set(shuffled, quantile)) == sorted(conformal_set(classes, quantile))


@given(probabilities, probability, st.randoms())
def test_a_higher_coverage_never_takes_a_class_out_and_the_order_of_lesions_does_not_matter(
    true_class: list[float], malignant: float, random: Random
) -> None:
    known = [coverage for coverage in (0.5, 0.8, 0.9, 0.95) if len(true_class) >= fewest_lesions(coverage)]
    shuffled = random.sample(true_class, len(true_class))
    quantiles = [conformal_quantile(shuffled, coverage) for coverage in known]
    assert quantiles == [conformal_quantile(true_class, coverage) for coverage in known]
    found = [set(conformal_set((("benign", 1 - malignant), ("malignant", malignant)), one)) for one in quantiles]
    assert all(lower <= higher for lower, higher in pairwise(found))
