"""Several orders of one list, compared on the same days: how long cancers wait under each, and all others.

Every order is given the same arrivals and reading times (common random numbers; P. Glasserman and D. D. Yao, Manage.
Sci. 38 (1992) 884), so that a difference between two orders is of the orders. Its interval is a paired one: patients
of the cohort and days are drawn anew together, and both orders are simulated on what was drawn. Percentile interval:
B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from worker.errors import Code, SetupRefused
from worker.waiting_times.setting import Workload
from worker.waiting_times.simulator import Minutes, Ranks, waits
from worker.waiting_times.workload import Days, Studies, draw_days

FEWEST_OF_A_KIND = 10
"""Below so many patients with a cancer, or without, there are no intervals: the draws would be of the same few."""

LONGER = 10
"""How many times as many days the figures are of as each resample is: by chance alone a figure would else leave its
interval.
"""

_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; ``None`` where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What is measured of an order, or of the difference between two: first less second.

    Attributes:
        cancers_mean: minutes until the studies with a cancer are opened, in the mean.
        cancers_p90: minutes within which 90 % of them are opened.
        others_mean: the same of all other studies.
        others_p90: the same.
        first_tenth: the share of the cancers that stands in the first tenth of a list of the whole cohort, 0 to 1.
    """

    cancers_mean: Estimate
    cancers_p90: Estimate
    others_mean: Estimate
    others_p90: Estimate
    first_tenth: Estimate


@dataclass(frozen=True, slots=True)
class Difference:
    """What the order ``first`` has less the order ``second``; below 0 waits are shorter under the first."""

    first: str
    second: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of the orders.

    Attributes:
        orders: what was measured of each, by its name.
        differences: each order less each one before it.
    """

    orders: Mapping[str, Figures]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """The studies that days are drawn from.

    Attributes:
        cancers: whether each is one; bool (S,).
        patients: whose each is, from 0; int64 (S,).
        cancer_share: the share of cancers among the studies that come, above 0 and below 1; ``None``: the cohort's.
    """

    cancers: NDArray[np.bool_]
    patients: Studies
    cancer_share: float | None = None

    def weights(self, studies: Studies) -> NDArray[np.float64]:
        """Return how often each of some studies comes, as shares that sum up to 1."""
        sick = self.cancers[studies]
        share = sick.mean() if self.cancer_share is None else self.cancer_share
        result: NDArray[np.float64] = np.where(sick, share / sick.sum(), (1 - share) / (~sick).sum())
        return result


def compare(
    pool: Pool,
    orders: Mapping[str, Ranks],
    work: Workload,
    *,
    days: int,
    resamples: int,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Simulate the same days under several orders.

    Args:
        pool: at least one study of each kind.
        orders: each study's place under each order, lowest first, equal ones by their arrival; int64 (S,).
        work: of a day.
        days: how many are simulated for each resample; for the figures `LONGER` times as many.
        resamples: how often patients and days are drawn anew for the intervals; 0 for none.
        seed: the same one gives the same figures.
        on_progress: told how many simulations are done, and of how many.

    Raises:
        SetupRefused: ``lesions_too_few``: there are no studies of a kind, or hardly any comes on so many days.
    """
    _refuse_too_few(pool, work, days)
    rng = np.random.default_rng(seed)
    patients = int(pool.patients.max()) + 1
    times = resamples if _has_intervals(pool, patients) else 0
    found = [_measure(pool, np.arange(len(pool.cancers)), orders, work, LONGER * days, rng)]
    for done in range(1, times + 1):
        found.append(_measure(pool, _resampled(pool, patients, rng), orders, work, days, rng))
        if on_progress is not None:
            on_progress(done, times)
    return _summed_up(tuple(orders), np.array(found))


def first_tenth(ranks: Ranks, cancers: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """Return the share of the cancers, 0 to 1, that stand in the first tenth of a list.

    Args:
        ranks: of the studies on it, lowest first; int64 (N,). Equal ones come in any order, so the mean is taken.
        cancers: bool (N,), at least one.
        weights: how often each is on the list; float64 (N,).
    """
    of_rank = np.unique(ranks, return_inverse=True)[1]
    listed, sick = np.bincount(of_rank, weights), np.bincount(of_rank, weights * cancers)
    before = np.cumsum(listed) - listed
    within = np.clip(weights.sum() / 10 - before, 0, listed)
    return float((sick * within / listed).sum() / sick.sum())


def _refuse_too_few(pool: Pool, work: Workload, days: int) -> None:
    count = int(pool.cancers.sum())
    if count in (0, len(pool.cancers)):
        reason = "there is no study with a cancer" if count == 0 else "there is no study without a cancer"
        raise SetupRefused(Code.LESIONS_TOO_FEW, reason)
    share = pool.weights(np.arange(len(pool.cancers)))[pool.cancers].sum()
    if min(share, 1 - share) * work.per_day * days < FEWEST_OF_A_KIND:
        reason = f"fewer than {FEWEST_OF_A_KIND} cancers, or others, come on so few days: simulate more"
        raise SetupRefused(Code.LESIONS_TOO_FEW, reason)


def _has_intervals(pool: Pool, patients: int) -> bool:
    sick = len(np.unique(pool.patients[pool.cancers]))
    return min(sick, patients - sick) >= FEWEST_OF_A_KIND


def _resampled(pool: Pool, patients: int, rng: np.random.Generator) -> Studies:
    """As many patients as there are, drawn with replacement, with all their studies; of both kinds."""
    while True:
        times = np.bincount(rng.integers(patients, size=patients), minlength=patients)
        drawn: Studies = np.repeat(np.arange(len(pool.cancers)), times[pool.patients])
        if _are_both(pool.cancers[drawn]):
            return drawn


def _are_both(cancers: NDArray[np.bool_]) -> bool:
    return bool(cancers.any() and not cancers.all())


def _measure(
    pool: Pool, studies: Studies, orders: Mapping[str, Ranks], work: Workload, days: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Simulate days of these studies; the figures of each order, float64 (orders, figures)."""
    weights = pool.weights(studies)
    drawn = _both_kinds(pool, studies, weights, work, days, rng)
    known: dict[bytes, list[float]] = {}
    for ranks in orders.values():
        # Orders that are the same on these studies, as where no priority is known, are simulated once.
        if ranks.tobytes() not in known:
            waited = waits(drawn.arrived, drawn.reading, ranks[drawn.studies], work.readers)
            first = first_tenth(ranks[studies], pool.cancers[studies], weights)
            known[ranks.tobytes()] = [*_waits_of(waited, pool.cancers[drawn.studies]), first]
    return np.array([known[ranks.tobytes()] for ranks in orders.values()])


def _both_kinds(
    pool: Pool, studies: Studies, weights: NDArray[np.float64], work: Workload, days: int, rng: np.random.Generator
) -> Days:
    while True:
        drawn = draw_days(work, days, rng, lambda rng, count: rng.choice(studies, count, p=weights))
        if _are_both(pool.cancers[drawn.studies]):
            return drawn


def _waits_of(waited: Minutes, cancers: NDArray[np.bool_]) -> Iterator[float]:
    for kind in (waited[cancers], waited[~cancers]):
        yield float(kind.mean())
        yield float(np.percentile(kind, 90))


def _summed_up(names: Sequence[str], found: NDArray[np.float64]) -> Comparison:
    """Figures and intervals of float64 (1 + resamples, orders, figures); the first is that of the whole cohort."""
    differences = (
        Difference(names[later], names[before], _figures(found[:, later] - found[:, before]))
        for before, later in combinations(range(len(names)), 2)
    )
    orders = {name: _figures(found[:, place]) for place, name in enumerate(names)}
    return Comparison(orders, tuple(differences))


def _figures(found: NDArray[np.float64]) -> Figures:
    value, drawn = found[0].tolist(), found[1:]
    if not len(drawn):
        return Figures(*map(Estimate, value))
    low, high = np.percentile(drawn, _PERCENTILES, axis=0).tolist()
    return Figures(*map(Estimate, value, low, high))
