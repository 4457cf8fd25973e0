"""Faults of the workers: killed with everything below them, frozen and killed, stopped one after the other."""

import json
import signal
import time
from dataclasses import dataclass
from statistics import median
from uuid import uuid4

from redis import Redis

from benchmarks.faults.service import FaultService, Say, fault_service
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import verify
from db.session import make_engine, session_factory
from worker.broker.message_gate import TaskMessage, envelope
from worker.broker.queues import INFER_STUDY, SUBMIT_STUDY
from worker.broker.redis_scripts import TAKEN
from worker.contract import parse_job
from worker.intake.accept_study import Intake

PATIENCE_S = 180
BACK_WITHIN_S = 10.0
STOP_WITHIN_S = 12.0


def kill_the_tree(say: Say, *, quick: bool) -> Figure:
    """Kill -9 the whole tree of both workers every 6 s until all studies have ended."""
    count, device_ms = (150, "60") if quick else (2000, "20")
    with fault_service(say, **{DEVICE_MS: device_ms}) as service:
        service.start_workers()
        studies = service.studies.make(count)
        for study in studies:
            service.push(study)
        kills, last = 0, time.monotonic()
        limit = last + (PATIENCE_S if quick else 3600)
        while (ended := service.ended(studies)) < count and time.monotonic() < limit:
            if time.monotonic() - last >= 6:
                service.kill_workers()
                kills, last = kills + 1, time.monotonic()
                say(f"{kills} kills, {ended} of {count} studies have ended")
                service.start_workers()
            time.sleep(0.1)
        given_up = service.requeue_given_up(studies, PATIENCE_S)
        verdict = verify(service, studies, ended_before=given_up)
    return Figure(
        "kill -9 of the whole worker tree every 6 s",
        f"{count} studies, {kills} kills",
        f"{said(verdict)}; {len(given_up)} had been at work in three kills, stood on the list of failed studies, and "
        f"were done after `dlr failed requeue`",
        "0 lost, 0 duplicate or contradictory rows",
        verdict.is_clean and kills > 0,
    )


@dataclass(frozen=True, slots=True)
class _Cycle:
    left_its_list: bool
    seconds: float


def freeze_and_kill(say: Say, *, quick: bool) -> Figure:
    """Freeze a worker, push, kill it between the pop and the record of it; in turn for both queues."""
    wanted = 4 if quick else 200
    cycles: list[_Cycle] = []
    with fault_service(say) as service:
        service.start_workers()
        studies = service.studies.make(1)
        service.push(studies[0])
        service.until_ended(studies, 60)
        while sum(cycle.left_its_list for cycle in cycles) < wanted and len(cycles) < 3 * wanted:
            studies += service.studies.make(1)
            cycles.append(_cycle(service, studies[-1], "intake" if len(cycles) % 2 == 0 else "inference"))
            say(f"{len(cycles)} cycles, the slowest back after {max(cycle.seconds for cycle in cycles):.1f} s")
        verdict = verify(service, studies)
    hit = sorted(cycle.seconds for cycle in cycles if cycle.left_its_list)
    slowest = hit[-1] if hit else float("inf")
    return Figure(
        "freeze, push, kill between pop and un-acked write",
        f"{len(cycles)} cycles; in {len(hit)} the message had left its list and stood nowhere else",
        f"{said(verdict)}; back after {median(hit or [slowest]):.1f} s, at most {slowest:.1f} s",
        f"0 lost, back in <= {BACK_WITHIN_S:.0f} s",
        verdict.is_clean and len(hit) >= wanted and slowest <= BACK_WITHIN_S,
    )


def _cycle(service: FaultService, study: MadeStudy, queue: str) -> _Cycle:
    """One worker frozen and killed. The other queue's worker goes on, and puts back what this one took."""
    service.until(lambda: service.waiting() == 0, 60, "an idle service")
    message = _message(service, study, queue)
    with Redis.from_url(service.redis.url()) as client:
        client.ping()
        service.signal_workers(signal.SIGSTOP, [queue])
        client.lpush(queue, message)
        time.sleep(0.1)
        taken = bool(client.hlen(TAKEN)) and not client.llen(queue) and not client.hlen("unacked")
    service.kill_workers([queue])
    killed = time.monotonic()
    service.start_worker(queue)
    service.until(lambda: service.ended([study]), 60, "the study's end")
    return _Cycle(taken, time.monotonic() - killed)


def _message(service: FaultService, study: MadeStudy, queue: str) -> bytes:
    """A message as Celery pushes it; one for inference is of a study that the ledger has already."""
    if queue == "intake":
        return json.dumps(envelope(TaskMessage(SUBMIT_STUDY, uuid4(), [], {"job": study.job}, 6), queue)).encode()
    sessions = session_factory(make_engine(service.services.settings.require_database_url()))
    intake = Intake(sessions, service.services.settings.storage_root, lambda *_: None)
    study_id = intake.accept(parse_job(study.job), "submit").study_id
    return json.dumps(envelope(TaskMessage(INFER_STUDY, study_id, [str(study_id)], {}, 6), queue)).encode()


def rolling_restarts(say: Say, *, quick: bool) -> Figure:
    """SIGTERM one of two inference workers after the other while a long queue waits; a stat study comes in between."""
    count, restarts = (400, 6) if quick else (10_000, 100)
    with fault_service(say, **{DEVICE_MS: "15", "DLR_STOP_S": "5"}) as service:
        names = ["inference-a", "inference-b"]
        service.start_worker("intake")
        studies = service.studies.make(count)
        for study in studies:
            service.push(study)
        service.until(lambda: len(service.recorded(studies)) == count, 1200, "the studies in the ledger", every_s=1)
        for name in names:
            service.start_worker(name)
        done, stat, slowest = 0, service.studies.make(1, "stat"), 0.0
        while done < restarts:
            name = names[done % 2]
            service.until(lambda: service.ended(studies) > 0, 60, "the first study's end")
            started = time.monotonic()
            service.signal_workers(signal.SIGTERM, [name])
            service.workers[name].wait(60)
            slowest = max(slowest, time.monotonic() - started)
            service.start_worker(name)
            done += 1
            if done == restarts // 2:
                service.push(stat[0])
            say(f"{done} of {restarts} restarts, {service.ended(studies)} of {count} studies have ended")
            time.sleep(1.5)
        service.until_ended([*studies, *stat], 3600)
        verdict = verify(service, [*studies, *stat])
        overtaken = service.sql(_STARTED_BEFORE, stat[0].uid)[0]["count"]
    at_hand = 2 * 2 * 8
    return Figure(
        "rolling SIGTERM with the queue full",
        f"{count} studies queued, {restarts} restarts of 2 workers, 1 stat study pushed half-way",
        f"{said(verdict)}; a stop took at most {slowest:.1f} s; {overtaken} of the routine studies that the workers "
        f"had at hand started between the stat study's arrival and its start, none of the others",
        "0 lost; a stat study starts before routine ones",
        verdict.is_clean and overtaken <= at_hand and slowest <= STOP_WITHIN_S,
    )


_STARTED_BEFORE = """
SELECT count(*) FROM study routine, study stat
WHERE stat.study_instance_uid = %s AND routine.priority = 'routine'
      AND routine.started_at > stat.received_at AND routine.started_at < stat.started_at
"""
