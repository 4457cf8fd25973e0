"""A host that is frozen for longer than its leases, all its processes, and comes back with results in its hands."""

import signal
import time

from benchmarks.faults.hosted import HostedService, service_on_hosts
from benchmarks.faults.service import Say
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import verify

BACK_WITHIN_S = 30.0
PATIENCE_S = 240
FROZEN = "worker-a"


def frozen_host(say: Say, *, quick: bool) -> Figure:
    """Freeze a host while its device scores, let the other one take its studies, and let it go on."""
    times, seconds, each = (1, 6.0, 20) if quick else (10, 120.0, 40)
    with service_on_hosts(say, **{DEVICE_MS: "100"}) as hosted:
        service = hosted.service
        hosted.start_workers()
        studies: list[MadeStudy] = []
        studies += hosted.until_back(service.studies.make, PATIENCE_S)[1]
        late, back = 0, 0.0
        for one in range(1, times + 1):
            more = service.studies.make(each)
            held = _freeze(hosted, more, seconds)
            studies += more
            late += len(held)
            took, pushed = hosted.until_back(service.studies.make, PATIENCE_S)
            studies += pushed
            back = max(back, took)
            service.keep_alive()
            say(f"{one} of {times}: {len(held)} studies were at work; back after {took:.1f} s")
        service.until_ended(studies, PATIENCE_S)
        verdict = verify(service, studies)
    return Figure(
        f"a host frozen for {seconds:.0f} s",
        f"{times} times, all its processes (SIGSTOP); {len(studies)} studies",
        f"{said(verdict)}; {late} studies that it had at work were done elsewhere before it came back, and its results "
        f"of them were refused; all workers back after {back:.1f} s at most",
        f"0 lost, nothing twice, back in <= {BACK_WITHIN_S:.0f} s",
        verdict.is_clean and late > 0 and back <= BACK_WITHIN_S,
    )


def _freeze(hosted: HostedService, studies: list[MadeStudy], seconds: float) -> list[str]:
    """Freeze the host with studies at work, for so long and until they are done elsewhere; return their UIDs."""
    service = hosted.service
    worker = service.workers[f"inference-{FROZEN}"].pid
    half = len(studies) // 2
    late = studies[half:]
    for study in studies[:half]:
        hosted.push(study)
    held: list[str] = []

    def are_at_work() -> bool:
        held[:] = [row["uid"] for row in service.sql(_AT_WORK, f"%:{worker}", [study.uid for study in studies])]
        return bool(held)

    def are_at_work_or_come() -> bool:
        more = [] if are_at_work() else service.studies.make(1)
        studies.extend(more)  # the other host has done all of them
        for study in more:
            hosted.push(study)
        return bool(held)

    service.until(are_at_work_or_come, PATIENCE_S, "a study at work on the host", 0.1)
    hosted.hosts.signal(FROZEN, signal.SIGSTOP)
    are_at_work()
    thaws = time.monotonic() + seconds
    for study in late:
        hosted.push(study)
        time.sleep(seconds / len(late) / 2)
    service.until(lambda: len(_done_elsewhere(hosted, held)) == len(held), PATIENCE_S, "its studies done elsewhere")
    time.sleep(max(thaws - time.monotonic(), 0))
    hosted.hosts.signal(FROZEN, signal.SIGCONT)
    return held


def _done_elsewhere(hosted: HostedService, held: list[str]) -> list[str]:
    """Return which studies have ended in another worker's hands."""
    worker = hosted.service.workers[f"inference-{FROZEN}"].pid
    return [row["uid"] for row in hosted.service.sql(_ENDED_ELSEWHERE, f"%:{worker}", held)]


_LAST_CLAIM = """
SELECT s.study_instance_uid AS uid FROM study s JOIN LATERAL (
    SELECT detail ->> 'worker' AS worker FROM study_event e WHERE e.study_id = s.id AND e.event = 'claimed'
    ORDER BY e.id DESC LIMIT 1) last ON true
"""
_AT_WORK = f"{_LAST_CLAIM} WHERE last.worker LIKE %s AND s.state = 'running' AND s.study_instance_uid = ANY(%s)"
_ENDED_ELSEWHERE = (
    f"{_LAST_CLAIM} WHERE last.worker NOT LIKE %s AND s.state = 'done' AND s.study_instance_uid = ANY(%s)"
)
