"""Settings of `dlr web`, the worklist page."""

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr

from worker.settings.addresses import PostgresUrl, required


class PageSettings(BaseModel, frozen=True):
    """How browsers reach the worklist page."""

    web_address: str = Field(default="127.0.0.1", description="Where the worklist page (`dlr web`) listens")
    web_port: int = Field(default=8090, ge=0, le=65535, description="Its port; 0: any free one")
    web_hosts: str = Field(
        default="",
        description="Names under which browsers reach it, with commas between; its address and localhost always are",
    )
    web_certificate: Path | None = Field(default=None, description="PEM of its certificate: HTTPS only")
    web_key: Path | None = Field(default=None, description="Its key, readable by its owner alone")
    web_behind_proxy: str = Field(
        default="",
        description="Addresses of a proxy that does TLS for it, with commas between; it is believed about who asks",
    )
    web_accounts: Path = Field(
        default=Path("secrets/web-accounts.json"),
        description="Who may sign in (`dlr web user`); relative to the home",
    )
    web_session_s: int = Field(
        default=28800, ge=60, le=604800, description="Seconds after which a reader has to sign in again"
    )
    web_database_url: PostgresUrl | None = Field(
        default=None, description="The database as a user who is dlr_web; unset: that of a running `dlr up`"
    )
    web_database_password: SecretStr | None = Field(default=None, description="For DLR_WEB_DATABASE_URL")

    def require_web_database_url(self) -> str:
        """Return the URL of the worklist page, or say how to get one (``setting_invalid``)."""
        return required(self.web_database_url, "DLR_WEB_DATABASE_URL")
