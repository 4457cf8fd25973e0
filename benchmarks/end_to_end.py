"""The whole service with both models on this machine's CPU: from a job in Redis to its rows, and from its start."""

import json
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from pydicom.uid import JPEGBaseline8Bit
from redis import Redis

from benchmarks.bare_loop import BATCH, bare_loop
from benchmarks.faults.service import FaultService, fault_service
from benchmarks.faults.studies import ROIS
from benchmarks.measuring import Figure, Ratio, Say
from benchmarks.queueing import counting, queue
from benchmarks.samples import add_models
from benchmarks.timed_start import STEPS
from worker.broker.message_gate import TaskMessage, envelope
from worker.broker.queues import SUBMIT_STUDY
from worker.demo.dicom import Header, write_ultrasound

ROWS, COLUMNS = 480, 640
_ROIS = ({"x": 200, "y": 120, "width": 180, "height": 140}, {"x": 60, "y": 200, "width": 120, "height": 160})
_PATIENCE_S = 600
MOST_START_S = 4.0
_UID = "1.2.826.0.1.3680043.10.778.{}"
_FIRST = 10_000_000


def pipeline(say: Say, *, quick: bool) -> Figure:
    """Lesions a second from pushed jobs to their rows, against a loop of the same models; studies of two lesions."""
    count, rounds, seconds = (48, 2, 8.0) if quick else (400, 5, 25.0)
    with _service(say) as service, bare_loop() as loop:
        jobs = jobs_of(service.services.settings.storage_root, 32 + count * (rounds + 1))
        say("starts the workers")
        _start(service, "intake")
        _start(service, "inference")
        pushed(service, [next(jobs) for _ in range(32)])
        ours, peers = [], []
        for number in range(rounds):
            ours.append(pushed(service, [next(jobs) for _ in range(count)]))
            with service.frozen():
                peers.append(loop(seconds))
            say(f"round {number + 1}: {ours[-1]:.2f} lesions/s, the bare loop {peers[-1]:.2f}")
        alone = pushed(service, [{**job, "lesions": job["lesions"][:1]} for job in jobs])
    ratio = Ratio(ours, peers)
    return Figure(
        "pipeline",
        f"lesions/s from jobs in Redis (JPEG in DICOM, {ROWS} x {COLUMNS}, two lesions a study) to their rows / "
        f"a bare loop of both models on ready tensors, CPU",
        ratio.median,
        ratio.spread,
        ratio.median >= 0.95,
        f"{statistics.median(ours):.2f} lesions/s; {alone:.2f} from studies of one lesion",
        f"{statistics.median(peers):.2f} lesions/s, in batches of {BATCH}",
    )


@contextmanager
def _service(say: Say) -> Iterator[FaultService]:
    with fault_service(say) as service:
        say("makes both models")
        add_models(service.services.settings.models_dir)
        yield service


def _start(service: FaultService, queue: str) -> None:
    service.start_module(queue, "worker.cli.main", "worker", "--queue", queue)


def pushed(service: FaultService, jobs: Sequence[dict[str, Any]], within_s: float = _PATIENCE_S) -> float:
    """Push jobs, written beforehand as a hospital's system would, and return how many lesions a second are done."""
    with counting(service) as ended:
        before, started = ended(), time.monotonic()
        push(service, jobs)
        service.until(lambda: ended() - before >= len(jobs), within_s, "the studies' end", every_s=0.25)
        return sum(len(job["lesions"]) for job in jobs) / (time.monotonic() - started)


def push(service: FaultService, jobs: Sequence[dict[str, Any]]) -> None:
    """Push jobs, all at once."""
    messages = [envelope(TaskMessage(SUBMIT_STUDY, uuid4(), [], {"job": job}), "intake") for job in jobs]
    with Redis.from_url(service.redis.url()) as client:
        client.lpush("intake", *map(json.dumps, messages))


def jobs_of(storage: Path, count: int, before: int = 0) -> Iterator[dict[str, Any]]:
    """Write studies that differ in their UIDs and ages, and from so many before; a JPEG image is compressed once."""
    template, first = storage / "template.dcm", _UID.format(_FIRST)
    frame = np.clip(np.random.default_rng(0).rayleigh(60, (ROWS, COLUMNS)), 0, 255).astype(np.uint8)
    sop = write_ultrasound(template, Header(first, "", "", "", "20261124"), [frame], JPEGBaseline8Bit)
    data = template.read_bytes()
    template.unlink()
    jobs = []
    for number in range(_FIRST + 1 + before, _FIRST + 1 + before + count):
        uid, own_sop, path = _UID.format(number), f"{sop[:-8]}{number}", f"{number}.dcm"
        (storage / path).write_bytes(data.replace(first.encode(), uid.encode()).replace(sop.encode(), own_sop.encode()))
        lesions = [
            {"lesion_id": f"L{place}", "sop_instance_uid": own_sop, "frame": 1, "birads": "4A", "roi": roi}
            for place, roi in enumerate(_ROIS, start=1)
        ]
        jobs.append(
            {
                "schema_version": 1,
                "study_instance_uid": uid,
                "priority": "routine",
                "age_years": 20.5 + number % 60,
                "images": {"kind": "files", "paths": [path]},
                "lesions": lesions,
            }
        )
    return iter(jobs)


def start(say: Say, *, quick: bool) -> Figure:
    """Seconds from the start of `dlr worker` to its first task, and to each step; weights are in the page cache."""
    rounds = 1 if quick else 5
    firsts: list[float] = []
    found: list[dict[str, float]] = []
    with _service(say) as service:
        for number in range(rounds + 1):
            shutil.rmtree(service.services.settings.reference_dir, ignore_errors=True)
            firsts.append(_steps(service, 2 * number)[_LAST])
            found.append(_steps(service, 2 * number + 1))
            say(f"start {number}: {firsts[-1]:.2f} s the first time, then {found[-1][_LAST]:.2f} s")
    firsts, found = firsts[1:], found[1:]
    totals = [steps[_LAST] for steps in found]
    steps = {name: round(statistics.median(each[name] for each in found), 2) for name in found[0]}
    return Figure(
        "start",
        "seconds from `dlr worker` to the first task taken, two ResNet-50 that served here before, weights in the page "
        "cache, CPU",
        statistics.median(totals),
        (min(totals), max(totals)),
        statistics.median(totals) <= MOST_START_S,
        "after s: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in sorted(steps.items(), key=itemgetter(1))),
        f"{statistics.median(firsts):.2f} ({min(firsts):.2f} to {max(firsts):.2f}) the first time, when PyTorch scores",
        {"steps": steps},
    )


_LAST = "first task taken"


def _steps(service: FaultService, number: int) -> dict[str, float]:
    """Start a worker while a study waits, and end it again; return when each step was reached."""
    steps = service.services.home.path / f"steps-{number}"
    queue(service, service.studies.make(1, rois=ROIS[:1]))
    service.start_module("started", "benchmarks.timed_start", **{STEPS: str(steps)})
    try:
        service.until(lambda: steps.exists() and _LAST in steps.read_text(), 120, "the first task")
    finally:
        service.kill_workers(["started"])
    lines = map(json.loads, steps.read_text().splitlines())
    return {line["step"]: line["seconds"] for line in lines}
