"""Drift: how far what comes now is from what a model was tested on, as the population stability index (PSI).

With the shares e of the reference and o of what was observed, by bin, PSI = sum of (o - e) ln(o / e): the symmetrised
Kullback-Leibler divergence (Kullback and Leibler 1951), known by this name from credit scoring (Siddiqi, *Credit Risk
Scorecards*, 2006), whence also the customary reading: under 0.1 no change, 0.1 to 0.2 some, above 0.2 look into it.

Where nothing has changed, PSI is about chi-squared with (bins - 1) degrees of freedom, times (1 / observed + 1 / the
reference's number) (Yurdakul, *Statistical Properties of Population Stability Index*, 2018): few drift by chance.
"""

from collections.abc import Sequence
from math import log

LEAST_SHARE = 1e-4
"""A share that is less counts as this much: an empty bin would make the index infinite."""

FEWEST = 200
"""Values from which on drift is told: with ten bins, and 500 in the reference, 19 of 20 stay under 0.12 by chance."""


def psi(reference: Sequence[float], observed: Sequence[int]) -> float:
    """Return the population stability index of counts against reference shares.

    Args:
        reference: the share of each bin, not negative; they sum to 1.
        observed: how many values fell in each bin; at least one in all.

    Returns:
        0 where the shares are the same, else more; finite.

    Raises:
        ValueError: the bins are not as many, or nothing was observed.
    """
    total = sum(observed)
    if len(reference) != len(observed) or total <= 0:
        raise ValueError("as many counts as shares are needed, and at least one value")
    pairs = [(max(share, LEAST_SHARE), max(count / total, LEAST_SHARE)) for share, count in zip(reference, observed)]  # noqa: B905  compared above
    return sum((seen - expected) * log(seen / expected) for expected, seen in pairs)


def psi_of_enough(reference: Sequence[float], observed: Sequence[int]) -> float | None:
    """Return `psi`, or ``None`` where too few values were observed to tell drift from chance."""
    return psi(reference, observed) if sum(observed) >= FEWEST else None
