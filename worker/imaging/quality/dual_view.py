"""Two views side by side in one region: what is left and right of the seam are different places of the breast."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from db.schema.vocabulary import QualityFinding
from worker.imaging.regions import UltrasoundRegion, extent, is_tissue, shared
from worker.study import Roi

LEAST_SHARE = 0.01
"""Share of a region that has to lie in each of two views."""

MOST_VIEWS = 16
"""Views that are compared; a screen shows four."""

LEAST_ROWS = 24
"""A shorter column may be of one value by chance."""

LEAST_COLUMNS = 8
"""Columns of a picture on either side of a seam; what is nearer to the region's edge is its edge."""

FLAT = 4
"""Grey levels that the values of a seam's column may differ by."""

EDGE = 3
"""Columns from a seam to where the picture begins on either side; a shadow fades over many more."""

TEXTURE = 6
"""Grey levels between the quartiles of a picture's column at least; text on black has none."""


def seam_of_regions(roi: Roi, regions: Sequence[UltrasoundRegion]) -> QualityFinding | None:
    """Tell a region that reaches into two 2-D tissue regions of the header which do not overlap (PS3.3, C.8.5.5)."""
    least = LEAST_SHARE * roi.width * roi.height
    views = [region for region in regions if is_tissue(region) and shared(region, roi) > least][:MOST_VIEWS]
    apart = any(shared(one, extent(other)) == 0 for one, other in combinations(views, 2))
    return QualityFinding.DUAL_VIEW_SEAM_IN_ROI if apart else None


def seam_in_pixels(grey: NDArray[np.uint8]) -> QualityFinding | None:
    """Tell a region that columns of one value divide from top to bottom, with a picture right beside them.

    Two views that touch without a gap, and of which the header knows nothing, are not told.

    Args:
        grey: of the region, uint8 (rows, columns).
    """
    rows, columns = grey.shape
    if rows < LEAST_ROWS or columns < 2 * LEAST_COLUMNS:
        return None
    spread = grey.max(axis=0) - grey.min(axis=0)
    flat = np.flatnonzero(spread <= FLAT)
    if len(flat) == 0:
        return None
    for band in np.split(flat, np.flatnonzero(np.diff(flat) > 1) + 1):
        inside = band[0] >= LEAST_COLUMNS and columns - 1 - band[-1] >= LEAST_COLUMNS
        if inside and _is_picture(grey[:, band[0] - EDGE]) and _is_picture(grey[:, band[-1] + EDGE]):
            return QualityFinding.DUAL_VIEW_SEAM_IN_ROI
    return None


def _is_picture(column: NDArray[np.uint8]) -> bool:
    low, high = np.percentile(column, (25, 75))
    return bool(high - low >= TEXTURE)
