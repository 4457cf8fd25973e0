"""The models on a CPU: OpenVINO where it is installed (the extra ``cpu``), else PyTorch.

OpenVINO was the fastest of those in `benchmarks.runtimes`: docs/decisions/0013-openvino-on-the-cpu.md.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from worker.inference.model_pair import ModelPair, Pixels, Runner, TorchRunner

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest

logger = logging.getLogger(__name__)


def cpu_runner(pair: ModelPair) -> Runner:
    """Put a pair on the CPU, by the fastest way that is installed.

    Args:
        pair: on the CPU; it is changed, and not to be used afterwards.
    """
    pair.fold()
    if find_spec("openvino") is not None:
        return OpenVinoRunner(pair)
    logger.info("OpenVINO is not installed (the extra `cpu`): PyTorch runs the models, which takes about twice as long")
    return TorchRunner(pair.to(memory_format=torch.channels_last))


class OpenVinoRunner:
    """A pair run by OpenVINO in float32.

    Each batch has one core to itself, and as many are at work at once: cores that share a batch wait for each other
    whenever something else runs on one of them. A lesion that comes alone gets all cores.

    Args:
        pair: on the CPU, its BatchNorm folded.
        streams: batches at work at once, which share the cores; ``None``: one a core.
    """

    tolerance = 1e-4
    batch_max = 2
    gather_s = 0.3

    def __init__(self, pair: ModelPair, streams: int | None = None) -> None:
        from openvino import Core

        from worker.inference.openvino_graph import graph_of

        cores = torch.get_num_threads()
        self.threads = streams or cores
        self.studies = 4 * self.threads
        self._inputs = pair.inputs_of
        self._at_work = 0
        self._lock = threading.Lock()
        core, graph = Core(), graph_of(pair)

        def compiled(streams: int) -> "CompiledModel":
            settings = {
                "INFERENCE_PRECISION_HINT": "f32",
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": cores,
                # Threads that are tied to a core wait there for the decoders and servers beside them.
                "ENABLE_CPU_PINNING": False,
            }
            return core.compile_model(graph, "CPU", settings)

        self._requests: SimpleQueue[InferRequest] = SimpleQueue()
        beside_others = compiled(self.threads)
        for _ in range(self.threads):
            self._requests.put(beside_others.create_infer_request())
        # Nobody waits for what a single lesion is faster on: until it is there, that goes as the others do.
        compiling = ThreadPoolExecutor(1, "openvino")
        self._alone: Future[InferRequest] = compiling.submit(lambda: compiled(1).create_infer_request())
        compiling.shutdown(wait=False)

    def run(self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]) -> NDArray[np.float32]:
        """Score a batch (see `Runner.run`)."""
        with self._lock:
            alone = not self._at_work and len(ages) == 1 and self._alone.done()
            self._at_work += 1
        request = self._alone.result() if alone else self._requests.get()
        try:
            logits: NDArray[np.float32] = request.infer(self._inputs(lh, bm, ages), share_inputs=True)[0]
            return logits
        finally:
            if not alone:
                self._requests.put(request)
            with self._lock:
                self._at_work -= 1
