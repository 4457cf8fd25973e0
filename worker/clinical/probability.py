"""How a probability is said to people: never as certain, and never on the other side of a threshold than it is."""

FEWEST_DECIMALS = 3
_LEAST = 0.001


def said(probability: float, threshold: float | None = None) -> str:
    """Say a probability with as few decimals as tell it from its threshold, three or more.

    Args:
        probability: 0 to 1.
        threshold: positive from it on; ``None``: none is shown beside it.

    Returns:
        Such as ``0.731``, ``< 0.001`` or ``> 0.999``; 0.4996 under a threshold of 0.5 is ``0.4996`` and not ``0.500``.
    """
    if 0 < probability < _LEAST:
        return f"< {_LEAST}"
    if 1 - _LEAST < probability < 1:
        return f"> {1 - _LEAST}"
    text = f"{probability:.{FEWEST_DECIMALS}f}"
    decimals = FEWEST_DECIMALS
    while threshold is not None and (float(text) >= threshold) is not (probability >= threshold):
        decimals += 1
        text = f"{probability:.{decimals}f}"
    return text
