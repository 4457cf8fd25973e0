"""Calipers and text that were burned into a region.

What is drawn is sharper than speckle ever is: a beam is wider than it is deep, so tissue has thin bright lines across,
such as fasciae, and none down or aslant. So lines across are passed over; a cross, an x and most letters have others.
Not found: a dotted line alone, lines that are wider than three pixels, and grey ones that hardly stand out. Calipers
that are grey `worker.imaging.quality.calipers` finds, which takes too long for the service.
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
_MOST_ARMS = 4
"""Times that strokes across are looked for beside what was found."""

Places = NDArray[np.intp]


def overlay_in_roi(white: NDArray[np.uint8], coloured: Mask | None) -> QualityFinding | None:
    """Tell a region with thin strokes that are white, or coloured on grey.

    Args:
        white: how white each pixel is, uint8 (rows, columns).
        coloured: which are coloured, the same shape; ``None``: none is.
    """
    drawn = sum(_strokes(white, *direction) for direction in _DIRECTIONS) >= LEAST_STROKES
    return QualityFinding.OVERLAY_IN_ROI if drawn or _coloured_strokes(coloured) else None


def overlay_pixels(white: NDArray[np.uint8], coloured: Mask | None) -> Mask:
    """Return which pixels are of thin strokes that are white, or coloured on grey; none where `overlay_in_roi` is not.

    Strokes across count where they touch another: they are arms of a cross, and by themselves may be tissue.

    Args:
        white: how white each pixel is, uint8 (rows, columns).
        coloured: which are coloured, the same shape; ``None``: none is.

    Returns:
        (rows, columns).
    """
    drawn = np.zeros(white.shape, np.bool_)
    if overlay_in_roi(white, coloured) is None:
        return drawn
    for direction in _DIRECTIONS:
        drawn |= _painted(white.shape, _runs(white, *direction), direction)
    rows, columns = _runs(white, 0, 1)
    for _ in range(_MOST_ARMS):
        near = thickened(drawn)
        touching = np.zeros(len(rows), np.bool_)
        for step in range(LENGTH):
            touching |= near[rows, columns + step]
        drawn |= _painted(white.shape, (rows[touching], columns[touching]), (0, 1))
        rows, columns = rows[~touching], columns[~touching]
    if _coloured_strokes(coloured):
        assert coloured is not None  # noqa: S101  nothing is coloured otherwise
        drawn |= coloured & ~without_lines(coloured)
    return thickened(drawn)


def _painted(shape: tuple[int, ...], runs: tuple[Places, Places], direction: tuple[int, int]) -> Mask:
    """Return the pixels of runs, by where these begin."""
    painted = np.zeros(shape, np.bool_)
    rows, columns = runs
    for step in range(LENGTH):
        painted[rows + step * direction[0], columns + step * direction[1]] = True
    return painted


def thickened(mask: Mask) -> Mask:
    """Set the eight neighbours of each pixel that is set: where a stroke fades."""
    padded = np.pad(mask, 1)
    down = padded[:-2] | padded[1:-1] | padded[2:]
    return np.asarray(down[:, :-2] | down[:, 1:-1] | down[:, 2:])


def _strokes(grey: NDArray[np.uint8], down: int, across: int) -> int:
    """Count the runs of `LENGTH` pixels in one direction that are bright, even, and stand out on both sides."""
    return len(_runs(grey, down, across)[0])


def _runs(grey: NDArray[np.uint8], down: int, across: int) -> tuple[Places, Places]:
    """Return the rows and the columns where the runs of `_strokes` begin."""
    rows, width = grey.shape
    step = down * width + across
    size, run = grey.size, (LENGTH - 1) * step
    if min(grey.shape) <= 2 * REACH or size <= run:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    # Row after row, where a neighbour is so many places on; what is less than `REACH` from an edge has none, and is not
    # lit, so that no run goes on in the next row.
    level = np.ascontiguousarray(grey).ravel()
    edge, beside = REACH * (width + 1), REACH * (down - across * width)
    middle = level[edge : size - edge]
    sides = np.maximum(level[edge + beside : size - edge + beside], level[edge - beside : size - edge - beside])
    lit = np.zeros(size, np.bool_)
    np.logical_and(middle >= BRIGHT, middle - np.minimum(middle, sides) >= STANDS_OUT, out=lit[edge : size - edge])
    of_rows = lit.reshape(rows, width)
    of_rows[:, :REACH] = of_rows[:, -REACH:] = False
    begins = lit[: size - run].copy()
    for ends in range(step, run + 1, step):
        begins &= lit[ends : size - run + ends]
    firsts = np.flatnonzero(begins)
    levels = level[firsts + np.arange(0, run + 1, step)[:, np.newaxis]]
    first_rows, first_columns = np.divmod(firsts[levels.max(axis=0) - levels.min(axis=0) <= EVEN], width)
    return first_rows, first_columns


def _coloured_strokes(coloured: Mask | None) -> bool:
    """Whether thin lines are coloured. Beside colour in plenty that cannot be told from its ragged edges."""
    if coloured is None or np.count_nonzero(coloured) < LEAST_COLOURED or in_plenty(coloured):
        return False
    solid = int(np.count_nonzero(without_lines(coloured)))
    return int(np.count_nonzero(coloured)) - solid >= max(LEAST_COLOURED, solid)
