"""Whether a region holds enough to be scored: its size, its contrast, and what is clipped at white."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from db.schema.vocabulary import QualityFinding
from worker.study import Roi

SHORTEST_SIDE = 16
"""Pixels. Below it a model sees an interpolation of a few grains of speckle."""

LEAST_CONTRAST = 8
"""Grey levels from the 1st to the 99th percentile."""

WHITE = 254
"""Grey levels from here on are clipped; lossy compression moves 255 by one."""

MOST_WHITE = 0.10
"""Share of the pixels that may be clipped."""


def roi_too_small(roi: Roi) -> QualityFinding | None:
    """Tell a region with a side of fewer than `SHORTEST_SIDE` pixels."""
    return QualityFinding.ROI_TOO_SMALL if min(roi.width, roi.height) < SHORTEST_SIDE else None


def roi_blank(grey: NDArray[np.uint8]) -> QualityFinding | None:
    """Tell a region, uint8 (rows, columns), whose pixels differ by less than `LEAST_CONTRAST`, outliers left out."""
    share = np.cumsum(Image.fromarray(grey).histogram()) / grey.size
    dark, bright = np.searchsorted(share, (0.01, 0.99))
    return QualityFinding.ROI_BLANK if bright - dark < LEAST_CONTRAST else None


def roi_saturated(grey: NDArray[np.uint8]) -> QualityFinding | None:
    """Tell a region, uint8 (rows, columns), of which more than `MOST_WHITE` is clipped at white."""
    return QualityFinding.ROI_SATURATED if (grey >= WHITE).mean() > MOST_WHITE else None
