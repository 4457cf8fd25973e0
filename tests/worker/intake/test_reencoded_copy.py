"""A study whose images come again in another encoding is what it was, whichever way they come; a lossy copy is new."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, STUDY_UID, dataset, jpeg, picture, save, write
from tests.worker.intake.reports import Finding, rectangle, write_report
from worker.contract import parse_job
from worker.imaging.decoder_pool import DecoderPool
from worker.intake import reencoded_copy
from worker.intake.accept_study import Intake
from worker.intake.inbox import Inbox
from worker.intake.lesions_file import MarkedLesions
from worker.intake.receiver import Receiver
from worker.intake.submit import Overrides, plan, submit_one
from worker.intake.watch import DropFolder, Watcher

FRAME = picture(colour=True)
OTHER_UID = f"{SOP_UID}.2"


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    decoders = DecoderPool(LIMITS, 1, 30)
    yield decoders
    decoders.close()


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


@pytest.fixture
def intake(sessions: sessionmaker[Session], storage: Path, pool: DecoderPool) -> Intake:
    return Intake(sessions, storage, lambda *_: None, images=lambda: pool)


def lossy(path: Path, **header: Any) -> Path:
    made = dataset(FRAME, JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422", **header)
    made.PixelData = encapsulate([jpeg(FRAME)])
    made["PixelData"].is_undefined_length = True
    return save(path, made)


def job(*paths: str, **changes: Any) -> Any:
    lesion = {"lesion_id": "L1", "sop_instance_uid": SOP_UID, "birads": "4A"}
    fields = {"schema_version": 1, "study_instance_uid": STUDY_UID, "lesions": [lesion]}
    return parse_job({**fields, "images": {"kind": "files", "paths": list(paths)}, **changes})


def revisions(sessions: sessionmaker[Session]) -> int:
    with sessions() as session:
        return int(session.scalar(text("SELECT count(*) FROM study WHERE study_instance_uid IS NOT NULL")) or 0)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless, ExplicitVRBigEndian])
def test_a_pushed_study_in_another_encoding_is_unchanged(intake: Intake, storage: Path, syntax: str) -> None:
    write(storage / "a.dcm", FRAME)
    write(storage / "b.dcm", FRAME, syntax)
    first = intake.accept(job("a.dcm"), "queue")
    again = intake.accept(job("b.dcm"), "queue")
    assert (again.study_id, again.change, again.revision) == (first.study_id, "unchanged", 1)
    assert (storage / "b.dcm").exists(), "files of the site's own are left alone"
    urgent = intake.accept(job("b.dcm", priority="stat"), "queue")
    assert (urgent.study_id, urgent.change, urgent.priority) == (first.study_id, "priority_raised", "stat")


def test_only_the_images_that_differ_are_compared_and_each_has_to_be_the_same(
    intake: Intake, storage: Path, pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(storage / "a.dcm", FRAME)
    write(storage / "b.dcm", FRAME, SOPInstanceUID=OTHER_UID)
    write(storage / "c.dcm", FRAME, RLELossless, SOPInstanceUID=OTHER_UID)
    write(storage / "d.dcm", np.flipud(FRAME), RLELossless, SOPInstanceUID=OTHER_UID)
    intake.accept(job("a.dcm", "b.dcm"), "queue")
    compared: list[tuple[str, str]] = []
    real = DecoderPool.same_image

    def noted(self: DecoderPool, one: Path, other: Path) -> bool:
        compared.append((one.name, other.name))
        return real(self, one, other)

    monkeypatch.setattr(DecoderPool, "same_image", noted)
    assert intake.accept(job("a.dcm", "c.dcm"), "queue").change == "unchanged"
    assert compared == [("b.dcm", "c.dcm")]
    assert intake.accept(job("a.dcm", "d.dcm"), "queue").change == "revised"


@pytest.mark.parametrize(
    ("fault", "revised"),
    [
        ("a lossy copy", "lossy.dcm"),
        ("another age", "age.dcm"),
        ("not to be decoded", "broken.dcm"),
        ("not there", "missing.dcm"),
        ("another instance", "instance.dcm"),
    ],
)
def test_whatever_is_not_the_same_beyond_doubt_is_a_new_revision(
    intake: Intake, storage: Path, fault: str, revised: str
) -> None:
    write(storage / "a.dcm", FRAME)
    lossy(storage / "lossy.dcm")
    write(storage / "age.dcm", FRAME, RLELossless, PatientAge="048Y")
    write(storage / "broken.dcm", FRAME, PixelData=FRAME.tobytes()[:-2])
    write(storage / "instance.dcm", FRAME, RLELossless, SOPInstanceUID=OTHER_UID)
    intake.accept(job("a.dcm"), "queue")
    recorded = intake.accept(job(revised), "queue")
    assert (recorded.change, recorded.revision) == ("revised", 2), fault


@pytest.mark.parametrize(
    "changed",
    [
        {"age_years": 50},
        {"lesions": [{"lesion_id": "L1", "sop_instance_uid": SOP_UID, "birads": "4B"}]},
        {"accession_number": "A2"},
    ],
)
def test_another_job_is_a_new_revision_whatever_its_images_are(
    intake: Intake, storage: Path, changed: dict[str, Any]
) -> None:
    write(storage / "a.dcm", FRAME)
    write(storage / "b.dcm", FRAME, RLELossless)
    intake.accept(job("a.dcm"), "queue")
    assert intake.accept(job("b.dcm", **changed), "queue").change == "revised"


@pytest.mark.parametrize("former", ["gone", "changed"])
def test_where_the_former_file_is_not_what_it_was_nobody_can_say(intake: Intake, storage: Path, former: str) -> None:
    path = write(storage / "a.dcm", FRAME)
    write(storage / "b.dcm", FRAME, RLELossless)
    intake.accept(job("a.dcm"), "queue")
    if former == "gone":
        path.unlink()
    else:
        write(path, FRAME, JPEG2000Lossless)
    assert intake.accept(job("b.dcm"), "queue").change == "revised"


def test_what_takes_too_long_is_a_new_revision(intake: Intake, storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(storage / "a.dcm", FRAME)
    write(storage / "b.dcm", FRAME, RLELossless)
    intake.accept(job("a.dcm"), "queue")
    monkeypatch.setattr(reencoded_copy, "LONGEST_S", 0)
    assert intake.accept(job("b.dcm"), "queue").change == "revised"


def test_where_decoders_are_not_installed_it_is_a_new_revision(sessions: sessionmaker[Session], storage: Path) -> None:
    def absent() -> DecoderPool:
        raise ModuleNotFoundError("numpy")

    write(storage / "a.dcm", FRAME)
    write(storage / "b.dcm", FRAME, RLELossless)
    intake = Intake(sessions, storage, lambda *_: None, images=absent)
    intake.accept(job("a.dcm"), "queue")
    assert intake.accept(job("b.dcm"), "queue").change == "revised"


def test_no_decoder_is_asked_for_unless_a_known_study_has_other_files(
    sessions: sessionmaker[Session], storage: Path
) -> None:
    write(storage / "a.dcm", FRAME)
    intake = Intake(sessions, storage, lambda *_: None, images=lambda: pytest.fail("asked for"))
    assert [intake.accept(job("a.dcm"), "queue").change for _ in range(2)] == ["new", "unchanged"]
    assert intake.accept(job("a.dcm", age_years=50), "queue").change == "revised"


def test_a_submitted_study_in_another_encoding_leaves_no_copy_behind(
    intake: Intake, storage: Path, tmp_path: Path
) -> None:
    marked = MarkedLesions(({"lesion_id": "L1", "birads": "4A"},), {})

    def submit(path: Path) -> str:
        (submission,) = plan([path], marked, Overrides(), storage, LIMITS)
        return submit_one(intake, submission, "submit").change

    assert submit(write(tmp_path / "a.dcm", FRAME)) == "new"
    (copy,) = storage.rglob("*.dcm")
    assert submit(write(tmp_path / "b.dcm", FRAME, JPEG2000Lossless)) == "unchanged"
    assert list(storage.rglob("*.dcm")) == [copy]
    assert submit(lossy(tmp_path / "c.dcm")) == "revised"
    assert submit(tmp_path / "a.dcm") == "earlier_revision"


def test_a_watched_folder_s_study_in_another_encoding_is_unchanged(
    intake: Intake, storage: Path, tmp_path: Path, sessions: sessionmaker[Session]
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    for name, syntax in (("one", "1.2.840.10008.1.2.1"), ("two", RLELossless)):
        image = write(drop / name / "a.dcm", FRAME, syntax)
        write_report(drop / name / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])
    with DropFolder.watched(drop, storage) as folder:
        watcher = Watcher(folder, intake, LIMITS, 0, lambda work: work())
        for _ in range(2):
            claimed = folder.claim(settle_s=0)
            assert claimed is not None
            watcher.take(claimed)
    assert revisions(sessions) == 1


def test_a_received_image_in_another_encoding_does_not_take_the_place_of_the_first(
    intake: Intake, storage: Path, tmp_path: Path, sessions: sessionmaker[Session], pool: DecoderPool
) -> None:
    image = write(tmp_path / "a.dcm", FRAME)
    report = write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])
    with Inbox.held(storage, pool.same_image) as inbox:
        receiver = Receiver(inbox, intake, LIMITS, 0, lambda work: work())

        def receive(path: Path) -> bytes:
            arriving = inbox.arriving / "arriving.dcm"
            arriving.write_bytes(path.read_bytes())
            key = inbox.keep(arriving, STUDY_UID, str(dcmread(path, stop_before_pixels=True).SOPInstanceUID))
            receiver.look_at_all()
            return b"".join(file.read_bytes() for file in sorted(inbox.folder(key).iterdir()))

        receive(image)
        first = receive(report)
        assert receive(write(tmp_path / "b.dcm", FRAME, JPEG2000Lossless)) == first
        assert inbox.due(quiet_s=0) == []
        assert list(inbox.arriving.iterdir()) == []
        assert revisions(sessions) == 1
        assert receive(lossy(tmp_path / "c.dcm")) != first
    assert revisions(sessions) == 2


def test_a_study_in_another_encoding_is_unchanged_where_an_earlier_version_made_another_job_of_it(
    intake: Intake, storage: Path, sessions: sessionmaker[Session]
) -> None:
    write(storage / "a.dcm", FRAME)
    write(storage / "b.dcm", FRAME, RLELossless)
    intake.accept(job("a.dcm"), "receive")
    lesion = {"lesion_id": "L1", "birads": "4A", "images": [{"sop_instance_uid": SOP_UID}], "laterality": "left"}
    located = job("b.dcm", schema_version=2, lesions=[lesion])
    assert intake.accept(located, "receive", former=job("b.dcm")).change == "unchanged"
    assert revisions(sessions) == 1
    assert intake.accept(located, "receive").change == "revised"
