"""Settings of what is read of images, by whom, and from which DICOMweb servers."""

import os

from pydantic import BaseModel, Field

from worker.image_access import DEFAULT_LIMITS, Dicomweb, Limits
from worker.settings.addresses import DicomwebServer


def _own_cores() -> int:
    return min(len(os.sched_getaffinity(0)), 8)


class ImageSettings(BaseModel, frozen=True):
    """What is read of images."""

    max_file_bytes: int = Field(
        default=DEFAULT_LIMITS.max_file_bytes, ge=1024, description="Largest DICOM file that is read, in bytes"
    )
    max_inflated_bytes: int = Field(
        default=DEFAULT_LIMITS.max_inflated_bytes,
        ge=1024,
        description="Largest data set that a deflated DICOM file may inflate to, in bytes",
    )
    max_frame_pixels: int = Field(
        default=DEFAULT_LIMITS.max_frame_pixels, ge=1, description="Largest frame, in pixels (rows x columns)"
    )
    decoders: int = Field(default_factory=_own_cores, ge=1, le=64, description="Number of decoder processes per worker")
    decode_timeout_s: float = Field(
        default=30.0, gt=0, le=3600, description="Longest time to read one file, or one lesion of it, in seconds"
    )

    dicomweb_servers: dict[str, DicomwebServer] = Field(
        default_factory=dict,
        description='DICOMweb servers that jobs may name, as JSON: {"pacs": {"url": "https://...", "token": "..."}}; '
        "or user and password; ca is a CA bundle (PEM)",
    )
    dicomweb_max_bytes: int = Field(
        default=256 << 20, ge=1024, description="Largest instance that is retrieved by DICOMweb, in bytes"
    )
    dicomweb_timeout_s: float = Field(
        default=60.0, gt=0, le=3600, description="Longest time to retrieve one instance, in seconds"
    )

    @property
    def limits(self) -> Limits:
        """What is read of a DICOM file at most."""
        return Limits(self.max_file_bytes, self.max_frame_pixels, self.max_inflated_bytes)

    @property
    def dicomweb(self) -> Dicomweb:
        """The DICOMweb servers, and what is fetched of them at most."""
        servers = {name: server.with_headers() for name, server in self.dicomweb_servers.items()}
        return Dicomweb(servers, self.dicomweb_max_bytes, self.dicomweb_timeout_s)
