"""A heat map over a lesion, for a person's eyes: what a network was shown, plain and coloured, side by side, as PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from textwrap import wrap
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from worker.imaging.cropping import to_grey
from worker.study import Roi

Pixels = NDArray[np.uint8]
Heat = NDArray[np.float32]

SIDE: Final = 420
"""Pixels on the longest side of each of the two pictures."""

GAP: Final = 12
SCALE: Final = 84
"""Pixels of width for the scale and its words."""

LINE: Final = 20
"""Pixels from one line of text to the next."""

NARROWEST: Final = 640
"""Pixels of width at least, for the text."""

HEAT_SHARE: Final = 0.55
"""How much of the hottest pixel is colour: what is under it is to be seen still."""

_BAR, _GREY_BELOW = 22, 96
_TEXT_SIZE, _LETTER = 15, 7.6
_WHITE, _BLACK, _CYAN = (235, 235, 235), (0, 0, 0), (0, 225, 255)


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Where in a frame a model looked.

    Attributes:
        values: float32 (rows, columns) of the frame, 0 to 1: 1 where most spoke for the model's positive class, which
            may have been in the padding of a letterbox; 0 outside of ``shown``, and everywhere if nothing spoke for it.
        shown: the rectangle that the network was shown: the lesion's, and what is around it.
        grey: the network was shown no colours.
        cells: how many of the map's own cells are on its side; there is no finer detail in it.
    """

    values: Heat
    shown: Roi
    grey: bool
    cells: int


def heated(colours: Pixels, heat: Heat) -> Pixels:
    """Blend a scale from red to yellow over pixels, the more the hotter.

    Args:
        colours: uint8 (rows, columns, 3).
        heat: float32 (rows, columns), 0 to 1.
    """
    colour = np.stack([np.full_like(heat, 255.0), 255.0 * heat, np.zeros_like(heat)], axis=2)
    share = (HEAT_SHARE * heat)[..., None]
    blended: Pixels = np.rint(colours * (1 - share) + colour * share).astype(np.uint8)
    return blended


def heat_picture(frame: Pixels, region: Roi, heat: HeatMap, lines: Sequence[str] = ()) -> bytes:
    """Draw what a network was shown, and nothing else of the frame: plain, beside it with the heat, and a scale.

    A line is drawn around the region on both. Without colours where the network saw none.

    Args:
        frame: uint8, (rows, columns) or (rows, columns, 3).
        region: the lesion's rectangle, within ``heat.shown``.
        heat: of the frame.
        lines: what is written below; a long one is broken.

    Returns:
        PNG, RGB. Its size follows from that of ``heat.shown`` and from ``lines`` alone.
    """
    shown = heat.shown
    part = np.s_[shown.y : shown.y + shown.height, shown.x : shown.x + shown.width]
    seen, values = frame[part], heat.values[part]
    if heat.grey or seen.ndim == 2:
        seen = np.stack([to_grey(np.ascontiguousarray(seen))] * 3, axis=2)
    width, height = size_of_each(shown)
    pictures = [_enlarged(one, (width, height)) for one in (seen, heated(seen, values))]
    total = max(2 * (width + GAP) + SCALE, NARROWEST)
    written = [line for text in lines for line in wrap(text, int((total - 2 * GAP) / _LETTER))]
    canvas = Image.new("RGB", (total, height + len(written) * LINE + (2 * GAP if written else 0)), _BLACK)
    for place, picture in enumerate(pictures):
        _outline(picture, region, shown)
        canvas.paste(picture, (place * (width + GAP), 0))
    _draw_scale(canvas, 2 * (width + GAP), height)
    _write(canvas, height + GAP, written)
    return _png(canvas)


def size_of_each(shown: Roi) -> tuple[int, int]:
    """Return the width and the height in pixels of each of the two pictures of a rectangle: its shape is kept."""
    scale = SIDE / max(shown.width, shown.height)
    return max(round(shown.width * scale), 1), max(round(shown.height * scale), 1)


def _enlarged(pixels: Pixels, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BILINEAR)


def _outline(picture: Image.Image, region: Roi, shown: Roi) -> None:
    """Draw a line around the region; where it ends with what was shown, just within."""
    scale_x, scale_y = picture.width / shown.width, picture.height / shown.height
    left, top = round((region.x - shown.x) * scale_x), round((region.y - shown.y) * scale_y)
    right = round((region.x + region.width - shown.x) * scale_x) - 1
    bottom = round((region.y + region.height - shown.y) * scale_y) - 1
    draw = ImageDraw.Draw(picture)
    for away, colour in ((2, _BLACK), (1, _CYAN)):
        corners = (max(left - away, 0), max(top - away, 0),
                   min(right + away, picture.width - 1), min(bottom + away, picture.height - 1))  # fmt: skip
        draw.rectangle(corners, outline=colour)


def _draw_scale(canvas: Image.Image, left: int, height: int) -> None:
    """Draw which colour is how much, over the grey of tissue."""
    heat = np.repeat(np.linspace(1, 0, height, dtype=np.float32)[:, None], _BAR, axis=1)
    bar = heated(np.full((height, _BAR, 3), _GREY_BELOW, np.uint8), heat)
    canvas.paste(Image.fromarray(bar), (left, 0))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_TEXT_SIZE)
    for text, top in (("1 most", 0), ("0.5", (height - LINE) // 2), ("0 none", height - LINE)):
        draw.text((left + _BAR + 6, max(top, 0)), text, fill=_WHITE, font=font)


def _write(canvas: Image.Image, top: int, lines: Sequence[str]) -> None:
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_TEXT_SIZE)
    for place, text in enumerate(lines):
        draw.text((GAP, top + place * LINE), text, fill=_WHITE, font=font)


def _png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG", compress_level=6)
    return file.getvalue()
