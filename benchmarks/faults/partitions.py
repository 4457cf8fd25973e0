"""Partitions between hosts: packets of each pair are dropped for a while, both ways or one, and then no more."""

import time
from itertools import combinations
from statistics import median

from benchmarks.faults.hosted import HostedService, service_on_hosts
from benchmarks.faults.hosts import NAMES
from benchmarks.faults.service import Say
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import verify

BACK_WITHIN_S = 30.0
PATIENCE_S = 240

Cut = tuple[str, str, bool]
"""Who sends, who does not receive, and whether that is so the other way round too."""

ALL = [
    cut
    for one, other in combinations(NAMES, 2)
    for cut in ((one, other, True), (one, other, False), (other, one, False))
]
QUICK = [("worker-a", "postgres", True), ("redis", "worker-b", False)]


def partitions(say: Say, *, quick: bool) -> Figure:
    """Cut each pair of hosts while studies are pushed and scored, heal it, and look when all workers are back."""
    cuts, seconds, studies_each = (QUICK, 4.0, 10) if quick else (ALL, 20.0, 32)
    with service_on_hosts(say, **{DEVICE_MS: "20"}) as hosted:
        service = hosted.service
        hosted.start_workers()
        studies: list[MadeStudy] = []
        back: dict[Cut, float] = {}
        studies += hosted.until_back(service.studies.make, PATIENCE_S)[1]
        for cut in cuts:
            back[cut] = _cut(hosted, cut, seconds, studies_each, studies)
            restarted = service.keep_alive()
            say(f"{_named(cut)}: back after {back[cut]:.1f} s, {restarted} workers had ended")
        given_up = service.requeue_given_up(studies, PATIENCE_S)
        verdict = verify(service, studies, ended_before=given_up)
    slowest = max(back, key=lambda cut: back[cut])
    return Figure(
        f"partition between two hosts, {seconds:.0f} s",
        f"{len(cuts)} cuts of {len({frozenset(cut[:2]) for cut in cuts})} pairs of hosts, both ways and one way; "
        f"{len(studies)} studies",
        f"{said(verdict)}; all workers back {median(back.values()):.1f} s after it healed, at most "
        f"{back[slowest]:.1f} s ({_named(slowest)}); {len(given_up)} had been at work in three cuts",
        f"0 lost, back in <= {BACK_WITHIN_S:.0f} s",
        verdict.is_clean and back[slowest] <= BACK_WITHIN_S,
    )


def _cut(hosted: HostedService, cut: Cut, seconds: float, count: int, studies: list[MadeStudy]) -> float:
    """Push studies before and during a cut; return how long after it all workers were back, in seconds."""
    sender, receiver, back = cut
    more = hosted.service.studies.make(count)
    studies += more
    for study in more[: count // 2]:
        hosted.push(study)
    with hosted.hosts.cut(sender, receiver, back=back):
        for study in more[count // 2 :]:
            hosted.push(study)
            time.sleep(seconds / (count - count // 2))
    took, pushed = hosted.until_back(hosted.service.studies.make, PATIENCE_S)
    studies += pushed
    return took


def _named(cut: Cut) -> str:
    sender, receiver, back = cut
    return f"{sender} {'and' if back else 'to'} {receiver}"
