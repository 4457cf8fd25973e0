"""Every setting, and the one place that reads the environment.

Each field is the variable ``DLR_<FIELD>``. A value is taken from, in this order: the environment, a file named
``dlr_<field>`` in ``/run/secrets`` (Docker and Kubernetes secrets), the servers that a running ``dlr up`` announced in
``DLR_HOME/services.json``, the default.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, Self

from platformdirs import user_data_path
from pydantic import Field, HttpUrl, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from sqlalchemy.engine import make_url

from worker.errors import Code, SetupRefused
from worker.image_access import Dicomweb, GatePolicy, Limits, Policies
from worker.schema_errors import Flaw, flaws_of
from worker.settings.addresses import (
    AeTitle,
    AeTitles,
    DicomwebServer,
    Label,
    NodeAddress,
    Performer,
    PostgresUrl,
    RedisUrl,
    WebUrl,
    secret,
    with_password,
)
from worker.settings.tls import TlsFiles, postgres_url, redis_url
from worker.study import QualityFinding

logger = logging.getLogger(__name__)

PREFIX: Final = "DLR_"

ALIKE: Final = 0.8
"""From which likeness on (`difflib`'s ratio) a name that is no setting's is taken for a slip of the pen."""

SECRETS_DIR = Path("/run/secrets")
SERVICES_FILE = "services.json"


def default_home() -> Path:
    """Return ``DLR_HOME``, else ``dlr-worker`` in the user's data folder."""
    return Path(os.environ.get("DLR_HOME") or user_data_path("dlr-worker")).expanduser().resolve()


def _own_cores() -> int:
    return min(len(os.sched_getaffinity(0)), 8)


def _gate(found: str) -> GatePolicy:
    """Make the field of one check: a finding refuses the lesion, warns in ``lesion_result.gate``, or is not told."""
    policy: GatePolicy = Field(default=GatePolicy.WARN, description=f"{found}: refuse, warn or off")
    return policy


class Settings(BaseSettings):
    """Settings of every ``dlr`` command and of the Celery application. Secrets print as asterisks."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(default_factory=default_home, description="What this installation keeps: servers, models, files")
    storage_root: Path = Field(
        default=Path("storage"), description="DICOM files live under it and nowhere else; relative to the home"
    )
    models_dir: Path = Field(default=Path("models"), description="The model registry; relative to the home")

    database_url: PostgresUrl | None = Field(
        default=None, description="postgresql://user@host:5432/dlr as the running user; unset: `dlr up` starts one"
    )
    database_password: SecretStr | None = Field(default=None, description="For a DLR_DATABASE_URL without a password")
    database_owner_url: PostgresUrl | None = Field(
        default=None, description="The same database as the user that migrates; unset: DLR_DATABASE_URL"
    )
    database_owner_password: SecretStr | None = Field(default=None, description="For DLR_DATABASE_OWNER_URL")
    reader_url: PostgresUrl | None = Field(
        default=None,
        description="The same database as a user that only reads, for `dlr metrics`; unset: DLR_DATABASE_URL",
    )
    reader_password: SecretStr | None = Field(default=None, description="For a DLR_READER_URL without a password")
    redis_url: RedisUrl | None = Field(
        default=None, description="redis://user@host:6379/0 or rediss://; unset: `dlr up` starts one"
    )
    redis_password: SecretStr | None = Field(default=None, description="For a DLR_REDIS_URL without a password")
    database_ca: Path | None = Field(
        default=None, description="PEM of whom to trust: PostgreSQL over TLS only, its certificate and name verified"
    )
    database_certificate: Path | None = Field(default=None, description="PEM of a client certificate for PostgreSQL")
    database_key: Path | None = Field(default=None, description="Its key, readable by its owner alone")
    redis_ca: Path | None = Field(
        default=None, description="PEM of whom to trust, for rediss://; unset: whom the system trusts"
    )
    redis_certificate: Path | None = Field(default=None, description="PEM of a client certificate for Redis")
    redis_key: Path | None = Field(default=None, description="Its key")
    redis_key_prefix: str = Field(
        default="", description="Before each of Celery's keys, on a Redis that others use too"
    )
    redis_may_forget: bool = Field(
        default=False,
        description="Whether workers run on a Redis that loses accepted jobs (no append-only file, or eviction): "
        "their senders then have to push them again",
    )

    device: str = Field(
        default="auto",
        description="auto, cpu, cuda or cuda:N; for several workers cuda:0,cuda:1, or all: one on each CUDA device",
    )
    concurrency: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Studies that one inference worker has at hand; unset: 64 on CUDA, 4 a core on a CPU",
    )
    batch_max: int | None = Field(
        default=None, ge=1, le=512, description="Lesions in one batch at most; unset: 64 on CUDA, 2 on a CPU"
    )
    batch_wait_ms: float = Field(
        default=5.0, ge=0, le=1000, description="Wait for more, when more studies are known to be on their way"
    )
    inference_timeout_s: float = Field(
        default=60.0, gt=0, le=86400, description="A device that works on one batch for longer hangs: its worker ends"
    )
    max_attempts: int = Field(default=3, ge=1, le=100, description="Starts of a study before it is failed")
    lease_s: float = Field(
        default=5.0,
        ge=0.5,
        le=600,
        description="A worker that is silent for so long is dead; its studies go on",
    )
    reconcile_s: float = Field(
        default=1.0, ge=0.1, le=600, description="How often each worker looks for studies that nobody works on"
    )
    stop_s: float = Field(
        default=20.0,
        gt=0,
        le=86400,
        description="After SIGTERM a worker finishes what it can for so long, and gives back the rest",
    )
    retry_wait_s: float = Field(
        default=2.0, ge=0, le=86400, description="First wait before work is tried again; it doubles, to 10 s"
    )

    max_message_bytes: int = Field(default=1 << 20, ge=1024, description="Largest job that is read from the queue")
    max_file_bytes: int = Field(default=2 << 30, ge=1024, description="Largest DICOM file that is read")
    max_inflated_bytes: int = Field(
        default=128 << 20, ge=1024, description="Largest data set that a deflated DICOM file may inflate to"
    )
    max_frame_pixels: int = Field(default=4096 * 4096, ge=1, description="Largest rows x columns of a frame")
    decoders: int = Field(
        default_factory=_own_cores, ge=1, le=64, description="Processes that read images, for one worker"
    )
    decode_timeout_s: float = Field(
        default=30.0, gt=0, le=3600, description="Longest time for reading one file, or one lesion of it"
    )

    dicomweb_servers: dict[str, DicomwebServer] = Field(
        default_factory=dict,
        description='DICOMweb servers that jobs may name, as JSON: {"pacs": {"url": "https://...", "token": "..."}}; '
        "a server may have user, password and ca (PEM of whom to trust)",
    )
    dicomweb_max_bytes: int = Field(default=256 << 20, ge=1024, description="Largest instance that is fetched")
    dicomweb_timeout_s: float = Field(default=60.0, gt=0, le=3600, description="Longest time for fetching one instance")
    gate_doppler_in_roi: GatePolicy = _gate("Doppler in a lesion's region")
    gate_colour_in_roi: GatePolicy = _gate("Colour in it that the header does not explain")
    gate_dual_view_seam_in_roi: GatePolicy = _gate("The seam of two views in it")
    gate_overlay_in_roi: GatePolicy = _gate("Calipers or text burned into it")
    gate_roi_outside_bmode: GatePolicy = _gate("More than 5 % of it outside of the header's B-mode regions")
    gate_roi_too_small: GatePolicy = _gate("A side of fewer than 16 pixels")
    gate_roi_blank: GatePolicy = _gate("Fewer than 8 grey levels from its 1st to its 99th percentile")
    gate_roi_saturated: GatePolicy = _gate("More than 10 % of it clipped at white")

    receive_address: str = Field(default="127.0.0.1", description="Where `dlr receive` listens for DICOM")
    receive_port: int = Field(default=11112, ge=0, le=65535, description="Its port; 0: any free one")
    receive_ae_title: AeTitle = Field(
        default="DLR",
        min_length=1,
        max_length=16,
        description="Its AE title; who calls another one is rejected",
    )
    receive_callers: AeTitles = Field(
        default="",
        description="AE titles that may send, with commas between; needed where it listens beyond this machine",
    )
    receive_associations: int = Field(default=16, ge=1, le=256, description="Associations at once at most")
    receive_quiet_s: float = Field(
        default=30.0,
        gt=0,
        le=86400,
        description="A study without a report of its lesions is closed once nothing has come for so long",
    )
    receive_certificate: Path | None = Field(default=None, description="PEM of its certificate: DICOM over TLS only")
    receive_key: Path | None = Field(default=None, description="Its key, readable by its owner alone")
    receive_ca: Path | None = Field(default=None, description="PEM of whose certificates senders have to show")

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

    shadow_database_url: PostgresUrl | None = Field(
        default=None,
        description="The database as a user who is dlr_shadow, for `dlr shadow` and `dlr backfill`; unset: that of a "
        "running `dlr up`",
    )
    shadow_database_password: SecretStr | None = Field(default=None, description="For DLR_SHADOW_DATABASE_URL")
    shadow_device: str = Field(
        default="cpu",
        description="Where shadows and backfills run: cpu leaves the GPU to live work; auto, cuda or cuda:N",
    )

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

    flower_user: str = Field(default="admin", min_length=1, description="Who may look at Flower")
    flower_password: SecretStr | None = Field(
        default=None, description="Flower does not start without; `dlr up` makes one up and keeps it in the home"
    )
    flower_address: str = Field(default="127.0.0.1", description="Where Flower listens")
    flower_port: int = Field(default=5555, ge=0, le=65535, description="Flower's port; 0: any free one")
    metrics_address: str = Field(
        default="127.0.0.1", description="Where metrics are served for Prometheus, to whoever asks"
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="The first port of workers' metrics: each worker takes the first free one of 32; unset: none",
    )
    exporter_port: int = Field(default=9469, ge=0, le=65535, description="The port of `dlr metrics`; 0: any free one")
    drift_days: float = Field(default=30.0, gt=0, le=3650, description="How far back drift and outcomes are looked at")
    traces_url: WebUrl | None = Field(
        default=None,
        description="An OpenTelemetry collector (OTLP over HTTP), http://host:4318; unset: no traces",
    )
    log_format: Literal["json", "text"] = Field(default="json", description="json: one object a line; text: for people")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  a .env file is not read: one place less to look
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the folder may be absent, which warns
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources, first wins."""
        sources = [init_settings, env_settings]
        if SECRETS_DIR.is_dir():
            sources.append(SecretsSettingsSource(settings_cls, secrets_dir=SECRETS_DIR))
        sources.append(JsonConfigSettingsSource(settings_cls, json_file=default_home() / SERVICES_FILE))
        return tuple(sources)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        home = self.home.expanduser().resolve()
        values: dict[str, object] = {
            "home": home,
            "storage_root": home / self.storage_root.expanduser(),
            "models_dir": home / self.models_dir.expanduser(),
            "web_accounts": home / self.web_accounts.expanduser(),
        }
        of_database = TlsFiles(self.database_ca, self.database_certificate, self.database_key)
        of_redis = TlsFiles(self.redis_ca, self.redis_certificate, self.redis_key)
        if self.database_url is not None:
            url = with_password(self.database_url, self.database_password)
            values["database_url"] = secret(postgres_url(url, of_database))
        if self.database_owner_url is not None:
            url = with_password(self.database_owner_url, self.database_owner_password)
            values["database_owner_url"] = secret(postgres_url(url, of_database))
        if self.web_database_url is not None:
            url = with_password(self.web_database_url, self.web_database_password)
            values["web_database_url"] = secret(postgres_url(url, of_database))
        if self.shadow_database_url is not None:
            url = with_password(self.shadow_database_url, self.shadow_database_password)
            values["shadow_database_url"] = secret(postgres_url(url, of_database))
        if self.reader_url is not None:
            url = with_password(self.reader_url, self.reader_password)
            values["reader_url"] = secret(postgres_url(url, of_database))
        if self.redis_url is not None:
            url = with_password(self.redis_url, self.redis_password)
            values["redis_url"] = secret(redis_url(url, of_redis))
        for name in (
            "database_ca",
            "database_certificate",
            "database_key",
            "redis_ca",
            "redis_certificate",
            "redis_key",
        ):
            file = getattr(self, name)
            if file is not None and not os.access(file, os.R_OK):
                raise ValueError(f"{PREFIX}{name.upper()} can not be read")
        for name, value in values.items():
            object.__setattr__(self, name, value)
        return self

    @property
    def limits(self) -> Limits:
        """What is read of a DICOM file at most."""
        return Limits(self.max_file_bytes, self.max_frame_pixels, self.max_inflated_bytes)

    @property
    def dicomweb(self) -> Dicomweb:
        """The DICOMweb servers, and what is fetched of them at most."""
        servers = {name: server.with_headers() for name, server in self.dicomweb_servers.items()}
        return Dicomweb(servers, self.dicomweb_max_bytes, self.dicomweb_timeout_s)

    @property
    def gate(self) -> Policies:
        """What each finding of the gate does."""
        return {reason: getattr(self, f"gate_{reason.value}") for reason in QualityFinding}

    def require_database_url(self) -> str:
        """Return the database's URL with its password, or say how to get one (``setting_invalid``)."""
        return _required(self.database_url, "DLR_DATABASE_URL")

    def require_owner_url(self) -> str:
        """Return the URL to migrate with, or say how to get one (``setting_invalid``)."""
        return _required(self.database_owner_url or self.database_url, "DLR_DATABASE_URL")

    def require_web_database_url(self) -> str:
        """Return the URL of the worklist page, or say how to get one (``setting_invalid``)."""
        return _required(self.web_database_url, "DLR_WEB_DATABASE_URL")

    def require_shadow_database_url(self) -> str:
        """Return the URL of shadows and backfills, or say how to get one (``setting_invalid``)."""
        return _required(self.shadow_database_url, "DLR_SHADOW_DATABASE_URL")

    def require_reader_url(self) -> str:
        """Return the URL to read the views with, or say how to get one (``setting_invalid``)."""
        return _required(self.reader_url or self.database_url, "DLR_READER_URL")

    def require_redis_url(self) -> str:
        """Return Redis's URL with its password, or say how to get one (``setting_invalid``)."""
        return _required(self.redis_url, "DLR_REDIS_URL")


@contextmanager
def isolated() -> Iterator[None]:
    """Forget every DLR_ variable while it lasts: what runs inside touches no server that the environment names."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("DLR_")}
    for name in kept:
        del os.environ[name]
    get_settings.cache_clear()
    try:
        yield
    finally:
        os.environ.update(kept)
        get_settings.cache_clear()


def use_device(device: str) -> None:
    """Let this process have another ``DLR_DEVICE`` than it was given."""
    os.environ["DLR_DEVICE"] = device
    get_settings.cache_clear()


@dataclass(frozen=True, slots=True)
class Described:
    """One setting, to be shown: its value as text, without secrets, and where it was found."""

    variable: str
    value: str | None
    source: str
    description: str


def described(settings: Settings) -> list[Described]:
    """Describe every setting; a URL is shown without its password, any other secret as asterisks."""
    announced = JsonConfigSettingsSource(Settings, json_file=default_home() / SERVICES_FILE)()
    rows = []
    for name, field in Settings.model_fields.items():
        value, variable = getattr(settings, name), f"DLR_{name.upper()}"
        if os.environ.get(variable):
            source = "environment"
        elif (SECRETS_DIR / variable.lower()).is_file():
            source = f"{SECRETS_DIR / variable.lower()}"
        else:
            source = f"DLR_HOME/{SERVICES_FILE}" if name in announced else "default"
        rows.append(Described(variable, _shown(name, value), source, field.description or ""))
    return rows


def _shown(name: str, value: object) -> str | None:
    if isinstance(value, SecretStr) and name.endswith("_url"):
        url = make_url(value.get_secret_value())
        secret = [parameter for parameter in url.query if "password" in parameter]
        return url.difference_update_query(secret).render_as_string(hide_password=True)
    if isinstance(value, dict):
        return json.dumps({key: server.model_dump(mode="json", exclude_none=True) for key, server in value.items()})
    return None if value is None else str(value)


def _required(url: SecretStr | None, variable: str) -> str:
    if url is None:
        raise SetupRefused(
            Code.SETTING_INVALID,
            f"{variable} is not set and no `dlr up` is running with this DLR_HOME: start it, or set the variable",
        )
    return url.get_secret_value()


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the settings once for this process.

    Raises:
        SetupRefused: ``setting_invalid``, naming each wrong variable and never its value.
    """
    misspelt = [f"{name} is no setting: is {meant} meant?" for name, meant in _no_settings() if meant]
    if misspelt:
        raise SetupRefused(Code.SETTING_INVALID, "; ".join(misspelt))
    try:
        return Settings()
    except ValidationError as invalid:
        reason = "; ".join(_sentence(flaw) for flaw in flaws_of(invalid))
    except SettingsError:
        reason = "DLR_DICOMWEB_SERVERS: not JSON"
    except (json.JSONDecodeError, UnicodeDecodeError):
        reason = f"{default_home() / SERVICES_FILE} is not JSON: `dlr up` writes it anew"
    raise SetupRefused(Code.SETTING_INVALID, reason)


def _no_settings() -> Iterator[tuple[str, str | None]]:
    """Find variables and secrets that have a setting's prefix and are none, each with the setting that it resembles.

    What resembles none is told in the log and left alone: it may be the site's own, or of another version.
    """
    given = {name for name, value in os.environ.items() if value}
    if SECRETS_DIR.is_dir():
        given |= {file.name for file in SECRETS_DIR.iterdir()}
    for name in sorted(given):
        prefix, word = name[: len(PREFIX)].lower(), name[len(PREFIX) :].lower()
        if prefix == PREFIX.lower() and word not in Settings.model_fields:
            meant = get_close_matches(word, Settings.model_fields, n=1, cutoff=ALIKE)
            if not meant:
                logger.warning("%s is no setting, and does nothing: `dlr settings` lists them", name)
            yield name, f"{PREFIX}{meant[0].upper()}" if meant else None


def _sentence(flaw: Flaw) -> str:
    """Name the variable, and the place in its JSON. What contradicts itself names the variables already."""
    if not flaw.place:
        return flaw.sentence
    variable, *within = map(str, flaw.place)
    return ": ".join([f"{PREFIX}{variable.upper()}", *within, flaw.sentence])
