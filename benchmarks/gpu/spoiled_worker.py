"""``python -m benchmarks.gpu.spoiled_worker``: a worker whose card answers it no more once a file is there.

On a CUDA device an assertion fails in a kernel, after which CUDA refuses this process everything; a simulated one
fails on everything. The worker ends after 2 s of that, where one of a site waits for 30.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from unittest import mock

import torch

from benchmarks import simulated_gpu
from worker.inference.engine import Engine
from worker.inference.runner import Logits, Pixels, Runner

SPOILED = "BENCHMARK_SPOILED"
GIVEN_UP_AFTER_S = 2.0


class SpoiledRunner:
    """A simulated device that fails on everything once it is spoiled."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.tolerance, self.threads, self.batch_max = runner.tolerance, runner.threads, runner.batch_max
        self.studies, self.gather_s = runner.studies, runner.gather_s

    def run(self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]) -> Logits:
        if is_spoiled():
            raise RuntimeError
        return self._runner.run(lh, bm, ages)


def is_spoiled() -> bool:
    return Path(os.environ[SPOILED]).exists()


def spoil() -> None:
    """Read behind an array's end on the card: an assertion fails there."""
    with suppress(RuntimeError):
        torch.zeros(4, device="cuda")[torch.tensor([1 << 20], device="cuda")]
        torch.cuda.synchronize()


def on_cuda() -> None:
    from worker.cli.main import main as dlr
    from worker.inference import cuda

    class SpoiledCudaRunner(cuda.CudaRunner):
        def run(self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]) -> Logits:
            if is_spoiled():
                spoil()
            return super().run(lh, bm, ages)

    impatient = partial(Engine, lost_after_s=GIVEN_UP_AFTER_S)
    sys.argv[1:] = ["worker", "--queue", "inference", *sys.argv[1:]]
    with (
        mock.patch("worker.inference.cuda.CudaRunner", SpoiledCudaRunner),
        mock.patch("worker.inference.loading.Engine", impatient),
    ):
        dlr()


if __name__ == "__main__":
    if simulated_gpu.BUSY in os.environ:
        simulated_gpu.main(SpoiledRunner(simulated_gpu.of_environment()), GIVEN_UP_AFTER_S)
    else:
        on_cuda()
