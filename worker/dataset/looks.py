"""What an image looks like, and which images are copies of one another: stored anew, scaled, brightened or cropped.

Each look is 64 x 64 grey levels. A first pass holds every image, whole, against 64 windows of every other, by the
correlation of 12 x 12 means after local contrast normalization. Pairs that come near are registered: the four sides of
either window are moved until they agree best. What counts is their correlation at 24 x 24. Measured on BUSI, BUS-BRA
and BrEaST: docs/decisions/0049-an-image-is-found-again-by-its-look.md.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.study import Roi

SIDE = 64
"""Pixels of a look."""

LEAST_LIKE = 0.75
"""Correlation of two registered looks that are of one image, -1 to 1. Of 2,127 images of different patients the nearest
two reach 0.68; copies reach 0.86 and more; consecutive frames of a lesion are between."""

AROUND_LESION = 0.25
"""How much of a lesion's width and height its look has on either side."""

FRAME_CUTS = (0.0, 0.1, 0.2)
LESION_CUTS = (0.0, 0.1)
"""Shares of a side that a window leaves out at either end. A lesion's rectangle is drawn anew; a frame is cropped."""

_MOST_CUT = 0.31
_COARSE, _MIDDLE, _FINE = 12, 16, 24
_NEAR = 0.65
_NEIGHBOURHOOD = 5
_NOISE = 25.0
"""Squared grey levels below which contrast is not raised."""

_STEPS = ((0.06, 0.6), (0.03, 0.7), (0.015, 0.7))
"""How far a side is moved, and the correlation that a pair has to reach by it to be registered further."""

_LEAST_SIDE = 0.6
_BATCH, _BLOCK = 512, 1024

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


def look_of(frame: NDArray[np.uint8], region: Roi | None = None) -> bytes:
    """Return what a frame looks like, or a lesion with a quarter of its size around it.

    Args:
        frame: uint8, (rows, columns) or (rows, columns, 3).
        region: the lesion's rectangle, inside the frame; ``None``: the whole frame.

    Returns:
        64 x 64 grey levels, row by row.
    """
    grey = Image.fromarray(frame).convert("L")
    box = None if region is None else _around(region, *grey.size)
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX, box=box)).tobytes()


def alike(looks: Sequence[bytes], cuts: Sequence[float] = FRAME_CUTS) -> list[tuple[int, int]]:
    """Return the pairs of places, the lower first, whose looks are of one image.

    Args:
        looks: of `look_of`.
        cuts: shares of a side by which one may be cropped against the other.
    """
    if len(looks) < 2:
        return []
    images = np.frombuffer(b"".join(looks), np.uint8).reshape(-1, SIDE, SIDE)
    one, other, windows = _near(images, _windows(cuts))
    found: list[tuple[int, int]] = []
    for start in range(0, len(one), _BATCH):
        part = slice(start, start + _BATCH)
        same = _registered(images[one[part]], images[other[part]], windows[part]) >= LEAST_LIKE
        pairs = np.sort(np.stack([one[part][same], other[part][same]], axis=1), axis=1)
        found += [(int(low), int(high)) for low, high in pairs]
    return sorted(found)


def _around(region: Roi, columns: int, rows: int) -> tuple[float, float, float, float]:
    across, down = AROUND_LESION * region.width, AROUND_LESION * region.height
    return (
        max(region.x - across, 0),
        max(region.y - down, 0),
        min(region.x + region.width + across, columns),
        min(region.y + region.height + down, rows),
    )


def _windows(cuts: Sequence[float]) -> Floats:
    """Every window as its left, top, right and bottom, 0 to 1."""
    ends = [(first, 1 - last) for first in cuts for last in cuts if first + last <= _MOST_CUT]
    return np.array([(left, top, right, bottom) for left, right in ends for top, bottom in ends], np.float32)


def _near(images: NDArray[np.uint8], windows: Floats) -> tuple[Places, Places, Floats]:
    """Return the pairs that come near, each once: whose window, against which whole image, and the best window."""
    whole = _features(_sampled(images, np.array([[0, 0, 1, 1]], np.float32), _COARSE))
    hits: list[tuple[NDArray[Any], ...]] = []
    for number, window in enumerate(windows):
        seen = _features(_sampled(images, window[np.newaxis], _COARSE))
        for start in range(0, len(images), _BLOCK):
            scores = seen[start : start + _BLOCK] @ whole.T
            one, other = np.nonzero(scores >= _NEAR)
            kept = one + start != other
            hits.append((one[kept] + start, other[kept], scores[one, other][kept], np.full(kept.sum(), number)))
    one, other, scores, numbers = (np.concatenate(column) for column in zip(*hits, strict=True))
    order = np.lexsort((-scores, np.maximum(one, other), np.minimum(one, other)))
    low, high = np.minimum(one, other)[order], np.maximum(one, other)[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    best = order[first]
    return one[best], other[best], windows[numbers[best]]


def _registered(one: NDArray[np.uint8], other: NDArray[np.uint8], windows: Floats) -> Floats:
    """Move the sides of both windows of each pair to where they agree best; return how well they do, at last."""
    looks = one.astype(np.float32), other.astype(np.float32)
    boxes = windows.copy(), np.tile(np.array([0, 0, 1, 1], np.float32), (len(one), 1))
    left = np.arange(len(one))
    for step, least in _STEPS:
        left = left[_moved(tuple(look[left] for look in looks), boxes, left, step) >= least]
    result = np.full(len(one), -1, np.float32)
    ends = [_features(_sampled(look[left], box[left], _FINE)) for look, box in zip(looks, boxes, strict=True)]
    result[left] = (ends[0] * ends[1]).sum(axis=1)
    return result


def _moved(looks: tuple[Floats, ...], boxes: tuple[Floats, Floats], left: Places, step: float) -> Floats:
    """Move each side of the pairs that are left by a step, out and in, and keep what agrees better."""
    now = [box[left] for box in boxes]
    seen = [_features(_sampled(look, box, _MIDDLE)) for look, box in zip(looks, now, strict=True)]
    best = cast("Floats", (seen[0] * seen[1]).sum(axis=1))
    for which, side, by in [(which, side, by) for which in (0, 1) for side in range(4) for by in (step, -step)]:
        tried = now[which].copy()
        tried[:, side] = np.clip(tried[:, side] + by, 0, 1)
        large = (tried[:, 2:] - tried[:, :2] >= _LEAST_SIDE).all(axis=1)
        features = _features(_sampled(looks[which], tried, _MIDDLE))
        scores = np.where(large, (features * seen[1 - which]).sum(axis=1), -1)
        better = scores > best
        now[which][better], seen[which][better], best[better] = tried[better], features[better], scores[better]
    for box, moved in zip(boxes, now, strict=True):
        box[left] = moved
    return best


def _sampled(looks: NDArray[Any], boxes: Floats, cells: int) -> Floats:
    """Return means of the cells of a window of each look: (images, cells, cells). One window may serve them all."""
    across, down = _shares(boxes[:, 0], boxes[:, 2], cells), _shares(boxes[:, 1], boxes[:, 3], cells)
    return cast("Floats", down @ looks.astype(np.float32, copy=False) @ across.transpose(0, 2, 1))


def _shares(begin: Floats, end: Floats, cells: int) -> Floats:
    """Return what share of each cell every pixel is: (windows, cells, 64)."""
    edges = SIDE * (begin[:, None] + (end - begin)[:, None] * np.linspace(0, 1, cells + 1, dtype=np.float32))
    pixels = np.arange(SIDE, dtype=np.float32)
    overlap = np.minimum(edges[:, 1:, None], pixels + 1) - np.maximum(edges[:, :-1, None], pixels)
    return cast("Floats", np.clip(overlap, 0, None) / np.diff(edges)[:, :, None])


def _features(means: Floats) -> Floats:
    """Return what a window looks like whatever its brightness and contrast: (images, cells²), each of length 1."""
    blur = _blur(means.shape[1])
    detail = means - blur @ means @ blur.T
    detail /= np.sqrt(blur @ (detail * detail) @ blur.T + _NOISE)
    flat = detail.reshape(len(detail), detail.shape[1] * detail.shape[2])
    flat = flat - flat.mean(axis=1, keepdims=True)
    return cast("Floats", flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6))


def _blur(cells: int) -> Floats:
    """Return the matrix that averages over five neighbours, the outermost repeated beyond the edge."""
    matrix = np.zeros((cells, cells), np.float32)
    reach = _NEIGHBOURHOOD // 2
    for cell in range(cells):
        for neighbour in np.clip(np.arange(cell - reach, cell + reach + 1), 0, cells - 1):
            matrix[cell, neighbour] += 1 / _NEIGHBOURHOOD
    return matrix
