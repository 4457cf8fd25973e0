"""Failovers of a Redis behind Sentinels, in mid-work: the primary killed, or frozen and back as if nothing had been."""

import signal
import time
from collections.abc import Sequence

from benchmarks.faults.sentinel_set import SentinelSet, sentinel_set
from benchmarks.faults.service import FaultService, Say, fault_service
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import verify

PATIENCE_S = 240
BACK_WITHIN_S = 15.0


def failover(say: Say, *, quick: bool) -> Figure:
    """Take the primary away while studies are pushed and scored, and look how long after the promotion one ends.

    Every second time it is frozen instead of killed: then it keeps its connections, and comes back as a primary.
    """
    times, each = (1, 50) if quick else (20, 50)
    with (
        sentinel_set() as servers,
        fault_service(say, broker=servers, **{DEVICE_MS: "50"}) as service,
    ):
        service.start_workers()
        studies: list[MadeStudy] = []
        took: list[float] = []
        pushed_again = 0
        for one in range(1, times + 1):
            more = service.studies.make(each)
            studies += more
            took.append(_fail_over(service, servers, more, frozen=one % 2 == 0))
            pushed_again += service.push_lost(studies)
            service.keep_alive()
            servers.until_whole()
            say(
                f"{one} of {times} failovers, back after {took[-1]:.1f} s; "
                f"{service.ended(studies)} of {len(studies)} studies have ended"
            )
        service.until_ended(studies, PATIENCE_S)
        verdict = verify(service, studies)
    return Figure(
        "Sentinel failover in mid-work",
        f"{times} times, the primary killed or frozen; {len(studies)} studies",
        f"{said(verdict)}; back at most {max(took):.1f} s after the promotion; "
        f"{pushed_again} jobs that the former primary alone had were pushed again",
        f"0 lost, back in <= {BACK_WITHIN_S:.0f} s",
        verdict.is_clean and max(took) <= BACK_WITHIN_S,
    )


def _fail_over(service: FaultService, servers: SentinelSet, studies: Sequence[MadeStudy], *, frozen: bool) -> float:
    """Push half, take the primary away, push the rest; return how long after the promotion one of the rest ended."""
    half = len(studies) // 2
    for study in studies[:half]:
        service.push(study)
    service.until(lambda: service.ended(studies[:half]) > 0, 60, "the first study's end")
    primary = servers.primary()
    assert primary is not None
    servers.kill(primary, signal.SIGSTOP if frozen else signal.SIGKILL)
    servers.until_promoted(primary)
    promoted = time.monotonic()
    for study in studies[half:]:
        service.push(study)
    service.until(lambda: service.ended(studies[half:]) > 0, 120, "the end of a study that was pushed afterwards")
    took = time.monotonic() - promoted
    if frozen:
        servers.kill(primary, signal.SIGCONT)
    else:
        servers.start_node(primary)
    return took
