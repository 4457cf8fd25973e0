"""What acting on a probability gains, by the harm that one is ready to do: the decision curve.

Source: A. J. Vickers, E. B. Elkin, Medical Decision Making 26 (2006) 565.
"""

from dataclasses import dataclass

import numpy as np

from worker.evaluation.discrimination import Labels, Scores

THRESHOLDS = tuple(percent / 100 for percent in range(1, 100))
"""Probabilities from which one would act: 0.01 to 0.99."""


@dataclass(frozen=True, slots=True)
class NetBenefit:
    """What is gained, in true positives a lesion, when one acts from a probability on.

    Attributes:
        threshold: the probability t; a false positive then costs t / (1 - t) of what a true positive gains.
        model: net benefit of acting on the lesions that reach it: TP / N - FP / N * t / (1 - t).
        treat_all: of acting on every lesion. Acting on none gains 0.
    """

    threshold: float
    model: float
    treat_all: float


def decision_curve(probabilities: Scores, labels: Labels) -> tuple[NetBenefit, ...]:
    """Return the net benefit at each of ``THRESHOLDS``.

    Args:
        probabilities: float (N,), 0 to 1; at least one.
        labels: bool (N,).
    """
    positives, negatives = np.sort(probabilities[labels]), np.sort(probabilities[~labels])
    count, prevalence = len(labels), len(positives) / len(labels)
    curve = []
    for at in THRESHOLDS:
        hits = len(positives) - int(np.searchsorted(positives, at, side="left"))
        alarms = len(negatives) - int(np.searchsorted(negatives, at, side="left"))
        odds = at / (1 - at)
        curve.append(NetBenefit(at, (hits - alarms * odds) / count, prevalence - (1 - prevalence) * odds))
    return tuple(curve)
