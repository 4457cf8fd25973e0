"""Settings of `dlr shadow` and `dlr backfill`."""

from pydantic import BaseModel, Field, SecretStr

from worker.settings.addresses import PostgresUrl, required


class RescoringSettings(BaseModel, frozen=True):
    """Where shadows and backfills run."""

    shadow_database_url: PostgresUrl | None = Field(
        default=None,
        description="The database, as a user with the role dlr_shadow, for `dlr shadow` and `dlr backfill`; unset: "
        "that of a running `dlr up`",
    )
    shadow_database_password: SecretStr | None = Field(
        default=None, description="Password for a DLR_SHADOW_DATABASE_URL without one"
    )
    shadow_device: str = Field(
        default="cpu",
        description="Device for shadows and backfills: cpu, which leaves the GPU to live work, auto, cuda or cuda:N",
    )

    def require_shadow_database_url(self) -> str:
        """Return the URL of shadows and backfills, or say how to get one (``setting_invalid``)."""
        return required(self.shadow_database_url, "DLR_SHADOW_DATABASE_URL")
