"""Calipers that are burned into an image, taken out and put in: what a model is to learn nothing from.

Where cancers were measured and cysts were not, calipers tell one from the other. A model that sees the same lesion
with them and without them has nothing to gain from them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from worker.imaging.cropping import to_grey
from worker.imaging.quality.calipers import caliper_pixels
from worker.imaging.quality.colour import taken_apart
from worker.imaging.quality.overlay import overlay_pixels

_REACHES = (6, 10, 16, 24)
"""Pixels to where tissue is taken from that covers a mark: a caliper's arm is 5 to 10 long."""

_WAYS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))
_FINER = 4
"""Marks are drawn so many times larger, and made smaller: as thin as they are once a crop is resized."""

_ARM = (0.02, 0.05)
"""Length of a mark's arm, as a share of the image's side."""

_DISTANCE = (0.2, 0.42)
"""From the image's middle to a mark, likewise: near the lesion's edge, whatever the margin."""

_LEVEL = (0.6, 1.0)
_PAIRS = (1, 2)
_DOTS = 12


def painted_over(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cover what is drawn into a frame with the tissue beside it, speckle and all.

    What neither `overlay_in_roi` nor `has_calipers` finds stays: dotted lines alone, grey text, lines wider than three
    pixels, and marks of other shapes.

    Args:
        frame: uint8, (rows, columns) or (rows, columns, 3).

    Returns:
        The frame, or another one of the same shape where something is drawn into it.
    """
    white, coloured = taken_apart(frame)
    marked = overlay_pixels(white, coloured) | caliper_pixels(to_grey(frame))
    if not marked.any():
        return frame
    covered = frame.copy()
    for reach in _REACHES:
        for down, across in _WAYS:
            rows, columns = np.nonzero(marked)
            from_rows, from_columns = rows + reach * down, columns + reach * across
            inside = (from_rows >= 0) & (from_rows < frame.shape[0])
            inside &= (from_columns >= 0) & (from_columns < frame.shape[1])
            rows, columns, from_rows, from_columns = (one[inside] for one in (rows, columns, from_rows, from_columns))
            plain = ~marked[from_rows, from_columns]
            covered[rows[plain], columns[plain]] = covered[from_rows[plain], from_columns[plain]]
            marked[rows[plain], columns[plain]] = False
    return covered


def with_calipers(image: Tensor) -> Tensor:
    """Draw calipers around the middle of an image, by torch's random numbers: one pair or two, crosses or x, dotted.

    Args:
        image: float32 (C, S, S), 0 to 1.
    """
    side = image.shape[-1]
    canvas = Image.new("L", (_FINER * side, _FINER * side))
    draw = ImageDraw.Draw(canvas)
    arm, middle = _drawn(_ARM) * canvas.width, canvas.width / 2
    is_cross, is_dotted = torch.rand(2) < 0.5
    turn = float(torch.rand(())) * np.pi
    for pair in range(int(torch.randint(_PAIRS[0], _PAIRS[1] + 1, ()))):
        angle = turn + pair * np.pi / 2
        ends = []
        for sign in (1, -1):
            distance = sign * _drawn(_DISTANCE) * canvas.width
            ends.append((middle + distance * np.cos(angle), middle + distance * np.sin(angle)))
            _mark(draw, ends[-1], arm, is_cross=bool(is_cross))
        if is_dotted:
            _dots(draw, ends)
    alpha = torch.from_numpy(np.asarray(canvas.resize((side, side), Image.Resampling.BOX), np.float32) / 255)
    return image * (1 - alpha) + _drawn(_LEVEL) * alpha


def _mark(draw: ImageDraw.ImageDraw, at: tuple[float, float], arm: float, *, is_cross: bool) -> None:
    x, y = at
    for across, down in ((1, 0), (0, 1)) if is_cross else ((0.7, 0.7), (0.7, -0.7)):
        draw.line((x - across * arm, y - down * arm, x + across * arm, y + down * arm), fill=255, width=2)


def _dots(draw: ImageDraw.ImageDraw, ends: Sequence[tuple[float, float]]) -> None:
    for share in np.linspace(0, 1, _DOTS + 2)[1:-1]:
        x, y = (one + share * (other - one) for one, other in zip(*ends, strict=True))
        draw.point((x, y), fill=255)


def _drawn(between: tuple[float, float]) -> float:
    low, high = between
    return low + (high - low) * float(torch.rand(()))
