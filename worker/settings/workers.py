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
