"""From files to heat maps: what the running service scored, shown by `dlr explain`; by `dlr export`: `test_export`."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.end_to_end.conftest import Service
from tests.end_to_end.small_models import NOTICE, add_small_models
from worker.demo.dicom import Header, write_ultrasound
from worker.demo.studies import STUDIES, make_studies
from worker.web.heat_maps import HeatMaps

UNMARKED = "4A benign"
NAMES = ("4A urgent", "three lesions", "5 without an ROI", UNMARKED)
"""One in colour, one with three lesions on three frames, one whose region is the B-mode's, and one that is made to have
none.
"""


@pytest.fixture(scope="module")
def studies(service: Service) -> dict[str, str]:
    """The ids of some of the demo's studies, scored."""
    wanted = [study for study in STUDIES if study.name in NAMES]
    pushed = {}
    for made in make_studies(service.storage_root / "explain", 11, wanted):
        relative = Path("explain") / made.job["images"]["paths"][0]
        if made.study.name == UNMARKED:
            del made.job["lesions"][0]["roi"]
        service.push(made.job | {"images": {"kind": "files", "paths": [str(relative)]}})
        pushed[made.study.name] = made.job["study_instance_uid"]
    ended = {name: service.ended(uid) for name, uid in pushed.items()}
    assert {study.state for study in ended.values()} == {"done"}
    return {name: str(study.study_id) for name, study in ended.items()}


def rows(done: "subprocess.CompletedProcess[str]", status: int = 0) -> list[dict[str, Any]]:
    assert done.returncode == status, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def explain(service: Service, *arguments: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return service.dlr("explain", *arguments, "--format", "json", **variables)


def file_of(service: Service, study_id: str) -> Path:
    [row] = service.sql(
        "SELECT job -> 'images' -> 'paths' ->> 0 AS path FROM study WHERE id = %s", study_id, role="writer"
    )
    return service.storage_root / row["path"]


@pytest.fixture
def file(service: Service, studies: dict[str, str]) -> Iterator[Path]:
    """The file of the study in colour, to be harmed: it is mended afterwards."""
    path = file_of(service, studies["4A urgent"])
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


def test_each_lesion_and_model_has_a_picture_with_the_scores_on_record(
    service: Service, studies: dict[str, str], tmp_path: Path
) -> None:
    study_id = studies["three lesions"]
    done = explain(service, study_id, "--output", tmp_path / "out")
    found = rows(done)
    assert done.stderr == ""
    [study] = service.details(study_id)
    stored = {
        (lesion.lesion_id, one.model_name): one.positive_probability
        for lesion in study.lesions
        for one in lesion.predictions
    }
    assert {(row["lesion_id"], row["model"]): row["probability"] for row in found} == stored
    assert len(found) == 6
    names = {f"{study_id}.{place}.{model}.png" for place in (1, 2, 3) for model in ("dlr-lh", "dlr-bm")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {Path(row["file"]).name for row in found} == names
    assert {(row["version"], row["notice"], row["error_code"]) for row in found} == {("test-1", NOTICE, None)}
    drawn = [np.asarray(Image.open(row["file"])) for row in found]
    assert len({picture.tobytes() for picture in drawn}) == 6
    assert all(row["file_unchanged"] and Path(row["file"]).stat().st_mode & 0o077 == 0 for row in found)


def test_one_lesion_and_one_model_can_be_asked_for(service: Service, studies: dict[str, str], tmp_path: Path) -> None:
    [row] = rows(explain(service, studies["three lesions"], "L2", "--model", "DLR_BM", "--output", tmp_path / "out"))
    assert (row["lesion_id"], row["model"], row["positive_class"]) == ("L2", "DLR_BM", "malignant")
    assert row["region_source"] == "job"
    unmarked = explain(service, studies["5 without an ROI"], "--model", "DLR_BM", "--output", tmp_path / "out")
    [row] = rows(unmarked)
    assert (row["model"], row["region_source"]) == ("DLR_BM", "ultrasound_region")


def test_a_picture_of_a_whole_image_comes_with_a_warning(
    service: Service, studies: dict[str, str], tmp_path: Path
) -> None:
    done = explain(service, studies[UNMARKED], "--model", "DLR_LH", "--output", tmp_path / "out")
    assert {row["region_source"] for row in rows(done)} == {"whole_image"}
    assert "any name burned into it" in done.stderr


def test_a_file_that_changed_or_went_is_never_shown_as_what_was_scored(
    service: Service, studies: dict[str, str], file: Path, tmp_path: Path
) -> None:
    study_id = studies["4A urgent"]
    image = dcmread(file)
    image.InstitutionName = "Elsewhere"
    image.save_as(file)
    changed = explain(service, study_id, "--output", tmp_path / "out")
    assert (changed.returncode, changed.stdout) == (1, "")
    assert "image_changed: a file of the study is gone or is not byte for byte" in changed.stderr
    file.unlink()
    gone = explain(service, study_id, "--output", tmp_path / "out")
    assert (gone.returncode, "file_not_found" in gone.stderr) == (1, True)
    assert not (tmp_path / "out").exists()


def test_a_registry_without_a_version_says_which_and_shows_the_other(
    service: Service, studies: dict[str, str], tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(service.services.settings.models_dir, models)
    shutil.rmtree(models / "DLR_LH" / "test-1")
    found = rows(
        explain(service, studies["4A urgent"], "--output", tmp_path / "out", DLR_MODELS_DIR=str(models)), status=3
    )
    assert [(row["model"], row["error_code"], row["file"] is None) for row in found] == [
        ("DLR_LH", "model_not_found", True),
        ("DLR_BM", None, False),
    ]
    assert "DLR_LH test-1" in found[0]["error_reason"]
    add_small_models(tmp_path / "others", seed=99)
    others = explain(
        service, studies["4A urgent"], "--output", tmp_path / "out", DLR_MODELS_DIR=str(tmp_path / "others")
    )
    assert (others.returncode, "other weights than those that scored" in others.stderr) == (1, True)


def test_what_is_new_to_read_has_its_pictures_once_and_again_after_another_result(
    service: Service, studies: dict[str, str], file: Path, tmp_path: Path
) -> None:
    out, harmed = tmp_path / "out", studies["4A urgent"]

    def new(*options: str) -> set[str]:
        done = explain(service, "--new", "--output", out, *options)
        made: list[dict[str, Any]] = json.loads(done.stdout)
        refused = {row["study_id"] for row in made if row["error_code"] is not None}
        assert done.returncode == (3 if refused else 0), done.stderr
        assert refused & set(studies.values()) <= {harmed}, made  # other tests harm the files of theirs
        return {row["study_id"] for row in made}

    file.unlink()
    listed = service.sql("SELECT study_id FROM worklist WHERE lesions_scored > 0 AND read_at IS NULL ORDER BY position")
    wanted = [str(row["study_id"]) for row in listed]
    assert set(studies.values()) <= set(wanted)
    assert new("--limit", "1") == {wanted[0]}
    assert new("--limit", "1000") == set(wanted[1:])
    assert new() == set()
    heat_maps = HeatMaps(out)
    for row in service.sql("SELECT study_id, ordinal, finished_at FROM lesion_result JOIN worklist USING (study_id) "
                           "WHERE lesion_result.state = 'scored' AND study_id = ANY(%s::uuid[])",
                           list(studies.values())):  # fmt: skip
        models = heat_maps.models(row["study_id"], row["ordinal"], row["finished_at"])
        assert models == (() if str(row["study_id"]) == harmed else ("DLR_BM", "DLR_LH"))
        assert heat_maps.models(row["study_id"], row["ordinal"], row["finished_at"] + timedelta(microseconds=1)) == ()
    os.utime(out / f"{studies['three lesions']}.2.dlr-bm.png", (0, 0))
    assert new() == {studies["three lesions"]}


def test_of_a_lesion_on_several_images_each_has_its_pictures_and_one_that_is_missing_is_made(
    service: Service, tmp_path: Path
) -> None:
    uid, out = generate_uid(), tmp_path / "out"
    frames = list(np.random.default_rng(3).integers(0, 256, (3, 80, 100), np.uint8))
    header = Header(uid, "Phantom^Views", "P-9", "A-9", "20261123", patient_age="050Y")
    sop = write_ultrasound(service.storage_root / "views.dcm", header, frames, ExplicitVRLittleEndian)
    lesion = {"lesion_id": "L1", "birads": "4A", "images": [{"sop_instance_uid": sop, "frames": [9, 1, 3]}]}
    files = {"kind": "files", "paths": ["views.dcm"]}
    service.push({"schema_version": 2, "study_instance_uid": uid, "images": files, "lesions": [lesion]})
    study_id = str(service.ended(uid).study_id)
    service.dlr("explain", "--new", "--output", out, "--limit", "1000")
    made = {path.name.removeprefix(study_id) for path in out.iterdir() if path.name.startswith(study_id)}
    assert made == {".1.dlr-bm.png", ".1.dlr-lh.png", ".1.3.dlr-bm.png", ".1.3.dlr-lh.png"}
    (out / f"{study_id}.1.3.dlr-bm.png").unlink()
    again = json.loads(explain(service, "--new", "--output", out, "--limit", "1000").stdout)
    assert study_id in {row["study_id"] for row in again}
    assert (out / f"{study_id}.1.3.dlr-bm.png").exists()
    [third] = {row["image"] for row in rows(explain(service, study_id, "--output", tmp_path / "one", "--image", "3"))}
    assert third == 3


def test_a_study_or_new_is_to_be_given_and_a_limit_is_of_new_ones(
    service: Service, studies: dict[str, str], tmp_path: Path
) -> None:
    for wrong in ((), (studies["three lesions"], "--new"), (studies["three lesions"], "--limit", "1")):
        done = explain(service, *wrong, "--output", tmp_path / "out")
        assert (done.returncode, "--new" in done.stderr) == (2, True)
