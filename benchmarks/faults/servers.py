"""Faults of the servers: killed, emptied, stopped in the middle of a write, frozen."""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from benchmarks.faults.service import FaultService, Say, fault_service
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import verify

PATIENCE_S = 240
RESUMES_WITHIN_S = 30.0


def redis_killed(say: Say, *, quick: bool) -> Figure:
    """Kill -9 Redis again and again while studies are pushed; sometimes its data is gone as well."""
    kills, wipes = (6, 2) if quick else (50, 5)
    with fault_service(say, **{DEVICE_MS: "10"}) as service:
        service.start_workers()
        studies: list[MadeStudy] = []
        pushed_again = 0
        for kill in range(1, kills + 1):
            wiped = kill % (kills // wipes) == 0
            studies += _push_some(service, 20)
            time.sleep(0.1 * (kill % 4))
            _kill_redis(service)
            if wiped:
                shutil.rmtree(service.services.home.path / "redis" / "appendonlydir")
            service.redis.start()
            service.hang_up()
            if wiped:
                pushed_again += _push_again(service, studies)
            service.keep_alive()
            say(f"{kill} of {kills} kills, {service.ended(studies)} of {len(studies)} studies have ended")
        service.until_ended(studies, PATIENCE_S)
        verdict = verify(service, studies)
    return Figure(
        "Redis kill -9",
        f"{kills} times, {wipes} of them with its data wiped; {len(studies)} studies",
        f"{said(verdict)}; {pushed_again} jobs that no worker had taken yet when the data went were pushed again",
        "0 lost",
        verdict.is_clean,
    )


def _push_again(service: FaultService, studies: Sequence[MadeStudy]) -> int:
    """What a sender does after Redis lost its data: push again what the ledger does not have."""
    known = service.recorded(studies)
    gone = [study for study in studies if study.uid not in known]
    for study in gone:
        service.push(study)
    return len(gone)


def postgres_stopped(say: Say, *, quick: bool) -> Figure:
    """Stop PostgreSQL as ``pg_ctl stop -m immediate`` does, while results are written."""
    stops = 3 if quick else 20
    with fault_service(say, **{DEVICE_MS: "10"}) as service:
        service.start_workers()
        studies: list[MadeStudy] = []
        for stop in range(1, stops + 1):
            studies += _push_some(service, 40)
            time.sleep(0.2 * (stop % 4))
            os.kill(_postmaster(service), signal.SIGQUIT)
            service.until(lambda: not service.postgres.is_running, 60, "PostgreSQL's end")
            service.postgres.start()
            service.keep_alive()
            say(f"{stop} of {stops} stops, {service.ended(studies)} of {len(studies)} studies have ended")
        service.until_ended(studies, PATIENCE_S)
        verdict = verify(service, studies)
    return Figure(
        "PostgreSQL `stop -m immediate` during writes",
        f"{stops} times; {len(studies)} studies",
        said(verdict),
        "0 lost, 0 partial results",
        verdict.is_clean,
    )


def postgres_read_only(say: Say, *, quick: bool) -> Figure:
    """Make the database read-only while studies run, as a failover to a standby or a full managed disk does.

    Sessions are cut as it begins, and not as it ends: those that the workers opened meanwhile stay read-only.
    """
    times, seconds = (2, 4.0) if quick else (10, 30.0)
    with fault_service(say, **{DEVICE_MS: "20"}) as service:
        service.start_workers()
        studies: list[MadeStudy] = []
        refused, unnoticed = 0, 0
        for one in range(1, times + 1):
            studies += _push_some(service, 40)
            service.administer("ALTER DATABASE dlr SET default_transaction_read_only = on")
            service.administer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'dlr'")
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                studies += service.studies.make(2)
                service.push(studies[-2])
                service.push(studies[-1])
                refused += 1
                service.push_nonsense(refused)
                time.sleep(seconds / 10)
            unnoticed += "read-only" not in service.said_by("health")
            service.administer("ALTER DATABASE dlr RESET default_transaction_read_only")
            service.keep_alive()
            say(f"{one} of {times} times, {service.ended(studies)} of {len(studies)} studies have ended")
        service.until_ended(studies, PATIENCE_S)
        verdict = verify(service, studies)
        on_record = _refusals(service, refused)
    return Figure(
        f"PostgreSQL read-only for {seconds:.0f} s",
        f"{times} times in mid-work, its sessions cut; {len(studies)} studies, and {refused} messages to be refused",
        f"{said(verdict)}; {on_record} of {refused} refused messages on record; "
        f"`dlr health` said so {times - unnoticed} times",
        "0 lost, each refused message on record",
        verdict.is_clean and on_record == refused and not unnoticed,
    )


def _refusals(service: FaultService, wanted: int) -> int:
    """Wait for the refused messages to be on record, and count them."""
    with suppress(TimeoutError):
        service.until(lambda: service.count_refused() >= wanted, PATIENCE_S, "the refusals")
    return service.count_refused()


def server_frozen(say: Say, *, quick: bool) -> Figure:
    """SIGSTOP Redis or PostgreSQL while studies run, and look how long the service takes after SIGCONT."""
    freezes, seconds = (1, 10.0) if quick else (5, 60.0)
    resumed: dict[str, list[float]] = {"Redis": [], "PostgreSQL": []}
    with fault_service(say, **{DEVICE_MS: "50"}) as service:
        service.start_workers()
        studies: list[MadeStudy] = []
        for freeze in range(freezes):
            for name, took in resumed.items():
                more = _push_some(service, 30)
                studies += more
                before = service.ended(more)
                pids = _tree(_postmaster(service) if name == "PostgreSQL" else _redis(service))
                _signal(pids, signal.SIGSTOP)
                time.sleep(seconds)
                _signal(pids, signal.SIGCONT)
                took.append(_resumed(service, more, before))
                service.until_ended(more, PATIENCE_S)
                say(f"{name} frozen {freeze + 1} of {freezes} times; resumed after {took[-1]:.1f} s")
        verdict = verify(service, studies)
    slowest = {name: max(took) for name, took in resumed.items()}
    return Figure(
        f"SIGSTOP of Redis or PostgreSQL for {seconds:.0f} s",
        f"{freezes} times each, while studies ran; {len(studies)} studies",
        f"{said(verdict)}; resumed by itself after "
        + " and ".join(f"{took:.1f} s ({name})" for name, took in slowest.items())
        + " at most",
        f"resumes by itself in <= {RESUMES_WITHIN_S:.0f} s",
        verdict.is_clean and max(slowest.values()) <= RESUMES_WITHIN_S,
    )


def _push_some(service: FaultService, count: int) -> list[MadeStudy]:
    """Push studies, and return them once the first of them has ended."""
    studies = service.studies.make(count)
    for study in studies:
        service.push(study)
    service.until(lambda: service.ended(studies) > 0, 60, "the first study's end")
    return studies


def _resumed(service: FaultService, studies: Sequence[MadeStudy], ended: int) -> float:
    return service.until(lambda: service.ended(studies) > ended + 8, 120, "a study's end")


def _redis(service: FaultService) -> int:
    return int((service.services.home.path / "redis" / "redis.pid").read_text())


def _postmaster(service: FaultService) -> int:
    return int((service.services.home.path / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def _kill_redis(service: FaultService) -> None:
    os.kill(_redis(service), signal.SIGKILL)
    service.until(lambda: not service.redis.is_running, 30, "Redis's end")


def _tree(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
