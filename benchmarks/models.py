"""The models on this machine's CPU: against what its cores can do at all, and against ONNX Runtime."""

import statistics
import warnings
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import Figure, Say, in_turns, rate_of
from benchmarks.samples import SIZE, cards, lesion, network
from worker.clinical.categories import Priority
from worker.inference.cpu import OpenVinoRunner
from worker.inference.engine import Engine
from worker.inference.loading import cpu_runner
from worker.inference.model_pair import ModelPair
from worker.inference.runner import Runner

RESNET50_FLOP = 8.2e9
BATCH = 16
_SIDE = 2048


def pair(kind: type[ModelPair] = ModelPair) -> ModelPair:
    return kind(cards(), [[network(seed)] for seed in (0, 1)])


def roofline(say: Say, *, quick: bool) -> Figure:
    """Images a second times what a ResNet-50 computes, against a matrix product of the same run."""
    made = pair()
    batch = made.inputs_of.noise(BATCH)
    runner = OpenVinoRunner(made.cards, made.weights(), streams=1)
    one, other = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    seconds = 1.0 if quick else 4.0

    def images() -> float:
        return rate_of(lambda: _images(runner, batch), seconds) * RESNET50_FLOP / 1e9

    def products() -> float:
        return rate_of(lambda: len(one @ other) // _SIDE, seconds / 2) * 2 * _SIDE**3 / 1e9

    images(), products()
    say("measures")
    ratio = in_turns(images, products)
    ours, peers = statistics.median(ratio.ours), statistics.median(ratio.peers)
    return Figure(
        "roofline",
        "ResNet-50 images/s x 8.2 GFLOP / sgemm GFLOP/s",
        ratio.median,
        ratio.spread,
        ratio.median >= 0.85,
        f"{ours:.0f} GFLOP/s ({1e3 * RESNET50_FLOP / 1e9 / ours:.1f} ms an image)",
        f"{peers:.0f} GFLOP/s",
    )


def _images(runner: Runner, batch: tuple[Any, Any, Any]) -> int:
    return 2 * len(runner.run(*batch))


def peer(say: Say, *, quick: bool) -> Figure:
    """Lesions a second through the engine, against ONNX Runtime on both graphs and on tensors that are ready."""
    made = pair()
    say("makes ONNX Runtime's graphs")
    sessions = onnx_sessions(made)
    images, ages = np.random.default_rng(0).normal(size=(BATCH, 3, SIZE, SIZE)).astype(np.float32), np.zeros(BATCH)
    feed = {"images": images, "normalized_age": ages.astype(np.float32)}
    engine = Engine(cards(), cpu_runner(made), None, 0.05)
    lesions = [lesion(seed) for seed in range(BATCH)]
    seconds = 2.0 if quick else 6.0

    def through_the_engine() -> int:
        with engine.arriving():
            futures = [engine.submit([one], Priority.ROUTINE) for one in lesions]
        return len([future.result() for future in futures])

    def through_onnx_runtime() -> int:
        return min(len(session.run(None, feed)[0]) for session in sessions)

    through_the_engine(), through_onnx_runtime()
    say("measures")
    ratio = in_turns(lambda: rate_of(through_the_engine, seconds), lambda: rate_of(through_onnx_runtime, seconds))
    engine.close()
    return Figure(
        "peer",
        "engine lesions/s / ONNX Runtime on the same graphs",
        ratio.median,
        ratio.spread,
        ratio.median >= 1.0,
        f"{statistics.median(ratio.ours):.1f} lesions/s, preprocessing included",
        f"{statistics.median(ratio.peers):.1f} lesions/s, on ready tensors",
    )


def onnx_sessions(made: ModelPair) -> list[Any]:
    """Load both networks into ONNX Runtime, with its default options."""
    if find_spec("onnxruntime") is None or find_spec("onnxscript") is None:
        raise ImportError("ONNX Runtime is not installed: pip install --editable '.[bench]'")
    import onnxruntime

    with TemporaryDirectory() as folder:
        return [
            onnxruntime.InferenceSession(exported(one, Path(folder)), providers=["CPUExecutionProvider"])
            for model in (made.lh, made.bm)
            for one in model.each
        ]


def exported(module: torch.nn.Module, folder: Path) -> str:
    """Write a network as an ONNX file, for batches of any size; return its path."""
    path = str(folder / "network.onnx")
    example = torch.zeros(2, 3, SIZE, SIZE), torch.zeros(2)
    count = torch.export.Dim("count", min=1, max=512)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            path,
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=["images", "normalized_age"],
            dynamic_shapes={"images": {0: count}, "normalized_age": {0: count}},
        )
    return path
