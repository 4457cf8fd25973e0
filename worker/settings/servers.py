"""Settings of PostgreSQL and Redis: where they are, who signs in, whom to trust."""

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr
from sqlalchemy.engine import make_url

from worker.settings.addresses import PostgresUrl, RedisUrl, required
from worker.settings.sentinels import is_behind_sentinels


class ServerSettings(BaseModel, frozen=True):
    """PostgreSQL and Redis."""

    database_url: PostgresUrl | None = Field(
        default=None,
        description="PostgreSQL, as the user that workers sign in as: postgresql://user@host:5432/dlr, with a "
        "standby host1:5432,host2:5432; unset: `dlr up` starts one",
    )
    database_password: SecretStr | None = Field(default=None, description="Password for a DLR_DATABASE_URL without one")
    database_owner_url: PostgresUrl | None = Field(
        default=None, description="The same database, as the user that migrates it; unset: DLR_DATABASE_URL"
    )
    database_owner_password: SecretStr | None = Field(
        default=None, description="Password for a DLR_DATABASE_OWNER_URL without one"
    )
    reader_url: PostgresUrl | None = Field(
        default=None,
        description="The same database, as a read-only user for `dlr metrics`; unset: DLR_DATABASE_URL",
    )
    reader_password: SecretStr | None = Field(default=None, description="Password for a DLR_READER_URL without one")
    backup_database_url: PostgresUrl | None = Field(
        default=None,
        description="The same database, as a user who may read all of it, for `dlr backup create`; unset: "
        "DLR_DATABASE_OWNER_URL, else DLR_DATABASE_URL",
    )
    backup_database_password: SecretStr | None = Field(
        default=None, description="Password for a DLR_BACKUP_DATABASE_URL without one"
    )
    database_ca: Path | None = Field(
        default=None,
        description="CA bundle (PEM) that verifies PostgreSQL's certificate and host name; TLS is then required",
    )
    database_certificate: Path | None = Field(default=None, description="Client certificate (PEM) for PostgreSQL")
    database_key: Path | None = Field(
        default=None, description="Private key (PEM) of that certificate, readable by its owner alone"
    )
    database_answer_s: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="How long PostgreSQL may take to answer a worker, in seconds, before it is asked anew; after a "
        "third of it, PostgreSQL ends a transaction in which a worker is silent",
    )

    redis_url: RedisUrl | None = Field(
        default=None,
        description="Redis: redis://user@host:6379/0, or rediss:// for TLS; behind Sentinels "
        "redis+sentinel://user@host:26379,host:26379/service/0; unset: `dlr up` starts one",
    )
    redis_password: SecretStr | None = Field(default=None, description="Password for a DLR_REDIS_URL without one")
    redis_sentinel_user: str | None = Field(
        default=None, description="User of the Sentinels, where they ask for one; unset: their `default` user"
    )
    redis_sentinel_password: SecretStr | None = Field(
        default=None, description="Password of the Sentinels, where they ask for one"
    )
    redis_ca: Path | None = Field(
        default=None,
        description="CA bundle (PEM) that verifies Redis's certificate and host name, for rediss://; unset: the "
        "system's",
    )
    redis_certificate: Path | None = Field(default=None, description="Client certificate (PEM) for Redis")
    redis_key: Path | None = Field(default=None, description="Private key (PEM) of that certificate")
    redis_key_prefix: str = Field(
        default="", description="Prefix of Celery's keys, for a Redis that is shared with other software"
    )
    redis_may_forget: bool = Field(
        default=False,
        description="Whether workers may run on a Redis that can lose accepted jobs (no append-only file, or "
        "eviction): senders then have to push lost jobs again",
    )

    def require_database_url(self) -> str:
        """Return the database's URL with its password, or say how to get one (``setting_invalid``)."""
        return required(self.database_url, "DLR_DATABASE_URL")

    def require_owner_url(self) -> str:
        """Return the URL to migrate with, or say how to get one (``setting_invalid``)."""
        return required(self.database_owner_url or self.database_url, "DLR_DATABASE_URL")

    def require_reader_url(self) -> str:
        """Return the URL to read the views with, or say how to get one (``setting_invalid``)."""
        return required(self.reader_url or self.database_url, "DLR_READER_URL")

    def require_backup_database_url(self) -> str:
        """Return the URL to back the database up with, or say how to get one (``setting_invalid``)."""
        return required(self.backup_database_url or self.database_owner_url or self.database_url, "DLR_DATABASE_URL")

    def require_redis_url(self) -> str:
        """Return Redis's URL with its password, or say how to get one (``setting_invalid``)."""
        return required(self.redis_url, "DLR_REDIS_URL")

    @property
    def is_behind_sentinels(self) -> bool:
        """Whether Sentinels say where Redis is."""
        return self.redis_url is not None and is_behind_sentinels(make_url(self.redis_url.get_secret_value()))
