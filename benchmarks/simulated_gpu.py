"""A device with the timing of a GPU, under the real engine: a batch of n lesions takes T(n) = b + a * n.

``python -m benchmarks.simulated_gpu`` is `dlr worker --queue inference` on that device.
"""

import fcntl
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.samples import cards
from worker.inference.engine import LOST_AFTER_S, Engine
from worker.inference.runner import Pixels, Runner

FIXED_MS, PER_LESION_MS, BATCH = "BENCHMARK_FIXED_MS", "BENCHMARK_PER_LESION_MS", "DLR_BATCH_MAX"
BUSY = "BENCHMARK_BUSY"
"""Names a file that stands for one card: whoever holds its lock computes, and writes down from when to when."""

B_MS, A_MS, N_MAX = 19.0, 1.0, 64
"""T(1) is 20 ms, which two ResNet-50 take as a lesion comes on a small GPU without graphs; T(64) is 83 ms."""


def batch_seconds(count: int, fixed_ms: float = B_MS, per_lesion_ms: float = A_MS) -> float:
    return (fixed_ms + per_lesion_ms * count) / 1e3


class SimulatedGpu:
    """Sleeps as long as the device would compute; a lesion's logits follow from its pixels and age."""

    tolerance = 1e-4
    threads = 1
    batch_max = N_MAX
    studies = N_MAX
    gather_s = 0.04

    def __init__(self, fixed_ms: float = B_MS, per_lesion_ms: float = A_MS, card: Path | None = None) -> None:
        self._fixed_ms, self._per_lesion_ms = fixed_ms, per_lesion_ms
        self._card = card

    def run(
        self,
        lh: Sequence[Pixels],
        bm: Sequence[Pixels],  # noqa: ARG002
        ages: Sequence[float],
    ) -> NDArray[np.float32]:
        seconds = batch_seconds(len(ages), self._fixed_ms, self._per_lesion_ms)
        ends = time.perf_counter() + seconds
        grey = np.array([crop[0, ::16, ::16].mean() / 255 for crop in lh], np.float32)
        logits = np.stack([grey, np.asarray(ages, np.float32) / 100], axis=1)
        if self._card is None:
            time.sleep(max(ends - time.perf_counter(), 0))
        else:
            compute_on(self._card, seconds)
        return np.stack([logits, logits[:, ::-1]], axis=1)


def compute_on(card: Path, seconds: float) -> None:
    """Wait until nobody else computes on a card, compute for so long, and write down when it was."""
    with card.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()
        time.sleep(seconds)
        file.write(f"{began} {time.monotonic()}\n")
        file.flush()


def busy_share(card: Path) -> float | None:
    """Return the share of time that a card computed in, from its first batch to the end of its last."""
    if not card.exists():
        return None
    batches = [tuple(map(float, line.split())) for line in card.read_text().splitlines()]
    return sum(ended - began for began, ended in batches) / (batches[-1][1] - batches[0][0])


def of_environment() -> SimulatedGpu:
    """Make the device that the environment asks for."""
    card = Path(os.environ[BUSY]) if BUSY in os.environ else None
    return SimulatedGpu(float(os.environ.get(FIXED_MS, B_MS)), float(os.environ.get(PER_LESION_MS, A_MS)), card)


def main(device: Runner | None = None, lost_after_s: float = LOST_AFTER_S) -> None:
    """Run the worker.

    Args:
        device: ``None``: the one that the environment asks for.
        lost_after_s: how long it may fail until its process ends.
    """
    from worker import runtime
    from worker.cli.main import main as dlr
    from worker.inference import reference_process
    from worker.settings import get_settings

    settings = get_settings()
    engine = Engine(
        cards(),
        device or of_environment(),
        settings.batch_max,
        settings.batch_wait_ms / 1000,
        lost=runtime._end_without_device,  # noqa: SLF001
        lost_after_s=lost_after_s,
    )
    runtime.engine = lambda: engine  # type: ignore[assignment]
    reference_process.begin = lambda *_: None  # nothing is compared
    sys.argv[1:] = ["worker", "--queue", "inference", *sys.argv[1:]]
    dlr()


if __name__ == "__main__":
    main()
