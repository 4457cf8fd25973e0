"""Settings of the quality checks: what each finding does."""

from pydantic import BaseModel, Field

from worker.image_access import GatePolicy, Policies
from worker.study import QualityFinding


def _gate(found: str) -> GatePolicy:
    """Make the field of one check: a finding refuses the lesion, warns in ``lesion_result.gate``, or is not told."""
    policy: GatePolicy = Field(default=GatePolicy.WARN, description=f"{found}: refuse, warn or off")
    return policy


class QualitySettings(BaseModel, frozen=True):
    """What each finding in a lesion's region does."""

    gate_doppler_in_roi: GatePolicy = _gate("Doppler in a lesion's region")
    gate_colour_in_roi: GatePolicy = _gate("Colour in it that the header does not explain")
    gate_dual_view_seam_in_roi: GatePolicy = _gate("The seam of two views in it")
    gate_overlay_in_roi: GatePolicy = _gate("Calipers or text burned into it")
    gate_roi_outside_bmode: GatePolicy = _gate("More than 5 % of it outside of the header's B-mode regions")
    gate_roi_too_small: GatePolicy = _gate("A side of fewer than 16 pixels")
    gate_roi_blank: GatePolicy = _gate("Fewer than 8 grey levels from its 1st to its 99th percentile")
    gate_roi_saturated: GatePolicy = _gate("More than 10 % of it clipped at white")

    @property
    def gate(self) -> Policies:
        """What each finding of the gate does."""
        return {finding: getattr(self, f"gate_{finding.value}") for finding in QualityFinding}
