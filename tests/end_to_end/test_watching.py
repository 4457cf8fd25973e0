"""The running service's metrics and traces: what Prometheus and a collector see of studies that go through it."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.command_line import dlr_process
from tests.end_to_end.collector import Collector
from tests.end_to_end.conftest import Service
from tests.worker.telemetry.test_exposition import scraped
from worker.demo.dicom import Header, write_ultrasound

STEPS = {"intake", "study", "queue", "decode", "inference", "write"}


@pytest.fixture
def job(service: Service, job_for: Callable[..., Any]) -> dict[str, Any]:
    rng = np.random.default_rng()
    uid, path = generate_uid(), service.storage_root / f"{uuid4().hex}.dcm"
    frame = rng.integers(0, 255, (96, 128), np.uint8)
    sop = write_ultrasound(path, Header(uid, "Doe^Jane", "PID-4711", "19800101", ""), [frame], ExplicitVRLittleEndian)
    return job_for(uid, sop, path.name, accession_number="ACC-0815")


def port_of(service: Service, process: str) -> int:
    log: Path = service.home / "logs" / f"{process}.log"
    found = service.until(lambda: log.exists() and re.findall(r"metrics at [^\n]*:(\d+)", log.read_text()))
    return int(found[-1])


def new_trace() -> str:
    return uuid4().hex


def identifiers(job: dict[str, Any]) -> list[str]:
    return [job["study_instance_uid"], job["lesions"][0]["sop_instance_uid"], "Doe", "Jane", "PID-4711", "ACC-0815",
            job["images"]["paths"][0]]  # fmt: skip


def test_one_trace_goes_from_the_sender_s_push_to_the_row(
    service: Service, collector: Collector, job: dict[str, Any]
) -> None:
    trace, sender = new_trace(), uuid4().hex[:16]
    service.push(job, headers={"traceparent": f"00-{trace}-{sender}-01"})
    study = service.ended(job["study_instance_uid"])
    assert study.state == "done"
    service.until(lambda: collector.of_trace(trace).keys() == STEPS)
    spans = collector.of_trace(trace)
    assert spans["intake"].parent == sender
    assert spans["study"].parent == spans["intake"].span
    assert {spans[name].parent for name in ("queue", "decode", "inference", "write")} == {spans["study"].span}
    assert {spans["intake"].attributes["dlr.study_id"], spans["study"].attributes["dlr.study_id"]} == {
        str(study.study_id)
    }
    assert spans["study"].attributes["dlr.state"] == "done"
    order = [spans[name] for name in ("queue", "decode", "inference", "write")]
    assert all(first.ended <= second.began for first, second in pairwise(order))


def test_dlr_submit_begins_a_trace_that_the_worker_goes_on_with(
    service: Service, collector: Collector, job: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "job.json").write_text(json.dumps(job))
    variables = {"DLR_HOME": service.home, "DLR_TRACES_URL": collector.url}
    # As it ends, a process sends what it has not sent yet.
    done = dlr_process("submit", tmp_path / "job.json", "--wait", "--format", "json", **variables)
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)

    def traces() -> set[str]:
        return {span.trace for span in collector.spans if span.attributes.get("dlr.study_id") == row["study_id"]}

    service.until(lambda: traces() and collector.of_trace(min(traces())).keys() == STEPS)
    assert len(traces()) == 1
    assert collector.of_trace(min(traces()))["intake"].parent == ""


def test_a_study_that_is_queued_again_stays_in_its_trace(
    service: Service, collector: Collector, job: dict[str, Any]
) -> None:
    trace = new_trace()
    path = service.storage_root / job["images"]["paths"][0]
    hidden = path.rename(path.with_suffix(".away"))
    service.push(job, headers={"traceparent": f"00-{trace}-{uuid4().hex[:16]}-01"})
    study = service.ended(job["study_instance_uid"])
    assert (study.state, study.lesions[0].error_code) == ("failed", "file_not_found")
    hidden.rename(path)
    assert service.dlr("failed", "requeue", str(study.study_id), "--yes").returncode == 0
    service.until(lambda: service.details(study.study_id)[0].state == "done")

    def attempts() -> set[str]:
        return {span.attributes["dlr.attempt"] for span in collector.spans
                if span.trace == trace and span.name == "study"}  # fmt: skip

    service.until(lambda: attempts() == {"1", "2"})


def test_a_worker_counts_what_it_did_and_the_exporter_what_there_is(service: Service, job: dict[str, Any]) -> None:
    inference, intake, exporter = (port_of(service, name) for name in ("inference-worker", "intake-worker", "metrics"))
    service.push(job)
    service.push(job | {"study_instance_uid": f"{job['study_instance_uid']}.1", "lesions": []})
    service.ended(job["study_instance_uid"])
    service.until(lambda: scraped(inference).get("dlr_studies_ended_total", {}).get(("routine", "done")))
    found = scraped(inference)
    assert found["dlr_study_seconds_count"]["routine",] >= 1
    assert found["dlr_batch_lesions_sum"][()] >= 1
    assert found["dlr_device_seconds_sum"][()] > 0
    assert found["dlr_decode_seconds_count"]["ok",] >= 1
    assert sum(found["dlr_lesions_scored_total"].values()) >= 1
    service.until(lambda: scraped(intake).get("dlr_messages_refused_total", {}).get(("job_invalid",)))
    said = scraped(exporter)
    assert said["dlr_component_up"] == {(name,): 1 for name in ("postgresql", "totals", "drift", "redis", "workers")}
    assert said["dlr_workers"] == {("inference",): 1, ("intake",): 1}
    assert said["dlr_failed_studies"]["job_invalid", "failed"] >= 1
    assert said["dlr_oldest_study_seconds"]["stat",] == 0


def test_neither_metrics_nor_traces_nor_logs_hold_an_identifier(
    service: Service, collector: Collector, job: dict[str, Any]
) -> None:
    trace = new_trace()
    service.push(job, headers={"traceparent": f"00-{trace}-{uuid4().hex[:16]}-01"})
    service.ended(job["study_instance_uid"])
    service.until(lambda: collector.of_trace(trace).keys() == STEPS)
    metrics = str([scraped(port_of(service, name)) for name in ("inference-worker", "intake-worker", "metrics")])
    for shown in (metrics, collector.text, service.logs()):
        assert len(shown) > 500
        assert [one for one in identifiers(job) if one in shown] == []
