"""The models alone on the card: their scores, their rates beside other ways, a lone lesion, and memory."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil

from benchmarks.gpu.card import MLPERF_RESNET50, named
from benchmarks.gpu.run import BATCHES, LARGEST, SMALL, Row, Run, noise
from benchmarks.measuring import percentile
from benchmarks.models import RESNET50_FLOP
from worker.inference.cuda import buckets
from worker.inference.runner import Runner

NETWORKS = 2
GROWTH_MIB = 50.0


def scores(run: Run) -> Iterator[Row]:
    """Each bucket's scores, full and with one lesion less, against PyTorch's in float32."""
    sizes = [*buckets(SMALL), LARGEST]
    worst = 0.0
    for size in sizes:
        for count in sorted({max(size - 1, 1), size}):
            run.left(f"the bucket of {size}")
            worst = max(worst, run.furthest(run.runner(size), noise(count)))
    tolerance = run.runner(1).tolerance
    what = f"most that a probability differs from float32, buckets {', '.join(map(str, sizes))}"
    yield Row("scores", what, worst, "", f"<= {tolerance}", worst <= tolerance)


def rates(run: Run) -> Iterator[Row]:
    """Lesions a second of our runner, what share of the card that is, and of other ways to run both models."""
    best = 0.0
    for count in BATCHES:
        runner, batch = run.runner(count), noise(count)
        rate = run.rate(lambda: len(runner.run(*batch)), runner.threads)  # noqa: B023
        best = max(best, rate)
        yield Row("rates", f"our runner, {_from(runner)}, batches of {count}", rate, "lesions/s")
    images = NETWORKS * best
    if run.at.peak_tflops is not None:
        share = images * RESNET50_FLOP / 1e12 / run.at.peak_tflops
        yield Row("rates", f"our runner's best, of {run.at.peak_tflops:.0f} TFLOP/s in bf16", share, "of the peak")
    mlperf = named(MLPERF_RESNET50, run.at.name)
    if mlperf is not None:
        yield Row("rates", "our runner's best, of MLPerf's ResNet-50, which is in INT8", images / mlperf, "of MLPerf")
    for name, way in run.at.eager():
        for count in BATCHES:
            batch = noise(count)
            yield Row("rates", f"{name}, batches of {count}", run.rate(lambda: len(way(batch))), "lesions/s")  # noqa: B023
    yield from _variants(run)


def _variants(run: Run) -> Iterator[Row]:
    """Yield what our runner might be instead; one that the card does not take is no failure of the run."""
    for name, make in run.at.variants().items():
        try:
            runners = {most: make(most) for most in (SMALL, LARGEST)}
            furthest = 0.0
            for count in BATCHES:
                runner, batch = runners[SMALL if count <= SMALL else LARGEST], noise(count)
                run.left(name)
                furthest = max(furthest, run.furthest(runner, batch))
                rate = run.rate(lambda: len(runner.run(*batch)), runner.threads)  # noqa: B023
                yield Row("rates", f"{name}, {_from(runner)}, batches of {count}", rate, "lesions/s")
            yield Row("rates", f"{name}: most that a probability differs from float32", furthest, "")
        except RuntimeError as broken:
            yield Row("rates", name, None, "lesions/s", why=f"broken off: {type(broken).__name__}: {str(broken)[:200]}")


def _from(runner: Runner) -> str:
    return f"from {runner.threads} thread{'s' if runner.threads > 1 else ''}"


def lone(run: Run) -> Iterator[Row]:
    """How long one lesion takes that comes alone, by the graph that a worker has for it."""
    runner, batch, taken = run.runner(1), noise(1), []
    runner.run(*batch)
    ends = time.monotonic() + run.seconds
    while time.monotonic() < ends:
        run.left()
        began = time.perf_counter()
        runner.run(*batch)
        taken.append(time.perf_counter() - began)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        yield Row("lone", f"a lesion alone, {name} of {len(taken):,}", 1e3 * percentile(taken, share), "ms")


def memory(run: Run) -> Iterator[Row]:
    """What the card's memory and this process's grow by while many lesions are scored, in batches of every size."""
    lesions, batches = (1_000 if run.quick else 100_000), [noise(count) for count in (64, 256, 37, 1)]
    threads = run.runner(1).threads

    def every_size(_: int = 0) -> int:
        return sum(len(run.runner(len(batch[2])).run(*batch)) for batch in batches)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(every_size, range(threads)))  # what is taken at first is not growth
        before, done = (run.at.memory_mib(), _resident_mib()), 0
        while done < lesions:
            run.left(f"{done:,} of {lesions:,} lesions")
            done += sum(pool.map(every_size, range(threads)))
    after = run.at.memory_mib(), _resident_mib()
    for what, then, now in zip(("the card's", "the process's"), before, after, strict=True):
        grown = now - then
        yield Row("memory", f"{what}, over {done:,} lesions", grown, "MiB", f"<= {GROWTH_MIB:.0f}", grown <= GROWTH_MIB)


def _resident_mib() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20
