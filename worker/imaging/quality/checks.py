"""What speaks against scoring a lesion's region: each check is a function of header values and pixels, and says a
reason or nothing.

Every threshold stands at the top of its module with what it is in. None is validated on a hospital's scanners, so by
default a finding is a warning: docs/decisions/0021-the-gate-warns.md.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from db.schema.vocabulary import QualityFinding
from worker.imaging.cropping import crop, to_grey
from worker.imaging.header import Header
from worker.imaging.quality.colour import colour_in_roi, doppler_in_roi, says_doppler, taken_apart
from worker.imaging.quality.contrast import roi_blank, roi_saturated, roi_too_small
from worker.imaging.quality.dual_view import seam_in_pixels, seam_of_regions
from worker.imaging.quality.overlay import overlay_in_roi
from worker.imaging.regions import UltrasoundRegion, is_tissue
from worker.study import Roi

MOST_OUTSIDE = 0.05
"""Share of a region's area that may lie outside of all B-mode regions of the header; a hand draws past an edge."""


def quality_findings(
    frame: NDArray[np.uint8], roi: Roi, regions: Sequence[UltrasoundRegion], header: Header
) -> tuple[QualityFinding, ...]:
    """Look at the region that would be scored.

    Args:
        frame: uint8, (rows, columns) or (rows, columns, 3), white is bright.
        roi: wholly inside the frame; the job's, or what stands for it.
        regions: those of the header.
        header: of the file.

    Returns:
        Each reason that was found, once, in the order of `db.schema.vocabulary.QualityFinding`.
    """
    pixels = crop(frame, roi, 0)
    grey = to_grey(pixels)
    white, coloured = taken_apart(pixels)
    found = (
        doppler_in_roi(roi, regions, coloured, said=says_doppler(header)) or colour_in_roi(coloured),
        seam_of_regions(roi, regions) or seam_in_pixels(grey),
        overlay_in_roi(white, coloured),
        roi_outside_bmode(roi, regions),
        roi_too_small(roi),
        roi_blank(grey),
        roi_saturated(grey),
    )
    return tuple(reason for reason in found if reason is not None)


def roi_outside_bmode(roi: Roi, regions: Sequence[UltrasoundRegion]) -> QualityFinding | None:
    """Tell a region that leaves the 2-D tissue regions of the header (PS3.3, C.8.5.5); without any, nothing is said."""
    b_mode = [region for region in regions if is_tissue(region)]
    if not b_mode:
        return None
    inside = np.zeros((roi.height, roi.width), np.bool_)
    for region in b_mode:
        top, left = max(region.min_y0 - roi.y, 0), max(region.min_x0 - roi.x, 0)
        bottom, right = max(region.max_y1 + 1 - roi.y, 0), max(region.max_x1 + 1 - roi.x, 0)
        inside[top:bottom, left:right] = True
    return QualityFinding.ROI_OUTSIDE_BMODE if 1 - inside.mean() > MOST_OUTSIDE else None
