"""Settings of Flower, metrics, traces and logs."""

from typing import Literal

from pydantic import BaseModel, Field, SecretStr

from worker.settings.addresses import WebUrl


class WatchingSettings(BaseModel, frozen=True):
    """How the service is watched."""

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
