"""Connections that misbehave between a worker host and its servers: stalled, reset, and late."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import make_url

from benchmarks.faults.hosted import HostedService, service_on_hosts
from benchmarks.faults.hosts import HERE
from benchmarks.faults.proxy import Proxy, proxy
from benchmarks.faults.service import Say
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import verify

BACK_WITHIN_S = 45.0
"""`DLR_DATABASE_ANSWER_S`, after which a stalled connection to PostgreSQL is cut, and what the others have to do."""

PATIENCE_S = 240
BEHIND_THE_PROXIES = "worker-a"
STALLED, RESET, LATE = FAULTS = ("stalled", "reset", "late")


def connections(say: Say, *, quick: bool) -> Figure:
    """Do each to the connections of one worker host with PostgreSQL and Redis, while studies are pushed and scored."""
    times, seconds, each, late_s = (1, 2.0, 6, 0.1) if quick else (5, 20.0, 25, 0.5)
    answer_s = {"DLR_DATABASE_ANSWER_S": "4"} if quick else {}
    with (
        service_on_hosts(say, **{DEVICE_MS: "20"}, **answer_s) as hosted,
        _before("DLR_DATABASE_URL", hosted) as (to_postgres, database_url),
        _before("DLR_REDIS_URL", hosted) as (to_redis, redis_url),
    ):
        service, proxies = hosted.service, (to_postgres, to_redis)
        hosted.give(BEHIND_THE_PROXIES, "env", f"DLR_DATABASE_URL={database_url}", f"DLR_REDIS_URL={redis_url}")
        hosted.start_workers()
        studies: list[MadeStudy] = []
        studies += hosted.until_back(service.studies.make, PATIENCE_S)[1]
        took = dict.fromkeys(FAULTS, 0.0)
        for one in range(1, times + 1):
            for fault in FAULTS:
                more = service.studies.make(each)
                if fault == LATE:
                    now = _late(hosted, proxies, more, late_s)
                else:
                    now = _cut(hosted, fault, proxies, more, seconds / each)
                studies += more
                took[fault] = max(took[fault], now)
                restarted = service.keep_alive()
                say(f"{one} of {times}, {fault}: {now:.1f} s, {restarted} workers had ended")
        given_up = service.requeue_given_up(studies, PATIENCE_S)
        verdict = verify(service, studies, ended_before=given_up)
        service.kill_workers()
    return Figure(
        f"connections stalled, reset, {1000 * late_s:.0f} ms late",
        f"{times} times each, the first two for {seconds:.0f} s, between one worker host and both servers; "
        f"{len(studies)} studies",
        f"{said(verdict)}; all workers back {took[STALLED]:.1f} s after the connections had stalled and "
        f"{took[RESET]:.1f} s after they had been reset, at most; while each answer came late, every worker had "
        f"claimed and scored a study within {took[LATE]:.1f} s",
        f"0 lost, back in <= {BACK_WITHIN_S:.0f} s, and every worker goes on while answers come late",
        verdict.is_clean and max(took[STALLED], took[RESET]) <= BACK_WITHIN_S,
    )


def _cut(
    hosted: HostedService, fault: str, proxies: Sequence[Proxy], studies: list[MadeStudy], pause_s: float
) -> float:
    """Push studies while connections stall or are reset; return how long after it all workers were back.

    Those that were pushed meanwhile are added to the studies.
    """
    hosted.push(studies[0])
    for one in proxies:
        one.stall() if fault == STALLED else one.reset()
    for study in studies[1:]:
        hosted.push(study)
        time.sleep(pause_s)
    for one in proxies:
        one.pass_on()
    return _until_back(hosted, studies)


def _late(hosted: HostedService, proxies: Sequence[Proxy], studies: list[MadeStudy], late_s: float) -> float:
    """Push studies while answers come late; return how long all workers took to score one meanwhile."""
    for one in proxies:
        one.late_s = late_s
    for study in studies:
        hosted.push(study)
    took = _until_back(hosted, studies)
    for one in proxies:
        one.late_s = 0
    return took


def _until_back(hosted: HostedService, studies: list[MadeStudy]) -> float:
    took, pushed = hosted.until_back(hosted.service.studies.make, PATIENCE_S)
    studies += pushed
    return took


@contextmanager
def _before(setting: str, hosted: HostedService) -> Iterator[tuple[Proxy, str]]:
    """Put a proxy on this machine before the server of a setting; give it, and the URL that leads through it."""
    server = make_url(hosted.urls[setting])
    assert server.host is not None
    assert server.port is not None
    here = hosted.hosts.address(HERE)
    with proxy(here, (server.host, server.port)) as made:
        yield made, server.set(host=here, port=made.port).render_as_string(hide_password=False)
