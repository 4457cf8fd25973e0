"""What an image may show by which a manifest's row can be left out."""

from enum import StrEnum

from db.schema.vocabulary import QualityFinding


class Finding(StrEnum):
    """A quality finding of the service, or ``calipers``, which it does not look for: they are found by their shape."""

    DOPPLER_IN_ROI = QualityFinding.DOPPLER_IN_ROI.value
    COLOUR_IN_ROI = QualityFinding.COLOUR_IN_ROI.value
    DUAL_VIEW_SEAM_IN_ROI = QualityFinding.DUAL_VIEW_SEAM_IN_ROI.value
    OVERLAY_IN_ROI = QualityFinding.OVERLAY_IN_ROI.value
    ROI_OUTSIDE_BMODE = QualityFinding.ROI_OUTSIDE_BMODE.value
    ROI_TOO_SMALL = QualityFinding.ROI_TOO_SMALL.value
    ROI_BLANK = QualityFinding.ROI_BLANK.value
    ROI_SATURATED = QualityFinding.ROI_SATURATED.value
    CALIPERS = "calipers"
