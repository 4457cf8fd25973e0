"""What `dlr submit` makes of files: a job a study, or what a person has to change first."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, STUDY_UID, picture, write
from tests.worker.intake.reports import Finding, rectangle, write_report
from tests.worker.reporting.samples import STUDY_ID, scored
from tests.worker.reporting.samples import study as reported
from worker.errors import SetupRefused
from worker.imaging.source import Folder
from worker.intake.report import read_report
from worker.intake.storage import is_copy
from worker.intake.submit import Overrides, plan
from worker.reporting.result import Ending
from worker.reporting.source import read_source
from worker.reporting.structured_report import structured_report


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


def test_a_report_that_we_wrote_ourselves_is_not_where_lesions_come_from(tmp_path: Path, storage: Path) -> None:
    """An archive may send it back with the study; it may lack a lesion that failed, and is always the latest."""
    cd = tmp_path / "cd"
    image = write(cd / "a.dcm", picture(), SeriesInstanceUID="1.2.7")
    write_report(cd / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])
    later = (Ending(1, STUDY_ID, 1, datetime(2100, 1, 1, tzinfo=UTC)),)
    result = reported(
        scored(SOP_UID, region=(1, 1, 5, 5)), study_instance_uid=STUDY_UID, endings=later, paths=("a.dcm",)
    )
    ours = structured_report(result, read_source(result, Folder(cd, ("a.dcm",)), LIMITS))
    ours.save_as(cd / "ours.dcm", enforce_file_format=True)
    assert read_report(cd / "ours.dcm", LIMITS).lesions[0]["roi"] == {"x": 1, "y": 1, "width": 5, "height": 5}
    (submission,) = plan([cd], None, Overrides(), storage, LIMITS)
    assert submission.job["lesions"][0]["roi"] == {"x": 3, "y": 4, "width": 20, "height": 10}
