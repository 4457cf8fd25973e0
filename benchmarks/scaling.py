"""``python -m benchmarks.scaling``: more workers on one Redis and one PostgreSQL, and what a study costs each of them.

Each worker is a process with a simulated device of its own, slow enough for this machine to carry several. The
processor time of each part says where it saturates: docs/scaling.md.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Mapping

import psutil

from benchmarks.faults.service import FaultService, fault_service
from benchmarks.faults.studies import ROIS
from benchmarks.machine import machine
from benchmarks.measuring import say_on_stderr
from benchmarks.queueing import emptied, start_inference
from benchmarks.simulated_gpu import BATCH, FIXED_MS, PER_LESION_MS, batch_seconds
from worker.cli.output import Format, print_json, print_rows

B_MS, A_MS, N_MAX = 100.0, 10.0, 16
AT_HAND = 32
PARTS = {"decoder_process": "decoder", "simulated_gpu": "worker", "postgres": "postgres", "valkey": "redis"}
COLUMNS = ("workers", "lesions_a_second", "of_the_devices", *(f"{part}_ms" for part in PARTS.values()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 6], help="(1 2 4 6)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of work for each number of workers (15)")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    asked = parser.parse_args()
    with fault_service(say_on_stderr) as service:
        rows = [_row(service, count, asked.seconds) for count in asked.workers]
    if asked.format == "json":
        print_json({"machine": machine(), "rows": rows})
    else:
        title = f"simulated devices of T(n) = {B_MS:.0f} + {A_MS:.0f} n ms, n <= {N_MAX}; {machine()['summary']}"
        print_rows(rows, COLUMNS, Format.TABLE, title=title)


def _row(service: FaultService, count: int, seconds: float) -> dict[str, object]:
    names = [f"inference-{number}" for number in range(count)]
    device = {FIXED_MS: str(B_MS), PER_LESION_MS: str(A_MS), BATCH: str(N_MAX)}
    for name in names:
        start_inference(service, name, "benchmarks.simulated_gpu", AT_HAND, device)
    best = count * N_MAX / batch_seconds(N_MAX, B_MS, A_MS)
    emptied(service, names, service.studies.make(16 * count, rois=ROIS))
    studies = service.studies.make(int(best * seconds / len(ROIS)), rois=ROIS)
    before = _seconds_of_parts()
    rate = emptied(service, names, studies)
    spent = {part: total - before[part] for part, total in _seconds_of_parts().items()}
    service.kill_workers(names)
    time.sleep(1)
    say_on_stderr(f"{count} workers: {rate:.0f} lesions/s of {best:.0f}")
    row: dict[str, object] = {
        "workers": count,
        "lesions_a_second": round(rate),
        "of_the_devices": round(rate / best, 2),
    }
    return row | {f"{part}_ms": round(1e3 * spent[part] / len(studies), 2) for part in PARTS.values()}


def _seconds_of_parts() -> Mapping[str, float]:
    """Sum up the processor time that each part has taken. The studies' way into the ledger counts as PostgreSQL's."""
    spent: dict[str, float] = defaultdict(float)
    for process in psutil.Process().children(recursive=True):
        try:
            command, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        for word, part in PARTS.items():
            if word in command:
                spent[part] += times.user + times.system
                break
    return spent


if __name__ == "__main__":
    main()
