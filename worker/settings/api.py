"""Settings of `dlr api`, the HTTP interface."""

from pathlib import Path

from pydantic import BaseModel, Field


class ApiSettings(BaseModel, frozen=True):
    """How programs reach the HTTP interface."""

    api_address: str = Field(default="127.0.0.1", description="Address on which the HTTP interface (`dlr api`) listens")
    api_port: int = Field(default=8091, ge=0, le=65535, description="Port of the HTTP interface; 0: any free port")
    api_certificate: Path | None = Field(
        default=None, description="Server certificate (PEM) of the HTTP interface; HTTPS is then required"
    )
    api_key: Path | None = Field(
        default=None, description="Private key (PEM) of that certificate, readable by its owner alone"
    )
    api_behind_proxy: str = Field(
        default="",
        description="Addresses of a proxy that terminates TLS for the HTTP interface, separated by commas; its "
        "X-Forwarded headers are trusted",
    )
    api_tokens: Path = Field(
        default=Path("secrets/api-tokens.json"),
        description="File of the tokens by which programs sign in (`dlr api token`), hashed; relative to DLR_HOME",
    )
    api_requests_per_s: float = Field(
        default=100.0,
        gt=0,
        le=100_000,
        description="Requests that one token may make a second, of each process; twice as many may come at once",
    )
    api_max_upload_bytes: int = Field(
        default=2**31, ge=1024, description="Largest request with DICOM files, in bytes, all its files together"
    )
