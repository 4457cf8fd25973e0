"""What images may be read, and what is made of them, as the settings say: limits, DICOMweb servers, quality checks."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from db.schema.vocabulary import QualityFinding


@dataclass(frozen=True, slots=True)
class Limits:
    """What is read at most: bytes of a file, rows x columns of a frame, bytes of a deflated file once inflated."""

    max_file_bytes: int
    max_frame_pixels: int
    max_inflated_bytes: int = 128 << 20


DEFAULT_LIMITS: Final = Limits(max_file_bytes=2 << 30, max_frame_pixels=4096 * 4096)
"""As the settings have them by default: no image of a breast is larger."""


@dataclass(frozen=True, slots=True)
class Server:
    """A DICOMweb server.

    Attributes:
        url: of the service, without the ``/studies`` of its resources.
        headers: that sign in.
        ca: CA bundle (PEM) that verifies its certificate; ``None``: the system's.
    """

    url: str
    headers: Mapping[str, str]
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Dicomweb:
    """The DICOMweb servers that jobs may name.

    Attributes:
        servers: by name.
        max_bytes: the largest instance that is fetched.
        timeout_s: the longest time for one instance.
    """

    servers: Mapping[str, Server]
    max_bytes: int
    timeout_s: float


class QualityPolicy(StrEnum):
    """What one finding does."""

    REFUSE = "refuse"
    WARN = "warn"
    OFF = "off"


QualityPolicies = Mapping[QualityFinding, QualityPolicy]
"""What each finding does; ``warn`` where one is left out."""
