"""LitServe with what the engine has: ``python -m benchmarks.litserve_server simulated|models PORT``."""

import base64
import sys
from typing import Any

import litserve
import numpy as np
from numpy.typing import NDArray

from benchmarks.models import pair
from benchmarks.samples import SIZE
from benchmarks.simulated_gpu import N_MAX, SimulatedGpu
from worker.inference.loading import cpu_runner
from worker.inference.runner import Runner

BATCH_TIMEOUT_S = 0.005
Lesion = tuple[NDArray[np.uint8], float]


class _Api(litserve.LitAPI):  # type: ignore[misc]
    runner: Runner

    def decode_request(self, request: dict[str, Any]) -> Lesion:
        pixels = np.frombuffer(base64.b64decode(request["pixels"]), np.uint8)
        return pixels.reshape(1, SIZE, SIZE), request["age"]

    def batch(self, inputs: list[Lesion]) -> list[Lesion]:
        return inputs

    def predict(self, lesions: Any) -> list[NDArray[np.float32]]:
        alone = not isinstance(lesions, list)
        crops, ages = zip(*([lesions] if alone else lesions), strict=True)
        scores = list(self.runner.run(crops, crops, ages))
        return scores[0] if alone else scores

    def unbatch(self, output: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return output

    def encode_response(self, output: NDArray[np.float32]) -> dict[str, Any]:
        return {"logits": output.tolist()}


class Simulated(_Api):
    """The simulated device, in batches."""

    def setup(self, _device: str) -> None:
        self.runner = SimulatedGpu()


class Models(_Api):
    """Both models on the CPU, one lesion at a time."""

    def setup(self, _device: str) -> None:
        self.runner = cpu_runner(pair())


if __name__ == "__main__":
    api = Models() if sys.argv[1] == "models" else Simulated(max_batch_size=N_MAX, batch_timeout=BATCH_TIMEOUT_S)
    server = litserve.LitServer(api, accelerator="cpu", timeout=120)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="error")
