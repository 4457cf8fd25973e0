"""Settings of `dlr listen`."""

from pathlib import Path

from pydantic import BaseModel, Field


class ListenerSettings(BaseModel, frozen=True):
    """How orders and notifications come in by HL7."""

    listen_address: str = Field(default="127.0.0.1", description="Address on which `dlr listen` listens for HL7 (MLLP)")
    listen_port: int = Field(default=2575, ge=0, le=65535, description="Port of `dlr listen`; 0: any free port")
    listen_server: str | None = Field(
        default=None,
        description="Name of the PACS or DICOMweb server from which studies are fetched; unset: the only one there is",
    )
    listen_map: Path | None = Field(
        default=None, description="TOML file that says which field means what; unset: `dlr listen --default-map`"
    )
    listen_senders: str = Field(
        default="",
        description="Addresses or networks that may send, separated by commas; required to listen beyond this machine",
    )
    listen_applications: str = Field(
        default="", description="Sending applications and facilities, as MSH-3|MSH-4, separated by commas; unset: all"
    )
    listen_connections: int = Field(default=32, ge=1, le=1024, description="Maximum number of connections at a time")
    listen_max_bytes: int = Field(default=1 << 20, ge=1024, description="Largest message that is taken, in bytes")
    listen_idle_s: float = Field(
        default=3600.0, gt=0, le=86400, description="Seconds without a message after which a connection is closed"
    )
    listen_certificate: Path | None = Field(
        default=None, description="Server certificate (PEM) of `dlr listen`; TLS is then required"
    )
    listen_key: Path | None = Field(
        default=None, description="Private key (PEM) of that certificate, readable by its owner alone"
    )
    listen_ca: Path | None = Field(
        default=None, description="CA bundle (PEM) that verifies the client certificates that senders then have to show"
    )
