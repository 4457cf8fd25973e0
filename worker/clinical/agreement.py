"""How far a radiologist's final category agrees with the advice on a 4A lesion."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from worker.clinical.categories import Outcome

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


def kappa(counts: Mapping[tuple[str, str], int]) -> float | None:
    """Return Cohen's unweighted kappa: agreement beyond what chance would give; 1 is complete, 0 is chance's.

    Source: J. Cohen, Educ. Psychol. Meas. 20 (1960) 37.

    Args:
        counts: of each pair of what the one and the other said of a lesion, the number of lesions, from 0.

    Returns:
        -1 to 1; ``None`` where there are no lesions, or where both always said the same one thing.
    """
    total = sum(counts.values())
    firsts, seconds = Counter[str](), Counter[str]()
    for (first, second), count in counts.items():
        firsts[first] += count
        seconds[second] += count
    agreed = sum(count for (first, second), count in counts.items() if first == second)
    by_chance = sum(firsts[word] * seconds[word] for word in firsts)
    # Both times the total's square, so that nothing is rounded before the last step.
    return None if by_chance == total**2 else (agreed * total - by_chance) / (total**2 - by_chance)
