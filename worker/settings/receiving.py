"""Settings of `dlr receive`."""

from pathlib import Path

from pydantic import BaseModel, Field

from worker.settings.addresses import AeTitle, AeTitles


class ReceiverSettings(BaseModel, frozen=True):
    """How images come in by DICOM."""

    receive_address: str = Field(default="127.0.0.1", description="Address on which `dlr receive` listens for DICOM")
    receive_port: int = Field(default=11112, ge=0, le=65535, description="Port of `dlr receive`; 0: any free port")
    receive_ae_title: AeTitle = Field(
        default="DLR",
        min_length=1,
        max_length=16,
        description="AE title of `dlr receive`; an association that calls another one is rejected",
    )
    receive_callers: AeTitles = Field(
        default="",
        description="AE titles that may send, separated by commas; required to listen beyond this machine",
    )
    receive_associations: int = Field(default=16, ge=1, le=256, description="Maximum number of associations at a time")
    receive_quiet_s: float = Field(
        default=30.0,
        gt=0,
        le=86400,
        description="A study without a report of its lesions is closed after this many seconds without a new file",
    )
    receive_certificate: Path | None = Field(
        default=None, description="Server certificate (PEM) of `dlr receive`; DICOM over TLS is then required"
    )
    receive_key: Path | None = Field(
        default=None, description="Private key (PEM) of that certificate, readable by its owner alone"
    )
    receive_ca: Path | None = Field(
        default=None, description="CA bundle (PEM) that verifies the client certificates that senders then have to show"
    )
