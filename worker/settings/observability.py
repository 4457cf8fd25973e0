"""Settings of Flower, metrics, traces and logs."""

from typing import Literal

from pydantic import BaseModel, Field, HttpUrl, SecretStr

from worker.settings.addresses import WebUrl


class ObservabilitySettings(BaseModel, frozen=True):
    """How the service is watched."""

    flower_user: str = Field(default="admin", min_length=1, description="User that may sign in to Flower")
    flower_password: SecretStr | None = Field(
        default=None,
        description="Password of that user, without which Flower does not start; `dlr up` generates one and keeps it "
        "in DLR_HOME",
    )
    flower_oidc_issuer: HttpUrl | None = Field(
        default=None,
        description="URL of the OpenID Connect provider by which people sign in to Flower; unset: by DLR_FLOWER_USER "
        "and its password",
    )
    flower_oidc_client_id: str | None = Field(default=None, description="Flower's client id at that provider")
    flower_oidc_client_secret: SecretStr | None = Field(default=None, description="Flower's client secret there")
    flower_oidc_redirect_url: WebUrl | None = Field(
        default=None, description="Flower's address as browsers know it, with `/login`: its redirect URI there"
    )
    flower_oidc_emails: str = Field(
        default="",
        description="E-mail addresses of those who may look at Flower, as the provider has them, separated by commas",
    )
    flower_address: str = Field(default="127.0.0.1", description="Address on which Flower listens")
    flower_port: int = Field(default=5555, ge=0, le=65535, description="Port of Flower; 0: any free port")
    metrics_address: str = Field(
        default="127.0.0.1", description="Address on which metrics are served for Prometheus, without signing in"
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="First port of workers' metrics: each worker takes the first free one of 32; unset: no metrics",
    )
    exporter_port: int = Field(default=9469, ge=0, le=65535, description="Port of `dlr metrics`; 0: any free port")
    drift_days: float = Field(
        default=30.0, gt=0, le=3650, description="Period over which drift and outcomes are computed, in days"
    )
    traces_url: WebUrl | None = Field(
        default=None,
        description="OpenTelemetry collector (OTLP over HTTP), such as http://host:4318; unset: no traces",
    )
    log_format: Literal["json", "text"] = Field(
        default="json", description="json: one object per line; text: for people"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is logged: DEBUG, INFO, WARNING or ERROR"
    )
