"""Settings of audit messages."""

from pathlib import Path

from pydantic import BaseModel, Field


class AuditSettings(BaseModel, frozen=True):
    """Where who saw which study is told."""

    audit_collector: str | None = Field(
        default=None,
        description="Collector of audit messages (IHE ATNA): tls://host:6514, or tcp:// or udp:// on a network of your "
        "own; unset: they stay in the database",
    )
    audit_ca: Path | None = Field(
        default=None, description="CA bundle (PEM) that verifies the collector's certificate; unset: the system's"
    )
    audit_certificate: Path | None = Field(default=None, description="Client certificate (PEM) for the collector")
    audit_key: Path | None = Field(
        default=None, description="Private key (PEM) of that certificate, readable by its owner alone"
    )
    audit_source: str | None = Field(
        default=None, max_length=200, description="Audit Source ID of this installation; unset: the host's name"
    )
    audit_site: str | None = Field(
        default=None, max_length=200, description="Audit Enterprise Site ID, where the enterprise has several"
    )
    audit_timeout_s: float = Field(
        default=10.0, gt=0, le=50, description="How long a connection to the collector may last, in seconds"
    )
