"""What images may be read, and what is made of them, as the settings say: limits, servers, quality checks."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class PacsNode:
    """A PACS that is asked by DICOM.

    Attributes:
        ae_title: of the PACS.
        host: where it listens.
        port: likewise.
        move_to: the AE title of a `dlr receive`, to which it is asked to send (C-MOVE); ``None``: it gives (C-GET).
        tls: ``None``: without.
    """

    ae_title: str
    host: str
    port: int
    move_to: str | None = None
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Pacs:
    """The PACSs that jobs may name, and what is fetched at most.

    Attributes:
        servers: by name.
        ae_title: ours.
        max_bytes: of all that is fetched of one study.
        max_instances: likewise.
        timeout_s: the longest time for one study.
        at_once: studies that a process looks for at a time.
    """

    servers: Mapping[str, PacsNode] = field(default_factory=dict)
    ae_title: str = "DLR"
    max_bytes: int = 1 << 30
    max_instances: int = 500
    timeout_s: float = 300.0
    at_once: int = 4


class QualityPolicy(StrEnum):
    """What one finding does."""

    REFUSE = "refuse"
    WARN = "warn"
    OFF = "off"


QualityPolicies = Mapping[QualityFinding, QualityPolicy]
"""What each finding does; ``warn`` where one is left out."""
