"""A card that has no memory left while models are put on it: they are refused, and put there once there is some.

``python -m benchmarks.gpu.fault`` does it, in a process of its own. An engine that is at work already goes on.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import torch

from benchmarks.gpu.run import Row, Run
from benchmarks.gpu.service import sticky
from benchmarks.samples import add_models, lesion
from worker.clinical.categories import Priority
from worker.errors import Code, Unavailable
from worker.inference.engine import Engine
from worker.inference.loading import load_engine
from worker.inference.model_pair import ModelPair, TorchRunner

BATCH = 8
PATIENCE_S = 30.0


def faults(run: Run) -> Iterator[Row]:
    """A card without memory, and one that is lost to one of two workers."""
    yield _no_memory(run)
    yield from sticky(run)


def _no_memory(run: Run) -> Row:
    command = [sys.executable, "-m", "benchmarks.gpu.fault", *(["--simulated"] if run.at.simulated else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=run.left("no memory"))
    said = done.stdout.strip() if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]
    what = "no memory for a second engine, then some: exit status"
    return Row("faults", what, float(done.returncode), "", "0", done.returncode == 0, said)


def main() -> None:
    with (
        TemporaryDirectory() as folder,
        _simulated() if "--simulated" in sys.argv else nullcontext(_no_memory_left()) as full,
    ):
        add_models(Path(folder))
        at_work = _loaded(Path(folder))
        _score(at_work)
        with full:
            _score(at_work)
            refused = _refused(Path(folder))
        _score(at_work)
        _score(_loaded(Path(folder)))
    sys.stdout.write(f"refused as {refused}; the first scored on; made and scored once there was memory\n")


def _loaded(models_dir: Path) -> Engine:
    return load_engine(models_dir, "cuda:0", BATCH, wait_ms=10.0)


def _refused(models_dir: Path) -> str:
    try:
        _loaded(models_dir).close()
    except Unavailable as refused:
        if refused.code is not Code.DEVICE_UNAVAILABLE:
            sys.exit(f"refused as {refused.code}")
        return refused.code.value
    sys.exit("both models were put on a card without memory")


def _score(engine: Engine) -> None:
    engine.submit([lesion()], Priority.ROUTINE).result(PATIENCE_S)


@contextmanager
def _no_memory_left() -> Iterator[None]:
    """Hold all memory of the card, taken in smaller and smaller parts."""
    held, size = [], 1 << 34
    while size >= 1 << 20:
        try:
            held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            size //= 2
    try:
        yield
    finally:
        held.clear()
        torch.cuda.empty_cache()


@contextmanager
def _simulated() -> Iterator[AbstractContextManager[None]]:
    """Put PyTorch on the CPU in the card's place, with small networks; it has no memory while it is told so."""

    class Runner(TorchRunner):
        is_full = False

        def __init__(self, pair: ModelPair, _device: torch.device, batch_max: int) -> None:
            if Runner.is_full:
                raise torch.OutOfMemoryError
            super().__init__(pair)
            self.batch_max = batch_max

    with (
        mock.patch("benchmarks.samples.BACKBONE", "resnet18"),
        mock.patch("worker.inference.devices.choose_device", return_value=torch.device("cuda:0")),
        mock.patch("worker.inference.cuda.CudaRunner", Runner),
    ):
        yield mock.patch.object(Runner, "is_full", True)


if __name__ == "__main__":
    main()
