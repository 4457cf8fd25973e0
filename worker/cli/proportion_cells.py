"""Proportions as cells of a table."""

from worker.clinical.proportions import Proportion


def percent(one: Proportion) -> str:
    """Return a proportion as people read it: ``27.7 % (21.1-35.4)``, or a dash where there is nothing."""
    if one.rate is None:
        return "–"
    return f"{100 * one.rate:.1f} % ({100 * one.low:.1f}–{100 * one.high:.1f})"


def counted(one: Proportion) -> str:
    """Return a proportion with what it was counted from: ``22 of 27: 81.5 % (63.3-91.8)``."""
    return f"{one.count} of {one.total}" + ("" if one.rate is None else f": {percent(one)}")
