"""What a threshold gives, and how one is chosen."""

from dataclasses import dataclass
from math import ceil

import numpy as np

from worker.clinical.proportions import Proportion, proportion
from worker.evaluation.discrimination import Labels, Scores
from worker.evaluation.evaluation_options import ChosenBy


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What ``score >= threshold`` gives, each rate with Wilson's 95 % interval.

    Attributes:
        chosen_by: where the threshold comes from.
        used: it is the one that the re-stratification and the subgroups are of.
        threshold: 0 to 1.
        true_positives: positives that reach it; the other counts likewise.
        ppv: the share of positives among the lesions that reach it; as ``npv`` it holds for these lesions' mix alone.
    """

    chosen_by: ChosenBy
    used: bool
    threshold: float
    true_positives: int
    false_negatives: int
    true_negatives: int
    false_positives: int
    sensitivity: Proportion
    specificity: Proportion
    ppv: Proportion
    npv: Proportion
    accuracy: Proportion


def operating_point(
    scores: Scores, labels: Labels, threshold: float, chosen_by: ChosenBy, *, used: bool, own: Scores | None = None
) -> OperatingPoint:
    """Count what ``score >= threshold`` gives.

    Args:
        scores: float (N,).
        labels: bool (N,).
        threshold: 0 to 1.
        chosen_by: where it comes from.
        used: it is the one that counts.
        own: of each lesion, where their sites have thresholds of their own, float (N,).
    """
    positive = scores >= (threshold if own is None else own)
    hits, alarms = int((positive & labels).sum()), int((positive & ~labels).sum())
    positives, negatives = int(labels.sum()), int((~labels).sum())
    misses, passes = positives - hits, negatives - alarms
    return OperatingPoint(
        chosen_by=chosen_by,
        used=used,
        threshold=threshold,
        true_positives=hits,
        false_negatives=misses,
        true_negatives=passes,
        false_positives=alarms,
        sensitivity=proportion(hits, positives),
        specificity=proportion(passes, negatives),
        ppv=proportion(hits, hits + alarms),
        npv=proportion(passes, passes + misses),
        accuracy=proportion(hits + passes, positives + negatives),
    )


def youden_threshold(scores: Scores, labels: Labels) -> float:
    """Return the threshold with the highest Youden index, sensitivity + specificity - 1.

    Candidates lie half way between two scores that follow each other, the lowest at the lowest score. Of several that
    are equally good the lowest is taken: fewer cancers are missed. Source: W. J. Youden, Cancer 3 (1950) 32.

    Args:
        scores: float (N,).
        labels: bool (N,), of both kinds.
    """
    values, hits, alarms = _cumulative(scores, labels)
    # Whole numbers, so that ties are ties: the index times positives times negatives.
    index = hits * int((~labels).sum()) - alarms * int(labels.sum())
    return _below(values, int(np.argmax(index)))


def sensitivity_threshold(scores: Scores, labels: Labels, sensitivity: float) -> float:
    """Return the highest threshold whose sensitivity is at least so high; candidates are those of Youden's.

    Positives with one score are on one side of every threshold, so the sensitivity may be higher than was asked.

    Args:
        scores: float (N,).
        labels: bool (N,), of both kinds.
        sensitivity: above 0, up to 1.
    """
    values, hits, _ = _cumulative(scores, labels)
    needed = max(1, ceil(sensitivity * int(labels.sum()) - 1e-9))
    return _below(values, int(np.flatnonzero(hits >= needed)[-1]))


def _cumulative(scores: Scores, labels: Labels) -> tuple[Scores, np.ndarray, np.ndarray]:
    """The distinct scores, rising, and how many positives and negatives reach each."""
    values, places = np.unique(scores, return_inverse=True)
    hits = np.bincount(places, labels, len(values)).astype(np.int64)[::-1].cumsum()[::-1]
    alarms = np.bincount(places, ~labels, len(values)).astype(np.int64)[::-1].cumsum()[::-1]
    return values, hits, alarms


def _below(values: Scores, place: int) -> float:
    """The threshold that a score just reaches: half way down to the one before it."""
    value = float(values[place])
    if place == 0:
        return value
    middle = (value + float(values[place - 1])) / 2
    return middle if middle > values[place - 1] else value
