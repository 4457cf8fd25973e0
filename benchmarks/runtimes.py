"""``python -m benchmarks.runtimes``: both models on this CPU, by each way to run them. See `worker.inference.cpu`.

All ways take the same batch in turns. Needs the extra ``bench``, and a C++ compiler for ``torch.compile``.
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.measuring import rate_of
from benchmarks.models import onnx_sessions, pair
from worker.cli.output import Format, print_json, print_rows
from worker.inference.cpu import OpenVinoRunner
from worker.inference.model_pair import ModelPair, TorchRunner
from worker.inference.runner import probabilities

Run = Callable[..., NDArray[np.float32]]
COLUMNS = ("way", "ms_an_image", "images_a_second", "starts_after_s", "differs_by")


def eager(made: ModelPair) -> Run:
    return TorchRunner(made).run


def folded(made: ModelPair) -> Run:
    return TorchRunner(made.fold().to(memory_format=torch.channels_last)).run


def compiled(made: ModelPair) -> Run:
    """``torch.compile`` with freezing, which folds BatchNorm and packs the weights."""
    from torch._inductor import config

    config.freezing = True
    made = made.to(memory_format=torch.channels_last)
    module = torch.compile(made, dynamic=False)

    def run(lh: Any, bm: Any, ages: Any) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: NDArray[np.float32] = module(*map(torch.from_numpy, made.inputs_of(lh, bm, ages))).numpy()
        return logits

    return run


def onnx_runtime(made: ModelPair) -> Run:
    sessions = onnx_sessions(made)

    def run(lh: Any, bm: Any, ages: Any) -> NDArray[np.float32]:
        inputs = made.inputs_of(lh, bm, ages)
        pixels = np.stack(lh).astype(np.float32) / 255
        logits = [
            session.run(
                None,
                {
                    "images": np.repeat((pixels - one.mean.numpy()[:, :1]) / one.std.numpy()[:, :1], 3, axis=1),
                    "normalized_age": np.ascontiguousarray(inputs[0][:, place], np.float32),
                },
            )[0]
            for place, (session, one) in enumerate(zip(sessions, (made.lh, made.bm), strict=True))
        ]
        return np.stack(logits, axis=1)

    return run


def openvino(made: ModelPair) -> Run:
    return OpenVinoRunner(made.cards, made.weights(), streams=1).run


WAYS: dict[str, Callable[[ModelPair], Run]] = {
    "PyTorch, eager": eager,
    "PyTorch, BatchNorm folded, channels_last": folded,
    "torch.compile, freezing": compiled,
    "ONNX Runtime": onnx_runtime,
    "OpenVINO": openvino,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtimes", description=__doc__)
    parser.add_argument("--batch", type=int, default=8, help="lesions in a batch (8)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each way in each round (4)")
    parser.add_argument("--rounds", type=int, default=5, help="(5)")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    asked = parser.parse_args()
    made = pair()
    batch = made.inputs_of.noise(asked.batch)
    expected = probabilities(TorchRunner(made).run(*batch))
    ways, rows = {}, {}
    for name, way in WAYS.items():
        started = time.perf_counter()
        ways[name] = way(copy.deepcopy(made))
        difference = float(np.abs(probabilities(ways[name](*batch)) - expected).max())
        rows[name] = {"way": name, "starts_after_s": round(time.perf_counter() - started, 1), "differs_by": difference}
        sys.stderr.write(f"{name}: ready\n")
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name, run in ways.items():
            rates[name].append(rate_of(lambda run=run: 2 * len(run(*batch)), asked.seconds))  # type: ignore[misc]
    for name, found in rates.items():
        rate = statistics.median(found)
        rows[name] |= {"images_a_second": round(rate, 2), "ms_an_image": round(1e3 / rate, 1)}
        rows[name]["differs_by"] = f"{rows[name]['differs_by']:.1g}"
    if asked.format == "json":
        print_json({"machine": machine(), "batch": asked.batch, "ways": list(rows.values())})
    else:
        title = f"both models, batches of {asked.batch}: {machine()['summary']}"
        print_rows(list(rows.values()), COLUMNS, Format.TABLE, title=title)


if __name__ == "__main__":
    main()
