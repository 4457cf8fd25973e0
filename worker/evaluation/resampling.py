"""Intervals by the bootstrap over patients: lesions of one patient are drawn together, since they are alike.

Source: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), the percentile interval of chapter 13.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worker.evaluation.discrimination import Interval, Labels, Scores

GRID = tuple(percent / 100 for percent in range(0, 101, 2))
"""False positive rates at which the ROC curve's band is given."""

FEWEST_OF_A_CLASS = 10
"""Below so many patients with a lesion of a class nothing is drawn: the draws would be of the same few each time."""

_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """Percentile intervals, 95 %.

    Attributes:
        unit: what was drawn: patients with all their lesions, or lesions where no patient is known.
        units: how many of them there are.
        resamples: how often so many were drawn, with replacement.
        seed: the same seed gives the same intervals.
        auc: of the AUC.
        sensitivity: at the threshold that is used.
        specificity: likewise.
        band: of the sensitivity at each false positive rate of ``GRID``, point by point.
    """

    unit: Literal["patient", "lesion"]
    units: int
    resamples: int
    seed: int
    auc: Interval
    sensitivity: Interval
    specificity: Interval
    band: tuple[Interval, ...]


def bootstrap(
    scores: Scores,
    labels: Labels,
    patients: Sequence[str] | None,
    threshold: float | Scores,
    *,
    resamples: int,
    seed: int,
) -> Bootstrapped | None:
    """Draw patients, or lesions, anew.

    Args:
        scores: float (N,).
        labels: bool (N,).
        patients: of each lesion; ``None``: lesions are drawn.
        threshold: 0 to 1; of all lesions, or of each, float (N,).
        resamples: how often.
        seed: of the draws.

    Returns:
        ``None`` without resamples, or with fewer than ``FEWEST_OF_A_CLASS`` patients, or lesions, of a class.
    """
    units = np.unique(patients, return_inverse=True)[1] if patients is not None else np.arange(len(labels))
    if resamples < 1 or min(len(np.unique(units[labels == kind])) for kind in (True, False)) < FEWEST_OF_A_CLASS:
        return None
    drawn = np.array(list(_draws(scores, labels, units, threshold, resamples, seed)))
    low, high = np.percentile(drawn, _PERCENTILES, axis=0)
    intervals = [Interval(float(one), float(other)) for one, other in zip(low, high, strict=True)]
    return Bootstrapped(
        unit="lesion" if patients is None else "patient",
        units=int(units.max()) + 1,
        resamples=resamples,
        seed=seed,
        auc=intervals[0],
        sensitivity=intervals[1],
        specificity=intervals[2],
        band=tuple(intervals[3:]),
    )


def _draws(
    scores: Scores, labels: Labels, units: NDArray[np.intp], threshold: float | Scores, resamples: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Each draw's AUC, sensitivity, specificity and ROC curve on the grid; one without both classes is drawn again."""
    rng = np.random.default_rng(seed)
    order = np.argsort(-scores, kind="stable")
    ranked, of_class, of_unit = scores[order], labels[order], units[order]
    steps = np.flatnonzero(np.r_[True, np.diff(ranked) != 0])
    reached = (scores >= threshold)[order]
    count, done = int(units.max()) + 1, 0
    while done < resamples:
        weights = np.bincount(rng.integers(count, size=count), minlength=count)[of_unit]
        hits, alarms = (np.where(of_class == kind, weights, 0) for kind in (True, False))
        if not hits.any() or not alarms.any():
            continue
        done += 1
        sensitivity = np.r_[0.0, np.add.reduceat(hits, steps).cumsum() / hits.sum()]
        false_positive = np.r_[0.0, np.add.reduceat(alarms, steps).cumsum() / alarms.sum()]
        yield np.r_[
            np.trapezoid(sensitivity, false_positive),
            hits[reached].sum() / hits.sum(),
            alarms[~reached].sum() / alarms.sum(),
            _at(GRID, false_positive, sensitivity),
        ]


def _at(
    grid: Sequence[float], false_positive: NDArray[np.float64], sensitivity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The curve on the grid; where it rises straight up, its upper end."""
    last = np.r_[np.diff(false_positive) != 0, True]
    values: NDArray[np.float64] = np.interp(grid, false_positive[last], sensitivity[last])
    return values
