"""How well scores tell two classes apart: the ROC curve and the area under it, by DeLong's method.

Sources: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837; the fast way to the same numbers,
X. Sun, W. Xu, IEEE Signal Processing Letters 21 (2014) 1389; the interval on the logit's scale, M. S. Pepe, The
Statistical Evaluation of Medical Tests (2003), section 5.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, exp, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from worker.clinical.proportions import CONFIDENCE

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]

MOST_POINTS = 400
"""Of a ROC curve that is kept; more are thinned out evenly."""

_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval, two-sided."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Auc:
    """The area under a ROC curve: how often a positive lesion scores above a negative one, a tie counting half.

    Attributes:
        value: 0 to 1.
        standard_error: DeLong's; ``None`` with a single lesion of a class.
        interval: ``value`` and 1.96 standard errors to each side, cut at 0 and 1. ``None`` where there is no standard
            error, or it is 0: scores that part the classes wholly say nothing about how sure that is.
        logit_interval: the same, made on the logit's scale, which keeps within 0 and 1 and fits better close to 1.
    """

    value: float
    standard_error: float | None
    interval: Interval | None
    logit_interval: Interval | None


@dataclass(frozen=True, slots=True)
class AucDifference:
    """The AUC of one score less that of another on the same lesions, with DeLong's paired test.

    Attributes:
        value: -1 to 1.
        interval: of the difference; ``None`` where its standard error is 0 or not defined.
        z: the difference by its standard error; ``None`` likewise.
        p_value: two-sided; 1 for scores that order the lesions alike, else ``None`` where ``z`` is.
    """

    value: float
    interval: Interval | None
    z: float | None
    p_value: float | None


@dataclass(frozen=True, slots=True)
class RocPoint:
    """What ``score >= threshold`` gives: the shares of positives and of negatives that reach it."""

    threshold: float
    sensitivity: float
    false_positive_rate: float


def delong(scores: Sequence[Scores], labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the AUC of each score, float64 (K,), and their covariance, float64 (K, K).

    The covariance is NaN with a single lesion of a class.

    Args:
        scores: K of float (N,), of the same lesions.
        labels: bool (N,), of both kinds.

    Raises:
        ValueError: labels of one kind alone.
    """
    table = np.atleast_2d(np.asarray(scores, np.float64))
    positive, negative = table[:, labels], table[:, ~labels]
    m, n = positive.shape[1], negative.shape[1]
    if not m or not n:
        raise ValueError("an AUC needs lesions of both classes")
    among_all = _ranks(table)
    above = (among_all[:, labels] - _ranks(positive)) / n
    below = 1 - (among_all[:, ~labels] - _ranks(negative)) / m
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = _covariance(above) / m + _covariance(below) / n
    return above.mean(axis=1), covariance


def _ranks(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ranks within each row, from 1, the mean for ties; (K, N) from (K, N)."""
    ranks = np.empty_like(table)
    for row, scores in enumerate(table):
        _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
        ranks[row] = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def _covariance(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sample covariance of structural components, (K, K) from (K, M); NaN for one column."""
    centred = components - components.mean(axis=1, keepdims=True)
    covariance: NDArray[np.float64] = centred @ centred.T / np.float64(components.shape[1] - 1)
    return covariance


def auc(scores: Scores, labels: Labels) -> Auc:
    """Return the AUC of a score with DeLong's interval.

    Args:
        scores: float (N,), higher for positives.
        labels: bool (N,), of both kinds.

    Raises:
        ValueError: labels of one kind alone.
    """
    values, covariance = delong([scores], labels)
    value, variance = float(values[0]), float(covariance[0, 0])
    if not np.isfinite(variance):
        return Auc(value, None, None, None)
    error = sqrt(max(variance, 0.0))
    if error < 1e-12 or not 0 < value < 1:
        return Auc(value, error, None, None)
    interval = Interval(max(value - _Z * error, 0.0), min(value + _Z * error, 1.0))
    middle, reach = log(value / (1 - value)), _Z * error / (value * (1 - value))
    return Auc(value, error, interval, Interval(_logistic(middle - reach), _logistic(middle + reach)))


def compare_aucs(scores: Scores, other: Scores, labels: Labels) -> AucDifference:
    """Hold the AUCs of two scores of the same lesions against each other.

    Args:
        scores: float (N,).
        other: float (N,).
        labels: bool (N,), of both kinds.

    Raises:
        ValueError: labels of one kind alone.
    """
    values, covariance = delong([scores, other], labels)
    difference = float(values[0] - values[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if not np.isfinite(variance) or variance < 1e-18:
        same = np.isfinite(variance) and abs(difference) < 1e-12
        return AucDifference(difference, None, None, 1.0 if same else None)
    error = sqrt(variance)
    z = difference / error
    interval = Interval(max(difference - _Z * error, -1.0), min(difference + _Z * error, 1.0))
    return AucDifference(difference, interval, z, erfc(abs(z) / sqrt(2)))


def roc(scores: Scores, labels: Labels) -> tuple[RocPoint, ...]:
    """Return the corners of the ROC curve from (0, 0) to (1, 1), ``MOST_POINTS`` at most.

    The first one's threshold is above every score; it is given as 1, or as the highest score if that is more.
    """
    from sklearn.metrics import roc_curve  # not needed by who trains, and may not have the extra

    false_positive, sensitivity, thresholds = roc_curve(labels, scores)
    thresholds[0] = max(1.0, float(scores.max()))
    kept = np.arange(len(thresholds))
    if len(kept) > MOST_POINTS:
        kept = np.unique(np.linspace(0, len(thresholds) - 1, MOST_POINTS).round().astype(int))
    return tuple(RocPoint(float(thresholds[i]), float(sensitivity[i]), float(false_positive[i])) for i in kept)


def _logistic(value: float) -> float:
    return 1 / (1 + exp(-value))
