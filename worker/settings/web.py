"""Settings of `dlr web`, the worklist page."""

from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, HttpUrl, SecretStr, field_validator

from worker.settings.addresses import PostgresUrl, ViewerUrl, required


class WebSettings(BaseModel, frozen=True):
    """How browsers reach the worklist page."""

    web_address: str = Field(default="127.0.0.1", description="Address on which the worklist page (`dlr web`) listens")
    web_port: int = Field(default=8090, ge=0, le=65535, description="Port of the worklist page; 0: any free port")
    web_hosts: str = Field(
        default="",
        description="Host names by which browsers reach the page, separated by commas; its address and localhost are "
        "always accepted",
    )
    web_certificate: Path | None = Field(
        default=None, description="Server certificate (PEM) of the page; HTTPS is then required"
    )
    web_key: Path | None = Field(
        default=None, description="Private key (PEM) of that certificate, readable by its owner alone"
    )
    web_behind_proxy: str = Field(
        default="",
        description="Addresses of a proxy that terminates TLS for the page, separated by commas; its X-Forwarded "
        "headers are trusted",
    )
    web_accounts: Path = Field(
        default=Path("secrets/web-accounts.json"),
        description="File of the accounts that may sign in (`dlr web user`); relative to DLR_HOME",
    )
    web_session_s: int = Field(
        default=28800, ge=60, le=604800, description="Seconds after which a reader has to sign in again"
    )
    web_idle_minutes: int = Field(
        default=30, ge=1, le=10080, description="Minutes without a page being opened after which a reader is signed out"
    )
    web_workers: int = Field(
        default=1, ge=1, le=64, description="Processes that serve the page; they share sessions and address"
    )
    web_session_key: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="Secret that signs the page's cookies, 32 characters or more, the same on every host that serves "
        "the page; unset: another one at each start",
    )
    web_roles: str = Field(
        default="",
        description="Roles of groups for those who sign in elsewhere: `GROUP=ROLE`, separated by commas, with the "
        "roles reader, radiologist and administrator; of somebody in several groups, the first one counts",
    )
    web_oidc_issuer: HttpUrl | None = Field(
        default=None,
        description="URL of the OpenID Connect provider by which readers sign in; unset: by accounts alone",
    )
    web_oidc_client_id: str | None = Field(
        default=None, description="The page's client id at that provider; its redirect URI is `/sign-in/callback`"
    )
    web_oidc_client_secret: SecretStr | None = Field(
        default=None, description="The page's client secret there; unset: a public client, with PKCE alone"
    )
    web_oidc_scope: str = Field(default="openid profile", description="Scopes that are asked for, with spaces")
    web_oidc_name_claim: str = Field(
        default="preferred_username", description="Claim with a reader's name, which stands beside their verdicts"
    )
    web_oidc_role_claim: str = Field(
        default="groups",
        description="Claim with a reader's groups; dots lead into objects, such as `realm_access.roles`",
    )
    web_oidc_ca: Path | None = Field(
        default=None, description="Certificates (PEM) by which the provider's is checked; unset: those of the machine"
    )
    web_proxy_user_header: str | None = Field(
        default=None,
        description="Header in which the proxy of DLR_WEB_BEHIND_PROXY names who signed in to it, such as "
        "`X-Remote-User`; it has to remove the header from what browsers send",
    )
    web_proxy_groups_header: str = Field(
        default="X-Remote-Groups", description="Header with their groups, separated by commas"
    )
    web_time_zone: str | None = Field(
        default=None,
        description="Time zone of the page's times, by its IANA name, such as `Europe/Berlin`; unset: the machine's",
    )
    web_language: str | None = Field(
        default=None,
        description="Language of the page for everybody, such as `de`; unset: each browser's own, English where the "
        "page does not have it",
    )
    web_viewer_url: ViewerUrl | None = Field(
        default=None,
        description="URL of the PACS viewer, to which each study links; `{study_instance_uid}` and "
        "`{accession_number}` stand for the study's",
    )
    web_heat_maps: Path | None = Field(
        default=None,
        description="Folder of heat maps that `dlr explain --new --output` wrote, shown with their studies",
    )
    web_database_url: PostgresUrl | None = Field(
        default=None, description="The database, as a user with the role dlr_web; unset: that of a running `dlr up`"
    )
    web_database_password: SecretStr | None = Field(
        default=None, description="Password for a DLR_WEB_DATABASE_URL without one"
    )

    @field_validator("web_time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str | None) -> str | None:
        try:
            return None if name is None else ZoneInfo(name).key
        except (KeyError, ValueError, OSError):
            raise ValueError("is not the IANA name of a time zone, such as Europe/Berlin") from None

    def require_web_database_url(self) -> str:
        """Return the URL of the worklist page, or say how to get one (``setting_invalid``)."""
        return required(self.web_database_url, "DLR_WEB_DATABASE_URL")
