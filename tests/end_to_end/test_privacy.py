"""No identifier of a patient or a study is found outside of the database and the images."""

import base64
import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from redis import Redis

from tests.end_to_end.conftest import Service
from tests.waiting import patience
from worker.demo.dicom import Header, write_ultrasound


def identifiers(path: Path, header: Header, sop: str) -> list[str]:
    values = [header.patient_name, header.patient_id, header.accession_number, header.birth_date]
    return [*values, *scanner_and_site(header), header.study_instance_uid, sop, path.name]


@pytest.fixture
def patient(service: Service) -> tuple[Path, Header, str]:
    """A file with identifiers in it that no other test has, and a frame that makes the decoder complain."""
    number = time.monotonic_ns() % 10**9
    header = Header(generate_uid(), f"Roe^Mary{number}", f"MRN{number}", f"ACC{number}", "20261123", "19790517")
    path = service.storage_root / f"roe-mary-{number}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = np.random.default_rng(number).integers(0, 256, (64, 64), np.uint8)
    sop = write_ultrasound(path, header, [frame], ExplicitVRLittleEndian)
    made = dcmread(path)
    made.ManufacturerModelName, made.InstitutionName = scanner_and_site(header)
    made.save_as(path)
    return path, header, sop


def scanner_and_site(header: Header) -> tuple[str, str]:
    return f"Sono-{header.patient_id}", f"Hospital-{header.patient_id}"


def flower(service: Service, page: str) -> str:
    settings = service.services.settings
    assert settings.flower_password is not None
    user = f"{settings.flower_user}:{settings.flower_password.get_secret_value()}"
    request = urllib.request.Request(f"{service.flower_url}{page}")  # noqa: S310
    request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    with urllib.request.urlopen(request, timeout=patience(20)) as answer:  # noqa: S310
        return answer.read().decode()


def seen_outside(service: Service, wanted: list[str]) -> list[str]:
    """Say where any of these values is found: Redis's memory and disk, the logs, Flower."""
    redis = Redis.from_url(service.services.settings.require_redis_url())
    places = {f"redis key {key!r}": key + (redis.dump(key) or b"") for key in redis.scan_iter()}
    for folder in ("redis", "logs", "run", "flower"):
        places |= {str(file): file.read_bytes() for file in (service.home / folder).rglob("*") if file.is_file()}
    for page in ("/api/tasks?limit=1000", "/api/workers?refresh=1", "/tasks", "/workers", "/broker"):
        places[f"flower {page}"] = flower(service, page).encode()
    return [f"{place}: {value}" for place, held in places.items() for value in wanted if value.encode() in held]


def lesions_file(tmp_path: Path) -> Path:
    file = tmp_path / "lesions.json"
    file.write_text(
        json.dumps([{"birads": "4A"}, {"birads": "4B", "roi": {"x": 900, "y": 0, "width": 5, "height": 5}}])
    )
    return file


def test_submitted_by_dlr_nothing_is_found(service: Service, patient: tuple[Path, Header, str], tmp_path: Path) -> None:
    path, _, _ = patient
    done = service.dlr("submit", path, "--lesions", lesions_file(tmp_path), "--wait", "--format", "json")
    (row,) = json.loads(done.stdout)
    assert (row["state"], row["code"]) == ("partial", "roi_outside_image")
    (first, _) = service.sql("SELECT scanner_model, site FROM lesion_result WHERE study_id = %s", row["study_id"])
    model, site = scanner_and_site(patient[1])
    assert (first["scanner_model"], first["site"]) == (f"Phantom {model}", site)
    assert seen_outside(service, identifiers(*patient)) == []
    shown = service.until(lambda: [one for one in json.loads(flower(service, "/api/tasks")) if one == row["study_id"]])
    assert shown == [row["study_id"]]


def test_pushed_through_the_queue_nothing_is_found_once_it_was_taken(
    service: Service, patient: tuple[Path, Header, str], job_for: Callable[..., Any]
) -> None:
    path, header, sop = patient
    job = job_for(header.study_instance_uid, sop, path.name, accession_number=header.accession_number)
    service.push(job, shadow=header.patient_name)
    service.push(job | {"patient_name": header.patient_name})
    service.ended(header.study_instance_uid)
    found = "SELECT 1 FROM study WHERE error_code = 'job_invalid' AND job::text LIKE %s"
    service.until(lambda: service.sql(found, f"%{header.patient_name}%", role="writer"))
    service.until(lambda: not seen_outside(service, identifiers(*patient)))


def test_a_damaged_file_is_not_quoted_either(
    service: Service, patient: tuple[Path, Header, str], tmp_path: Path
) -> None:
    path, _, _ = patient
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    done = service.dlr("submit", path, "--lesions", lesions_file(tmp_path), "--age", "47", "--wait", "--format", "json")
    (row,) = json.loads(done.stdout)
    assert (done.returncode, row["state"], row["code"]) == (3, "failed", "file_truncated")
    assert seen_outside(service, identifiers(*patient)) == []


def test_the_search_itself_finds_what_is_there(service: Service) -> None:
    redis = Redis.from_url(service.services.settings.require_redis_url())
    redis.set("test-marker", "Roe^Marker")
    try:
        assert seen_outside(service, ["Roe^Marker"])
    finally:
        redis.delete("test-marker")


@pytest.mark.parametrize("page", ["/", "/api/tasks", "/api/workers"])
def test_flower_answers_nobody_without_the_password(service: Service, page: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{service.flower_url}{page}", timeout=patience(20))  # noqa: S310
    assert refused.value.code == 401
