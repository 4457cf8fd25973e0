"""Settings that were called something else: the old name works, and whoever uses it is told the new one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from worker.errors import Code, SetupRefused
from worker.settings.environment import find, variable

RENAMED: Final[Mapping[str, str]] = {
    "gate_doppler_in_roi": "quality_doppler_in_roi",
    "gate_colour_in_roi": "quality_colour_in_roi",
    "gate_dual_view_seam_in_roi": "quality_dual_view_seam_in_roi",
    "gate_overlay_in_roi": "quality_overlay_in_roi",
    "gate_roi_outside_bmode": "quality_roi_outside_bmode",
    "gate_roi_too_small": "quality_roi_too_small",
    "gate_roi_blank": "quality_roi_blank",
    "gate_roi_saturated": "quality_roi_saturated",
}
"""Fields, by the old name. How long one stays: docs/decisions/0041-an-old-name-is-told.md."""


@dataclass(frozen=True, slots=True)
class OldName:
    """An old name that is in use.

    Attributes:
        variable: under the old name, such as ``DLR_GATE_ROI_BLANK``.
        source: the variable that is set, or the path of the secret's file.
        renamed: the field as it is called now.
    """

    variable: str
    source: str
    renamed: str

    def __str__(self) -> str:
        return f"{self.variable} is called {variable(self.renamed)} now"


def old_names() -> list[OldName]:
    """Return the old names that variables and secrets use.

    Raises:
        SetupRefused: ``setting_invalid``: a setting has one value under its old name and another under the new one.
    """
    used, contradictions = [], []
    for old, new in RENAMED.items():
        given, renamed = find(old), find(new)
        if given is None:
            continue
        name = OldName(variable(old), str(given.secret or variable(old)), new)
        used.append(name)
        if renamed is not None and renamed.value != given.value:
            contradictions.append(f"{name}, and the two differ: remove the old one")
    if contradictions:
        raise SetupRefused(Code.SETTING_INVALID, "; ".join(contradictions))
    return used
