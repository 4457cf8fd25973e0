"""Calipers that a scanner drew into a frame, grey or white: found by their shape.

A scanner draws a mark the same each time, to the pixel, and sharper than a beam can make tissue. So each place of a
frame without what is smooth in it is held against the marks that scanners draw, by normalized cross-correlation, which
does not depend on how bright a mark is. Where marks were found, the digits beside them and the dots between them are
what is as sharp as they are.

The marks are upright crosses and x with arms of 3 to 6 pixels, and four of GE scanners, as they were met in BUS-BRA.
Not found: marks of other shapes or sizes, those that an image lost by being scaled down, and dots or text alone.
"""

from collections.abc import Iterator
from functools import cache
from itertools import combinations
from math import ceil

import numpy as np
from numpy.typing import NDArray

from worker.imaging.quality.colour import Mask
from worker.imaging.quality.overlay import thickened

LIKENESS = 0.62
"""Correlation of a mark with its pattern at least, -1 to 1. Tissue came to 0.59 at most, in 292 crops without any."""

LIKENESS_OF_OTHERS = 0.55
"""The same of the other marks of a frame that has one: they come in pairs."""

LEAST_CONTRAST = 3.0
"""Grey levels, root mean square of what is sharp around a mark: less is not seen, and may be compression's."""

MOST_MARKS = 24
"""Marks that are looked for in one frame; a lesion in two views has eight."""

BESIDE = 18
"""Pixels from a mark's middle to where its digit ends."""

AS_SHARP = 0.5
"""Share of a mark's own sharpness that its digit, and a dot between two marks, has at least."""

FAINTEST = 0.3
"""Share of a mark's own sharpness that its faintest stroke has at least."""

_SMOOTH = 5
"""Pixels: the mean of so many by so many is what is smooth."""

_WIDEST = 18
"""Pixels of the largest pattern."""

_APART = 8
"""Pixels between the middles of two marks at least."""

_LEVELS = {"#": 1.0, "+": 0.5, ".": 0.0, "-": -0.4}
_STAR = """
    ....--...--....
    ..++--.#.--++..
    .-+#.-.#.-.#+-.
    .--++-.#.-++--.
    ..--.++#++.--..
    ...--.###.--...
    ...---+#+---...
    ...--.###.--...
    ..--.++#++.--..
    .--++-.#.-++--.
    .-+#.-.#.-.#+-.
    ..++--.#.--++..
    ....--...--....
"""
_LYING_STAR = """
    -.+.-....-.+.-
    -.++------++.-
    .-.++----++.-.
    .---..--..---.
    -.+..++++..+.-
    -.##+####+##.-
    -.+..++++..+.-
    .---..--..---.
    .-.++----++.-.
    -.++------++.-
    -.+.-....-.+.-
"""
_HOLLOW_CROSS = """
    ....-.+++.-....
    ....-.###.-....
    ....--.#.--....
    ....--.+.--....
    --++--.+.--++--
    --##+.---.+##--
    --##+.---.+##--
    --++--.+.--++--
    ....--.+.--....
    ....--.#.--....
    ....-.###.-....
    ....-.+++.-....
"""
_RING = """
    ..--.+---+.--..
    .---#+---+#---.
    .--+#.---.#+--.
    --+#++---++#+--
    .-++-++.++-++-.
    .-.---###---.-.
    .-.---###---.-.
    .-++-++.++-++-.
    --+#++---++#+--
    .--+#.---.#+--.
    .---#+---+#---.
    ..--.+---+.--..
"""
_CROSSES = ((3, 1), (4, 1), (4, 2), (5, 2), (6, 2))
"""Length of an upright cross's arm and width of its stroke, pixels."""

_XS = (4, 6)

Sharp = NDArray[np.float32]
Place = tuple[int, int]


def has_calipers(grey: NDArray[np.uint8]) -> bool:
    """Whether there is a mark in a frame, or a part of one, (rows, columns)."""
    return bool(_best(_sharp(grey)).max() >= LIKENESS)


def caliper_pixels(grey: NDArray[np.uint8]) -> Mask:
    """Return which pixels are of marks, of the digits beside them and of the dots between them, (rows, columns)."""
    sharp = _sharp(grey)
    places = list(_places(_best(sharp)))
    marked = np.zeros(grey.shape, np.bool_)
    levels = [float(sharp[_around(place, _APART)].max()) for place in places]
    for place, level in zip(places, levels, strict=True):
        for reach, share in ((_APART, FAINTEST), (BESIDE, AS_SHARP)):
            marked[_around(place, reach)] |= sharp[_around(place, reach)] >= share * level
    for (one, its_level), (other, other_level) in combinations(zip(places, levels, strict=True), 2):
        steps = max(abs(one[0] - other[0]), abs(one[1] - other[1])) + 1
        rows, columns = (np.linspace(*ends, steps).round().astype(np.intp) for ends in zip(one, other, strict=True))
        dots = sharp[rows, columns] >= AS_SHARP * min(its_level, other_level)
        marked[rows[dots], columns[dots]] = True
    return thickened(marked)


def _sharp(grey: NDArray[np.uint8] | NDArray[np.float32]) -> Sharp:
    """Return a frame without what is smooth in it."""
    level = grey.astype(np.float32, copy=False)
    return level - _Sums(level).over(_SMOOTH, _SMOOTH) / np.float32(_SMOOTH**2)


def _best(sharp: Sharp) -> Sharp:
    """Return how like the likest pattern each place is, -1 to 1, (rows, columns)."""
    best = np.full(sharp.shape, -1, np.float32)
    size = [16 * ceil((length + _WIDEST) / 16) for length in sharp.shape]
    spectrum, energies = np.fft.rfft2(sharp, size), _Sums(sharp**2)
    for pattern in _patterns():
        rows, columns = pattern.shape
        found = np.fft.irfft2(spectrum * np.conj(np.fft.rfft2(pattern, size)), size)
        found = np.roll(found, (rows // 2, columns // 2), (0, 1))[: sharp.shape[0], : sharp.shape[1]]
        energy = np.maximum(energies.over(rows, columns), pattern.size * LEAST_CONTRAST**2)
        np.maximum(best, found / np.sqrt(energy), out=best)
    return best


def _places(likeness: Sharp) -> Iterator[Place]:
    """Yield the middles of marks, the likest first; beside one that is sure, others may be less like a pattern."""
    left = likeness.copy()
    for found in range(MOST_MARKS):
        row, column = divmod(int(left.argmax()), left.shape[1])
        if left[row, column] < (LIKENESS_OF_OTHERS if found else LIKENESS):
            return
        yield row, column
        left[_around((row, column), _APART)] = -1


def _around(place: Place, reach: int) -> tuple[slice, slice]:
    row, column = place
    return slice(max(row - reach, 0), row + reach + 1), slice(max(column - reach, 0), column + reach + 1)


@cache
def _patterns() -> tuple[Sharp, ...]:
    """Return what is sharp in each mark: mean 0, norm 1."""
    drawn = [_cross(*one) for one in _CROSSES] + [_x(arm) for arm in _XS]
    patterns = [_sharp(np.pad(one, 2)) for one in drawn]
    patterns += [
        np.array([[_LEVELS[level] for level in row] for row in said.split()], np.float32)
        for said in (_STAR, _LYING_STAR, _HOLLOW_CROSS, _RING)
    ]
    zeroed = [one - one.mean() for one in patterns]
    return tuple(one / np.linalg.norm(one) for one in zeroed)


def _cross(arm: int, width: int) -> NDArray[np.float32]:
    across = np.zeros((2 * arm + width, 2 * arm + width), np.float32)
    across[arm : arm + width] = 1
    return np.maximum(across, across.T)


def _x(arm: int) -> NDArray[np.float32]:
    above, down, below = (np.eye(2 * arm + 1, k=beside, dtype=np.float32) for beside in (-1, 0, 1))
    thick = down + (above + below) / 2
    return np.maximum(thick, thick[::-1])


class _Sums:
    """Sums over the pixels around each, those of the edge standing in for what is beyond it."""

    def __init__(self, values: Sharp) -> None:
        self._shape = values.shape
        self._whole = np.pad(values.astype(np.float64), _WIDEST, mode="edge").cumsum(0).cumsum(1)

    def over(self, rows: int, columns: int) -> Sharp:
        """Return the sum over so many rows and columns around each pixel."""
        top, left = _WIDEST - rows // 2 - 1, _WIDEST - columns // 2 - 1
        upper, lower = (self._whole[one : one + self._shape[0]] for one in (top, top + rows))
        across = lower - upper
        sums = across[:, left + columns :][:, : self._shape[1]] - across[:, left : left + self._shape[1]]
        return np.asarray(sums, np.float32)
