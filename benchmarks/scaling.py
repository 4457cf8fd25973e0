"""``python -m benchmarks.scaling``: studies a second from pushed jobs to rows, on one core of this machine, two, more.

The device is simulated and as fast as an H100, T(n) = 2 + 0.25 n ms, so that it never is what is waited for. Intake,
inference workers, decoders, PostgreSQL, Redis and the benchmark itself share the cores. The processor time of each part
says where it saturates: docs/scaling.md.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil

from benchmarks.end_to_end import jobs_of, pushed
from benchmarks.faults.service import FaultService, fault_service
from benchmarks.machine import machine
from benchmarks.measuring import say_on_stderr
from benchmarks.queueing import start_inference
from benchmarks.simulated_gpu import BATCH, FIXED_MS, PER_LESION_MS, batch_seconds
from worker.cli.output import Format, print_json, print_rows

B_MS, A_MS, N_MAX = 2.0, 0.25, 64
LESIONS = 2
AT_HAND = 64
PARTS = {
    "decoder_process": "decoders",
    "simulated_gpu": "worker",
    "--queue intake": "intake",
    "postgres": "postgres",
    "valkey": "redis",
}
COLUMNS = (
    "cores", "workers", "studies_a_second", "of_the_devices", *(f"{part}_ms" for part in PARTS.values()), "in_all_ms",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--studies", type=int, default=1500, help="for each row (1500)")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    asked = parser.parse_args()
    rows = [_row(cores, workers, asked.studies) for cores, workers in _settings(len(os.sched_getaffinity(0)))]
    if asked.format == "json":
        print_json({"machine": machine(), "rows": rows})
    else:
        title = f"a simulated device of T(n) = {B_MS:g} + {A_MS:g} n ms for each worker; {machine()['summary']}"
        print_rows(rows, COLUMNS, Format.TABLE, title=title)


def _settings(most_cores: int) -> Iterator[tuple[int, int]]:
    """Yield cores and workers: one worker a core, and one on all of them."""
    cores = 1
    while cores <= most_cores:
        yield cores, 1
        if cores > 1:
            yield cores, cores
        cores *= 2


def _row(cores: int, workers: int, count: int) -> dict[str, object]:
    with _on(cores), fault_service(say_on_stderr) as service:
        _start(service, workers)
        jobs = jobs_of(service.services.settings.storage_root, count + count // 4)
        pushed(service, [next(jobs) for _ in range(count // 4)])
        before = _seconds_of_parts()
        rate = pushed(service, list(jobs)) / LESIONS
        spent = {part: total - before[part] for part, total in _seconds_of_parts().items()}
    best = workers * N_MAX / batch_seconds(N_MAX, B_MS, A_MS) / LESIONS
    ms = {f"{part}_ms": round(1e3 * spent[part] / count, 2) for part in PARTS.values()}
    say_on_stderr(f"{cores} cores, {workers} workers: {rate:.0f} studies/s")
    row: dict[str, object] = {
        "cores": cores,
        "workers": workers,
        "studies_a_second": round(rate, 1),
        "of_the_devices": round(rate / best, 3),
    }
    return row | ms | {"in_all_ms": round(sum(ms.values()), 2)}


@contextmanager
def _on(cores: int) -> Iterator[None]:
    """Keep this process, and all that it starts meanwhile, to so many cores."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def _start(service: FaultService, workers: int) -> None:
    device = {FIXED_MS: str(B_MS), PER_LESION_MS: str(A_MS), BATCH: str(N_MAX)}
    service.start_module("intake", "worker.cli.main", "worker", "--queue", "intake")
    for number in range(workers):
        start_inference(service, f"inference-{number}", "benchmarks.simulated_gpu", AT_HAND, device)


def _seconds_of_parts() -> Mapping[str, float]:
    """Sum up the processor time that each part has taken."""
    spent: dict[str, float] = defaultdict(float)
    for process in psutil.Process().children(recursive=True):
        try:
            command, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        part = next((part for word, part in PARTS.items() if word in command), None)
        if part is not None:
            spent[part] += times.user + times.system
    return spent


if __name__ == "__main__":
    main()
