"""Settings of `dlr send`."""

from pathlib import Path

from pydantic import BaseModel, Field, HttpUrl, SecretStr

from worker.settings.addresses import AeTitle, Label, NodeAddress, Performer


class SenderSettings(BaseModel, frozen=True):
    """Where results go by themselves."""

    send_pacs: NodeAddress | None = Field(
        default=None, description="PACS that `dlr send` stores reports in: AET@host:port"
    )
    send_pictures: bool = Field(default=False, description="Store a picture of each lesion beside the report")
    send_ups: NodeAddress | None = Field(
        default=None, description="UPS manager in whose worklist `dlr send` puts studies: AET@host:port"
    )
    send_worklist_label: Label = Field(
        default="Breast ultrasound", min_length=1, max_length=64, description="Worklist Label of those work items"
    )
    send_performer: Performer | None = Field(
        default=None, description="Who is to read them: code value^scheme^name^organization; unset: anybody"
    )
    send_retrieve_ae_title: AeTitle | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="From whom readers retrieve the images; unset: the AE title of DLR_SEND_PACS",
    )
    send_ae_title: AeTitle = Field(
        default="DLR", min_length=1, max_length=16, description="The AE title with which `dlr send` calls"
    )
    send_ca: Path | None = Field(
        default=None, description="PEM of whom to trust: it calls over TLS only, and verifies certificate and name"
    )
    send_certificate: Path | None = Field(default=None, description="PEM of a client certificate for DICOM")
    send_key: Path | None = Field(default=None, description="Its key, readable by its owner alone")
    send_webhook_url: HttpUrl | None = Field(default=None, description="Where `dlr send` posts that a study has ended")
    send_webhook_secret: SecretStr | None = Field(
        default=None, description="What those posts are signed with: 16 characters or more, or whsec_ and base64"
    )
    send_webhook_ca: Path | None = Field(
        default=None, description="PEM of whom to trust there; unset: whom the system trusts"
    )
    send_webhook_identifiers: bool = Field(
        default=False, description="Whether they hold Study Instance UID and accession number too"
    )
    send_timeout_s: float = Field(default=30.0, gt=0, le=50, description="Longest wait for a destination's answer")
