"""``POST /v1/studies``: DICOM files with a job, or with a report that says where the lesions are; and STOW-RS."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from tests.worker.api.conftest import code_of
from worker.api import multipart
from worker.api.service import Service
from worker.demo.dicom import Header, write_ultrasound
from worker.demo.structured_report import write_report

ROI = {"x": 20, "y": 20, "width": 60, "height": 40}


@dataclass(frozen=True)
class Made:
    """A study of one image and a report on it."""

    uid: str
    sop: str
    image: Path
    report: Path


def made(folder: Path) -> Made:
    folder.mkdir(exist_ok=True)
    header = Header(generate_uid(), "Roe^Mary", "MRN4711", "ACC4711", "20261123", "19790517")
    frame = np.random.default_rng(7).integers(0, 255, (96, 128), np.uint8)
    image, report = folder / "image.dcm", folder / "report.dcm"
    sop = write_ultrasound(image, header, [frame], ExplicitVRLittleEndian)
    write_report(report, image, [{"lesion_id": "L1", "sop_instance_uid": sop, "birads": "4A", "roi": ROI}])
    return Made(header.study_instance_uid, sop, image, report)


@pytest.fixture
def study(tmp_path: Path) -> Made:
    return made(tmp_path / "sent")


def job_of(study: Made, **changes: Any) -> dict[str, Any]:
    lesion = {"lesion_id": "L1", "sop_instance_uid": study.sop, "birads": "4A", "roi": ROI}
    return {"schema_version": 1, "study_instance_uid": study.uid, "lesions": [lesion], **changes}


def send(client: TestClient, files: Sequence[Path], job: Any = None) -> Any:
    data = {} if job is None else {"job": job if isinstance(job, str) else json.dumps(job)}
    parts = [("file", (file.name, BytesIO(file.read_bytes()), "application/dicom")) for file in files]
    return client.post("/v1/studies", data=data, files=parts)


def stow(client: TestClient, files: Sequence[Path | bytes]) -> Any:
    contents = [file if isinstance(file, bytes) else file.read_bytes() for file in files]
    parts = b"".join(b"--here\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in contents)
    kind = 'multipart/related; type="application/dicom"; boundary=here'
    return client.post("/v1/studies", content=parts + b"--here--\r\n", headers={"Content-Type": kind})


def in_the_ledger(sessions: sessionmaker[Session]) -> list[Any]:
    with sessions() as session:
        return list(session.execute(text("SELECT study_instance_uid, job -> 'images' -> 'paths' FROM study")))


def test_files_with_a_job_are_in_the_storage_and_on_record_before_the_answer(
    client: TestClient, service: Service, study: Made, sessions: sessionmaker[Session]
) -> None:
    answer = send(client, [study.image], job_of(study))
    assert (answer.status_code, answer.json()["change"]) == (202, "new")
    [(uid, [path])] = in_the_ledger(sessions)
    assert uid == study.uid
    assert (service.settings.storage_root / path).read_bytes() == study.image.read_bytes()


def test_without_a_job_a_report_among_the_files_says_where_the_lesions_are(client: TestClient, study: Made) -> None:
    answer = send(client, [study.report, study.image])
    said = client.get(answer.json()["status_url"]).json()
    assert (said["accession_number"], [one["birads"] for one in said["lesions"]]) == ("ACC4711", ["4A"])


def test_the_same_study_sent_either_way_again_changes_nothing(client: TestClient, study: Made) -> None:
    assert send(client, [study.report, study.image]).json()["change"] == "new"
    assert send(client, [study.image, study.report]).json()["change"] == "unchanged"
    assert stow(client, [study.image, study.report]).status_code == 200


def test_stow_says_which_instances_were_taken_and_where_the_study_s_state_is(client: TestClient, study: Made) -> None:
    answer = stow(client, [study.image, study.report])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    [*taken] = answer.json()["00081199"]["Value"]
    assert study.sop in [one["00081155"]["Value"][0] for one in taken]
    assert (len(taken), "00081198" in answer.json()) == (2, False)
    where = answer.headers["link"].partition(">")[0].lstrip("<")
    assert client.get(where).json()["study_instance_uid"] == study.uid


def test_of_several_studies_those_without_lesions_are_not_taken(client: TestClient, tmp_path: Path) -> None:
    whole, without = made(tmp_path / "a"), made(tmp_path / "b")
    answer = stow(client, [whole.image, whole.report, without.image, b"no DICOM"])
    assert answer.status_code == 202
    failed = answer.json()["00081198"]["Value"]
    assert [one["00081197"]["Value"] for one in failed] == [[0xC000], [0x0110]]
    assert failed[1]["00081155"]["Value"] == [without.sop]
    assert {'299 dlr-worker "file_not_dicom"', '299 dlr-worker "lesions_missing"'} == set(
        answer.headers["warning"].split(", ")
    )
    assert stow(client, [without.image]).status_code == 409


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"study_instance_uid": "1.2.3"}, "study_uid_mismatch"),
        ({"images": {"kind": "files", "paths": ["a.dcm"]}}, "job_invalid"),
        ({"priority": "asap"}, "job_invalid"),
        ({"schema_version": 9}, "job_version_unsupported"),
    ],
    ids=str,
)
def test_a_job_that_is_not_the_files_is_refused_and_leaves_no_file(
    client: TestClient, service: Service, study: Made, changes: dict[str, Any], code: str
) -> None:
    answer = send(client, [study.image], job_of(study, **changes))
    assert code_of(answer) == (422, code)
    assert answer.json()["study_id"]
    assert list(service.settings.storage_root.rglob("*.dcm")) == []


def test_what_is_no_dicom_is_refused_and_found_by_the_study_that_the_other_files_name(
    client: TestClient, study: Made, tmp_path: Path, sessions: sessionmaker[Session]
) -> None:
    (tmp_path / "text.dcm").write_text("text")
    answer = send(client, [study.image, study.report, tmp_path / "text.dcm"])
    assert code_of(answer) == (422, "file_not_dicom")
    with sessions() as session:
        assert session.scalar(text("SELECT study_instance_uid FROM failed_study")) == study.uid


@pytest.mark.parametrize(
    ("content", "kind", "found"),
    [
        (b"", "multipart/form-data; boundary=here", (422, "request_invalid")),
        (b"--here\r\n", "multipart/form-data; boundary=here", (422, "request_invalid")),
        (b"--here\r\nA: b\r\n\r\nabc", "multipart/form-data; boundary=here", (422, "request_invalid")),
        (b"nothing of it", "multipart/related; boundary=here", (422, "request_invalid")),
        (b"--here--\r\n", "multipart/related; boundary=here", (422, "request_invalid")),
        (b"x", "multipart/form-data", (415, "media_type_unsupported")),
        (b"x", "application/dicom", (415, "media_type_unsupported")),
        (
            b"--here\r\nA: " + b"b" * 9000 + b"\r\n\r\nabc",
            "multipart/related; boundary=here",
            (422, "request_invalid"),
        ),
    ],
    ids=range(8),
)
def test_a_body_that_is_none_is_refused(client: TestClient, content: bytes, kind: str, found: tuple[int, str]) -> None:
    assert code_of(client.post("/v1/studies", content=content, headers={"Content-Type": kind})) == found


def test_a_body_that_is_too_large_or_has_too_many_parts_is_not_read_to_its_end(
    client: TestClient, service: Service, study: Made
) -> None:
    with mock.patch.object(multipart, "MOST_PARTS", 1):
        assert code_of(stow(client, [study.image, study.report])) == (413, "request_too_large")
    with mock.patch.dict(service.settings.__dict__, {"api_max_upload_bytes": 1024}):
        assert code_of(stow(client, [study.image])) == (413, "request_too_large")


def test_a_file_without_a_job_or_a_report_is_refused(client: TestClient, study: Made) -> None:
    assert code_of(send(client, [study.image])) == (422, "lesions_missing")


def test_a_job_without_a_file_is_refused(client: TestClient, study: Made) -> None:
    answer = client.post("/v1/studies", files=[("job", (None, BytesIO(json.dumps(job_of(study)).encode())))])
    assert code_of(answer) == (422, "request_invalid")


def test_a_file_may_have_a_name_in_any_letters(client: TestClient, study: Made) -> None:
    name = 'form-data; name="Āž"; filename="Läsion Ā.dcm"'.encode()
    parts = [b"--here\r\nContent-Disposition: " + name + b"\r\n\r\n" + file.read_bytes() + b"\r\n"
             for file in (study.image, study.report)]  # fmt: skip
    kind = {"Content-Type": "multipart/form-data; boundary=here"}
    answer = client.post("/v1/studies", content=b"".join(parts) + b"--here--\r\n", headers=kind)
    assert answer.json()["change"] == "new"
