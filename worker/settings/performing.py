"""Settings of `dlr perform`."""

from pathlib import Path

from pydantic import BaseModel, Field

from worker.settings.addresses import AeTitle, Codes, NodeAddress


class PerformerSettings(BaseModel, frozen=True):
    """Whose work items are performed, and which."""

    perform_manager: NodeAddress | None = Field(
        default=None, description="UPS manager whose work items `dlr perform` performs: AET@host:port"
    )
    perform_dicomweb: str | None = Field(
        default=None,
        description="Name of the server of DLR_DICOMWEB_SERVERS whose work items are performed by UPS-RS; instead of "
        "DLR_PERFORM_MANAGER",
    )
    perform_ae_title: AeTitle = Field(
        default="DLR", min_length=1, max_length=16, description="AE title of `dlr perform`"
    )
    perform_stations: Codes = Field(
        default="",
        description="Scheduled station names of the items that are ours: value^scheme or value^scheme^meaning, "
        "separated by commas; the first is who performs them",
    )
    perform_station_classes: Codes = Field(
        default="", description="Scheduled station classes of those items, likewise; unset: any"
    )
    perform_workitems: Codes = Field(
        default="", description="Scheduled workitem codes of those items, likewise; unset: any"
    )
    perform_server: str | None = Field(
        default=None,
        description="Name of the PACS or DICOMweb server from which studies are fetched; unset: the only one there is",
    )
    perform_destination: str | None = Field(
        default=None,
        description="Name of the destination of `dlr send` that stores the report: an item is completed once it is "
        "there; unset: with the result, and without a reference",
    )
    perform_retrieve_ae_title: AeTitle | None = Field(
        default=None, min_length=1, max_length=16, description="AE title from which that report is retrieved"
    )
    perform_most: int = Field(default=16, ge=1, le=1000, description="Maximum number of work items held at a time")
    perform_look_s: float = Field(
        default=10.0, gt=0, le=3600, description="How often the worklist is looked at, in seconds"
    )
    perform_timeout_s: float = Field(
        default=30.0, gt=0, le=300, description="Longest wait for an answer of the manager, in seconds"
    )
    perform_ca: Path | None = Field(
        default=None,
        description="CA bundle (PEM) that verifies the certificate and host name of the manager; TLS is then required",
    )
    perform_certificate: Path | None = Field(default=None, description="Client certificate (PEM) for the manager")
    perform_key: Path | None = Field(
        default=None, description="Private key (PEM) of that certificate, readable by its owner alone"
    )
