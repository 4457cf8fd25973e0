"""One score a lesion: how the AI scores of its images become one, and whether its images agree.

A lesion is examined in two orthogonal planes at least (ACR BI-RADS atlas, 5th edition, ultrasound), and cleared systems
for the same question analyse up to two orthogonal views of a lesion together (FDA K190442, K210670).
Why the mean is the default: docs/decisions/0046-why-mean.md.
"""

from collections.abc import Sequence
from math import exp, fsum, log, log1p
from typing import Literal, get_args

Aggregation = Literal["mean", "max", "logit_mean"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)

MOST_IMAGES = 64
"""Of one lesion."""

_CLOSEST = 2.0**-53
"""A score is taken to be so far from 0 and 1 at least, so that its logit is finite."""


def aggregate(method: Aggregation, scores: Sequence[float]) -> float:
    """Return a lesion's AI score: the mean of its images' scores, the highest, or that of the mean of their logits.

    The order of the images does not matter, and one image's score stays what it is, to the bit.

    Args:
        method: of the model's card.
        scores: of each image, before any temperature, 0 to 1; at least one.

    Returns:
        0 to 1; between the lowest and the highest of the scores.
    """
    if method == "max" or len(scores) == 1:
        return max(scores)
    found = _mean(scores) if method == "mean" else _logistic(_mean([_logit(score) for score in scores]))
    # Rounding may lead out of them, where they are nearly alike.
    return min(max(found, min(scores)), max(scores))


def at_temperature(score: float, temperature: float) -> float:
    """Return a score whose logit is divided by a temperature, above 0: the order is kept, and 0.5 stays 0.5.

    Source: C. Guo et al., ICML 2017 (arXiv 1706.04599), for two classes.
    """
    return score if temperature == 1 else _logistic(_logit(score) / temperature)


def spread(probabilities: Sequence[float]) -> float:
    """Return how far a lesion's images lie apart: the highest less the lowest, 0 to 1; at least one is given."""
    return max(probabilities) - min(probabilities)


def views_disagree(probabilities: Sequence[float], threshold: float) -> bool:
    """Whether a lesion's images lie on both sides of a threshold: some reach it, and some do not.

    Args:
        probabilities: of each image by itself, 0 to 1.
        threshold: of the model's card, 0 to 1.
    """
    return len({probability >= threshold for probability in probabilities}) > 1


def _mean(values: Sequence[float]) -> float:
    """Rounded once, so that no order of the values is another mean."""
    return fsum(values) / len(values)


def _logit(score: float) -> float:
    inside = min(max(score, _CLOSEST), 1 - _CLOSEST)
    return log(inside) - log1p(-inside)


def _logistic(logit: float) -> float:
    # Either form overflows on one side.
    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))
