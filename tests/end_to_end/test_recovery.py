"""A worker that is killed, and a Redis that forgets: no study is lost, and none has two results."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from redis import Redis

from tests.end_to_end.conftest import Service
from worker.demo.dicom import Header, write_ultrasound

ROWS = """
SELECT count(DISTINCT s.id) AS studies, count(p.id) AS predictions, count(DISTINCT r.id) AS advice
FROM study s LEFT JOIN lesion l ON l.study_id = s.id LEFT JOIN prediction p ON p.lesion_id = l.id
     LEFT JOIN restratification r ON r.lesion_id = l.id
WHERE s.study_instance_uid = ANY(%s)
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
    return int(service.until(lambda: service.supervisor.pid("inference-worker")))


def test_a_worker_killed_at_work_loses_nothing_and_doubles_nothing(
    service: Service, jobs: list[dict[str, Any]]
) -> None:
    uids = [job["study_instance_uid"] for job in jobs]
    pid = worker_pid(service)
    os.kill(pid, signal.SIGSTOP)
    for job in jobs:
        service.push(job)
    service.until(lambda: all(service.details(uid) for uid in uids))
    os.kill(pid, signal.SIGCONT)
    while not service.sql("SELECT 1 FROM study WHERE state = 'running'", role="writer"):
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    assert service.sql("SELECT 1 FROM study WHERE state IN ('queued', 'running')", role="writer")
    assert {service.ended(uid).state for uid in uids} == {"done"}
    assert service.sql(ROWS, uids, role="writer") == [{"studies": 12, "predictions": 24, "advice": 12}]


def test_a_worker_that_was_frozen_past_its_lease_doubles_nothing(service: Service, jobs: list[dict[str, Any]]) -> None:
    uids = [job["study_instance_uid"] for job in jobs[:4]]
    for job in jobs[:4]:
        service.push(job)
    pid = worker_pid(service)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(8)
    os.kill(pid, signal.SIGCONT)
    assert {service.ended(uid).state for uid in uids} == {"done"}
    assert service.sql(ROWS, uids, role="writer") == [{"studies": 4, "predictions": 8, "advice": 4}]


def test_studies_come_back_when_redis_has_forgotten_their_messages(
    service: Service, jobs: list[dict[str, Any]]
) -> None:
    uids = [job["study_instance_uid"] for job in jobs[:4]]
    pid = worker_pid(service)
    os.kill(pid, signal.SIGSTOP)
    try:
        for job in jobs[:4]:
            service.push(job)
        service.until(lambda: all(service.details(uid) for uid in uids))
        time.sleep(0.5)
        redis = Redis.from_url(service.services.settings.require_redis_url())
        for key in redis.scan_iter():
            redis.delete(key)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert {service.ended(uid).state for uid in uids} == {"done"}
    assert service.sql(ROWS, uids, role="writer") == [{"studies": 4, "predictions": 8, "advice": 4}]
