"""Pictures of a lesion for a person's eyes: PNG, of the pixels that were scored."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from worker.imaging.cropping import crop
from worker.study import Roi

CROP_MARGIN = 0.25
"""Of the region's width and height, on each side: a reader wants to see what is around a lesion."""

LONGEST_SIDE = 1600
"""Pixels on the longest side of a picture; a larger frame is made smaller."""

_LINE, _HALO = (255, 214, 64), (0, 0, 0)


def crop_picture(frame: NDArray[np.uint8], region: Roi) -> bytes:
    """Return the region with a margin around it, as PNG, without any mark on it.

    Args:
        frame: uint8, (rows, columns) or (rows, columns, 3).
        region: wholly inside the frame.
    """
    return _png(Image.fromarray(np.ascontiguousarray(crop(frame, region, CROP_MARGIN))))


def frame_picture(frame: NDArray[np.uint8], region: Roi) -> bytes:
    """Return the whole frame with a line around the region, as PNG. The line lies outside of the region.

    Args:
        frame: uint8, (rows, columns) or (rows, columns, 3).
        region: wholly inside the frame.
    """
    picture = Image.fromarray(frame).convert("RGB")
    width = max(round(max(picture.size) / 320), 1)
    draw = ImageDraw.Draw(picture)
    for colour, away, thick in ((_HALO, 3 * width, 3 * width), (_LINE, 2 * width, width)):
        corners = (region.x - away, region.y - away, region.x + region.width + away - 1,
                   region.y + region.height + away - 1)  # fmt: skip
        draw.rectangle(corners, outline=colour, width=thick)
    return _png(picture)


def _png(picture: Image.Image) -> bytes:
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "PNG", compress_level=3)
    return file.getvalue()
