"""Exponential backoff: how long what failed is left alone before it is tried again."""

from typing import Final

SHORTEST_S: Final = 0.1
"""Nothing is tried again at once, in seconds."""

_MOST_DOUBLINGS: Final = 30


def backoff_s(failures: int, first_s: float, longest_s: float) -> float:
    """Return how long to wait after failures in a row, in seconds: ``first_s``, doubled by each one after the first.

    Args:
        failures: in a row, at least 1.
        first_s: the wait after the first; 0.1 s, unless it is longer.
        longest_s: the longest wait.
    """
    return min(max(first_s, SHORTEST_S) * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), longest_s)
