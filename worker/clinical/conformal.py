"""Split conformal sets: the classes that a model cannot rule out for a lesion.

A set holds the true class of a lesion with at least the chosen probability, the coverage, over lesions that are
exchangeable with those that it was calibrated on. That holds for the lesions as a whole, and for no single one of them.

Sources: V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World (2005), for inductive conformal
prediction; M. Sadinle, J. Lei, L. Wasserman, J. Am. Stat. Assoc. 114 (2019) 223, whose least ambiguous sets these are.
"""

from collections.abc import Collection, Iterable
from fractions import Fraction
from math import ceil


def conformal_quantile(probabilities: Collection[float], coverage: float) -> float:
    """Return the quantile of the scores ``1 - probability of the true class`` that gives a coverage.

    It is the ceil((n + 1) * coverage)-th lowest of the n scores.

    Args:
        probabilities: of each lesion's true class, 0 to 1; at least ``fewest_lesions(coverage)``.
        coverage: above 0 and below 1.

    Returns:
        0 to 1.

    Raises:
        ValueError: there are too few lesions for that coverage.
    """
    scores = sorted(1 - probability for probability in probabilities)
    rank = ceil((len(scores) + 1) * _exactly(coverage))
    if rank > len(scores):
        raise ValueError("too few lesions for this coverage")
    return scores[rank - 1]


def fewest_lesions(coverage: float) -> int:
    """Return how many lesions it takes at least to calibrate a coverage, above 0 and below 1: 9 for 0.9."""
    exactly = _exactly(coverage)
    return ceil(exactly / (1 - exactly))


def conformal_set(probabilities: Iterable[tuple[str, float]], quantile: float) -> tuple[str, ...]:
    """Return the classes whose probability is ``1 - quantile`` or more: one of them, several, or none.

    Args:
        probabilities: of each class, by its name, 0 to 1.
        quantile: of ``conformal_quantile``, 0 to 1.
    """
    # Compared as the scores were, so that a lesion on the quantile itself is not lost to rounding.
    return tuple(name for name, probability in probabilities if 1 - probability <= quantile)


def _exactly(coverage: float) -> Fraction:
    """The decimal number that was meant: 10 * 0.9 is 9, and 100 * 0.29 is 29."""
    return Fraction(repr(float(coverage)))
