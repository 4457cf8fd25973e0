"""How far a radiologist's final category agrees with the advice on a 4A lesion."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import sqrt
from statistics import NormalDist

from worker.clinical.categories import Outcome
from worker.clinical.proportions import CONFIDENCE

_BELOW_4A = frozenset({"1", "2", "3"})
_ABOVE_4A = frozenset({"4B", "4C", "5", "6"})
_SUSPICIOUS = _ABOVE_4A | {"4", "4A"}


class Override(StrEnum):
    """How a radiologist overrode the advice on a 4A lesion, the most dangerous way first."""

    LET_GO = "let_go"
    TOO_LOW = "too_low"
    TOO_HIGH = "too_high"
    OTHER = "other"


def outcome_of(final: str) -> Outcome | None:
    """Return what a final category makes of a 4A lesion, as advice would say it.

    Args:
        final: a BI-RADS category; ``4`` is 4 without a letter.

    Returns:
        1 to 3 are downgraded, 4A is maintained, 4B to 6 are upgraded. ``None`` for 0 and for 4 without a letter: they
        do not say on which side of 4A the lesion is.
    """
    if final in _BELOW_4A:
        return Outcome.DOWNGRADED
    if final in _ABOVE_4A:
        return Outcome.UPGRADED
    return Outcome.MAINTAINED if final == "4A" else None


def override_of(advised: Outcome, final: str, agrees: bool | None) -> Override | None:
    """Say how a verdict overrides the advice on a 4A lesion.

    Args:
        advised: downgraded, maintained or upgraded.
        final: the radiologist's final category.
        agrees: whether the radiologist agreed; ``None`` where that was not said.

    Returns:
        ``let_go``: a downgrade was advised, and the lesion ends at 4 or above, or the radiologist disagrees without
        calling it 1 or 2. ``too_low``: 4A was to be kept, and the lesion ends above. ``too_high``: the lesion ends
        below what was advised. ``other``: a disagreement that the category does not explain. ``None``: no override.
    """
    disagrees = agrees is False
    if advised is Outcome.DOWNGRADED and (final in _SUSPICIOUS or (disagrees and final not in ("1", "2"))):
        return Override.LET_GO
    made = outcome_of(final)
    if made is None or made is advised:
        return Override.OTHER if disagrees else None
    return Override.TOO_LOW if made is Outcome.UPGRADED else Override.TOO_HIGH


@dataclass(frozen=True, slots=True)
class Kappa:
    """Cohen's unweighted kappa: agreement beyond what chance would give.

    Attributes:
        value: -1 to 1; 1 is complete, 0 is chance's.
        low: lower end of its 95 % interval, -1 to 1; ``None`` where the lesions do not vary enough to estimate one, as
            where the two always agree.
        high: upper end of it, likewise.
    """

    value: float
    low: float | None
    high: float | None


def kappa(counts: Mapping[tuple[str, str], int]) -> Kappa | None:
    """Return Cohen's kappa with an interval, which holds for large numbers: a few dozen lesions and more.

    Sources: J. Cohen, Educ. Psychol. Meas. 20 (1960) 37; the standard error: J. L. Fleiss, J. Cohen and B. S. Everitt,
    Psychol. Bull. 72 (1969) 323, equation 13.

    Args:
        counts: of each pair of what the one and the other said of a lesion, the number of lesions, from 0.

    Returns:
        ``None`` where there are no lesions, or where both always said the same one thing.
    """
    total = sum(counts.values())
    # Fractions, so that nothing is rounded before the last step.
    shares = {pair: Fraction(count, total) for pair, count in counts.items() if count}
    firsts, seconds = defaultdict[str, Fraction](Fraction), defaultdict[str, Fraction](Fraction)
    for (first, second), share in shares.items():
        firsts[first] += share
        seconds[second] += share
    agreed = sum((share for (first, second), share in shares.items() if first == second), Fraction())
    by_chance = sum((share * seconds[word] for word, share in firsts.items()), Fraction())
    if not shares or by_chance == 1:
        return None
    value = float((agreed - by_chance) / (1 - by_chance))
    spread = sum(
        share * ((1 - by_chance) * (first == second) - (1 - agreed) * (seconds[first] + firsts[second])) ** 2
        for (first, second), share in shares.items()
    )
    variance = (spread - (agreed * by_chance - 2 * by_chance + agreed) ** 2) / (total * (1 - by_chance) ** 4)
    if variance == 0:
        return Kappa(value, None, None)
    margin = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * sqrt(variance)
    return Kappa(value, max(-1.0, value - margin), min(1.0, value + margin))
