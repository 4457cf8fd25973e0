"""Settings of `dlr receive`."""

from pathlib import Path

from pydantic import BaseModel, Field

from worker.settings.addresses import AeTitle, AeTitles


class ReceiverSettings(BaseModel, frozen=True):
    """How images come in by DICOM."""

    receive_address: str = Field(default="127.0.0.1", description="Where `dlr receive` listens for DICOM")
    receive_port: int = Field(default=11112, ge=0, le=65535, description="Its port; 0: any free one")
    receive_ae_title: AeTitle = Field(
        default="DLR",
        min_length=1,
        max_length=16,
        description="Its AE title; who calls another one is rejected",
    )
    receive_callers: AeTitles = Field(
        default="",
        description="AE titles that may send, with commas between; needed where it listens beyond this machine",
    )
    receive_associations: int = Field(default=16, ge=1, le=256, description="Associations at once at most")
    receive_quiet_s: float = Field(
        default=30.0,
        gt=0,
        le=86400,
        description="A study without a report of its lesions is closed once nothing has come for so long",
    )
    receive_certificate: Path | None = Field(default=None, description="PEM of its certificate: DICOM over TLS only")
    receive_key: Path | None = Field(default=None, description="Its key, readable by its owner alone")
    receive_ca: Path | None = Field(default=None, description="PEM of whose certificates senders have to show")
