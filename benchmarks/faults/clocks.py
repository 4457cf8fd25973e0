"""Clocks that differ: the worker hosts' by twenty minutes, and those of PostgreSQL and Redis from both."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.hosted import WORKERS, HostedService, service_on_hosts
from benchmarks.faults.not_here import NotPossibleHere
from benchmarks.faults.service import ROOT, Say
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import verify
from worker.broker.connections import connect

AHEAD_S = {"worker-a": 600, "worker-b": -600, "postgres": 300, "redis": -300}
"""Of the clock by which studies are pushed, in seconds."""

BACK_WITHIN_S = 30.0
PATIENCE_S = 240
_NEAR_S = 30.0

_REAL_CLOCK_ALONE = ("NO_FAKE_STAT=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_FORCE_MONOTONIC_FIX=0")
"""The last one: or else a thread that waits for Python's lock returns at once, and asks for it again and again."""

_SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds)\n"
"""Python sleeps until a moment of the monotonic clock, which libfaketime 0.9.10 takes for one of the real clock."""

_CLAIMS = """
SELECT array_agg(e.detail ->> 'worker' ORDER BY e.id) AS workers FROM study_event e JOIN study s ON s.id = e.study_id
WHERE e.event = 'claimed' AND s.study_instance_uid = ANY(%s) GROUP BY s.id
"""


def clocks(say: Say, *, quick: bool) -> Figure:
    """Score studies, and then kill each host's workers in mid-work, in turn, and look when the other has done theirs.

    Raises:
        NotPossibleHere: libfaketime is not installed.
    """
    kills, each = (1, 12) if quick else (10, 90)
    lease = {"DLR_LEASE_S": "2"} if quick else {}
    with _given_clocks() as given, service_on_hosts(say, given, **{DEVICE_MS: "50"}, **lease) as hosted:
        service, killed = hosted.service, set[int]()
        differ = _clocks_of(hosted)
        hosted.start_workers()
        studies: list[MadeStudy] = []
        studies += hosted.until_back(service.studies.make, PATIENCE_S)[1]
        slowest = 0.0
        for kill in range(1, kills + 1):
            more = service.studies.make(2 * each)
            took, pid = _kill(hosted, WORKERS[kill % 2], more)
            killed.add(pid)
            studies += more
            slowest = max(slowest, took)
            say(f"{kill} of {kills} kills, what was at hand was done after {took:.1f} s")
            if kill < kills:
                hosted.start_workers([WORKERS[kill % 2]])
                studies += hosted.until_back(service.studies.make, PATIENCE_S)[1]
        given_up = service.requeue_given_up(studies, PATIENCE_S)
        verdict = verify(service, studies, ended_before=given_up)
        stolen = _stolen(hosted, studies, killed)
    return Figure(
        "clocks 10 minutes ahead and behind",
        f"{_shown(differ)}; {kills} times the workers of one host killed; {len(studies)} studies",
        f"{said(verdict)}; {stolen} leases of a living worker were taken away; what a killed one had at hand was "
        f"done by the other host {slowest:.1f} s later at most",
        f"0 lost, no lease stolen, done in <= {BACK_WITHIN_S:.0f} s",
        verdict.is_clean and stolen == 0 and slowest <= BACK_WITHIN_S,
    )


def _kill(hosted: HostedService, host: str, studies: Sequence[MadeStudy]) -> tuple[float, int]:
    """Let half be done by both hosts, kill one's workers amid the others.

    Returns:
        How long the other host took for all of it, in seconds, and the process of the killed inference worker.
    """
    service, half = hosted.service, len(studies) // 2
    for study in studies[:half]:
        hosted.push(study)
    service.until(lambda: service.ended(studies) == half, PATIENCE_S, "the end of the first half")
    for study in studies[half:]:
        hosted.push(study)
    service.until(lambda: service.ended(studies) > half, PATIENCE_S, "the first end of the second half")
    pid = service.workers[f"inference-{host}"].pid
    service.kill_workers([f"{queue}-{host}" for queue in ("intake", "inference")])
    took = service.until(lambda: service.ended(studies) == len(studies), PATIENCE_S, "the end of what was at hand")
    return took, pid


def _stolen(hosted: HostedService, studies: Sequence[MadeStudy], killed: set[int]) -> int:
    """Count the claims that were followed by another one although their worker had not been killed."""
    rows = hosted.service.sql(_CLAIMS, [study.uid for study in studies])
    left = [worker for row in rows for worker in row["workers"][:-1]]
    return sum(int(worker.rpartition(":")[2]) not in killed for worker in left)


def _clocks_of(hosted: HostedService) -> Mapping[str, float]:
    """Ask each host how far its clock is ahead of this machine's, in seconds; they have to be as they were set.

    Raises:
        AssertionError: one is not.
    """
    postgres = hosted.service.sql("SELECT extract(epoch FROM clock_timestamp())::float AS at")[0]["at"]
    with connect(hosted.urls["DLR_REDIS_URL"]) as client:
        redis = float(client.time()[0])
    found = {host: _time_on(hosted, host) for host in WORKERS} | {"postgres": postgres, "redis": redis}
    ahead = {host: at - time.time() for host, at in found.items()}
    assert all(abs(ahead[host] - AHEAD_S[host]) < _NEAR_S for host in AHEAD_S), ahead
    return ahead


def _time_on(hosted: HostedService, host: str) -> float:
    command = [*hosted.service.before(f"intake-{host}"), sys.executable, "-c", "import time; print(time.time())"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _shown(ahead: Mapping[str, float]) -> str:
    return ", ".join(f"{host} {seconds / 60:+.0f} min" for host, seconds in ahead.items())


@contextmanager
def _given_clocks() -> Iterator[dict[str, list[str]]]:
    """Give what stands before the commands of each host."""
    library = _libfaketime()
    with TemporaryDirectory(prefix="dlr-clocks-") as folder:
        (Path(folder) / "sitecustomize.py").write_text(_SLEEP)
        shared = [*_REAL_CLOCK_ALONE, f"PYTHONPATH={folder}:{ROOT}"]
        try:
            yield {
                host: ["/usr/bin/env", f"LD_PRELOAD={library}", f"FAKETIME={ahead_s:+d}s", *shared]
                for host, ahead_s in AHEAD_S.items()
            }
        finally:
            _clear_up()


def _clear_up() -> None:
    """Remove what libfaketime leaves of processes that were killed."""
    for left in Path("/dev/shm").glob("*faketime_s*_*"):  # noqa: S108  where POSIX's shared memory is
        if not Path("/proc", left.name.rpartition("_")[2]).exists():
            left.unlink(missing_ok=True)


def _libfaketime() -> Path:
    # Not the one for threads, libfaketimeMT: a process that is forked inherits its lock.
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise NotPossibleHere("libfaketime is not installed here")
    return found[0]
