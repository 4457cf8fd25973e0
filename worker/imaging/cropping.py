"""From a frame and a region to what a model is fed. Every step is exactly defined, so that anyone can recompute it."""

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.errors import Code, LesionRefused
from worker.study import Roi

Pixels = NDArray[np.uint8]

LONGEST_SIDE = 12_000
"""Pixels on a side of a letterboxed square: 144 MB of grey."""


def model_input(
    frame: Pixels,
    region: Roi,
    *,
    size: int,
    margin: float,
    resize: str,
    channels: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> NDArray[np.float32]:
    """Crop, resize and normalize one lesion. In this order:

    1. ``channels="gray"``: an RGB frame becomes grey by Pillow's ``convert("L")``.
    2. Crop, with ``margin`` of the region's width to the left and right and of its height above and below: columns
       ``floor(x - margin * width)`` to ``ceil(x + width + margin * width)``, rows likewise, the end not included,
       clipped to the frame.
    3. ``resize="letterbox"``: pad with zeros to the smallest square that holds the crop, the crop in the middle; an
       odd pixel more goes to the right or to the bottom. The aspect ratio is kept. ``"stretch"``: no padding.
    4. Resize to ``size`` x ``size`` with Pillow's ``BILINEAR``, on uint8.
    5. Grey is repeated to three channels (also under ``channels="rgb"``, where RGB stays as it is).
    6. ``(value / 255 - mean) / std`` for each channel, in float32.

    Args:
        frame: uint8, (rows, columns) or (rows, columns, 3).
        region: at least one pixel, wholly inside the frame.
        size: of the side, in pixels.
        margin: a fraction, 0 or more.
        resize: ``letterbox`` or ``stretch``.
        channels: ``gray`` or ``rgb``.
        mean: three values, or one for all channels.
        std: the same, not 0.

    Returns:
        float32, (3, size, size).

    Raises:
        ValueError: ``resize`` or ``channels`` is none of these words.
    """
    if resize not in ("letterbox", "stretch") or channels not in ("gray", "rgb"):
        raise ValueError("resize is letterbox or stretch, channels is gray or rgb")
    pixels = to_grey(frame) if channels == "gray" else frame
    pixels = crop(pixels, region, margin)
    if resize == "letterbox":
        pixels = letterbox(pixels)
    return normalized(to_three_channels(resized(pixels, size)), mean, std)


def to_grey(pixels: Pixels) -> Pixels:
    """Return (rows, columns): grey as it is, RGB by Pillow's ``convert("L")`` (ITU-R 601-2 luma)."""
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))


def crop(pixels: Pixels, region: Roi, margin: float) -> Pixels:
    """Cut the region and its margin out of a frame, clipped to the frame."""
    rows, columns = pixels.shape[:2]
    left, top = margin * region.width, margin * region.height
    x0, x1 = max(floor(region.x - left), 0), min(ceil(region.x + region.width + left), columns)
    y0, y1 = max(floor(region.y - top), 0), min(ceil(region.y + region.height + top), rows)
    return pixels[y0:y1, x0:x1]


def letterbox(pixels: Pixels) -> Pixels:
    """Pad with zeros to a square, the pixels in its middle; an odd one more goes to the right or to the bottom.

    Raises:
        LesionRefused: ``pixels_too_large``; a region so long that its square would not fit into memory.
    """
    rows, columns = pixels.shape[:2]
    side = max(rows, columns)
    if side > LONGEST_SIDE:
        raise LesionRefused(Code.PIXELS_TOO_LARGE, f"the lesion's region is longer than {LONGEST_SIDE} pixels")
    top, left = (side - rows) // 2, (side - columns) // 2
    square = np.zeros((side, side, *pixels.shape[2:]), np.uint8)
    square[top : top + rows, left : left + columns] = pixels
    return square


def resized(pixels: Pixels, size: int) -> Pixels:
    """Return (size, size) or (size, size, 3), by Pillow's ``BILINEAR`` on uint8."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def to_three_channels(pixels: Pixels) -> Pixels:
    """Return (3, rows, columns); grey is repeated."""
    return np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else np.stack([pixels] * 3)


def normalized(pixels: Pixels, mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """Return ``(value / 255 - mean) / std`` of (channels, rows, columns), in float32."""
    values = pixels.astype(np.float32) / np.float32(255)
    centre, spread = (np.asarray(each, np.float32).reshape(-1, 1, 1) for each in (mean, std))
    return np.ascontiguousarray((values - centre) / spread)
