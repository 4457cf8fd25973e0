"""Settings of PostgreSQL and Redis: where they are, who signs in, whom to trust."""

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr

from worker.settings.addresses import PostgresUrl, RedisUrl, required


class ServerSettings(BaseModel, frozen=True):
    """PostgreSQL and Redis."""

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
    database_ca: Path | None = Field(
        default=None, description="PEM of whom to trust: PostgreSQL over TLS only, its certificate and name verified"
    )
    database_certificate: Path | None = Field(default=None, description="PEM of a client certificate for PostgreSQL")
    database_key: Path | None = Field(default=None, description="Its key, readable by its owner alone")

    redis_url: RedisUrl | None = Field(
        default=None, description="redis://user@host:6379/0 or rediss://; unset: `dlr up` starts one"
    )
    redis_password: SecretStr | None = Field(default=None, description="For a DLR_REDIS_URL without a password")
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

    def require_database_url(self) -> str:
        """Return the database's URL with its password, or say how to get one (``setting_invalid``)."""
        return required(self.database_url, "DLR_DATABASE_URL")

    def require_owner_url(self) -> str:
        """Return the URL to migrate with, or say how to get one (``setting_invalid``)."""
        return required(self.database_owner_url or self.database_url, "DLR_DATABASE_URL")

    def require_reader_url(self) -> str:
        """Return the URL to read the views with, or say how to get one (``setting_invalid``)."""
        return required(self.reader_url or self.database_url, "DLR_READER_URL")

    def require_redis_url(self) -> str:
        """Return Redis's URL with its password, or say how to get one (``setting_invalid``)."""
        return required(self.redis_url, "DLR_REDIS_URL")
