"""What `dlr submit` makes of files: a job a study, or what a person has to change first."""

from pathlib import Path

import pytest

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, STUDY_UID, picture, write
from tests.worker.intake.presentations import Annotation, write_presentation
from tests.worker.intake.reports import Finding, rectangle, write_report
from tests.worker.intake.segmentations import Drawn, write_segmentation
from worker.errors import SetupRefused
from worker.intake.storage import is_copy
from worker.intake.submit import Overrides, plan


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


def test_each_study_of_a_folder_takes_its_lesions_from_its_own_report(tmp_path: Path, storage: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / "cd" / str(number)
        uid = f"{STUDY_UID}.{number}"
        image = write(folder / "a.dcm", picture(), StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.1")
        write(folder / "b.dcm", picture(seed=1), StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.2")
        write_report(folder / "sr.dcm", [Finding(image, rectangle(number, 4, 20, 10), name=f"of {number}")])
    (tmp_path / "cd" / "DICOMDIR.txt").write_text("not DICOM")
    submissions = plan([tmp_path / "cd"], None, Overrides(priority="urgent"), storage, LIMITS)
    assert [one.refused for one in submissions] == [None, None]
    assert {one.note for one in submissions} == {"1 files that are not DICOM were left out"}
    for number, job in enumerate((one.job for one in submissions), start=1):
        assert job["study_instance_uid"] == f"{STUDY_UID}.{number}"
        assert job["priority"] == "urgent"
        (lesion,) = job["lesions"]
        assert (lesion["lesion_id"], lesion["sop_instance_uid"]) == (f"of {number}", f"{STUDY_UID}.{number}.1")
        (path,) = job["images"]["paths"]
        assert is_copy(path)
        assert (storage / path).is_file()
    assert len(list(storage.rglob("*.dcm"))) == 2


@pytest.mark.parametrize("way", ["segmented report", "segmentation", "presentation state"])
def test_a_study_takes_its_lesions_from_whatever_marks_them(tmp_path: Path, storage: Path, way: str) -> None:
    image = write(tmp_path / "cd" / "a.dcm", picture())
    marking = tmp_path / "cd" / "marking.dcm"
    if way == "presentation state":
        write_presentation(marking, image, [Annotation([rectangle(3, 4, 20, 10)], ["BI-RADS 4A"])])
    else:
        write_segmentation(marking, image, [Drawn((3, 4, 20, 10), birads=["4A"] if way == "segmentation" else [])])
    if way == "segmented report":
        write_report(tmp_path / "cd" / "sr.dcm", [Finding(image, segmentation=marking)])
    (submission,) = plan([tmp_path / "cd"], None, Overrides(), storage, LIMITS)
    assert submission.refused is None
    (lesion,) = submission.job["lesions"]
    assert (lesion["birads"], lesion["roi"]) == ("4A", {"x": 3, "y": 4, "width": 20, "height": 10})
    assert len(submission.job["images"]["paths"]) == len(list(storage.rglob("*.dcm"))) == 1


def test_a_study_whose_report_is_missing_is_refused_and_its_neighbour_is_not(tmp_path: Path, storage: Path) -> None:
    image = write(tmp_path / "cd" / "a.dcm", picture())
    write_report(tmp_path / "cd" / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])
    write(tmp_path / "cd" / "b.dcm", picture(), StudyInstanceUID="1.2.3", SOPInstanceUID=SOP_UID + ".9")
    codes = {
        one.job["study_instance_uid"]: one.refused
        for one in plan([tmp_path / "cd"], None, Overrides(), storage, LIMITS)
    }
    assert codes[STUDY_UID] is None
    assert codes["1.2.3"] is not None
    assert codes["1.2.3"].code == "lesions_missing"


def test_files_without_lesions_and_without_a_report_are_not_handed_in(tmp_path: Path, storage: Path) -> None:
    write(tmp_path / "cd" / "a.dcm", picture())
    with pytest.raises(SetupRefused) as refused:
        plan([tmp_path / "cd"], None, Overrides(), storage, LIMITS)
    assert "--lesions" in refused.value.reason
    assert list(storage.iterdir()) == []
