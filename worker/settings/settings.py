"""Every setting, as one flat and frozen class; each group of them is a module of its own.

Each field is the variable ``DLR_<FIELD>``. A value is taken from, in this order: the environment, a file named
``dlr_<field>`` among systemd's credentials or in ``/run/secrets`` (Docker and Kubernetes secrets), the servers that a
running ``dlr up`` announced in ``DLR_HOME/services.json``, the default.
"""

import os
from collections.abc import Callable, Mapping
from typing import Final, Self

from pydantic import BaseModel, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy import URL, make_url

from worker.settings import sentinels
from worker.settings.addresses import secret, with_password
from worker.settings.api import ApiSettings
from worker.settings.auditing import AuditSettings
from worker.settings.environment import PREFIX, variable
from worker.settings.fetching import FetchSettings
from worker.settings.home import HomeSettings
from worker.settings.images import ImageSettings
from worker.settings.listening import ListenerSettings
from worker.settings.observability import ObservabilitySettings
from worker.settings.performing import PerformerSettings
from worker.settings.quality import QualitySettings
from worker.settings.receiving import ReceiverSettings
from worker.settings.rescoring import RescoringSettings
from worker.settings.sending import SenderSettings
from worker.settings.servers import ServerSettings
from worker.settings.sources import sources
from worker.settings.tls import TlsFiles, postgres_url, redis_url
from worker.settings.web import WebSettings
from worker.settings.workers import WorkerSettings

GROUPS: Final[Mapping[str, type[BaseModel]]] = {
    "The installation": HomeSettings,
    "PostgreSQL and Redis": ServerSettings,
    "Workers": WorkerSettings,
    "Images": ImageSettings,
    "Image quality": QualitySettings,
    "Receiving by DICOM": ReceiverSettings,
    "Fetching from a PACS": FetchSettings,
    "Orders by HL7": ListenerSettings,
    "Work items performed": PerformerSettings,
    "The worklist page": WebSettings,
    "The HTTP interface": ApiSettings,
    "Shadows and backfills": RescoringSettings,
    "Sending results": SenderSettings,
    "Audit messages": AuditSettings,
    "Flower, metrics, traces and logs": ObservabilitySettings,
}
"""The groups by their titles, in the order in which they are shown."""

_POSTGRESQL: Final = ("database", "database_owner", "reader", "web_database", "shadow_database", "backup_database")
"""What has a ``_url`` and a ``_password``: the users of the one database."""

_TLS_FILES: Final = (
    "database_ca",
    "database_certificate",
    "database_key",
    "redis_ca",
    "redis_certificate",
    "redis_key",
)


class Settings(  # the last first: pydantic takes the fields of the last base first
    ObservabilitySettings,
    AuditSettings,
    SenderSettings,
    RescoringSettings,
    ApiSettings,
    WebSettings,
    PerformerSettings,
    ListenerSettings,
    FetchSettings,
    ReceiverSettings,
    QualitySettings,
    ImageSettings,
    WorkerSettings,
    ServerSettings,
    HomeSettings,
    BaseSettings,
):
    """Settings of every ``dlr`` command and of the Celery application. Secrets print as asterisks."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  ours know old names
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  a .env file is not read: one place less to look
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources, first wins."""
        return (init_settings, *sources(settings_cls))

    @model_validator(mode="after")
    def _resolve_paths(self) -> Self:
        home = self.home.expanduser().resolve()
        self._complete("home", home)
        for name in ("storage_root", "models_dir", "backup_dir", "web_accounts", "api_tokens"):
            self._complete(name, home / getattr(self, name).expanduser())
        return self

    @model_validator(mode="after")
    def _complete_urls(self) -> Self:
        of_database = TlsFiles(self.database_ca, self.database_certificate, self.database_key)
        for name in _POSTGRESQL:
            self._complete_url(name, postgres_url, of_database)
        self._complete_url("redis", redis_url, TlsFiles(self.redis_ca, self.redis_certificate, self.redis_key))
        self._sign_in_to_sentinels()
        return self

    @model_validator(mode="after")
    def _find_tls_files(self) -> Self:
        for name in _TLS_FILES:
            file = getattr(self, name)
            if file is not None and not os.access(file, os.R_OK):
                raise ValueError(f"{variable(name)} cannot be read")
        return self

    def _complete_url(self, name: str, with_tls: Callable[[URL, TlsFiles], URL], files: TlsFiles) -> None:
        """Give a URL its password and the parameters of its transport security."""
        url = getattr(self, f"{name}_url")
        if url is not None:
            whole = with_password(url, getattr(self, f"{name}_password"))
            self._complete(f"{name}_url", secret(with_tls(whole, files)))

    def _sign_in_to_sentinels(self) -> None:
        """Give Redis's URL who signs in to its Sentinels."""
        user, password = self.redis_sentinel_user, self.redis_sentinel_password
        if user is None and password is None:
            return
        url = None if self.redis_url is None else make_url(self.redis_url.get_secret_value())
        if url is None or not sentinels.is_behind_sentinels(url):
            raise ValueError(
                "DLR_REDIS_SENTINEL_USER and DLR_REDIS_SENTINEL_PASSWORD need a DLR_REDIS_URL with redis+sentinel://"
            )
        known = {sentinels.USER: user, sentinels.PASSWORD: password and password.get_secret_value()}
        self._complete("redis_url", secret(url.update_query_dict({name: said for name, said in known.items() if said})))

    def _complete(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the one time that a frozen field changes
