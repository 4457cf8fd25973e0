"""The models on a CPU, by OpenVINO (the extra ``cpu``). No torch here.

OpenVINO was the fastest of those in `benchmarks.runtimes`: docs/decisions/0013-openvino-on-the-cpu.md.
"""

import ctypes
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worker.inference.model_card import ModelCard
from worker.inference.runner import Inputs, Pixels

if TYPE_CHECKING:
    from openvino import InferRequest

    from worker.inference.openvino_graph import Weights

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology"


def is_installed() -> bool:
    """Whether OpenVINO is."""
    return find_spec("openvino") is not None


def cores() -> int:
    """Return on how many cores the models may compute, as PyTorch has it.

    Those that this process may run on, one that runs two threads counted once; fewer where ``OMP_NUM_THREADS`` says so.
    """
    mine = len({_core_of(cpu) for cpu in os.sched_getaffinity(0)})
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(said), mine) if said.isdecimal() and int(said) else mine


def _core_of(cpu: int) -> tuple[str, ...]:
    topology = Path(_TOPOLOGY.format(cpu))
    try:
        return tuple((topology / name).read_text() for name in ("physical_package_id", "core_id"))
    except OSError:
        return (str(cpu),)


def _give_back_memory() -> None:
    """Give back to the system what was freed while the models were made; glibc keeps it for what may come."""
    with suppress(AttributeError):  # another C library has no such function
        ctypes.CDLL(None).malloc_trim(0)


class OpenVinoRunner:
    """Both models, run by OpenVINO in float32.

    Each batch has one core to itself, and as many are at work at once: cores that share a batch wait for each other
    whenever something else runs on one of them. A lesion that comes alone gets all cores, once `compile_for_one` is
    through.

    Args:
        cards: of DLR_LH and DLR_BM.
        weights: of the networks of each, by their names; not kept.
        streams: batches at work at once, which share the cores; ``None``: one a core.
    """

    tolerance = 1e-4
    batch_max = 2
    gather_s = 0.3

    def __init__(
        self, cards: Sequence[ModelCard], weights: "Sequence[Sequence[Weights]]", streams: int | None = None
    ) -> None:
        from openvino import Core

        from worker.inference.openvino_graph import graph_of

        self._cores = cores()
        self.threads = streams or self._cores
        self.studies = 4 * self.threads
        self._inputs = Inputs.of(cards)
        self._at_work = 0
        self._lock = threading.Lock()
        self._core, self._graph = Core(), graph_of(cards, weights)
        self._requests: SimpleQueue[InferRequest] = SimpleQueue()
        beside_others = self._compiled(self.threads)
        for _ in range(self.threads):
            self._requests.put(beside_others.create_infer_request())
        self._alone: Future[InferRequest] | None = None

    def _compiled(self, streams: int) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": self._cores,
            # Threads that are tied to a core wait there for the decoders and servers beside them.
            "ENABLE_CPU_PINNING": False,
        }
        return self._core.compile_model(self._graph, "CPU", settings)

    def compile_for_one(self) -> None:
        """Begin to compile what a lesion that comes alone is scored on; until it is there, that goes as others do."""
        compiling = ThreadPoolExecutor(1, "openvino")
        self._alone = compiling.submit(self._compile_for_one)
        compiling.shutdown(wait=False)

    def _compile_for_one(self) -> "InferRequest":
        request: InferRequest = self._compiled(1).create_infer_request()
        del self._graph  # with the weights that it was built of
        _give_back_memory()
        return request

    def run(self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]) -> NDArray[np.float32]:
        """Score a batch (see `worker.inference.runner.Runner.run`)."""
        with self._lock:
            alone = self._alone if not self._at_work and len(ages) == 1 else None
            self._at_work += 1
        alone = alone if alone is not None and alone.done() else None
        request = self._requests.get() if alone is None else alone.result()
        try:
            logits: NDArray[np.float32] = request.infer(self._inputs(lh, bm, ages), share_inputs=True)[0]
            return logits
        finally:
            if alone is None:
                self._requests.put(request)
            with self._lock:
                self._at_work -= 1
