"""Compilers and other runtimes, each in a process that is ended when its time is over: they take minutes.

``python -m benchmarks.gpu.peers NAME DEVICE SECONDS FILE`` is such a process; it writes a line for each batch size.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.card import H100_FIXED_MS, H100_PER_LESION_MS, Eager, plain
from benchmarks.gpu.run import LARGEST, Row, Run, noise
from benchmarks.gpu.variants import Bf16Weights
from benchmarks.measuring import rate_of
from benchmarks.models import pair
from worker.inference.runner import Batch, Logits, probabilities

BATCHES = (64, 1, 8, LARGEST)
"""The most telling first."""

LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to run both models.

    Attributes:
        name: as its rows have it.
        missing: says what it lacks here, if anything.
        make: makes it on a device, for any batch size.
    """

    name: str
    missing: Callable[[], str | None]
    make: Callable[[torch.device], Eager]


def peers(run: Run) -> Iterator[Row]:
    """Each peer, at each batch size that its time allows; what it does not reach is no failure of the run."""
    here = {name: peer for name, peer in PEERS.items() if (name == SLEEPS) == run.at.simulated}
    device = "cpu" if run.at.simulated else "cuda:0"
    able = [name for name, peer in here.items() if peer.missing() is None]
    for name, peer in here.items():
        if name in able:
            share = run.left() / (len(able) - able.index(name))
            yield from _measured(run, name, device, time.monotonic() + share)
        else:
            yield Row("peers", peer.name, None, "lesions/s", why=f"not measured: {peer.missing()}")
    if not run.at.simulated:
        yield Row("peers", "TensorRT by torch_tensorrt", None, "lesions/s", why="not measured: nobody has written it")


def _measured(run: Run, name: str, device: str, ends: float) -> Iterator[Row]:
    """Run a peer's process until it ends or its time does, and yield its lines as they come."""
    said, title = 0, PEERS[name].name
    with TemporaryDirectory() as folder:
        file, log = Path(folder) / "lines", Path(folder) / "log"
        file.touch()
        command = [sys.executable, "-m", "benchmarks.gpu.peers", name, device, str(run.seconds), str(file)]
        with log.open("wb") as output:
            child = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            is_over = False
            while not is_over:
                is_over = child.poll() is not None or time.monotonic() > ends
                lines = file.read_text().splitlines()
                for line in map(json.loads, lines[said:]):
                    what, furthest = (
                        f"{title}, batches of {line['count']}",
                        f"differs by {line['furthest']:.2g} at most",
                    )
                    yield Row("peers", what, line["rate"], "lesions/s", why=furthest)
                said = len(lines)
                time.sleep(LOOK_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            status = child.wait()
        last = log.read_text(errors="replace").strip().rpartition("\n")[2][:200]
    why = "no time was left" if status == -signal.SIGKILL else f"broken off: {last}"
    for count in BATCHES[said:]:
        yield Row("peers", f"{title}, batches of {count}", None, "lesions/s", why=f"not measured: {why}")


# --- in a process of its own


def _compiled(device: torch.device) -> Eager:
    def compiled(module: Any) -> Any:
        return torch.compile(module, mode="max-autotune", dynamic=False)

    return plain(pair(Bf16Weights).fold(), device, bf16=True, compiled=compiled)


def _by_onnx_runtime(providers: Sequence[Any]) -> Callable[[torch.device], Eager]:
    def make(device: torch.device) -> Eager:
        import onnxruntime

        made = pair()
        asked = providers if device.type == "cuda" else ["CPUExecutionProvider"]
        with TemporaryDirectory() as folder:
            path = str(Path(folder) / "pair.onnx")
            example = tuple(map(torch.from_numpy, made.inputs_of(*made.inputs_of.noise(2))))
            count = torch.export.Dim("count", min=1, max=512)
            names = ["ages", "pixels"]
            torch.onnx.export(
                made, example, path, dynamo=True, verbose=False, external_data=False,
                input_names=names, dynamic_shapes=[{0: count}, {0: count}],
            )  # fmt: skip
            session = onnxruntime.InferenceSession(path, providers=list(asked))

        def run(batch: Batch) -> Logits:
            logits: Logits = session.run(None, dict(zip(names, made.inputs_of(*batch), strict=True)))[0]
            return logits

        return run

    return make


def _without(provider: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        if find_spec("onnxruntime") is None or find_spec("onnxscript") is None:
            return "onnxruntime and onnxscript are not installed"
        import onnxruntime

        has = provider in onnxruntime.get_available_providers()
        return None if has else f"this onnxruntime has no {provider}"

    return missing


def _sleeps(_: torch.device) -> Eager:
    from benchmarks.simulated_gpu import SimulatedGpu

    device = SimulatedGpu(H100_FIXED_MS, H100_PER_LESION_MS)
    return lambda batch: device.run(*batch)


SLEEPS = "sleeps"
_TENSORRT = ("TensorrtExecutionProvider", {"trt_fp16_enable": True})
PEERS = {
    SLEEPS: Peer("a process with a simulated device", lambda: None, _sleeps),
    "onnxruntime": Peer(
        "ONNX Runtime on CUDA, float32 (tf32)",
        _without("CUDAExecutionProvider"),
        _by_onnx_runtime(["CUDAExecutionProvider"]),
    ),
    "tensorrt": Peer(
        "ONNX Runtime on TensorRT, fp16",
        _without("TensorrtExecutionProvider"),
        _by_onnx_runtime([_TENSORRT, "CUDAExecutionProvider"]),
    ),
    "compile": Peer("torch.compile, max-autotune, weights held in bf16, channels_last", lambda: None, _compiled),
}


def main() -> None:
    name, device, seconds, file = sys.argv[1:]
    way = PEERS[name].make(torch.device(device))
    reference = plain(pair(), torch.device("cpu"))
    for count in BATCHES:
        batch = noise(count)
        few = tuple(part[:8] for part in batch)
        rate_of(lambda: len(way(batch)), 0.2)  # noqa: B023
        got = probabilities(way(batch)[: len(few[2])])
        rate = rate_of(lambda: len(way(batch)), float(seconds))  # noqa: B023
        expected = got if name == SLEEPS else probabilities(reference(few))
        line = {"count": count, "rate": rate, "furthest": float(np.abs(got - expected).max())}
        with Path(file).open("a") as lines:
            lines.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
