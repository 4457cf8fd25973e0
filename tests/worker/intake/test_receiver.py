"""Studies by DICOM: pynetdicom on the other side, a real database behind, every status that a sender may see."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import trustme
from pydicom import Dataset, dcmread
from pynetdicom import AE, dimse_messages
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import CTImageStorage, Verification
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.faults.disks import FAULTS, MountingNotAllowed, full, small_disk, without_inodes
from db.outages import DatabaseAway
from db.reads import study_queries
from db.reads.study_records import StudyDetail
from tests.conftest import Database
from tests.outages import A_REFUSAL, DEFECT, OUTAGES, away
from tests.waiting import until
from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, STUDY_UID, picture, write, write_texts
from tests.worker.intake.breast_reports import BASIC_TEXT, write_breast_report
from tests.worker.intake.presentations import Annotation, write_presentation
from tests.worker.intake.reports import Finding, rectangle, write_report
from tests.worker.intake.segmentations import Drawn, write_segmentation
from worker.contract import parse_job
from worker.errors import Code, LesionRefused, SetupRefused, Unavailable
from worker.intake import receiver
from worker.intake.accept_study import Intake
from worker.intake.inbox import Inbox
from worker.intake.receiver import (
    CANNOT_UNDERSTAND,
    DOES_NOT_MATCH,
    OUT_OF_RESOURCES,
    SUCCESS,
    Receiver,
    listening,
)
from worker.intake.receiver_config import ReceiverConfig, echo

pytestmark = pytest.mark.slow


class Hospital:
    """A receiver, and who sends to it."""

    def __init__(self, receiver: Receiver, address: tuple[str, int], sessions: sessionmaker[Session]) -> None:
        self.receiver = receiver
        self.address = address
        self.sessions = sessions

    def send(
        self, *instances: Path | Dataset, calling: str = "SCANNER", called: str = "DLR", tls: Any = None
    ) -> list[int]:
        """Send instances over one association; return a status each."""
        sent = [one if isinstance(one, Dataset) else dcmread(one) for one in instances]
        with self.association(*sent, calling=calling, called=called, tls=tls) as association:
            return [association.send_c_store(one).Status for one in sent] or [association.send_c_echo().Status]

    @contextmanager
    def association(
        self, *instances: Path | Dataset, calling: str = "SCANNER", called: str = "DLR", tls: Any = None
    ) -> Iterator[Association]:
        """Have an association over which instances such as these can be sent."""
        entity = AE(ae_title=calling)
        for one in instances:
            header = one if isinstance(one, Dataset) else dcmread(one, stop_before_pixels=True)
            entity.add_requested_context(header.SOPClassUID, header.file_meta.TransferSyntaxUID)
        entity.add_requested_context(Verification)
        association = entity.associate(*self.address, ae_title=called, tls_args=tls)
        assert association.is_established, "rejected"
        try:
            yield association
        finally:
            association.release()

    def close(self, quiet_s: float) -> None:
        self.receiver.quiet_s = quiet_s
        self.receiver.look_at_all()

    def studies(self) -> list[StudyDetail]:
        with self.sessions() as session:
            ids = session.scalars(text("SELECT id FROM study ORDER BY received_at")).all()
            return [detail for one in ids for detail in study_queries.study_details(session, one)]


Made = Callable[..., Hospital]


@pytest.fixture
def hospital(sessions: sessionmaker[Session], tmp_path: Path) -> Iterator[Made]:
    with ExitStack() as stack:

        def made(callers: tuple[str, ...] = (), tls: ssl.SSLContext | None = None) -> Hospital:
            root = tmp_path / "storage"
            inbox = stack.enter_context(Inbox.held(root))
            intake = Intake(sessions, root, lambda *_: None)
            receiver = Receiver(inbox, intake, LIMITS, 30.0, lambda work: work())
            reception = ReceiverConfig("127.0.0.1", 0, "DLR", callers, 4, tls)
            return Hospital(receiver, stack.enter_context(listening(receiver, reception)), sessions)

        yield made


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The disk of the storage, small enough to be filled."""
    try:
        with small_disk(tmp_path / "storage") as place:
            yield place
    except MountingNotAllowed:
        pytest.skip("no disk can be mounted here")


def left_in(disk: Path) -> set[Path]:
    return {path for path in disk.rglob("*") if ".filler" not in path.parts}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write(tmp_path / "a.dcm", picture())


def test_a_study_with_its_report_is_queued_at_once_as_its_job_would_be(
    hospital: Made, image: Path, tmp_path: Path, sessions: sessionmaker[Session]
) -> None:
    other = write(tmp_path / "b.dcm", np.stack([picture()] * 3), NumberOfFrames=3, SOPInstanceUID=SOP_UID + ".2")
    findings = [
        Finding(image, rectangle(3, 4, 20, 10), ["4A"], "L1"),
        Finding(image, rectangle(30, 4, 9, 9), ["3"], "L2"),
        Finding(other, rectangle(1, 2, 33, 44), ["5"], "L3", frame=2),
    ]
    there = hospital()
    assert there.send(image, other, write_report(tmp_path / "sr.dcm", findings)) == [SUCCESS] * 3
    there.close(quiet_s=600)
    (study,) = there.studies()
    assert (study.state, study.source) == ("queued", "receive")
    job = {
        "schema_version": 1,
        "study_instance_uid": STUDY_UID + ".9",
        "images": {"kind": "files", "paths": ["x"]},
        "lesions": [
            {"lesion_id": "L1", "sop_instance_uid": SOP_UID, "birads": "4A"} | _roi(3, 4, 20, 10),
            {"lesion_id": "L2", "sop_instance_uid": SOP_UID, "birads": "3"} | _roi(30, 4, 9, 9),
            {"lesion_id": "L3", "sop_instance_uid": SOP_UID + ".2", "frame": 2, "birads": "5"} | _roi(1, 2, 33, 44),
        ],
    }
    equivalent = Intake(sessions, tmp_path, lambda *_: None).accept(parse_job(job), "queue")
    assert _lesions(sessions, study.study_id) == _lesions(sessions, equivalent.study_id)


def test_a_lesion_in_two_planes_waits_for_both_images_and_is_one_lesion_of_the_ledger(
    hospital: Made, image: Path, tmp_path: Path
) -> None:
    other = write(tmp_path / "b.dcm", picture(seed=1), SOPInstanceUID=SOP_UID + ".2")
    findings = [
        Finding(image, rectangle(3, 4, 20, 10), tracked="L"),
        Finding(other, rectangle(1, 2, 9, 9), tracked="L"),
    ]
    there = hospital()
    there.send(image, write_report(tmp_path / "sr.dcm", findings))
    there.close(quiet_s=600)
    assert there.studies() == []
    there.send(other)
    there.close(quiet_s=0)
    (study,) = there.studies()
    (lesion,) = study.lesions
    assert [one.roi for one in lesion.images] == [(3, 4, 20, 10), (1, 2, 9, 9)]


def test_a_breast_imaging_report_without_regions_is_told_by_its_code_until_something_marks_the_lesions(
    hospital: Made, image: Path, tmp_path: Path
) -> None:
    there = hospital()
    assert (
        there.send(image, write_breast_report(tmp_path / "text.dcm", image, [], SOPClassUID=BASIC_TEXT))
        == [SUCCESS] * 2
    )
    there.close(quiet_s=0)
    assert [study.error_code for study in there.studies()] == ["breast_report_unsupported"]
    there.send(write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))]))
    there.close(quiet_s=600)
    assert [study.state for study in there.studies()] == ["failed", "queued"]


def test_a_study_whose_texts_are_in_two_character_sets_is_one_patient_s(
    hospital: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    number, patient = "\u68c0\u67e5\u4e00\u53f7", "\u738b-7"
    image = write_texts(
        tmp_path / "a.dcm",
        "GB18030",
        AccessionNumber=number.encode("gb18030"),
        PatientID=patient.encode("gb18030"),
    )
    findings = [Finding(image, rectangle(3, 4, 20, 10), name="\u5de6")]
    report = write_report(tmp_path / "sr.dcm", findings, SpecificCharacterSet="ISO_IR 192", PatientID=patient)
    there = hospital()
    assert there.send(image, report) == [SUCCESS] * 2
    there.close(quiet_s=600)
    (study,) = there.studies()
    assert (study.state, study.accession_number, study.lesions[0].lesion_id) == ("queued", number, "\u5de6")
    assert number not in caplog.text
    assert patient not in caplog.text


def _roi(x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {"roi": {"x": x, "y": y, "width": width, "height": height}}


def _lesions(sessions: sessionmaker[Session], study_id: UUID) -> list[tuple[Any, ...]]:
    columns = "lesion.lesion_id, sop_instance_uid, frame, roi_x, roi_y, roi_width, roi_height, birads, descriptors"
    query = f"""
        SELECT {columns} FROM lesion JOIN marked_image AS image ON image.lesion_id = lesion.id
        WHERE study_id = :id ORDER BY lesion.ordinal, image.ordinal
    """
    with sessions() as session:
        return [tuple(row) for row in session.execute(text(query), {"id": study_id})]


def test_a_report_that_comes_before_its_image_waits_for_it(hospital: Made, image: Path, tmp_path: Path) -> None:
    there = hospital()
    there.send(write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))]))
    there.close(quiet_s=600)
    assert there.studies() == []
    there.send(image)
    there.close(quiet_s=0)
    assert [study.state for study in there.studies()] == ["queued"]


def test_a_report_waits_for_its_segmentation_and_is_queued_as_soon_as_that_has_come(
    hospital: Made, image: Path, tmp_path: Path
) -> None:
    there = hospital()
    segmentation = write_segmentation(tmp_path / "seg.dcm", image, [Drawn((3, 4, 20, 10))])
    there.send(image, write_report(tmp_path / "sr.dcm", [Finding(image, segmentation=segmentation)]))
    there.close(quiet_s=600)
    assert there.studies() == []
    assert there.send(segmentation) == [SUCCESS]
    there.close(quiet_s=600)
    (study,) = there.studies()
    assert study.state == "queued"
    assert [row[3:8] for row in _lesions(there.sessions, study.study_id)] == [(3, 4, 20, 10, "4A")]


def test_a_report_whose_segmentation_never_comes_is_found_by_a_person_and_taken_once_it_does(
    hospital: Made, image: Path, tmp_path: Path
) -> None:
    there = hospital()
    segmentation = write_segmentation(tmp_path / "seg.dcm", image, [Drawn((3, 4, 20, 10))])
    there.send(image, write_report(tmp_path / "sr.dcm", [Finding(image, segmentation=segmentation)]))
    there.close(quiet_s=0)
    (refused,) = there.studies()
    assert (refused.state, refused.error_code) == ("failed", "sop_instance_not_found")
    there.send(segmentation)
    there.close(quiet_s=600)
    assert [study.state for study in there.studies()] == ["failed", "queued"]


def test_what_a_report_may_still_outweigh_waits_for_the_quiet_time(hospital: Made, image: Path, tmp_path: Path) -> None:
    there = hospital()
    segmentation = write_segmentation(
        tmp_path / "seg.dcm", image, [Drawn((3, 4, 20, 10), birads=["4B"])], kind="LABELMAP"
    )
    outlines = [Annotation([rectangle(1, 1, 9, 9)], ["BI-RADS 5"])]
    assert there.send(image, segmentation, write_presentation(tmp_path / "pr.dcm", image, outlines)) == [SUCCESS] * 3
    there.close(quiet_s=600)
    assert there.studies() == []
    there.close(quiet_s=0)
    (study,) = there.studies()
    assert [row[3:8] for row in _lesions(there.sessions, study.study_id)] == [(3, 4, 20, 10, "4B")]


def test_a_segmentation_of_another_patient_is_refused(hospital: Made, image: Path, tmp_path: Path) -> None:
    there = hospital()
    drawn = [Drawn((3, 4, 20, 10), birads=["4B"])]
    there.send(image, write_segmentation(tmp_path / "seg.dcm", image, drawn, PatientID="P2"))
    there.close(quiet_s=0)
    assert [study.error_code for study in there.studies()] == ["patient_mismatch"]


def test_a_study_without_a_report_is_refused_after_the_quiet_time_and_taken_once_the_report_comes(
    hospital: Made, image: Path, tmp_path: Path
) -> None:
    there = hospital()
    there.send(image)
    there.close(quiet_s=600)
    assert there.studies() == []
    there.close(quiet_s=0)
    (refused,) = there.studies()
    assert (refused.state, refused.error_code) == ("failed", "lesions_missing")
    there.send(write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))]))
    there.close(quiet_s=600)
    assert [study.state for study in there.studies()] == ["failed", "queued"]
    with there.sessions() as session:
        discarded = session.scalars(text("SELECT discarded_at IS NOT NULL FROM study ORDER BY received_at")).all()
    assert discarded == [True, False]


def test_the_report_that_was_written_last_says_where_the_lesions_are(
    hospital: Made, image: Path, tmp_path: Path
) -> None:
    there = hospital()
    late = write_report(tmp_path / "late.dcm", [Finding(image, rectangle(1, 1, 9, 9))], ContentTime="235959")
    early = write_report(tmp_path / "early.dcm", [Finding(image, rectangle(3, 4, 20, 10))], ContentTime="000001")
    there.send(image, late, early)
    there.close(quiet_s=0)
    (study,) = there.studies()
    assert [row[3:7] for row in _lesions(there.sessions, study.study_id)] == [(1, 1, 9, 9)]


def test_a_report_on_another_patient_is_refused(hospital: Made, image: Path, tmp_path: Path) -> None:
    there = hospital()
    there.send(image, write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))], PatientID="P2"))
    there.close(quiet_s=0)
    assert [study.error_code for study in there.studies()] == ["patient_mismatch"]


def test_a_report_whose_category_is_unknown_is_refused_with_its_code(
    hospital: Made, image: Path, tmp_path: Path
) -> None:
    there = hospital()
    there.send(image, write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10), ["none of them"])]))
    there.close(quiet_s=0)
    assert [study.error_code for study in there.studies()] == ["birads_unknown"]


def test_an_instance_that_is_sent_again_changes_nothing(hospital: Made, image: Path, tmp_path: Path) -> None:
    there = hospital()
    report = write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])
    for _ in range(3):
        assert there.send(image, report) == [SUCCESS] * 2
        there.close(quiet_s=0)
    assert len(there.studies()) == 1


def test_a_c_echo_is_answered(hospital: Made) -> None:
    assert hospital().send() == [SUCCESS]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"StudyInstanceUID": None}, DOES_NOT_MATCH),
        ({"StudyInstanceUID": ""}, DOES_NOT_MATCH),
        ({"SOPInstanceUID": SOP_UID + ".77"}, DOES_NOT_MATCH),
    ],
)
def test_an_instance_that_is_not_what_its_sender_says_is_not_kept(
    hospital: Made, tmp_path: Path, changes: dict[str, Any], status: int
) -> None:
    there = hospital()
    path = write(tmp_path / "a.dcm", picture(), **changes)
    assert there.receiver.store(path, SOP_UID) == status
    assert list((there.receiver.inbox.root / "received").rglob("*.dcm")) == []


def test_bytes_that_are_not_dicom_are_not_kept(hospital: Made, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"no DICOM")
    assert hospital().receiver.store(tmp_path / "a.dcm", SOP_UID) == CANNOT_UNDERSTAND


def test_a_full_disk_is_told_to_the_sender_who_keeps_the_instance(
    hospital: Made, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    there = hospital()
    monkeypatch.setattr(Inbox, "keep", full)
    assert there.send(image) == [OUT_OF_RESOURCES]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_storage_that_takes_nothing_is_said_of_each_instance_and_leaves_nothing_behind(
    hospital: Made, disk: Path, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    there = hospital()
    studies = [
        write(tmp_path / f"{number}.dcm", picture(512, 512, seed=number), StudyInstanceUID=f"{STUDY_UID}.{number}")
        for number in range(6)
    ]
    before = left_in(disk)
    with there.association(studies[0]) as association:
        with FAULTS[fault](disk):
            assert [association.send_c_store(one).Status for one in studies] == [OUT_OF_RESOURCES] * len(studies)
            assert association.is_established
        assert left_in(disk) == before
        assert [association.send_c_store(one).Status for one in studies] == [SUCCESS] * len(studies)
    assert list(there.receiver.inbox.arriving.iterdir()) == []
    there.close(quiet_s=0)
    assert len(there.studies()) == len(studies)
    assert caplog.text.count("storage_unavailable") == len(studies)
    assert "Traceback" not in caplog.text


def test_room_for_a_file_and_for_no_folder_takes_no_instance_and_uses_nothing_up(
    hospital: Made, disk: Path, tmp_path: Path
) -> None:
    there = hospital()
    with without_inodes(disk):
        for room in range(1, 4):
            (disk / ".filler" / str(room)).unlink()
            before = left_in(disk)
            for number in range(4):
                uid = f"{STUDY_UID}.{room}.{number}"
                image = write(tmp_path / f"{uid}.dcm", picture(), StudyInstanceUID=uid)
                assert there.send(image) == [OUT_OF_RESOURCES]
            assert left_in(disk) == before
            assert there.receiver.inbox.due(0) == []


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in ("full", "without inodes")])
def test_a_study_whose_storage_goes_before_it_is_closed_is_closed_once_it_is_back(
    hospital: Made, disk: Path, image: Path, tmp_path: Path, fault: str
) -> None:
    there = hospital()
    assert there.send(image, write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])) == [0, 0]
    with FAULTS[fault](disk), pytest.raises(Unavailable, match="storage_unavailable"):
        there.close(quiet_s=0)
    there.close(quiet_s=0)
    assert [(study.state, study.error_code) for study in there.studies()] == [("queued", None)]


@pytest.mark.parametrize("code", [Code.FILE_NOT_FOUND, Code.FILE_NOT_READABLE])
def test_a_file_of_the_inbox_that_goes_while_it_is_looked_at_is_no_fault_of_the_study(
    hospital: Made, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: Code
) -> None:
    there = hospital()
    there.send(image, write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))]))

    def gone(*_: object) -> None:
        raise LesionRefused(code)

    with monkeypatch.context() as patched:
        patched.setattr(receiver, "read_identity", gone)
        with pytest.raises(Unavailable, match="storage_unavailable"):
            there.close(quiet_s=0)
        assert there.receiver.store(image, SOP_UID) == OUT_OF_RESOURCES
    assert there.studies() == []
    there.close(quiet_s=0)
    assert [study.state for study in there.studies()] == ["queued"]


def test_a_study_is_handed_in_while_its_storage_is_full(
    hospital: Made, disk: Path, image: Path, tmp_path: Path
) -> None:
    there = hospital()
    there.send(image)
    for room in (full, without_inodes):
        with room(disk):
            there.close(quiet_s=0)
    assert [study.error_code for study in there.studies()] == ["lesions_missing"]
    there.send(write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))]))
    with full(disk):
        there.close(quiet_s=0)
    assert sorted(study.state for study in there.studies()) == ["failed", "queued"]


def test_an_association_that_is_cut_off_leaves_no_half_of_an_instance(hospital: Made, tmp_path: Path) -> None:
    there = hospital()
    image = write(tmp_path / "a.dcm", picture(512, 512))
    arriving = there.receiver.inbox.arriving
    with there.association(image) as association:
        for part in parts_of_a_store(image)[:-1]:
            association.dul.send_pdu(part)
        until(lambda: list(arriving.iterdir()))
        association.abort()
    until(lambda: not list(arriving.iterdir()))


def parts_of_a_store(image: Path) -> list[Any]:
    """Return what is sent of an instance, as the units of the transport (PS3.8, 9.3.5)."""
    instance = dcmread(image)
    request = C_STORE()
    request.MessageID = 1
    request.Priority = 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = instance.SOPClassUID, instance.SOPInstanceUID
    request.DataSet = BytesIO(bytes(instance.PixelData))
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    return list(message.encode_msg(1, 16382))


def test_whoever_calls_another_title_or_is_not_on_the_list_is_rejected(hospital: Made, image: Path) -> None:
    there = hospital(callers=("SCANNER", "PACS"))
    assert there.send(image, calling="PACS") == [SUCCESS]
    for wrong in ({"calling": "STRANGER"}, {"called": "OTHER"}):
        with pytest.raises(AssertionError, match="rejected"):
            there.send(image, **wrong)


def test_what_is_no_ultrasound_is_not_negotiated(hospital: Made, tmp_path: Path) -> None:
    there = hospital()
    image = dcmread(write(tmp_path / "a.dcm", picture()))
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = CTImageStorage
    with pytest.raises((AssertionError, ValueError)):
        there.send(image)


def test_a_certificate_is_asked_for_and_a_sender_without_tls_is_not_heard(
    hospital: Made, image: Path, tmp_path: Path
) -> None:
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    authority.configure_trust(ours)
    authority.configure_trust(theirs)
    ours.verify_mode = ssl.CERT_REQUIRED
    there = hospital(tls=ours)
    with pytest.raises(AssertionError, match="rejected"):
        there.send(image)
    with pytest.raises(AssertionError, match="rejected"):
        there.send(image, tls=(theirs, "127.0.0.1"))
    authority.issue_cert("scanner").configure_cert(theirs)
    assert there.send(image, tls=(theirs, "127.0.0.1")) == [SUCCESS]


def test_a_file_that_is_damaged_on_the_disk_fails_its_study_and_no_other(
    hospital: Made, image: Path, tmp_path: Path
) -> None:
    here = hospital()
    damaged = write(tmp_path / "b.dcm", picture(), StudyInstanceUID=STUDY_UID + ".2")
    here.send(damaged)
    (kept,) = (here.receiver.inbox.root / "received").rglob("*.dcm")
    kept.write_bytes(b"the disk forgot")
    here.send(image, write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))]))
    here.close(0)
    assert sorted((study.state, study.error_code) for study in here.studies()) == [
        ("failed", "file_not_dicom"),
        ("queued", None),
    ]
    assert here.receiver.inbox.due(0) == []


def test_a_study_whose_files_are_away_for_now_keeps_no_other_waiting(
    hospital: Made, image: Path, tmp_path: Path
) -> None:
    here = hospital()
    here.send(write(tmp_path / "b.dcm", picture(), StudyInstanceUID=STUDY_UID + ".2"))
    (stuck,) = here.receiver.inbox.due(0)
    folder = here.receiver.inbox.folder(stuck)
    folder.rename(away := folder.with_name("away"))
    folder.touch()
    here.send(image, write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))]))
    with pytest.raises(Unavailable, match="storage_unavailable"):
        here.close(0)
    assert [study.state for study in here.studies() if study.error_code is None] == ["queued"]
    assert here.receiver.inbox.due(0) == [stuck]
    folder.unlink()
    away.rename(folder)
    here.close(0)
    assert here.receiver.inbox.due(0) == []


def test_a_defect_met_on_one_study_is_on_record_and_the_receiver_goes_on(
    hospital: Made, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = hospital()
    here.send(image)

    def defect(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(receiver, "build_job", defect)
        here.close(0)
    assert [(study.state, study.error_code) for study in here.studies()] == [("failed", "internal_error")]
    assert here.receiver.inbox.due(0) == []


def test_what_arrives_is_written_to_the_inbox_for_as_long_as_somebody_listens(tmp_path: Path) -> None:
    before = vars(dimse_messages)["NamedTemporaryFile"]
    reception = ReceiverConfig("127.0.0.1", 0, "DLR", (), 4)
    with Inbox.held(tmp_path) as inbox:
        ours = Receiver(inbox, Intake(sessionmaker(), tmp_path, lambda *_: None), LIMITS, 30.0, lambda work: work())
        with listening(ours, reception) as (_, port):
            assert Path(vars(dimse_messages)["NamedTemporaryFile"]().name).parent == inbox.arriving
            with pytest.raises(SetupRefused), listening(ours, replace(reception, port=port)):
                pass
        assert vars(dimse_messages)["NamedTemporaryFile"] is before


@pytest.mark.parametrize("tls", ["none", "ours", "both"])
@pytest.mark.parametrize("callers", [(), ("SCANNER", "PACS")])
def test_a_probe_is_answered_by_a_receiver_that_listens_and_by_nobody_once_it_has_ended(
    hospital: Made, callers: tuple[str, ...], tls: str
) -> None:
    context = None
    if tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        context.verify_mode = ssl.CERT_REQUIRED if tls == "both" else ssl.CERT_NONE
    host, port = hospital(callers, context).address
    asked = ReceiverConfig(host, port, "DLR", callers, 4, context)
    assert echo(asked)
    assert not echo(replace(asked, port=9))
    if context is None:
        assert not echo(replace(asked, ae_title="ANOTHER"))


def test_a_receiver_answers_and_keeps_what_arrives_while_nothing_can_be_written(
    hospital: Made, image: Path, database: Database
) -> None:
    there = hospital()
    with away(database, OUTAGES["read-only"]):
        assert there.send(image) == [SUCCESS]
        with pytest.raises(DatabaseAway):
            there.close(quiet_s=0)
        assert there.send() == [SUCCESS]
    there.close(quiet_s=0)
    assert [study.error_code for study in there.studies()] == ["lesions_missing"]


def test_a_study_whose_refusal_meets_a_defect_stays_open_and_the_others_are_closed(
    hospital: Made, image: Path, tmp_path: Path, database: Database
) -> None:
    other = write(tmp_path / "b.dcm", picture(), StudyInstanceUID=f"{STUDY_UID}.8", SOPInstanceUID=f"{SOP_UID}.8")
    report = write_report(tmp_path / "sr.dcm", [Finding(other, rectangle(3, 4, 20, 10))])
    there = hospital()
    assert there.send(image, other, report) == [SUCCESS] * 3
    with away(database, DEFECT, A_REFUSAL):
        with pytest.raises(Unavailable):
            there.close(quiet_s=0)
        assert [study.state for study in there.studies()] == ["queued"]
    there.close(quiet_s=0)
    assert [study.error_code for study in there.studies()] == [None, "lesions_missing"]
