"""Studies by DICOM from outside: pynetdicom's own tools send, the receiver is killed, and rows are there."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from unicodedata import normalize

import pytest
from highdicom.sr import CodedConcept, FindingSite, Measurement
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from pynetdicom import AE
from pynetdicom.association import Association

from benchmarks.faults.waiting import listens
from tests.end_to_end.conftest import Service
from tests.end_to_end.ultrasound_files import ULTRASOUND_FILES, UltrasoundFile, locate
from tests.waiting import patience, until
from tests.worker.imaging.dicom_files import STUDY_UID, picture, write, write_texts
from tests.worker.intake.presentations import Annotation, write_presentation
from tests.worker.intake.reports import Finding, rectangle, write_report
from tests.worker.intake.segmentations import Drawn, write_segmentation
from worker.network.port import free_port

ASSOCIATIONS, INSTANCES = 4, 60

REAL = [
    file
    for file in ULTRASOUND_FILES
    if file.name
    in (
        "gdcm-US-ALOKA-16.dcm",
        "OBXXXX1A.dcm",
        "ExplVR_BigEnd.dcm",
        "OBXXXX1A_rle_2frame.dcm",
        "examples_ybr_color.dcm",
        "JPGLosslessP14SV1_1s_1f_8b.dcm",
        "US1_J2KR.dcm",
        "US1_J2KI.dcm",
    )
]
"""One of each transfer syntax; `test_ultrasound_files` hands all in."""


class Receiver:
    """``dlr receive`` in a process of its own, at one port."""

    def __init__(self, service: Service) -> None:
        self.port = free_port(service.home / "receive.port")
        self._service = service
        self.log = service.home / "logs" / "receive.log"
        self._environment = service.environment(DLR_RECEIVE_PORT=str(self.port), DLR_RECEIVE_QUIET_S="600")

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker.cli.main", "receive"], env=self._environment, stderr=log
            )
        self._service.until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return listens(self.port)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(patience(30))


@pytest.fixture(scope="module")
def receiver(service: Service) -> Iterator[Receiver]:
    receiver = Receiver(service)
    receiver.start()
    yield receiver
    receiver.end(signal.SIGKILL)


def storescu(receiver: Receiver, path: Path) -> "subprocess.CompletedProcess[str]":
    """Send a file with the sender that comes with pynetdicom."""
    where = ["127.0.0.1", str(receiver.port), str(path), "-aec", "DLR"]
    return subprocess.run(
        [sys.executable, "-m", "pynetdicom", "storescu", *where], capture_output=True, text=True, check=False
    )


def send(receiver: Receiver, *paths: Path) -> None:
    """Send files in one association."""
    entity = AE()
    for path in paths:
        header = dcmread(path, stop_before_pixels=True)
        entity.add_requested_context(header.SOPClassUID, header.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", receiver.port, ae_title="DLR")
    assert [association.send_c_store(path).Status for path in paths] == [0] * len(paths)
    association.release()


def test_a_study_that_storescu_sends_becomes_a_row_and_sigterm_ends_the_receiver(
    service: Service, receiver: Receiver, tmp_path: Path
) -> None:
    uid = f"{STUDY_UID}.71"
    image = write(tmp_path / "a.dcm", picture(), StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.1")
    report = write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10), ["4A"], "L1")])
    assert storescu(receiver, image).returncode == 0
    send(receiver, report)
    study = service.ended(uid)
    assert (study.state, study.source) == ("done", "receive")
    assert [(lesion.lesion_id, lesion.images[0].region) for lesion in study.lesions] == [("L1", (3, 4, 20, 10))]
    assert receiver.end(signal.SIGTERM) == 0
    logged = receiver.log.read_text()
    receiver.start()
    assert f"DLR listens at 127.0.0.1:{receiver.port}" in logged
    assert STUDY_UID not in logged
    assert "P1" not in logged


TWO_SETS = {
    "GB18030": ("gb18030", "王小东-7"),
    "ISO_IR 100": ("latin_1", "Müller-8"),
    "\\ISO 2022 IR 149": ("euc_kr", "홍길동-9"),
}


@pytest.mark.parametrize("declared", TWO_SETS)
def test_a_study_in_two_character_sets_is_scored_and_found_by_its_number(
    service: Service, receiver: Receiver, tmp_path: Path, declared: str
) -> None:
    codec, text = TWO_SETS[declared]
    uid, number = f"{STUDY_UID}.73.{len(codec)}", normalize("NFD", text)
    images = []
    for place, (charset, written) in enumerate(((declared, codec), ("ISO_IR 192", "utf-8")), start=1):
        said = {"PatientID": text.encode(written), "AccessionNumber": text.encode(written)}
        uids = {"StudyInstanceUID": uid.encode(), "SOPInstanceUID": f"{uid}.{place}".encode()}
        images.append(write_texts(tmp_path / f"{place}.dcm", charset, **said, **uids))
    findings = [Finding(image, rectangle(3, 4, 20, 10), name=f"{text} {image.stem}") for image in images]
    report = write_report(tmp_path / "sr.dcm", findings, SpecificCharacterSet="ISO_IR 192", PatientID=text)
    service.dlr("submit", tmp_path, "--wait")
    study = service.ended(uid)
    assert (study.state, study.accession_number) == ("done", text)
    assert [lesion.lesion_id for lesion in study.lesions] == [f"{text} 1", f"{text} 2"]
    assert json.loads(service.dlr("show", number, "--format", "json").stdout)[0]["study_instance_uid"] == uid
    send(receiver, *images, report)
    again = "SELECT count(*) AS times FROM study_event WHERE study_id = %s AND event = 'unchanged'"
    service.until(lambda: service.sql(again, str(study.study_id), role="writer")[0]["times"])
    assert text not in receiver.log.read_text() + service.logs()


def test_lesions_of_a_segmentation_and_of_a_presentation_state_are_scored_as_those_of_a_report(
    service: Service, receiver: Receiver, tmp_path: Path
) -> None:
    box, studies = (3, 4, 20, 10), []
    for way in ("report", "segmented", "presentation"):
        folder, uid = tmp_path / way, f"{STUDY_UID}.72.{len(studies)}"
        image = write(folder / "a.dcm", picture(), StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.1")
        if way == "report":
            write_report(folder / "sr.dcm", [Finding(image, rectangle(*box), name="L1")])
        elif way == "segmented":
            segmentation = write_segmentation(folder / "seg.dcm", image, [Drawn(box)])
            write_report(folder / "sr.dcm", [Finding(image, name="L1", segmentation=segmentation)])
        else:
            write_presentation(folder / "pr.dcm", image, [Annotation([rectangle(*box)], ["BI-RADS 4A"])])
        if way == "presentation":
            service.dlr("submit", folder, "--wait")
        else:
            send(receiver, *sorted(folder.iterdir()))
        studies.append(service.ended(uid))
    rows = [row for study in studies for row in service.sql(COMPARED, study.study_id)]
    assert rows == rows[:1] * 3
    assert rows[0]["state"] == "scored"


IN_TWO_PLANES = """
SELECT images, images_refused, laterality, clock_position, distance_to_nipple_mm, state, outcome, recommended,
       high_risk_probability, malignant_probability
FROM lesion_result WHERE study_id = %s
"""
OF_EACH_IMAGE = """
SELECT sop_instance_uid, region_x, error_code, high_risk_probability, malignant_probability
FROM image_result WHERE study_id = %s ORDER BY sop_instance_uid
"""


def two_planes(folder: Path, uid: str) -> list[Path]:
    """Write a lesion in two planes, and the report that tracks it as one, at 2 o'clock of the left breast."""
    images = [
        write(folder / f"{plane}.dcm", picture(seed=plane), StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.{plane}")
        for plane in (1, 2)
    ]
    site = FindingSite(
        CodedConcept("80248007", "SCT", "Left breast"),
        topographical_modifier=CodedConcept("129773009", "SCT", "2 o'clock position"),
    )
    nipple = Measurement(CodedConcept("121242", "DCM", "Distance from nipple"), 4.0, CodedConcept("cm", "UCUM", "cm"))
    findings = [
        Finding(images[0], rectangle(3, 4, 20, 10), ["4A"], "L1", tracked=uid, sites=[site], measured=[nipple]),
        Finding(images[1], rectangle(30, 4, 9, 9), ["4A"], "L1", tracked=uid),
    ]
    return [*images, write_report(folder / "sr.dcm", findings)]


def test_a_lesion_that_a_report_tracks_in_two_planes_has_one_score_and_one_advice(
    service: Service, receiver: Receiver, tmp_path: Path
) -> None:
    uid = f"{STUDY_UID}.74"
    send(receiver, *two_planes(tmp_path, uid))
    study = service.ended(uid)
    (lesion,) = service.sql(IN_TWO_PLANES, study.study_id)
    images = service.sql(OF_EACH_IMAGE, study.study_id)
    assert (study.state, lesion["state"], lesion["images"], lesion["images_refused"]) == ("done", "scored", 2, 0)
    assert (lesion["laterality"], lesion["clock_position"], lesion["distance_to_nipple_mm"]) == ("left", 2, 40.0)
    assert lesion["outcome"] is not None
    assert [(one["sop_instance_uid"], one["region_x"]) for one in images] == [(f"{uid}.1", 3), (f"{uid}.2", 30)]
    for name in ("high_risk_probability", "malignant_probability"):
        assert lesion[name] == pytest.approx(fmean(one[name] for one in images), abs=1e-4)


def test_with_one_plane_damaged_it_is_still_scored_and_says_so(
    service: Service, receiver: Receiver, tmp_path: Path
) -> None:
    uid = f"{STUDY_UID}.75"
    first, second, report = two_planes(tmp_path, uid)
    image = dcmread(second)
    image.PixelData = image.PixelData[:100]
    image.save_as(second)
    send(receiver, first, second, report)
    study = service.ended(uid)
    (lesion,) = service.sql(IN_TWO_PLANES, study.study_id)
    refused = [one["error_code"] for one in service.sql(OF_EACH_IMAGE, study.study_id)]
    assert (lesion["state"], lesion["images"], lesion["images_refused"]) == ("scored", 2, 1)
    assert refused[0] is None
    assert refused[1] is not None


def test_with_both_planes_damaged_it_is_a_failure_that_names_both(
    service: Service, receiver: Receiver, tmp_path: Path
) -> None:
    uid = f"{STUDY_UID}.77"
    first, second, report = two_planes(tmp_path, uid)
    for path, pixels in ((first, slice(100)), (second, slice(0))):
        image = dcmread(path)
        image.PixelData = image.PixelData[pixels]
        image.save_as(path)
    send(receiver, first, second, report)
    study = service.ended(uid)
    (lesion,) = study.lesions
    codes = [one["error_code"] for one in service.sql(OF_EACH_IMAGE, study.study_id)]
    assert (study.state, lesion.state, lesion.error_code) == ("failed", "failed", codes[0])
    for number, code in enumerate(codes, start=1):
        assert f"image {number}: {code} (" in str(lesion.error_reason)
        assert f"image {number}: {code} (" in str(study.error_reason)
    (listed,) = service.sql("SELECT error_code, lesions, lesions_failed FROM failed_study WHERE study_id = %s",
                            study.study_id)  # fmt: skip
    assert (listed["error_code"], listed["lesions"], listed["lesions_failed"]) == (codes[0], 1, 1)


@pytest.fixture(scope="module")
def drop(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that `dlr watch` watches."""
    folder = tmp_path_factory.mktemp("drop")
    watcher = subprocess.Popen(
        [sys.executable, "-m", "worker.cli.main", "watch", str(folder), "--settle", "0"],
        env=service.environment(),
        stderr=subprocess.DEVNULL,
    )
    yield folder
    watcher.terminate()
    assert watcher.wait(patience(30)) == 0


COMPARED = """
SELECT state, error_code, original, age_years, age_source, region_x, region_y, region_width, region_height,
       region_source, high_risk_probability, malignant_probability, outcome, recommended
FROM lesion_result WHERE study_id = %s
"""


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.name)
def test_a_real_file_gives_the_same_row_whichever_way_it_comes_in(
    service: Service, receiver: Receiver, drop: Path, tmp_path: Path, file: UltrasoundFile
) -> None:
    sent, dropped, submitted = (_marked(file, tmp_path / way, way) for way in ("1", "2", "3"))
    send(receiver, *sorted(sent.iterdir()))
    dropped.rename(drop / file.name)
    service.dlr("submit", submitted, "--wait")
    ended = [service.ended(f"{STUDY_UID}.9.{ULTRASOUND_FILES.index(file)}.{way}") for way in ("1", "2", "3")]
    assert [study.source for study in ended] == ["receive", "watch", "submit"]
    rows = [row for study in ended for row in service.sql(COMPARED, study.study_id)]
    assert rows == rows[:1] * 3
    assert (rows[0]["state"], rows[0]["error_code"]) in (("scored", None), ("failed", "pixels_uniform"))


def test_a_study_in_another_transfer_syntax_is_scored_once_whichever_way_it_comes_in(
    service: Service, receiver: Receiver, drop: Path, tmp_path: Path
) -> None:
    uid = f"{STUDY_UID}.76"

    def made(way: str, syntax: str = ExplicitVRLittleEndian, seed: int = 0) -> list[Path]:
        elements = {"StudyInstanceUID": uid, "SOPInstanceUID": f"{uid}.1"}
        image = write(tmp_path / way / "a.dcm", picture(seed=seed), syntax, **elements)
        return [image, write_report(tmp_path / way / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10), ["4A"], "L1")])]

    send(receiver, *made("first"))
    study = service.ended(uid)
    send(receiver, made("received", JPEG2000Lossless)[0])
    service.dlr("submit", made("submitted", RLELossless)[0].parent, "--wait")
    made("dropped", JPEG2000Lossless)[0].parent.rename(drop / "dropped")
    (row,) = service.sql("SELECT job FROM study WHERE id = %s", str(study.study_id), role="writer")
    (service.storage_root / "76.dcm").write_bytes(made("pushed", ExplicitVRBigEndian)[0].read_bytes())
    service.push(row["job"] | {"images": {"kind": "files", "paths": ["76.dcm"]}})
    events = "SELECT count(*) AS times FROM study_event WHERE study_id = %s AND event = 'unchanged'"
    service.until(lambda: service.sql(events, str(study.study_id), role="writer")[0]["times"] >= 3)
    service.dlr("submit", made("corrected", RLELossless, seed=1)[0].parent, "--wait")
    studies = service.sql("SELECT revision FROM study WHERE study_instance_uid = %s ORDER BY 1", uid, role="writer")
    assert [found["revision"] for found in studies] == [1, 2]


def _marked(file: UltrasoundFile, folder: Path, way: str) -> Path:
    """Make a study of a real file and a report that marks a lesion on it."""
    folder.mkdir()
    image = dcmread(locate(file.name))
    image.PatientAge = "047Y"
    image.StudyInstanceUID = f"{STUDY_UID}.9.{ULTRASOUND_FILES.index(file)}.{way}"
    image.save_as(folder / "image.dcm")
    outline = rectangle(9, 7, file.columns // 2, file.rows // 2)
    frame = 1 if file.frames > 1 else None
    write_report(folder / "sr.dcm", [Finding(folder / "image.dcm", outline, ["4A"], "L1", frame)])
    return folder


def _study(folder: Path, number: int) -> list[Dataset]:
    """Make a study of small images, each with its own pixels, and last the report that marks the first of them."""
    uid = f"{STUDY_UID}.8{number}"
    folder.mkdir()
    images = [
        write(folder / f"{one}.dcm", picture(seed=one), StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.{one + 1}")
        for one in range(INSTANCES - 1)
    ]
    report = write_report(folder / "sr.dcm", [Finding(images[0], rectangle(3, 4, 20, 10), ["4A"], "L1")])
    return [dcmread(path) for path in (*images, report)]


def _send_all(port: int, instances: list[Dataset]) -> int:
    """Send until each instance was answered with success, as a scanner does; return how often it had to begin anew."""
    entity = AE()
    for sop_class in {one.SOPClassUID for one in instances}:
        entity.add_requested_context(sop_class, sorted({one.file_meta.TransferSyntaxUID for one in instances}))
    left, begun = list(instances), 0

    def associate() -> Association | None:
        association = entity.associate("127.0.0.1", port, ae_title="DLR")
        return association if association.is_established else None

    while left:
        association = until(associate)
        begun += 1
        with suppress(RuntimeError):  # the association has ended
            while left and association.is_established:
                if association.send_c_store(left[0]).get("Status") != 0:
                    break
                left.pop(0)
        association.release()
    return begun - 1


def test_nothing_is_lost_of_a_burst_in_whose_middle_the_receiver_is_killed(
    service: Service, receiver: Receiver, tmp_path: Path
) -> None:
    studies = [_study(tmp_path / str(number), number) for number in range(ASSOCIATIONS)]
    received = service.storage_root / "received"
    before = set(received.rglob("*.dcm"))
    with ThreadPoolExecutor(ASSOCIATIONS) as senders:
        sending = [senders.submit(_send_all, receiver.port, instances) for instances in studies]
        service.until(lambda: len(set(received.rglob("*.dcm")) - before) > ASSOCIATIONS * INSTANCES / 3)
        receiver.end(signal.SIGKILL)
        receiver.start()
        assert sum(one.result() for one in sending) > 0
        for instances in studies:
            assert service.ended(str(instances[0].StudyInstanceUID)).state == "done"
    kept = [dcmread(path) for path in set(received.rglob("*.dcm")) - before]
    sent = {one.SOPInstanceUID: one for instances in studies for one in instances}
    assert {one.SOPInstanceUID for one in kept} == sent.keys()
    assert len(kept) == len(sent) == ASSOCIATIONS * INSTANCES
    assert all(one == sent[one.SOPInstanceUID] for one in kept)
