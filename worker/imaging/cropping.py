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


def model_pixels(frame: Pixels, region: Roi, *, size: int, margin: float, resize: str, channels: str) -> Pixels:
    """Crop and resize one lesion. In this order:

    1. Crop, with ``margin`` of the region's width to the left and right and of its height above and below: columns
       ``floor(x - margin * width)`` to ``ceil(x + width + margin * width)``, rows likewise, the end not included,
       clipped to the frame.
    2. ``channels="gray"``: RGB becomes grey by Pillow's ``convert("L")``.
    3. ``resize="letterbox"``: pad with zeros to the smallest square that holds the crop, the crop in the middle; an
       odd pixel more goes to the right or to the bottom. The aspect ratio is kept. ``"stretch"``: no padding.
    4. Resize to ``size`` x ``size`` with Pillow's ``BILINEAR``, on uint8.

    Args:
        frame: uint8, (rows, columns) or (rows, columns, 3).
        region: at least one pixel, wholly inside the frame.
        size: of the side, in pixels.
        margin: a fraction, 0 or more.
        resize: ``letterbox`` or ``stretch``.
        channels: ``gray`` or ``rgb``.

    Returns:
        uint8, (1, size, size) for ``gray``, (3, size, size) for ``rgb``, where a grey frame is repeated.

    Raises:
        ValueError: ``resize`` or ``channels`` is none of these words.
        LesionRefused: ``pixels_too_large``; a region so long that its square would not fit into memory.
    """
    if resize not in ("letterbox", "stretch") or channels not in ("gray", "rgb"):
        raise ValueError("resize is letterbox or stretch, channels is gray or rgb")
    pixels = crop(frame, region, margin)
    if channels == "gray":
        pixels = to_grey(pixels)
    if resize == "letterbox":
        pixels = letterbox(pixels)
    pixels = resized(pixels, size)
    return pixels[np.newaxis] if channels == "gray" else to_three_channels(pixels)


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
    """Crop, resize (`model_pixels`) and normalize one lesion: ``(value / 255 - mean) / std`` of three channels.

    The inference engine takes the uint8 pixels to its device and does this last step there
    (`worker.inference.model_pair`), in the same order and in float32 too.

    Args:
        frame: and all that follow up to ``channels``: as `model_pixels` takes them.
        mean: three values, or one for all channels.
        std: the same, not 0.

    Returns:
        float32, (3, size, size); grey is repeated.
    """
    pixels = model_pixels(frame, region, size=size, margin=margin, resize=resize, channels=channels)
    return normalized(np.broadcast_to(pixels, (3, size, size)), mean, std)


def to_grey(pixels: Pixels) -> Pixels:
    """Return (rows, columns): grey as it is, RGB by Pillow's ``convert("L")`` (ITU-R 601-2 luma)."""
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))


def crop(pixels: Pixels, region: Roi, margin: float) -> Pixels:
    """Cut the region and its margin out of a frame, clipped to the frame."""
    return pixels[crop_slices((pixels.shape[0], pixels.shape[1]), region, margin)]


def crop_slices(size: tuple[int, int], region: Roi, margin: float) -> tuple[slice, slice]:
    """Return the rows and columns of a frame of a size, (rows, columns), that the region and its margin take."""
    rows, columns = size
    left, top = margin * region.width, margin * region.height
    x0, x1 = max(floor(region.x - left), 0), min(ceil(region.x + region.width + left), columns)
    y0, y1 = max(floor(region.y - top), 0), min(ceil(region.y + region.height + top), rows)
    return slice(y0, y1), slice(x0, x1)


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
