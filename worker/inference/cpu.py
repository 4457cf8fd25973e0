"""The models on a CPU: OpenVINO where it is installed (the extra ``cpu``), else PyTorch.

OpenVINO was the fastest of those in `benchmarks.runtimes`: docs/decisions/0013-openvino-on-the-cpu.md.
"""

import logging
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray

from worker.inference.pair import ModelPair, Pixels, Runner, TorchRunner

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

    Args:
        pair: on the CPU, its BatchNorm folded.
    """

    tolerance = 1e-4
    threads = 1

    def __init__(self, pair: ModelPair) -> None:
        from openvino import Core

        from worker.inference.openvino_graph import graph_of

        self._inputs = pair.inputs_of
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            # Threads that are tied to a core wait there for the decoders and servers beside them.
            "ENABLE_CPU_PINNING": False,
        }
        self._request = Core().compile_model(graph_of(pair), "CPU", settings).create_infer_request()

    def run(self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]) -> NDArray[np.float32]:
        """Score a batch (see `Runner.run`)."""
        logits: NDArray[np.float32] = self._request.infer(self._inputs(lh, bm, ages), share_inputs=True)[0]
        return logits
