"""Pushed twice, delivered twice, changed, or not a study at all: what the database has in the end."""

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg2
import pytest
from celery import Celery
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from redis import Redis

from tests.end_to_end.conftest import Service
from worker.demo.dicom import Header, write_ultrasound

COUNTS = """
SELECT count(DISTINCT s.id) AS studies, count(DISTINCT l.id) AS lesions, count(DISTINCT p.id) AS predictions,
       count(DISTINCT r.id) AS advice
FROM study s LEFT JOIN lesion l ON l.study_id = s.id LEFT JOIN prediction p ON p.lesion_id = l.id
     LEFT JOIN restratification r ON r.lesion_id = l.id
WHERE s.study_instance_uid = %s
"""
ONE_SET = [{"studies": 1, "lesions": 1, "predictions": 2, "advice": 1}]


@pytest.fixture
def job(service: Service, job_for: Callable[..., Any]) -> dict[str, Any]:
    """A study on disk that nobody pushed yet."""
    frame = np.random.default_rng(1).integers(0, 256, (80, 100), np.uint8)
    uid = generate_uid()
    path = service.storage_root / f"{uuid4().hex}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    sop = write_ultrasound(path, Header(uid, "", "", "", ""), [frame], ExplicitVRLittleEndian)
    return job_for(uid, sop, path.name)


def test_a_study_pushed_many_times_at_once_leaves_one_set_of_rows(service: Service, job: dict[str, Any]) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(service.push, [job] * 12))
    uid = job["study_instance_uid"]
    assert service.ended(uid).state == "done"
    service.until(lambda: len([event for event in service.details(uid)[0].events if event.event == "unchanged"]) >= 11)
    assert service.sql(COUNTS, uid, role="writer") == ONE_SET


def test_an_inference_message_delivered_many_times_leaves_one_set_of_rows(
    service: Service, job: dict[str, Any]
) -> None:
    service.push(job)
    study = service.until(lambda: service.details(job["study_instance_uid"]))[0]
    sender = Celery(broker=service.services.settings.require_redis_url())
    for _ in range(8):
        sender.send_task("dlr.infer_study", args=[str(study.study_id)], queue="inference")
    ended = service.ended(study.study_id)
    last = sender.send_task("dlr.infer_study", args=[str(study.study_id)], queue="inference", priority=9)
    assert last.id
    redis = Redis.from_url(service.services.settings.require_redis_url())
    service.until(lambda: redis.llen("inference") == redis.llen("inference\x06\x169") == redis.hlen("unacked") == 0)
    assert (ended.state, ended.lesions[0].state) == ("done", "scored")
    assert service.sql(COUNTS, job["study_instance_uid"], role="writer") == ONE_SET
    assert [event.event for event in service.details(study.study_id)[0].events].count("done") == 1


def test_other_content_becomes_revision_two_and_nothing_is_mixed(service: Service, job: dict[str, Any]) -> None:
    service.push(job)
    first = service.ended(job["study_instance_uid"])
    service.push(job | {"age_years": 60.0})
    second = service.until(
        lambda: [study for study in service.details(first.study_instance_uid) if study.revision == 2]
    )
    assert service.ended(second[0].study_id).lesions[0].age_years == 60.0
    old = service.details(first.study_id)[0]
    assert (old.is_current, old.lesions[0].age_years, len(old.lesions[0].predictions)) == (False, 47.0, 2)
    rows = service.sql("SELECT revision FROM worklist WHERE study_instance_uid = %s", first.study_instance_uid)
    assert rows == [{"revision": 2}]


def test_a_bad_job_is_on_record_with_its_reason_and_is_not_tried_again(service: Service, job: dict[str, Any]) -> None:
    marker = uuid4().hex
    bad = job | {"accession_number": marker, "lesions": [job["lesions"][0] | {"birads": "4Z"}]}
    service.push(bad)
    found = "SELECT error_code, error_reason, attempts FROM study WHERE job::text LIKE %s"
    (row,) = service.until(lambda: service.sql(found, f"%{marker}%", role="writer"))
    assert (row["error_code"], row["attempts"]) == ("job_invalid", 0)
    assert row["error_reason"].startswith("lesions[0].birads: ")
    listed = service.dlr("failed", "list", "--code", "job_invalid", "--format", "json")
    assert listed.returncode == 0
    assert all(item["error_code"] == "job_invalid" for item in json.loads(listed.stdout))


FORGED = {
    "no JSON": (b"\x80\x04%s", "message_undecodable"),
    "an unknown task": ({"headers": {"task": "os.system", "id": "%s"}}, "task_unknown"),
    "a pickle": (
        {"headers": {"task": "dlr.submit_study", "id": "%s"}, "content-type": "application/x-python-serialize"},
        "message_undecodable",
    ),
}


@pytest.mark.parametrize("kind", FORGED)
@pytest.mark.parametrize("queue", ["intake", "inference"])
def test_a_forged_message_stops_nobody_and_is_on_record(
    service: Service, job: dict[str, Any], queue: str, kind: str
) -> None:
    marker = uuid4().hex
    template, code = FORGED[kind]
    if isinstance(template, bytes):
        item = template.replace(b"%s", marker.encode())
    else:
        body = base64.b64encode(b"[[], {}, {}]").decode()
        properties = {"delivery_tag": "1", "body_encoding": "base64", "delivery_info": {}}
        whole = {"body": body, "content-type": "application/json", "properties": properties, **template}
        item = json.dumps(whole).replace("%s", marker).encode()
    Redis.from_url(service.services.settings.require_redis_url()).lpush(queue, item)
    found = "SELECT state, error_code FROM study WHERE job::text LIKE %s"
    rows = service.until(lambda: service.sql(found, f"%{marker}%", role="writer"))
    assert rows == [{"state": "failed", "error_code": code}]
    service.push(job)
    assert service.ended(job["study_instance_uid"]).state == "done"


def test_the_reader_sees_the_worklist_and_no_table(service: Service, job: dict[str, Any]) -> None:
    service.push(job)
    service.ended(job["study_instance_uid"])
    rows = service.sql("SELECT * FROM worklist WHERE study_instance_uid = %s", job["study_instance_uid"])
    assert [row["notice"] for row in rows] == ["small test model, not for clinical use"]
    for table in ("study", "lesion", "model", "prediction", "restratification", "study_event", "alembic_version"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            service.sql(f"SELECT * FROM {table}")
