"""The card that `benchmarks.gpu` measures: a CUDA device with both ResNet-50, or a simulated one on any machine."""

import copy
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from benchmarks.gpu.variants import Bf16Weights, Bf16WeightsNhwcBytes, NhwcBytes, TwoStreams
from benchmarks.samples import cards, network
from benchmarks.simulated_gpu import BUSY, FIXED_MS, PER_LESION_MS, SimulatedGpu, busy_share
from worker.inference.model_pair import ModelPair
from worker.inference.runner import Batch, Logits, Runner, probabilities

H100_FIXED_MS, H100_PER_LESION_MS = 2.0, 0.25
"""T(n) = 2 + 0.25 n ms: how fast a simulated card is by itself."""

SLOW_FIXED_MS, SLOW_PER_LESION_MS = 20.0, 40.0
"""T(n) = 20 + 40 n ms: how fast it is under the service. As fast as an H100, two cores could not keep it busy."""

BF16_PEAK_TFLOPS = {"H100 PCIe": 756.0, "H100": 989.0, "H200": 989.0, "A100": 312.0}
"""Dense bfloat16, by a word of the card's name (NVIDIA's data sheets of the H100, H200 and A100)."""

MLPERF_RESNET50 = {"H100": 703_770 / 8, "H200": 756_960 / 8}
"""ResNet-50 images a second of one card of eight, INT8, datacenter, closed, offline: what NVIDIA's own systems reached.

H100: MLPerf Inference v4.0, DGX-H100_H100-SXM-80GBx8_TRT; H200: v4.1, H200-SXM-141GBx8_TRT; "Samples per second" of
closed/NVIDIA/results/<system>/resnet50/Offline/performance/run_1/mlperf_log_summary.txt in
https://github.com/mlcommons/inference_results_v4.0 and https://github.com/mlcommons/inference_results_v4.1.
"""

Eager = Callable[[Batch], Logits]


class Card(Protocol):
    """A device under test.

    Attributes:
        name: as its driver has it.
        simulated: it computes nothing.
        environment: what a worker on it is started with.
        module: the module that starts a worker on it, with its arguments.
        peak_tflops: of dense bfloat16; ``None``: not known, or not meant.
    """

    name: str
    simulated: bool
    environment: Mapping[str, str]
    module: tuple[str, ...]
    peak_tflops: float | None

    def runner(self, batch_max: int) -> Runner:
        """Put both models on the card, as a worker does."""

    def variants(self) -> Mapping[str, Callable[[int], Runner]]:
        """Return what the runner might be instead, by name: each puts both models on the card."""

    def eager(self) -> Iterator[tuple[str, Eager]]:
        """Yield plain ways to run both models, by name, as one would write them: on one thread."""

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

    simulated = False
    environment: Mapping[str, str] = {"DLR_DEVICE": "cuda:0"}
    module = ("worker.cli.main", "worker", "--queue", "inference")

    def __init__(self) -> None:
        self._device = torch.device("cuda:0")
        self.name = torch.cuda.get_device_name(self._device)
        self.peak_tflops = named(BF16_PEAK_TFLOPS, self.name)
        self._networks = [[network(0)], [network(1)]]
        self._plain = plain(self._pair(ModelPair), self._device)

    def _pair(self, kind: type[ModelPair]) -> ModelPair:
        return kind(cards(), copy.deepcopy(self._networks))

    def runner(self, batch_max: int) -> Runner:
        return self._cuda_runner(ModelPair, batch_max)

    def variants(self) -> Mapping[str, Callable[[int], Runner]]:
        return {
            "weights held in bf16": partial(self._cuda_runner, Bf16Weights),
            "NHWC bytes": partial(self._cuda_runner, NhwcBytes),
            "weights held in bf16, NHWC bytes": partial(self._cuda_runner, Bf16WeightsNhwcBytes),
            "two streams": lambda batch_max: TwoStreams(partial(self.runner, batch_max)),
        }

    def _cuda_runner(self, kind: type[ModelPair], batch_max: int) -> Runner:
        from worker.inference.cuda import CudaRunner

        return CudaRunner(self._pair(kind), self._device, batch_max)

    def expected(self, batch: Batch) -> np.ndarray:
        allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        try:
            return probabilities(self._plain(batch))
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed

    def eager(self) -> Iterator[tuple[str, Eager]]:
        yield "PyTorch, eager, float32 (tf32 in convolutions)", self._plain
        half = self._pair(Bf16Weights).fold()
        yield "PyTorch, eager, bf16, channels_last", plain(half, self._device, bf16=True)

    def memory_mib(self) -> float:
        free, total = torch.cuda.mem_get_info(self._device)
        return (total - free) / 2**20

    def busy(self) -> "Busy":
        return NvidiaSmi(str(torch.cuda.get_device_properties(self._device).uuid))


def plain(
    made: ModelPair,
    device: torch.device,
    *,
    bf16: bool = False,
    compiled: Callable[[ModelPair], Callable[..., torch.Tensor]] = lambda module: module,
) -> Eager:
    """Run a pair by PyTorch: a batch's inputs are copied over each time, and its logits back.

    Args:
        made: on the CPU; it is moved.
        device: where it is run.
        bf16: in bfloat16 by autocast, channels last.
        compiled: makes what is called of the pair on its device.
    """
    moved = made.to(device)
    module = compiled(moved.to(memory_format=torch.channels_last) if bf16 else moved)

    def run(batch: Batch) -> Logits:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            inputs = [torch.from_numpy(one).to(device) for one in made.inputs_of(*batch)]
            logits: Logits = module(*inputs).float().cpu().numpy()
        return logits

    return run


@dataclass
class SimulatedCard:
    """A card that takes T(n) for a batch of n, one batch at a time whoever sends it."""

    folder: Path
    name: str = "simulated"
    simulated: bool = True
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

    def variants(self) -> Mapping[str, Callable[[int], Runner]]:
        return {"two streams": lambda batch_max: TwoStreams(partial(self.runner, batch_max))}

    def eager(self) -> Iterator[tuple[str, Eager]]:
        device = SimulatedGpu(H100_FIXED_MS, H100_PER_LESION_MS)
        yield "the device by itself", lambda batch: device.run(*batch)

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


class NvidiaSmi:
    """Asks the driver ten times a second for the share of time in which any kernel ran (NVML's utilization).

    Args:
        uuid: the card's; a number counts the machine's cards, whatever CUDA_VISIBLE_DEVICES leaves of them.
    """

    def __init__(self, uuid: str) -> None:
        self._id = f"--id=GPU-{uuid.removeprefix('GPU-')}"

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
        asked = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", self._id]
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
