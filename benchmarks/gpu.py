"""``python -m benchmarks.gpu``: what both models, and the service around them, do on this machine's GPU, in 6 minutes.

The parts follow each other, the most telling first; one for which no time is left says so. Only PyTorch is needed for
the models; what else a part needs and is not there, that part says too. ``--simulated`` measures a device of
T(n) = 2 + 0.25 n ms in the GPU's place, on any machine: it says whether this program works, and nothing of a GPU.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.gpu_card import MLPERF_RESNET50, Batch, Card, card, named
from benchmarks.machine import machine
from benchmarks.measuring import percentile, rate_of, say_on_stderr
from benchmarks.models import RESNET50_FLOP
from benchmarks.samples import SIZE, add_models
from worker.cli.output import Format, print_rows
from worker.inference.cuda import buckets
from worker.inference.runner import Runner, probabilities

BATCHES = (1, 8, 64, 256)
LARGEST = max(BATCHES)
MOST_SECONDS = 360.0
BUSY_GOAL = 0.9
NETWORKS = 2
GROWTH_MIB = 50.0
COLUMNS = ("part", "what", "value", "unit", "goal", "reached")


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a value in its unit, or why there is none."""

    part: str
    what: str
    value: float | None
    unit: str
    goal: str = ""
    passed: bool | None = None
    why: str = ""

    def as_row(self) -> dict[str, object]:
        said = self.why if self.value is None else f"{self.value:.4g}"
        reached = {True: "yes", False: "NO", None: "reported"}[self.passed]
        return {**asdict(self), "value": said, "reached": reached}


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the program: the card, and how long each part may take.

    Attributes:
        at: the card.
        runner: both models on it, for batches of up to `LARGEST`.
        seconds: of one measurement.
        quick: small numbers.
    """

    at: Card
    runner: Runner
    seconds: float
    quick: bool

    def batch(self, count: int) -> Batch:
        """Return a batch of noise."""
        rng = np.random.default_rng(count)
        crops = [rng.integers(0, 256, (1, SIZE, SIZE), np.uint8) for _ in range(count)]
        return crops, crops, rng.uniform(20, 90, count).tolist()


def scores(run: Run) -> Iterator[Row]:
    """Each bucket's scores, the last lesion of it padded, against PyTorch's in float32."""
    worst = 0.0
    for size in buckets(LARGEST):
        for count in {max(size - 1, 1), size}:
            batch = run.batch(count)
            got = probabilities(run.runner.run(*batch))
            worst = max(worst, float(np.abs(got - run.at.expected(batch)).max()))
    yield Row(
        "scores",
        f"most that a probability differs from float32, {len(buckets(LARGEST))} buckets",
        worst,
        "",
        f"<= {run.runner.tolerance}",
        worst <= run.runner.tolerance,
    )


def rates(run: Run) -> Iterator[Row]:
    """Lesions a second of our runner, of the other ways, and what share of the card that is."""
    best = 0.0
    for count in BATCHES:
        batch = run.batch(count)
        rate = _rate(run, lambda batch=batch: len(run.runner.run(*batch)))  # type: ignore[misc]
        best = max(best, rate)
        yield Row("rates", f"our runner, batches of {count}", rate, "lesions/s")
    images = NETWORKS * best
    if run.at.peak_tflops is not None:
        share = images * RESNET50_FLOP / 1e12 / run.at.peak_tflops
        yield Row("rates", f"our runner's best, of {run.at.peak_tflops:.0f} TFLOP/s in bf16", share, "of the peak")
    mlperf = named(MLPERF_RESNET50, run.at.name)
    if mlperf is not None:
        yield Row("rates", "our runner's best, of MLPerf's ResNet-50, which is in INT8", images / mlperf, "of MLPerf")
    for count in BATCHES:
        for name, way in run.at.ways(run.batch(count)):
            if isinstance(way, str):
                if count == BATCHES[0]:
                    yield Row("rates", name, None, "lesions/s", why=way)
                continue
            yield Row("rates", f"{name}, batches of {count}", _rate(run, way), "lesions/s")


def lone(run: Run) -> Iterator[Row]:
    """How long one lesion takes that comes alone."""
    batch, taken = run.batch(1), []
    ends = time.perf_counter() + run.seconds
    while time.perf_counter() < ends:
        began = time.perf_counter()
        run.runner.run(*batch)
        taken.append(time.perf_counter() - began)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        yield Row("lone", f"a lesion alone, {name}", 1e3 * percentile(taken, share), "ms")


def memory(run: Run) -> Iterator[Row]:
    """What the card's memory grows by while many lesions are scored, in batches of every size."""
    lesions, batches = (500 if run.quick else 100_000), [run.batch(count) for count in (64, 256, 37, 1)]
    for batch in batches:
        run.runner.run(*batch)
    before, done = run.at.memory_mib(), 0
    while done < lesions:
        done += sum(len(run.runner.run(*batch)) for batch in batches)
    grown = run.at.memory_mib() - before
    yield Row("memory", f"over {done:,} lesions", grown, "MiB", f"<= {GROWTH_MIB:.0f}", grown <= GROWTH_MIB)


def feeding(run: Run) -> Iterator[Row]:
    """The whole service, from studies on the queue to their rows, with more and more worker processes on the card."""
    from benchmarks.faults.service import fault_service
    from benchmarks.faults.studies import ROIS
    from benchmarks.queueing import emptied

    count = 64 if run.quick else 2000
    with fault_service(say_on_stderr) as service:
        if not isinstance(run.at.peak_tflops, type(None)) or run.at.module[0] == "worker.cli.main":
            add_models(service.services.settings.models_dir)
        names: list[str] = []
        best = 0.0
        for processes in (1, 2) if run.quick else (1, 2, 4, 8):
            for number in range(len(names), processes):
                names.append(f"inference-{number}")
                module, *arguments = run.at.module
                at_hand = ["--name", names[-1], "--concurrency", "64"]
                service.start_module(names[-1], module, *arguments, *at_hand, **run.at.environment)
            emptied(service, names, service.studies.make(64 * processes, rois=ROIS))
            with run.at.busy() as busy:
                rate = emptied(service, names, service.studies.make(count, rois=ROIS))
            yield Row("feeding", f"{processes} worker processes", rate, "lesions/s")
            share = busy.share()
            best = max(best, share or 0.0)
            yield Row("feeding", f"{processes} worker processes, the card busy", share, "of the time", why="not known")
        yield Row("feeding", "the card busy, at most", best, "of the time", f">= {BUSY_GOAL}", best >= BUSY_GOAL)


def faults(run: Run) -> Iterator[Row]:
    """A card that has no memory left, and one that answers no more: each in a process of its own."""
    for fault, goal in (("memory", "the next batch is scored"), ("sticky", "the process ends, and not with 0")):
        command = [sys.executable, "-m", "benchmarks.gpu_fault", fault, *_simulated(run)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
        passed = done.returncode == 0 if fault == "memory" else done.returncode == os.EX_SOFTWARE
        yield Row("faults", f"{fault}: exit status", float(done.returncode), "", goal, passed)


PARTS: dict[str, Callable[[Run], Iterator[Row]]] = {
    "scores": scores,
    "rates": rates,
    "lone": lone,
    "feeding": feeding,
    "memory": memory,
    "faults": faults,
}


def measured(run: Run, only: Sequence[str], ends: float) -> Iterator[Row]:
    """Measure parts until there is no more time; a part that breaks is a row too."""
    for name in only:
        if time.monotonic() > ends:
            yield Row(name, "", None, "", why="not measured: no time was left", passed=False)
            continue
        try:
            for row in PARTS[name](run):
                say_on_stderr(f"{row.part}: {row.what}: {row.as_row()['value']} {row.unit}")
                yield row
                if time.monotonic() > ends:
                    yield Row(name, "the rest", None, "", why="not measured: no time was left")
                    break
        except (RuntimeError, OSError, ImportError, TimeoutError, subprocess.TimeoutExpired, SystemExit) as broken:
            yield Row(name, "", None, "", why=f"broken off: {type(broken).__name__}", passed=False)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--simulated", action="store_true", help="a simulated device in the GPU's place")
    parser.add_argument("--quick", action="store_true", help="small numbers: half a minute, and rougher")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=MOST_SECONDS, help=f"at most ({MOST_SECONDS:.0f})")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    asked = parser.parse_args(arguments)
    if not asked.simulated and not torch.cuda.is_available():
        parser.error("this machine has no CUDA device; --simulated measures a simulated one")
    ends = time.monotonic() + asked.seconds
    with TemporaryDirectory(prefix="dlr-gpu-") as folder, card(Path(folder), simulated=asked.simulated) as at:
        say_on_stderr(f"{at.name}: makes both models")
        run = Run(at, at.runner(LARGEST), 0.2 if asked.quick else 2.0, asked.quick)
        rows = list(measured(run, asked.only or list(PARTS), ends))
        said = {"card": at.name, "machine": machine(), "rows": [asdict(row) for row in rows]}
    if asked.out:
        asked.out.write_text(json.dumps(said, indent=1) + "\n")
    if asked.format == "json":
        sys.stdout.write(json.dumps(said, indent=1) + "\n")
    else:
        title = f"{said['card']}; {machine()['summary']}"
        print_rows([row.as_row() for row in rows], COLUMNS, Format.TABLE, title=title)
    return 1 if any(row.passed is False for row in rows) else 0


def _rate(run: Run, score: Callable[[], int]) -> float:
    score()
    return rate_of(score, run.seconds)


def _simulated(run: Run) -> list[str]:
    return ["--simulated"] if run.at.name == "simulated" else []


if __name__ == "__main__":
    sys.exit(main())
