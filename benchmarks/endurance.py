"""A burst of many studies at once: does what the workers hold in memory grow with it?"""

import time

import psutil

from benchmarks.faults.service import FaultService, fault_service
from benchmarks.faults.studies import ROIS
from benchmarks.measuring import Figure, Say
from benchmarks.queueing import counting, start_inference
from benchmarks.simulated_gpu import BATCH, FIXED_MS, N_MAX, PER_LESION_MS
from worker.broker.queues import SUBMIT_STUDY

GOAL_MIB = 50
_FAST = {FIXED_MS: "4", PER_LESION_MS: "0.1", BATCH: str(N_MAX)}
_PATIENCE_S = 7200


def memory(say: Say, *, quick: bool) -> Figure:
    """MiB by which the workers, their decoders included, grow over a burst of jobs that are pushed all at once."""
    first, burst = (500, 2_000) if quick else (5_000, 100_000)
    with fault_service(say) as service, counting(service) as ended:
        service.start_module("intake", "worker.cli.main", "worker", "--queue", "intake")
        start_inference(service, "inference", "benchmarks.simulated_gpu", N_MAX, _FAST)
        _push(service, first)
        service.until(lambda: ended() >= first, _PATIENCE_S, "the first studies", every_s=0.2)
        before = resident_mib(service)
        started, most, told = time.monotonic(), before, 0.0
        _push(service, burst)
        while (done := ended() - first) < burst:
            most = max(most, resident_mib(service))
            if time.monotonic() - told > 20:
                told = time.monotonic()
                say(f"{done:,} of {burst:,} studies, {most - before:.0f} MiB more at most")
            if time.monotonic() - started > _PATIENCE_S:
                raise TimeoutError("the burst did not end")
            time.sleep(0.5)
        rate = burst / (time.monotonic() - started)
    return Figure(
        "memory",
        f"MiB that intake, inference worker and decoders grow, at most, over {burst:,} studies pushed at once",
        most - before,
        (most - before, most - before),
        most - before <= GOAL_MIB,
        f"from {before:.0f} to {most:.0f} MiB; {rate:.0f} studies/s from push to row",
        "",
    )


def _push(service: FaultService, count: int) -> None:
    studies = service.studies.make(count, rois=ROIS[:1])
    sender = service.sender()
    with sender.pool.acquire(block=True) as connection:
        for study in studies:
            sender.send_task(SUBMIT_STUDY, kwargs={"job": study.job}, queue="intake", priority=6, connection=connection)


def resident_mib(service: FaultService) -> float:
    """Sum up the resident memory of the workers and their decoders."""
    trees = [psutil.Process(process.pid) for process in service.workers.values()]
    return sum(one.memory_info().rss for tree in trees for one in (tree, *tree.children(recursive=True))) / 2**20
