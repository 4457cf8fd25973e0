"""Colour in a region: Doppler where the header says so, else colour of which nobody can say what it shows.

Elastography, colour Doppler of a file that does not say so, and a tinted B-mode look alike to this check.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from db.schema.vocabulary import QualityFinding
from worker.imaging.header import Header
from worker.imaging.regions import UltrasoundRegion, shared
from worker.study import Roi

CHROMA = 48
"""Levels between a pixel's largest and smallest of R, G and B. Lossy compression of grey stays below 20."""

LEAST_COLOUR = 0.01
"""Share of a region that is coloured, lines of up to `LINE` pixels left out."""

LINE = 4
"""Pixels that a scanner's own drawing is wide at most: two, where lossy compression halves the resolution of colour."""

_DOPPLER_TYPES = range(2, 8)
"""Region Data Type: colour flow, PW and CW spectral Doppler, Doppler mean, mode and max trace (PS3.3, C.8.5.5.1.2)."""

_DOPPLER_MODES = 0x0004 | 0x0008 | 0x0010 | 0x0020 | 0x0100
"""Image Type, value 4: CW, PW and colour Doppler, colour M-mode, colour power mode (PS3.3, C.8.5.6.1.1)."""

Mask = NDArray[np.bool_]


def says_doppler(header: Header) -> bool:
    """Whether Image Type (0008,0008) says that the image shows Doppler, somewhere."""
    modes = header.text("ImageType").split("\\")[3:4]
    try:
        return bool(modes) and bool(int(modes[0], 16) & _DOPPLER_MODES)
    except ValueError:
        return False


def doppler_in_roi(
    roi: Roi, regions: Sequence[UltrasoundRegion], coloured: Mask | None, *, said: bool
) -> QualityFinding | None:
    """Tell a region that the header's Doppler regions reach into, or that is coloured in an image said to show Doppler.

    Args:
        roi: the region.
        regions: those of the header.
        coloured: its coloured pixels, (rows, columns); ``None`` where the frame is grey.
        said: that the image shows Doppler somewhere.
    """
    area = roi.width * roi.height
    doppler = any(shared(region, roi) > LEAST_COLOUR * area for region in regions if region.data_type in _DOPPLER_TYPES)
    return QualityFinding.DOPPLER_IN_ROI if doppler or (said and in_plenty(coloured)) else None


def colour_in_roi(coloured: Mask | None) -> QualityFinding | None:
    """Tell a region of which more than `LEAST_COLOUR` is coloured; ``None``: the frame is grey."""
    return QualityFinding.COLOUR_IN_ROI if in_plenty(coloured) else None


def taken_apart(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Mask | None]:
    """Return how white each pixel is, the least of R, G and B; and which are coloured, ``None`` where none can be.

    Args:
        pixels: uint8, (rows, columns) or (rows, columns, 3).
    """
    if pixels.ndim == 2:
        return pixels, None
    red, green, blue = (np.ascontiguousarray(pixels[..., channel]) for channel in range(3))
    least = np.minimum(np.minimum(red, green), blue)
    coloured = np.maximum(np.maximum(red, green), blue) - least >= CHROMA
    return least, coloured if coloured.any() else None


def without_lines(mask: Mask) -> Mask:
    """Return what is left of (rows, columns) without what is at most `LINE` pixels wide: opened by 5 x 5."""
    return _grown(_grown(_shrunk(_shrunk(mask))))


def in_plenty(coloured: Mask | None) -> bool:
    """Whether more than `LEAST_COLOUR` of a region is coloured, lines left out."""
    return coloured is not None and bool(without_lines(coloured).mean() > LEAST_COLOUR)


def _shrunk(mask: Mask) -> Mask:
    """Keep a pixel whose eight neighbours are set; (rows - 2, columns - 2), or nothing of less than 3 x 3."""
    down = mask[:-2] & mask[1:-1] & mask[2:]
    return np.asarray(down[:, :-2] & down[:, 1:-1] & down[:, 2:])


def _grown(mask: Mask) -> Mask:
    """Set all neighbours of a pixel; (rows + 2, columns + 2)."""
    padded = np.pad(mask, 2)
    down = padded[:-2] | padded[1:-1] | padded[2:]
    return np.asarray(down[:, :-2] | down[:, 1:-1] | down[:, 2:])
