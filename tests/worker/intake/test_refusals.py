"""Whatever is refused, and whichever way it came: found by what names it, and gone once its study is accepted."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import MediaStorageDirectoryStorage
from sqlalchemy.orm import Session, sessionmaker

from db.reads import study_queries
from db.reads.study_records import FailedRow
from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, STUDY_UID, dataset, picture, write
from tests.worker.intake.reports import Finding, rectangle, write_report
from worker.contract import parse_job
from worker.errors import Code, JobRefused
from worker.imaging.identity import study_named_in
from worker.intake.accept_study import Intake
from worker.intake.inbox import Inbox
from worker.intake.lesions_file import MarkedLesions
from worker.intake.receiver import Receiver
from worker.intake.submit import Overrides, plan, submit_one
from worker.intake.watch import DropFolder, Watcher

ACCESSION = "ACC-77"
Way = Callable[[Intake, Path], None]


@pytest.fixture
def intake(sessions: sessionmaker[Session], tmp_path: Path) -> Intake:
    (root := tmp_path / "storage").mkdir()
    return Intake(sessions, root, lambda _: None)


def listed(intake: Intake) -> list[FailedRow]:
    with intake.sessions() as session:
        return study_queries.failed(session)


def found(intake: Intake, key: str) -> list[tuple[str, bool]]:
    with intake.sessions() as session:
        return [(study.state, study.refused) for study in study_queries.study_details(session, key)]


def submitted(intake: Intake, folder: Path) -> None:
    for submission in plan([folder], None, Overrides(), intake.storage_root, LIMITS):
        submit_one(intake, submission, "submit")


def dropped(intake: Intake, folder: Path) -> None:
    drop = folder.parent / "drop"
    drop.mkdir(exist_ok=True)
    (drop / folder.name).mkdir(exist_ok=True)
    for file in folder.iterdir():
        shutil.copyfile(file, drop / folder.name / file.name)
    with DropFolder.watched(drop, intake.storage_root) as watched:
        watcher = Watcher(watched, intake, LIMITS, 0, lambda work: work())
        claimed = watched.claim(0)
        assert claimed is not None
        watcher.take(claimed)


def received(intake: Intake, folder: Path) -> None:
    with inbox(intake) as (kept, receiver):
        for number, file in enumerate(sorted(folder.iterdir())):
            (kept.arriving / "x").write_bytes(file.read_bytes())
            kept.keep(kept.arriving / "x", STUDY_UID, f"{SOP_UID}.{number}")
        receiver.look_at_all()


@contextmanager
def inbox(intake: Intake) -> Iterator[tuple[Inbox, Receiver]]:
    with Inbox.held(intake.storage_root) as kept:
        yield kept, Receiver(kept, intake, LIMITS, 0, lambda work: work())


def without_lesions(folder: Path) -> None:
    write(folder / "a.dcm", picture(), AccessionNumber=ACCESSION)


def with_an_unread_report(folder: Path) -> None:
    image = write(folder / "a.dcm", picture(), AccessionNumber=ACCESSION)
    write_report(folder / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10), ["none of them"])])


def of_two_patients(folder: Path) -> None:
    image = write(folder / "a.dcm", picture(), AccessionNumber=ACCESSION)
    write_report(folder / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))], PatientID="P2")


def without_its_image(folder: Path) -> None:
    image = write(folder / "a.dcm", picture(), AccessionNumber=ACCESSION)
    write_report(folder / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))], AccessionNumber=ACCESSION)
    image.unlink()


def with_a_report_that_is_cut_off(folder: Path) -> None:
    image = write(folder / "a.dcm", picture(), AccessionNumber=ACCESSION)
    report = write_report(folder / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))], AccessionNumber=ACCESSION)
    report.write_bytes(report.read_bytes()[:-100])


def right(folder: Path) -> None:
    image = write(folder / "a.dcm", picture(), AccessionNumber=ACCESSION)
    write_report(folder / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])


REFUSED = {
    without_lesions: "lesions_missing",
    with_an_unread_report: "birads_unknown",
    of_two_patients: "patient_mismatch",
    without_its_image: "sop_instance_not_found",
    with_a_report_that_is_cut_off: "file_truncated",
}
WAYS: dict[str, Way] = {"submit": submitted, "watch": dropped, "receive": received}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("made", REFUSED, ids=lambda made: made.__name__)
def test_a_study_of_files_that_is_refused_is_found_by_its_numbers_until_it_is_accepted(
    intake: Intake, tmp_path: Path, made: Callable[[Path], None], way: str
) -> None:
    (wrong := tmp_path / "wrong").mkdir()
    made(wrong)
    if way == "submit" and made is without_lesions:  # which is said at once, and nothing is handed in
        write_report(wrong / "sr.dcm", [Finding(wrong / "a.dcm", rectangle(3, 4, 20, 10), [])])
    WAYS[way](intake, wrong)
    (row,) = listed(intake)
    assert (row.error_code, row.refused) == (REFUSED[made], True)
    assert (row.study_instance_uid, row.accession_number) == (STUDY_UID, ACCESSION)
    assert found(intake, STUDY_UID) == found(intake, ACCESSION) == [("failed", True)]
    (good := tmp_path / "good").mkdir()
    right(good)
    WAYS[way](intake, good)
    assert listed(intake) == []
    assert found(intake, STUDY_UID) == found(intake, ACCESSION) == [("queued", False)]


@pytest.mark.parametrize("refused_by", WAYS)
@pytest.mark.parametrize("accepted_by", WAYS)
def test_it_may_be_accepted_in_another_way_than_it_was_refused(
    intake: Intake, tmp_path: Path, refused_by: str, accepted_by: str
) -> None:
    for name, make in (("wrong", of_two_patients), ("good", right)):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    WAYS[refused_by](intake, tmp_path / "wrong")
    assert len(listed(intake)) == 1
    WAYS[accepted_by](intake, tmp_path / "good")
    assert listed(intake) == []


@pytest.mark.parametrize("way", ["submit", "watch"])
def test_the_directory_of_a_cd_is_of_no_study_and_refuses_none(intake: Intake, tmp_path: Path, way: str) -> None:
    (folder := tmp_path / "cd").mkdir()
    right(folder)
    directory = dataset(picture())
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    listing = FileDataset("", {}, file_meta=directory.file_meta, preamble=b"\0" * 128)
    listing.FileSetID = ""
    listing.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    listing.DirectoryRecordSequence = []
    listing.save_as(folder / "DICOMDIR")
    WAYS[way](intake, folder)
    assert listed(intake) == []
    assert found(intake, STUDY_UID) == [("queued", False)]


def job(**changes: Any) -> dict[str, Any]:
    lesion = {"lesion_id": "L1", "sop_instance_uid": SOP_UID, "birads": "4A"}
    whole = {
        "schema_version": 1,
        "study_instance_uid": STUDY_UID,
        "accession_number": ACCESSION,
        "images": {"kind": "files", "paths": ["x.dcm"]},
        "lesions": [lesion],
    }
    return whole | changes


@pytest.mark.parametrize(
    "changes",
    [{"priority": "STAT"}, {"acession_number": "x"}, {"schema_version": 7}, {"lesions": []}, {"images": "x.dcm"}],
    ids=str,
)
@pytest.mark.parametrize("way", ["pushed", "a job file", "a dropped job file"])
def test_a_job_that_is_refused_is_found_by_its_numbers_until_it_is_accepted(
    intake: Intake, tmp_path: Path, changes: dict[str, Any], way: str
) -> None:
    for content, left in ((job(**changes), 1), (job(), 0)):
        if way == "pushed":
            try:
                intake.accept(parse_job(content), "queue")
            except JobRefused as refused:
                intake.refuse(content, refused, "queue")
        elif way == "a job file":
            (tmp_path / "job.json").write_text(json.dumps(content))
            for submission in plan([tmp_path / "job.json"], None, Overrides(), intake.storage_root, LIMITS):
                submit_one(intake, submission, "submit")
        else:
            (drop := tmp_path / "drop").mkdir(exist_ok=True)
            (drop / "job.json").write_text(json.dumps(content))
            with DropFolder.watched(drop, intake.storage_root) as watched:
                Watcher(watched, intake, LIMITS, 0, lambda work: work()).take(watched.claim(0) or drop)
        rows = listed(intake)
        assert len(rows) == left
        assert [(row.study_instance_uid, row.accession_number) for row in rows] == [(STUDY_UID, ACCESSION)] * left


def test_a_message_without_a_study_is_retired_by_the_one_of_its_accession_number(intake: Intake) -> None:
    for content in (job(study_instance_uid="none"), job(study_instance_uid="none", accession_number="OTHER")):
        intake.refuse(content, JobRefused(Code.JOB_INVALID), "queue")
    intake.accept(parse_job(job()), "queue")
    assert [row.accession_number for row in listed(intake)] == ["OTHER"]


@pytest.mark.parametrize("content", [json.dumps(job())[:-1], json.dumps([job()]), f"\xff{json.dumps(job())}"])
def test_a_dropped_file_that_is_no_job_is_named_by_what_is_in_it(intake: Intake, tmp_path: Path, content: str) -> None:
    (drop := tmp_path / "drop").mkdir()
    (drop / "job.json").write_bytes(content.encode("latin-1"))
    with DropFolder.watched(drop, intake.storage_root) as watched:
        Watcher(watched, intake, LIMITS, 0, lambda work: work()).take(watched.claim(0) or drop)
    (row,) = listed(intake)
    assert (row.study_instance_uid, row.accession_number) == (STUDY_UID, ACCESSION)


def test_an_entry_of_several_studies_is_found_by_each(intake: Intake, tmp_path: Path) -> None:
    (folder := tmp_path / "two").mkdir()
    for number in (1, 2):
        uid = f"{STUDY_UID}.{number}"
        write(folder / f"{number}.dcm", picture(), StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.1")
    (folder / "lesions.json").write_text("no JSON")
    dropped(intake, folder)
    assert {row.study_instance_uid for row in listed(intake)} == {f"{STUDY_UID}.1", f"{STUDY_UID}.2"}
    (said,) = (tmp_path / "drop" / ".dlr" / "refused" / "two.txt").read_text().splitlines()
    assert said.startswith("lesions_missing: ")


def too_large(path: Path, **elements: Any) -> Path:
    """Write a file that is larger than any that is read."""
    write(path, picture(seed=1), SOPInstanceUID=f"{SOP_UID}.2", **elements)
    os.truncate(path, LIMITS.max_file_bytes + 1)
    return path


@pytest.mark.parametrize(
    ("uid", "code"), [("", "study_uid_missing"), (STUDY_UID, "file_too_large")], ids=["no study", "too large"]
)
@pytest.mark.parametrize("way", ["submit", "watch"])
def test_a_file_that_is_refused_beside_its_accepted_study_stays_listed_until_it_is_mended(
    intake: Intake, tmp_path: Path, uid: str, code: str, way: str
) -> None:
    (folder := tmp_path / "one").mkdir()
    right(folder)
    said = {"StudyInstanceUID": uid, "AccessionNumber": ACCESSION}
    other = too_large(folder / "b.dcm", **said) if uid else write(folder / "b.dcm", picture(seed=1), **said)
    for _ in range(2):
        WAYS[way](intake, folder)
        (row,) = listed(intake)
        assert (row.error_code, row.study_instance_uid, row.accession_number) == (code, uid or None, ACCESSION)
    write(other, picture(seed=1), SOPInstanceUID=f"{SOP_UID}.2", AccessionNumber=ACCESSION)
    WAYS[way](intake, folder)
    assert listed(intake) == []


@pytest.mark.parametrize("left_out", range(1, 29))
def test_a_number_that_is_cut_off_names_nobody(tmp_path: Path, left_out: int) -> None:
    image = write(tmp_path / "a.dcm", picture(), AccessionNumber=ACCESSION)
    whole = image.read_bytes()
    image.write_bytes(whole[: whole.rindex(STUDY_UID.encode() + b"\0") + len(STUDY_UID) + 1 - left_out])
    assert study_named_in(image, LIMITS) == {"accession_number": ACCESSION}


def test_lesions_of_a_file_that_are_refused_are_found_by_the_files_they_are_for(intake: Intake, tmp_path: Path) -> None:
    (folder := tmp_path / "one").mkdir()
    write(folder / "a.dcm", picture(), AccessionNumber=ACCESSION)
    marked = MarkedLesions(({"birads": "4D"},))
    for submission in plan([folder], marked, Overrides(), intake.storage_root, LIMITS):
        submit_one(intake, submission, "submit")
    (row,) = listed(intake)
    assert (row.error_code, row.study_instance_uid, row.accession_number) == ("job_invalid", STUDY_UID, ACCESSION)


def test_a_study_that_is_received_bit_by_bit_is_listed_once(intake: Intake, tmp_path: Path) -> None:
    (folder := tmp_path / "one").mkdir()
    for number in range(3):
        write(folder / f"{number}.dcm", picture(seed=number), SOPInstanceUID=f"{SOP_UID}.{number}")
        received(intake, folder)
        assert [row.error_code for row in listed(intake)] == ["lesions_missing"]


def test_a_defect_keeps_the_names_of_what_it_met(
    intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("worker.intake.receiver.build_job", defect)
    monkeypatch.setattr("worker.intake.watch.plan", defect)
    (folder := tmp_path / "one").mkdir()
    without_lesions(folder)
    received(intake, folder)
    dropped(intake, folder)
    assert [(row.error_code, row.study_instance_uid, row.accession_number) for row in listed(intake)] == [
        (Code.INTERNAL_ERROR, STUDY_UID, ACCESSION)
    ] * 2
