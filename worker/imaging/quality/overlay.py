"""Calipers and text that were burned into a region.

What is drawn is sharper than speckle ever is: a beam is wider than it is deep, so tissue has thin bright lines across,
such as fasciae, and none down or aslant. So lines across are passed over; a cross, an x and most letters have others.
Not found: a dotted line alone, lines that are wider than three pixels, and grey ones that hardly stand out.
"""

import numpy as np
from numpy.typing import NDArray

from db.schema.vocabulary import QualityFinding
from worker.imaging.quality.colour import Mask, in_plenty, without_lines

BRIGHT = 128
"""Grey level of a stroke at least."""

STANDS_OUT = 72
"""Grey levels that a stroke is brighter by than what is `REACH` pixels to either side of it."""

REACH = 2
"""Pixels; so a stroke is at most three wide."""

LENGTH = 4
"""Pixels of a stroke at least: an arm of the smallest caliper that was met."""

EVEN = 24
"""Grey levels that the pixels of a stroke may differ by."""

LEAST_STROKES = 2
"""Runs of `LENGTH` pixels; one may be chance."""

LEAST_COLOURED = 12
"""Coloured pixels in thin lines, which are the most of what is coloured; a caliper has more."""

_DIRECTIONS = ((1, 0), (1, 1), (1, -1))


def overlay_in_roi(white: NDArray[np.uint8], coloured: Mask | None) -> QualityFinding | None:
    """Tell a region with thin strokes that are white, or coloured on grey.

    Args:
        white: how white each pixel is, uint8 (rows, columns).
        coloured: which are coloured, the same shape; ``None``: none is.
    """
    drawn = sum(_strokes(white, *direction) for direction in _DIRECTIONS) >= LEAST_STROKES
    return QualityFinding.OVERLAY_IN_ROI if drawn or _coloured_strokes(coloured) else None


def _strokes(grey: NDArray[np.uint8], down: int, across: int) -> int:
    """Count the runs of `LENGTH` pixels in one direction that are bright, even, and stand out on both sides."""
    if min(grey.shape) <= 2 * REACH:
        return 0
    middle = _moved(grey, 0, 0)
    beside = np.maximum(_moved(grey, -across, down), _moved(grey, across, -down))
    lit = (middle >= BRIGHT) & (middle - np.minimum(middle, beside) >= STANDS_OUT)
    rows, columns = np.nonzero(lit)
    lowest = highest = middle[rows, columns]
    for _ in range(LENGTH - 1):
        rows, columns = rows + down, columns + across
        goes_on = (rows < lit.shape[0]) & (columns >= 0) & (columns < lit.shape[1])
        goes_on[goes_on] = lit[rows[goes_on], columns[goes_on]]
        rows, columns = rows[goes_on], columns[goes_on]
        level = middle[rows, columns]
        lowest, highest = np.minimum(lowest[goes_on], level), np.maximum(highest[goes_on], level)
    return int(np.count_nonzero(highest - lowest <= EVEN))


def _moved(grey: NDArray[np.uint8], down: int, across: int) -> NDArray[np.uint8]:
    """Return what is `REACH` times so many pixels away from each pixel, a margin of `REACH` left out."""
    rows, columns = grey.shape
    top, left = REACH * (1 + down), REACH * (1 + across)
    return grey[top : top + rows - 2 * REACH, left : left + columns - 2 * REACH]


def _coloured_strokes(coloured: Mask | None) -> bool:
    """Whether thin lines are coloured. Beside colour in plenty that cannot be told from its ragged edges."""
    if coloured is None or np.count_nonzero(coloured) < LEAST_COLOURED or in_plenty(coloured):
        return False
    solid = int(np.count_nonzero(without_lines(coloured)))
    return int(np.count_nonzero(coloured)) - solid >= max(LEAST_COLOURED, solid)
