"""A worker that is killed, and a Redis that forgets: no study is lost, and none has two results."""

import os
import signal
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from redis import Redis

from tests.end_to_end.conftest import Service
from tests.waiting import until
from worker.broker.reconciler import RedisQueues
from worker.demo.dicom import Header, write_ultrasound

ROWS = """
SELECT count(DISTINCT s.id) AS studies, count(p.id) AS predictions, count(DISTINCT r.id) AS advice
FROM study s LEFT JOIN lesion l ON l.study_id = s.id LEFT JOIN prediction p ON p.lesion_id = l.id
     LEFT JOIN restratification r ON r.lesion_id = l.id
WHERE s.study_instance_uid = ANY(%s)
"""
IN_TRANSACTION = (
    "SELECT pid FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid() AND state <> 'idle'"
)
"""Whoever is frozen in a transaction holds up those who would take its study over, until it goes on."""

RUNNING = "SELECT 1 FROM study WHERE study_instance_uid = ANY(%s) AND state = 'running'"
STRANDED = """
SELECT 1 FROM study_event e JOIN study s ON s.id = e.study_id
WHERE s.study_instance_uid = ANY(%s) AND e.event = 'stranded'
"""


@pytest.fixture
def jobs(service: Service, job_for: Callable[..., Any]) -> list[dict[str, Any]]:
    made = []
    for number in range(12):
        uid, path = generate_uid(), service.storage_root / f"{uuid4().hex}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = np.random.default_rng(number).integers(0, 256, (300, 400), np.uint8)
        sop = write_ultrasound(path, Header(uid, "", "", "", ""), [frame], ExplicitVRLittleEndian)
        made.append(job_for(uid, sop, path.name))
    return made


def worker_pid(service: Service) -> int:
    return int(service.until(lambda: service.supervisor.pid("inference-worker")) or 0)


def frozen_at_work(service: Service, jobs: list[dict[str, Any]]) -> int:
    """Freeze the worker while it has some of these studies at hand; return its process id."""
    service.until(lambda: service.dlr("health", "--worker", "inference").returncode == 0)
    pid, uids = worker_pid(service), [job["study_instance_uid"] for job in jobs]
    os.kill(pid, signal.SIGSTOP)
    for job in jobs:
        service.push(job)
    service.until(lambda: all(map(service.details, uids)))

    def is_at_work() -> bool:
        os.kill(pid, signal.SIGSTOP)
        if service.sql(RUNNING, uids, role="writer") and not service.sql(IN_TRANSACTION, role="writer"):
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    until(is_at_work, every_s=0.01)
    return pid


def test_a_worker_killed_at_work_loses_nothing_and_doubles_nothing(
    service: Service, jobs: list[dict[str, Any]]
) -> None:
    uids = [job["study_instance_uid"] for job in jobs]
    os.kill(frozen_at_work(service, jobs), signal.SIGKILL)
    assert {service.ended(uid).state for uid in uids} == {"done"}
    assert service.sql(ROWS, uids, role="writer") == [{"studies": 12, "predictions": 24, "advice": 12}]


def test_a_worker_that_was_frozen_past_its_lease_doubles_nothing(service: Service, jobs: list[dict[str, Any]]) -> None:
    uids = [job["study_instance_uid"] for job in jobs]
    pid = frozen_at_work(service, jobs)
    try:
        service.until(lambda: service.sql(STRANDED, uids, role="writer"))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert {service.ended(uid).state for uid in uids} == {"done"}
    assert service.sql(ROWS, uids, role="writer") == [{"studies": 12, "predictions": 24, "advice": 12}]


def test_studies_come_back_when_redis_has_forgotten_their_messages(
    service: Service, jobs: list[dict[str, Any]]
) -> None:
    uids = [job["study_instance_uid"] for job in jobs]
    redis = Redis.from_url(service.services.settings.require_redis_url())
    pid = worker_pid(service)
    os.kill(pid, signal.SIGSTOP)
    try:
        for job in jobs:
            service.push(job)
        service.until(lambda: all(map(service.details, uids)) and RedisQueues(redis, "").count())
        for key in redis.scan_iter():
            redis.delete(key)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert {service.ended(uid).state for uid in uids} == {"done"}
    assert service.sql(ROWS, uids, role="writer") == [{"studies": 12, "predictions": 24, "advice": 12}]
