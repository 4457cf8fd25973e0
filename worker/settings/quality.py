"""Settings of the quality checks: what each finding does."""

from pydantic import BaseModel, Field

from db.schema.vocabulary import QualityFinding
from worker.image_access import QualityPolicies, QualityPolicy


def _finding(found: str) -> QualityPolicy:
    """Make the field of one check: a finding refuses the lesion, warns in ``lesion_result.gate``, or is not told."""
    policy: QualityPolicy = Field(default=QualityPolicy.WARN, description=f"{found}: refuse, warn or off")
    return policy


class QualitySettings(BaseModel, frozen=True):
    """What each finding in a lesion's region does."""

    quality_doppler_in_roi: QualityPolicy = _finding("Doppler in the lesion's region")
    quality_colour_in_roi: QualityPolicy = _finding("Colour in the region that the header does not explain")
    quality_dual_view_seam_in_roi: QualityPolicy = _finding("The seam of a dual view in the region")
    quality_overlay_in_roi: QualityPolicy = _finding("Calipers or text burned into the region")
    quality_roi_outside_bmode: QualityPolicy = _finding(
        "More than 5 % of the region outside the header's B-mode regions"
    )
    quality_roi_too_small: QualityPolicy = _finding("A region with a side of fewer than 16 pixels")
    quality_roi_blank: QualityPolicy = _finding(
        "A region with fewer than 8 grey levels from its 1st to its 99th percentile"
    )
    quality_roi_saturated: QualityPolicy = _finding("More than 10 % of the region clipped at white")

    @property
    def policies(self) -> QualityPolicies:
        """What each finding of the quality checks does."""
        return {finding: getattr(self, f"quality_{finding.value}") for finding in QualityFinding}
