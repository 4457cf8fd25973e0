"""The commands as a user types them, and what they answer when something is wrong."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.end_to_end.conftest import Service
from worker.demo.dicom import Header, write_ultrasound


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, list[dict[str, str]]]:
    """A folder with two studies, and a text file; outside of the storage root."""
    images = []
    for number in range(2):
        uid = generate_uid()
        frame = np.random.default_rng(number).integers(0, 256, (50, 60), np.uint8)
        path = tmp_path / "images" / f"{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        sop = write_ultrasound(path, Header(uid, "", "", "", "", patient_age="050Y"), [frame], ExplicitVRLittleEndian)
        images.append({"study": uid, "sop": sop})
    (tmp_path / "images" / "notes.txt").write_text("not DICOM")
    return tmp_path / "images", images


def lesions_file(folder: Path, lesions: object) -> Path:
    file = folder.parent / f"{uuid4().hex}.json"
    file.write_text(json.dumps(lesions))
    return file


def test_a_folder_of_studies_is_handed_in_one_study_each(
    service: Service, folder: tuple[Path, list[dict[str, str]]]
) -> None:
    path, images = folder
    lesions = lesions_file(path, [{"birads": "4A", "sop_instance_uid": image["sop"]} for image in images])
    done = service.dlr("submit", path, "--lesions", lesions, "--priority", "urgent", "--wait", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [row["state"] for row in json.loads(done.stdout)] == ["done", "done"]
    assert "1 file that is not DICOM was left out" in done.stderr
    for image in images:
        (study,) = service.details(image["study"])
        assert (study.priority, study.lesions[0].age_years, study.lesions[0].images[0].region_source) == (
            "urgent",
            50.0,
            "whole_image",
        )


def test_lesions_that_can_not_be_told_apart_hand_in_nothing(
    service: Service, folder: tuple[Path, list[dict[str, str]]]
) -> None:
    path, images = folder
    done = service.dlr("submit", path, "--lesions", lesions_file(path, [{"birads": "4A"}]))
    assert done.returncode == 1
    assert "sop_instance_uid" in done.stderr
    assert service.details(images[0]["study"]) == []


def test_a_job_file_is_handed_in_and_shown(
    service: Service, folder: tuple[Path, list[dict[str, str]]], job_for: Callable[..., Any]
) -> None:
    path, images = folder
    stored = service.storage_root / f"{uuid4().hex}.dcm"
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_bytes((path / "0.dcm").read_bytes())
    job = job_for(images[0]["study"], images[0]["sop"], stored.name, age_years=50.5, accession_number=uuid4().hex)
    file = path.parent / "job.json"
    file.write_text(json.dumps(job))
    assert service.dlr("submit", file, "--wait").returncode == 0
    shown = service.dlr("show", job["accession_number"], "--format", "json")
    (study,) = json.loads(shown.stdout)
    assert study["study_instance_uid"] == images[0]["study"]
    assert [event["event"] for event in study["events"]] == ["received", "claimed", "done"]
    people = service.dlr("show", study["study_id"])
    assert "small test model, not for clinical use" in " ".join(people.stdout.split())


def test_the_worklist_prints_for_people_and_for_programs(service: Service) -> None:
    as_json = json.loads(service.dlr("worklist", "--format", "json").stdout)
    as_csv = list(csv.DictReader(io.StringIO(service.dlr("worklist", "--format", "csv").stdout)))
    assert [row["study_id"] for row in as_csv] == [row["study_id"] for row in as_json]
    assert service.dlr("worklist").returncode == 0


def test_a_failed_study_is_listed_mended_and_queued_again(
    service: Service, folder: tuple[Path, list[dict[str, str]]], job_for: Callable[..., Any]
) -> None:
    path, images = folder
    name = f"{uuid4().hex}.dcm"
    service.push(job_for(images[0]["study"], images[0]["sop"], name, age_years=50.0))
    failed = service.ended(images[0]["study"])
    assert (failed.state, failed.error_code) == ("failed", "file_not_found")
    listed = json.loads(service.dlr("failed", "list", "--format", "json").stdout)
    (row,) = [row for row in listed if row["study_id"] == str(failed.study_id)]
    assert "DLR_STORAGE_ROOT" in row["error_reason"] + row["what_to_do"]
    (service.storage_root / name).write_bytes((path / "0.dcm").read_bytes())
    assert service.dlr("failed", "requeue", str(failed.study_id)).returncode == 0
    service.until(lambda: service.details(failed.study_id)[0].state == "done")
    again = service.dlr("failed", "requeue", str(failed.study_id))
    assert again.returncode == 1
    assert "not queued" in again.stdout
    assert "requeued" in [event.event for event in service.details(failed.study_id)[0].events]


def test_what_has_failed_is_chosen_by_code_and_time_discarded_and_purged(
    service: Service, folder: tuple[Path, list[dict[str, str]]], job_for: Callable[..., Any]
) -> None:
    _, images = folder
    service.push(job_for(images[1]["study"], images[1]["sop"], "none.dcm", age_years=50.0))
    failed = service.ended(images[1]["study"])
    chosen = ("--code", "file_not_found", "--since", "10m")
    unsure = service.dlr("failed", "discard", "--reason", "test", *chosen)
    assert (unsure.returncode, "--yes" in unsure.stderr) == (2, True)
    done = service.dlr("failed", "discard", "--reason", "test", *chosen, "--yes", "--format", "json")
    rows = {row["study_id"]: row["result"] for row in json.loads(done.stdout)}
    assert (done.returncode, rows[str(failed.study_id)]) == (0, "discarded")
    assert str(failed.study_id) not in service.dlr("failed", "list", "--format", "json").stdout
    assert str(failed.study_id) not in service.dlr("worklist", "--format", "json").stdout
    dry = json.loads(service.dlr("purge", "--older-than", "0d", "--dry-run", "--format", "json").stdout)
    assert (dry[0]["studies"] >= 1, dry[0]["purged"]) == (True, 0)
    assert service.dlr("purge", "--older-than", "365d", "--yes").returncode == 0
    assert service.details(failed.study_id)[0].study_instance_uid == images[1]["study"]


REFUSED = [
    (("show", "no-such-study"), 1, "study_not_found"),
    (("submit", "/nowhere.dcm"), 1, "no such file"),
    (("submit", __file__), 1, "--lesions"),
    (("submit", __file__, "--lesions", __file__), 1, "not JSON"),
    (("submit",), 2, "paths"),
    (("models", "activate", "DLR_LH", "9"), 1, "model_not_found"),
    (("worklist", "--format", "xml"), 2, "xml"),
]


@pytest.mark.parametrize(("arguments", "status", "sentence"), REFUSED)
def test_what_can_not_be_done_is_one_sentence_and_an_exit_status(
    service: Service, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    done = service.dlr(*arguments)
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_dicom_is_on_record(service: Service, tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(b"not DICOM" * 100)
    lesions = lesions_file(tmp_path / "x", [{"birads": "4A"}])
    done = service.dlr("submit", tmp_path / "x.dcm", "--lesions", lesions, "--format", "json")
    (row,) = json.loads(done.stdout)
    assert (done.returncode, row["state"], row["code"]) == (3, "failed", "file_not_dicom")
    assert service.details(row["study_id"])[0].error_code == "file_not_dicom"


def test_without_servers_the_command_says_how_to_get_them(service: Service, tmp_path: Path) -> None:
    done = service.dlr("worklist", DLR_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "dlr up" in done.stderr
