"""The card that `benchmarks.gpu` measures: a CUDA device with both ResNet-50, or a simulated one on any machine."""

import copy
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from benchmarks.models import pair
from benchmarks.simulated_gpu import BUSY, FIXED_MS, PER_LESION_MS, SimulatedGpu, batch_seconds, busy_share
from worker.inference.model_pair import ModelPair
from worker.inference.runner import Logits, Pixels, Runner, probabilities

H100_FIXED_MS, H100_PER_LESION_MS = 2.0, 0.25
"""T(n) = 2 + 0.25 n ms: how fast a simulated card is by itself."""

SLOW_FIXED_MS, SLOW_PER_LESION_MS = 20.0, 40.0
"""How fast it is where a service feeds it: as fast as an H100, a machine without one could not keep it busy."""

BF16_PEAK_TFLOPS = {"H100 PCIe": 756.0, "H100": 989.0, "H200": 989.0, "A100": 312.0}
"""Dense bfloat16, by a word of the card's name (NVIDIA's data sheets of the H100, H200 and A100)."""

MLPERF_RESNET50 = {"H100": 703_770 / 8, "H200": 756_960 / 8}
"""ResNet-50 images a second of one card of eight, INT8, datacenter, closed, offline: what NVIDIA's own systems reached.

H100: MLPerf Inference v4.0, DGX-H100_H100-SXM-80GBx8_TRT; H200: v4.1, H200-SXM-141GBx8_TRT; "Samples per second" of
closed/NVIDIA/results/<system>/resnet50/Offline/performance/run_1/mlperf_log_summary.txt in
https://github.com/mlcommons/inference_results_v4.0 and https://github.com/mlcommons/inference_results_v4.1.
"""

COMPILED_BATCH = 64

Score = Callable[[], int]
"""Scores one batch, and says how many lesions that were."""

Batch = tuple[Sequence[Pixels], Sequence[Pixels], Sequence[float]]


class Card(Protocol):
    """A device under test.

    Attributes:
        name: as its driver has it.
        environment: what a worker on it is started with.
        module: the module that starts a worker on it, with its arguments.
        peak_tflops: of dense bfloat16; ``None``: not known, or not meant.
    """

    name: str
    environment: Mapping[str, str]
    module: tuple[str, ...]
    peak_tflops: float | None

    def runner(self, batch_max: int) -> Runner:
        """Put both models on the card, as a worker does."""

    def ways(self, batch: Batch) -> Iterator[tuple[str, Score | str]]:
        """Yield other ways to run both models, by name, each ready; or why there is none."""

    def expected(self, batch: Batch) -> np.ndarray:
        """Return the probabilities of a batch as PyTorch computes them in float32."""

    def memory_mib(self) -> float:
        """Return how much memory this process holds on the card."""

    def busy(self) -> "Busy":
        """Return what measures how long the card computes."""


class Busy(Protocol):
    """Measures which share of some time a card computed."""

    def __enter__(self) -> "Busy": ...
    def __exit__(self, *_: object) -> None: ...
    def share(self) -> float | None:
        """Return the share, 0 to 1, since it was entered; ``None`` where nothing measures it."""


class CudaCard:
    """The first CUDA device."""

    environment: Mapping[str, str] = {"DLR_DEVICE": "cuda:0"}
    module = ("worker.cli.main", "worker", "--queue", "inference")

    def __init__(self) -> None:
        self._device = torch.device("cuda:0")
        self.name = torch.cuda.get_device_name(self._device)
        self.peak_tflops = named(BF16_PEAK_TFLOPS, self.name)
        self._pair = pair()

    def runner(self, batch_max: int) -> Runner:
        from worker.inference.cuda import CudaRunner

        return CudaRunner(copy.deepcopy(self._pair), self._device, batch_max)

    def expected(self, batch: Batch) -> np.ndarray:
        allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        try:
            return probabilities(_Eager(copy.deepcopy(self._pair).to(self._device), self._device)(batch))
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed

    def ways(self, batch: Batch) -> Iterator[tuple[str, Score | str]]:
        eager = copy.deepcopy(self._pair).to(self._device)
        yield "PyTorch, eager, float32", _scoring(_Eager(eager, self._device), batch)
        half = copy.deepcopy(self._pair).fold().to(self._device).to(memory_format=torch.channels_last)
        yield "PyTorch, eager, bf16, channels_last", _scoring(_Eager(half, self._device, bf16=True), batch)
        # It takes a minute and more for each batch size.
        if len(batch[2]) == COMPILED_BATCH:
            compiled = torch.compile(half, mode="max-autotune", dynamic=False)
            name = "torch.compile, max-autotune, bf16, channels_last"
            yield name, _scoring(_Eager(half, self._device, bf16=True, module=compiled), batch)
        for name, package in (("TensorRT", "torch_tensorrt"), ("ONNX Runtime, CUDA", "onnxruntime")):
            yield name, f"{package} for CUDA is not measured here" if find_spec(package) else "not installed"

    def memory_mib(self) -> float:
        free, total = torch.cuda.mem_get_info(self._device)
        return (total - free) / 2**20

    def busy(self) -> "Busy":
        return _NvidiaSmi()


class _Eager:
    """Runs a pair by PyTorch, its inputs copied over each time and its logits copied back."""

    def __init__(
        self,
        made: ModelPair,
        device: torch.device,
        *,
        bf16: bool = False,
        module: Callable[..., torch.Tensor] | None = None,
    ) -> None:
        self._pair, self._device, self._bf16, self._module = made, device, bf16, module or made

    def __call__(self, batch: Batch) -> Logits:
        precision = torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16)
        with torch.inference_mode(), precision:
            inputs = [torch.from_numpy(one).to(self._device) for one in self._pair.inputs_of(*batch)]
            logits: Logits = self._module(*inputs).float().cpu().numpy()
        return logits


def _scoring(run: Callable[[Batch], Logits], batch: Batch) -> Score:
    return lambda: len(run(batch))


@dataclass
class SimulatedCard:
    """A card that takes T(n) for a batch of n, one batch at a time whoever sends it."""

    folder: Path
    name: str = "simulated"
    peak_tflops: float | None = None
    module: tuple[str, ...] = ("benchmarks.simulated_gpu",)
    environment: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._busy = self.folder / "busy"
        self.environment = {
            FIXED_MS: str(SLOW_FIXED_MS),
            PER_LESION_MS: str(SLOW_PER_LESION_MS),
            BUSY: str(self._busy),
        }

    def runner(self, batch_max: int) -> Runner:
        made = SimulatedGpu(H100_FIXED_MS, H100_PER_LESION_MS, self._busy)
        made.batch_max = batch_max
        return made

    def expected(self, batch: Batch) -> np.ndarray:
        return probabilities(SimulatedGpu(0.0, 0.0).run(*batch))

    def ways(self, batch: Batch) -> Iterator[tuple[str, Score | str]]:
        def alone() -> int:
            time.sleep(batch_seconds(len(batch[2]), H100_FIXED_MS, H100_PER_LESION_MS))
            return len(batch[2])

        yield "the device by itself", alone
        yield "TensorRT", "not installed"

    def memory_mib(self) -> float:
        return 0.0

    def busy(self) -> "Busy":
        return _Counted(self._busy)


class _Counted:
    """Reads what simulated devices have written down, from the first batch to the end of the last."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> "Busy":
        self._file.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._share = busy_share(self._file)

    def share(self) -> float | None:
        return self._share


class _NvidiaSmi:
    """Asks the driver ten times a second for the share of time in which any kernel ran (NVML's utilization)."""

    def __enter__(self) -> "Busy":
        self._shares: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def share(self) -> float | None:
        at_work = [place for place, share in enumerate(self._shares) if share]
        return float(np.mean(self._shares[at_work[0] : at_work[-1] + 1])) / 100 if at_work else None

    def _look(self) -> None:
        program = shutil.which("nvidia-smi")
        asked = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
        while program is not None and not self._ended.wait(0.1):
            said = subprocess.run([program, *asked], capture_output=True, text=True, check=False).stdout.strip()
            if said.isdigit():
                self._shares.append(float(said))


def named(figures: Mapping[str, float], card: str) -> float | None:
    """Return the figure of the first word that a card's name has."""
    return next((figure for word, figure in figures.items() if word in card), None)


@contextmanager
def card(folder: Path, *, simulated: bool) -> Iterator[Card]:
    """Give the card to be measured."""
    yield SimulatedCard(folder) if simulated else CudaCard()
