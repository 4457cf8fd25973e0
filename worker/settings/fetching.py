"""Settings of what is fetched from a PACS, by DICOM."""

from pydantic import BaseModel, Field

from worker.image_access import Pacs
from worker.settings.addresses import AeTitle
from worker.settings.pacs_server import PacsServer


class FetchSettings(BaseModel, frozen=True):
    """Which PACS jobs may name, and how much is fetched."""

    pacs_servers: dict[str, PacsServer] = Field(
        default_factory=dict,
        description='PACSs that jobs may name, as JSON: {"pacs": {"ae_title": "PACS", "host": "...", "port": 104}}; '
        "move_to is the AE title of `dlr receive` there, for C-MOVE; ca, certificate and key are for TLS (PEM)",
    )
    fetch_ae_title: AeTitle = Field(
        default="DLR", min_length=1, max_length=16, description="AE title with which a PACS is called"
    )
    fetch_max_bytes: int = Field(
        default=1 << 30, ge=1024, description="Most that is fetched of one study from a PACS, in bytes"
    )
    fetch_max_instances: int = Field(
        default=500, ge=1, le=10_000, description="Most instances that are fetched of one study"
    )
    fetch_timeout_s: float = Field(
        default=300.0, gt=0, le=3600, description="Longest time to fetch one study from a PACS, in seconds"
    )
    fetch_associations: int = Field(
        default=4, ge=1, le=64, description="Studies that an intake worker looks for on servers at a time"
    )

    @property
    def pacs(self) -> Pacs:
        """The PACSs, and what is fetched at most.

        Raises:
            SetupRefused: ``setting_invalid``; the files of TLS cannot be read.
        """
        servers = {name: server.node(name) for name, server in self.pacs_servers.items()}
        limits = self.fetch_max_bytes, self.fetch_max_instances, self.fetch_timeout_s, self.fetch_associations
        return Pacs(servers, self.fetch_ae_title, *limits)
