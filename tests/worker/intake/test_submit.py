"""What `dlr submit` makes of files: a job a study, or what a person has to change first."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from highdicom.sr import CodedConcept, FindingSite
from sqlalchemy.orm import Session, sessionmaker

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, STUDY_UID, picture, write
from tests.worker.intake.presentations import Annotation, write_presentation
from tests.worker.intake.reports import Finding, lesions_of, rectangle, write_report
from tests.worker.intake.segmentations import Drawn, write_segmentation
from tests.worker.reporting.samples import STUDY_ID, scored
from tests.worker.reporting.samples import study as reported
from worker.errors import SetupRefused
from worker.imaging.image_source import Folder
from worker.intake.accept_study import Intake
from worker.intake.lesions_file import LESIONS, read_lesions
from worker.intake.storage_copy import is_copy
from worker.intake.submit import Overrides, Submission, plan, submit_one
from worker.reporting.result import Ending
from worker.reporting.source_study import read_source
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
    assert [one.notes for one in submissions] == [("1 file that is not DICOM was left out",), ()]
    for number, job in enumerate((one.job for one in submissions), start=1):
        assert job["study_instance_uid"] == f"{STUDY_UID}.{number}"
        assert job["priority"] == "urgent"
        (lesion,) = job["lesions"]
        assert (lesion["lesion_id"], lesion["sop_instance_uid"]) == (f"of {number}", f"{STUDY_UID}.{number}.1")
        (path,) = job["images"]["paths"]
        assert is_copy(path)
        assert (storage / path).is_file()
    assert len(list(storage.rglob("*.dcm"))) == 2


MARKED = {"lesions": [{"birads": "4A"}], "priority": "stat"}


def marked(folder: Path, number: int = 1, **fields: object) -> Path:
    """Write a folder of one study, with its ``lesions.json``."""
    uid = f"{STUDY_UID}.{number}"
    write(folder / "a.dcm", picture(), StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.1")
    (folder / LESIONS).write_text(json.dumps(MARKED | fields))
    (folder / "notes.txt").write_text("not DICOM")
    return folder


@pytest.mark.parametrize(
    "named",
    [
        ("cd/1", "cd/2"),
        ("cd",),
        (".",),
        ("cd/1", "cd/2/a.dcm", "cd/2/lesions.json"),
        ("cd/1/a.dcm", "cd/1/lesions.json", "cd/1/notes.txt", "cd/2"),
    ],
    ids=str,
)
def test_a_folder_s_own_lesions_are_read_however_it_is_named(
    tmp_path: Path, storage: Path, named: tuple[str, ...]
) -> None:
    marked(tmp_path / "in" / "cd" / "1", 1)
    marked(tmp_path / "in" / "cd" / "2", 2, priority="urgent", age_years=51.0, lesions=[{"birads": "5"}])
    paths = [tmp_path / "in" / path for path in named]
    jobs = [one.job for one in plan(paths, None, Overrides(), storage, LIMITS) if one.refused is None]
    told = {(job["study_instance_uid"], job["priority"], job["lesions"][0]["birads"]) for job in jobs}
    assert told == {(f"{STUDY_UID}.1", "stat", "4A"), (f"{STUDY_UID}.2", "urgent", "5")}
    assert {job["lesions"][0]["sop_instance_uid"][-3:] for job in jobs} == {"1.1", "2.1"}


def test_what_is_left_out_is_told_once_and_a_lesions_file_is_not_left_out(tmp_path: Path, storage: Path) -> None:
    for number in range(5):
        marked(tmp_path / "cd" / str(number), number)
    submissions = plan([tmp_path / "cd"], None, Overrides(), storage, LIMITS)
    assert [note for one in submissions for note in one.notes] == ["5 files that are not DICOM were left out"]


def test_below_a_folder_without_lesions_of_its_own_each_study_has_them_where_they_are(
    tmp_path: Path, storage: Path
) -> None:
    marked(tmp_path / "cd" / "1", 1)
    image = write(tmp_path / "cd" / "2" / "a.dcm", picture(), StudyInstanceUID="1.2.3", SOPInstanceUID="1.2.3.1")
    write_report(tmp_path / "cd" / "2" / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10), name="reported")])
    by_uid = {one.job["study_instance_uid"]: one.job for one in plan([tmp_path], None, Overrides(), storage, LIMITS)}
    assert by_uid["1.2.3"]["lesions"][0]["lesion_id"] == "reported"
    assert by_uid[f"{STUDY_UID}.1"]["priority"] == "stat"


@pytest.mark.parametrize(
    ("lesions", "priority", "expected", "told"),
    [
        (False, None, "stat", ()),
        (False, "stat", "stat", ()),
        (False, "routine", "routine", ("its priority is routine, as the command line says; its file says stat",)),
        (True, None, None, ("cd/lesions.json was not read: --lesions names another",)),
        (True, "urgent", "urgent", ("cd/lesions.json was not read: --lesions names another",)),
    ],
)
def test_the_command_line_wins_over_a_folder_s_file_and_says_so(
    tmp_path: Path,
    storage: Path,
    monkeypatch: pytest.MonkeyPatch,
    lesions: bool,
    priority: str | None,
    expected: str | None,
    told: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    marked(Path("cd"))
    Path("cd/notes.txt").unlink()
    Path("other.json").write_text('[{"birads": "3"}]')
    named = read_lesions(Path("other.json")) if lesions else None
    (submission,) = plan([Path("cd")], named, Overrides(priority=priority), storage, LIMITS)
    assert (submission.job.get("priority"), submission.notes) == (expected, told)


def test_a_job_file_that_is_made_less_urgent_says_so(tmp_path: Path, storage: Path) -> None:
    (tmp_path / "job.json").write_text('{"priority": "urgent"}')
    (submission,) = plan([tmp_path / "job.json"], None, Overrides(priority="routine"), storage, LIMITS)
    assert submission.job["priority"] == "routine"
    assert submission.notes == ("its priority is routine, as the command line says; its file says urgent",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("twice", "are of one study, and have their lesions from different places"),
        ("no image", "there is no DICOM file to which it could belong"),
        ("not JSON", "lesions.json: the file is not JSON"),
    ],
)
def test_nothing_is_handed_in_nor_copied_where_a_folder_s_file_can_not_be_used(
    tmp_path: Path, storage: Path, change: str, reason: str
) -> None:
    marked(tmp_path / "cd" / "1", 1)
    second = marked(tmp_path / "cd" / "2", 1 if change == "twice" else 2)
    if change == "no image":
        (second / "a.dcm").unlink()
    if change == "not JSON":
        (second / LESIONS).write_text("{")
    with pytest.raises(SetupRefused) as refused:
        plan([tmp_path / "cd"], None, Overrides(), storage, LIMITS)
    assert reason in refused.value.reason
    assert list(storage.iterdir()) == []


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
    assert lesions_of(cd / "ours.dcm")[0]["roi"] == {"x": 1, "y": 1, "width": 5, "height": 5}
    (submission,) = plan([cd], None, Overrides(), storage, LIMITS)
    assert submission.job["lesions"][0]["roi"] == {"x": 3, "y": 4, "width": 20, "height": 10}


def test_a_study_that_was_handed_in_before_its_lesions_had_a_place_is_no_new_revision(
    tmp_path: Path, storage: Path, sessions: sessionmaker[Session]
) -> None:
    image = write(tmp_path / "cd" / "a.dcm", picture())
    left = FindingSite(CodedConcept("80248007", "SCT", "Left breast"))
    write_report(tmp_path / "cd" / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10), sites=[left])])
    (planned,) = plan([tmp_path / "cd"], None, Overrides(priority="urgent"), storage, LIMITS)
    assert (planned.job["lesions"][0]["laterality"], planned.former["priority"]) == ("left", "urgent")
    intake = Intake(sessions, storage, lambda *_: None)
    before = submit_one(intake, Submission("before", planned.former), "submit")
    again = submit_one(intake, planned, "submit")
    assert (again.study_id, again.change, again.revision) == (before.study_id, "unchanged", 1)
