"""The lesion descriptors of the study's Table S1, by its names."""

from collections.abc import Mapping

_YES_NO = ("no", "yes")

LEVELS: dict[str, tuple[str, ...]] = {
    "tissue_composition": ("fat", "fibroglandular", "heterogeneous"),
    "shape": ("oval", "round", "irregular"),
    "orientation": ("parallel", "not_parallel"),
    "margin_circumscribed": _YES_NO,
    "margin_indistinct": _YES_NO,
    "margin_angular": _YES_NO,
    "margin_microlobulated": _YES_NO,
    "margin_spiculated": _YES_NO,
    "posterior_features": ("none", "enhancement", "shadowing", "combined"),
    "echo_pattern": ("anechoic", "complex_cystic_and_solid", "hypoechoic", "isoechoic", "heterogeneous"),
    "microcalcifications": _YES_NO,
    "architectural_distortion": _YES_NO,
    "duct_changes": _YES_NO,
    "skin_changes": _YES_NO,
    "edema": _YES_NO,
    "cdfi": ("no_flow", "adler_1", "adler_2", "adler_3", "perifocal"),
}
"""Categorical descriptors and their levels."""

MEASURES = ("distance_lesion_to_nipple_mm", "distance_lesion_to_surface_mm", "aspect_ratio")
"""Continuous descriptors: two in millimetres, and the ratio of height to width."""


def descriptor_faults(descriptors: Mapping[str, str | float]) -> list[str]:
    """Say what is wrong with a lesion's descriptors, one sentence a fault; empty when they are Table S1's."""
    faults = []
    for name, value in descriptors.items():
        if name in MEASURES:
            if isinstance(value, str) or not 0 <= value < float("inf"):
                faults.append(f"{name} is a number that is not negative")
        elif name not in LEVELS:
            faults.append("a descriptor has a name that Table S1 does not have")
        elif value not in LEVELS[name]:
            faults.append(f"{name} is one of {', '.join(LEVELS[name])}")
    return faults
