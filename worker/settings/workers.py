"""Settings of the workers: their device, their batches, their leases."""

from pydantic import BaseModel, Field


class WorkerSettings(BaseModel, frozen=True):
    """How a worker works."""

    device: str = Field(
        default="auto",
        description="auto, cpu, cuda or cuda:N; for several workers cuda:0,cuda:1, or all: one on each CUDA device",
    )
    concurrency: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Maximum number of studies in flight per inference worker; unset: 64 on CUDA, 4 per core on a CPU",
    )
    batch_max: int | None = Field(
        default=None, ge=1, le=512, description="Maximum number of images in a batch; unset: 64 on CUDA, 2 on a CPU"
    )
    batch_wait_ms: float = Field(
        default=5.0,
        ge=0,
        le=1000,
        description="How long a batch waits for more lesions while studies are on their way, in milliseconds",
    )
    inference_timeout_s: float = Field(
        default=60.0,
        gt=0,
        le=86400,
        description="Longest time for one batch, in seconds; a device that exceeds it hangs, and its worker exits",
    )
    max_attempts: int = Field(
        default=3, ge=1, le=100, description="Maximum number of attempts to score a study before it fails"
    )
    lease_s: float = Field(
        default=5.0,
        ge=0.5,
        le=600,
        description="Lease: after this many seconds without a heartbeat, a worker's studies are requeued",
    )
    reconcile_s: float = Field(
        default=1.0,
        ge=0.1,
        le=600,
        description="How often each worker looks for studies that no worker holds, in seconds",
    )
    stop_s: float = Field(
        default=20.0,
        gt=0,
        le=86400,
        description="Grace period after SIGTERM, in seconds: a worker finishes what it can and requeues the rest",
    )
    retry_wait_s: float = Field(
        default=2.0,
        ge=0,
        le=86400,
        description="Wait before the first retry, in seconds; it doubles with each retry, up to 10 s",
    )
    max_message_bytes: int = Field(
        default=1 << 20, ge=1024, description="Largest job that is read from the queue, in bytes"
    )
