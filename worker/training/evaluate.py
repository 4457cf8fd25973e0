"""How good scores are: the AUC, what is gained over another score, and a threshold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Labels = NDArray[np.bool_]


def auc(scores: Scores, labels: Labels) -> float:
    """Return the area under the ROC curve: how often a positive scores above a negative, a tie counting half.

    Args:
        scores: float (N,).
        labels: bool (N,), of both kinds.

    Raises:
        ValueError: labels of one kind alone.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise ValueError("an AUC needs lesions of both classes")
    _, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


@dataclass(frozen=True, slots=True)
class Gain:
    """The AUC gained over another score on the same lesions, with the lower bound of its 95 % interval."""

    gain: float
    lower_95: float


def auc_gain(scores: Scores, other: Scores, labels: Labels, seed: int, resamples: int = 1000) -> Gain:
    """Compare two scores of the same lesions by the paired bootstrap: whole lesions are drawn again.

    Args:
        scores: float (N,).
        other: float (N,).
        labels: bool (N,), of both kinds.
        seed: of the resampling.
        resamples: how many.

    Returns:
        AUC of ``scores`` less AUC of ``other``, and the 2.5th percentile of that among the resamples.
    """
    rng = np.random.default_rng(seed)
    gains: list[float] = []
    while len(gains) < resamples:
        drawn = rng.integers(len(labels), size=len(labels))
        if 0 < labels[drawn].sum() < len(labels):
            gains.append(auc(scores[drawn], labels[drawn]) - auc(other[drawn], labels[drawn]))
    return Gain(auc(scores, labels) - auc(other, labels), float(np.percentile(gains, 2.5)))


@dataclass(frozen=True, slots=True)
class Rates:
    """Sensitivity and specificity of ``score >= threshold``, 0 to 1."""

    sensitivity: float
    specificity: float


def rates(scores: Scores, labels: Labels, threshold: float) -> Rates:
    """Return sensitivity and specificity at a threshold."""
    positive = scores >= threshold
    return Rates(float(positive[labels].mean()), float((~positive)[~labels].mean()))


def best_threshold(scores: Scores, labels: Labels) -> float:
    """Return the threshold with the highest Youden index, half way between two lesions' scores."""
    values = np.unique(scores)
    between = (values[1:] + values[:-1]) / 2 if len(values) > 1 else values
    found = [rates(scores, labels, threshold) for threshold in between]
    return float(between[int(np.argmax([rate.sensitivity + rate.specificity for rate in found]))])
