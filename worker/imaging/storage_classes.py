"""SOP Classes that are stored here (PS3.4, B.5), by what they are; for a server that names no more than Modalities."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_RETIRED_ULTRASOUND: Final = "1.2.840.10008.5.1.4.1.1.6"
_RETIRED_MULTI_FRAME: Final = "1.2.840.10008.5.1.4.1.1.3"
_LABEL_MAP: Final = "1.2.840.10008.5.1.4.1.1.66.7"

IMAGE_CLASSES: Final = (
    "1.2.840.10008.5.1.4.1.1.6.1",  # Ultrasound Image
    "1.2.840.10008.5.1.4.1.1.3.1",  # Ultrasound Multi-frame Image
    "1.2.840.10008.5.1.4.1.1.6.2",  # Enhanced US Volume
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.4",  # Multi-frame True Color Secondary Capture
    _RETIRED_ULTRASOUND,
    _RETIRED_MULTI_FRAME,
)
"""Of images that lesions may be on."""

MARKINGS_BY_MODALITY: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "SR": (
            "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text
            "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced
            "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive
            "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D
        ),
        "SEG": ("1.2.840.10008.5.1.4.1.1.66.4", _LABEL_MAP),
        "PR": ("1.2.840.10008.5.1.4.1.1.11.1", "1.2.840.10008.5.1.4.1.1.11.2"),
    }
)
"""Of what may say where lesions are, by Modality (0008,0060) of its series (PS3.3, C.7.3.1.1.1)."""

UNKNOWN_CLASSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        _RETIRED_ULTRASOUND: "UltrasoundImageStorageRetired",
        _RETIRED_MULTI_FRAME: "UltrasoundMultiFrameImageStorageRetired",
        _LABEL_MAP: "LabelMapSegmentationStorage",
    }
)
"""What pynetdicom has to be told that it is stored: retired classes, which archives hold, and a new one."""
