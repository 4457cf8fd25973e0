"""A version that is put into service while everything runs scores the next studies, and no process is restarted."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.end_to_end.conftest import Service
from tests.end_to_end.small_models import add_version
from worker.demo.dicom import Header, write_ultrasound

NEWER = "test-2"


@pytest.fixture
def newer(service: Service, job_for: Callable[..., Any]) -> Iterator[str]:
    """Another version of DLR_BM, which is gone from service afterwards."""
    add_version(service.services.settings.models_dir, "DLR_BM", NEWER, seed=99)
    yield NEWER
    service.dlr("models", "rollback", "DLR_BM")
    service.until(lambda: version_of_next_study(service, job_for) != NEWER)


def version_of_next_study(service: Service, job_for: Callable[..., Any]) -> str:
    """Push a study, and say what the history says of its end: which version of DLR_BM scored it."""
    uid = generate_uid()
    frame = np.random.default_rng(0).integers(0, 256, (80, 100), np.uint8)
    header = Header(uid, "Doe^Jane", "P1", "A1", "20261123", birth_date="19790214")
    sop = write_ultrasound(service.storage_root / f"{uid}.dcm", header, [frame], ExplicitVRLittleEndian)
    service.push(job_for(uid, sop, f"{uid}.dcm"))
    study = service.ended(uid)
    assert study.state == "done"
    [event] = [one for one in study.events if one.event == "done"]
    return str(event.detail["models"]["DLR_BM"])


def workers_of(service: Service) -> set[Any]:
    """The processes that serve the queue, by what the history says of who claimed."""
    rows = service.sql("SELECT detail ->> 'worker' AS worker FROM study_history WHERE event = 'claimed'")
    return {row["worker"] for row in rows}


def test_it_scores_the_next_studies_within_seconds_and_is_left_again_in_the_same_way(
    service: Service, newer: str, job_for: Callable[..., Any]
) -> None:
    assert version_of_next_study(service, job_for) != newer
    before = workers_of(service)
    done = service.dlr("models", "activate", "DLR_BM", newer)
    assert "running workers take it up within seconds" in done.stderr
    service.until(lambda: version_of_next_study(service, job_for) == newer)
    assert workers_of(service) == before
