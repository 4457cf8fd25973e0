"""Settings of `dlr send`."""

from pathlib import Path

from pydantic import BaseModel, Field, HttpUrl, SecretStr

from worker.settings.addresses import AeTitle, Label, NodeAddress, Performer


class SenderSettings(BaseModel, frozen=True):
    """Where results go by themselves."""

    send_destinations: Path | None = Field(
        default=None,
        description="TOML file of any number of destinations, each with what it takes; the settings below are one each",
    )
    send_pacs: NodeAddress | None = Field(
        default=None, description="PACS in which `dlr send` stores reports: AET@host:port"
    )
    send_pictures: bool = Field(default=False, description="Whether to store a picture of each lesion with its report")
    send_ups: NodeAddress | None = Field(
        default=None, description="UPS manager in whose worklist `dlr send` creates work items: AET@host:port"
    )
    send_worklist_label: Label = Field(
        default="Breast ultrasound", min_length=1, max_length=64, description="Worklist Label of those work items"
    )
    send_performer: Performer | None = Field(
        default=None, description="Who is to read them, as a code: value^scheme^name^organization; unset: anybody"
    )
    send_retrieve_ae_title: AeTitle | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="AE title from which readers retrieve the images; unset: that of DLR_SEND_PACS",
    )
    send_ae_title: AeTitle = Field(default="DLR", min_length=1, max_length=16, description="AE title of `dlr send`")
    send_ca: Path | None = Field(
        default=None,
        description="CA bundle (PEM) that verifies the certificate and host name of the PACS and the UPS manager; TLS "
        "is then required",
    )
    send_certificate: Path | None = Field(default=None, description="Client certificate (PEM) for DICOM")
    send_key: Path | None = Field(
        default=None, description="Private key (PEM) of that certificate, readable by its owner alone"
    )
    send_webhook_url: HttpUrl | None = Field(
        default=None, description="URL to which `dlr send` posts each study that has ended"
    )
    send_webhook_secret: SecretStr | None = Field(
        default=None, description="Secret that signs those posts: 16 characters or more, or whsec_ and base64"
    )
    send_webhook_ca: Path | None = Field(
        default=None, description="CA bundle (PEM) that verifies the webhook's certificate; unset: the system's"
    )
    send_webhook_identifiers: bool = Field(
        default=False, description="Whether those posts include Study Instance UID and accession number"
    )
    send_timeout_s: float = Field(
        default=30.0, gt=0, le=50, description="Longest wait for a destination's answer, in seconds"
    )
