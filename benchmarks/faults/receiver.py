"""Faults of the storage under ``dlr receive``: a disk that is full, has no inodes, is read-only, or is gone."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Comprehensive3DSRStorage, UltrasoundImageStorage

from benchmarks.faults.disks import FAULTS, small_disk
from benchmarks.faults.service import FaultService, Say, fault_service
from benchmarks.faults.simulated_device import DEVICE_MS, scores_of
from benchmarks.faults.studies import COLUMNS, ROIS, ROWS, MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import verify
from benchmarks.faults.waiting import listens
from worker.demo.dicom import Header, write_ultrasound
from worker.demo.structured_report import write_report

PATIENCE_S: Final = 120
STUDIES: Final = 5
"""Studies, of an image and a report each, that are sent while a fault lasts."""

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700

_UID: Final = "1.2.826.0.1.3680043.10.778.{}"
_AGE: Final = 44.0


@dataclass
class _Sent:
    """What a sender was told.

    Attributes:
        studies: those of which every instance was answered "success" in the end.
        refused: answers with the status "out of resources".
        wrong: what was not as promised.
    """

    studies: list[MadeStudy] = field(default_factory=list)
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


def storage_full(say: Say, *, quick: bool) -> Figure:
    """Take the storage away from under a receiver, in each way and several times, while studies are sent to it.

    Raises:
        MountingNotAllowed: no disk can be mounted here.
    """
    rounds = 1 if quick else 10
    with TemporaryDirectory(prefix="dlr-faults-") as folder, small_disk(Path(folder) / "storage") as disk:
        port = _free_port()
        settings = {"DLR_STORAGE_ROOT": str(disk), "DLR_RECEIVE_PORT": str(port), "DLR_RECEIVE_QUIET_S": "600"}
        with fault_service(say, **{DEVICE_MS: "5"}, **settings) as service:
            service.start_workers()
            service.start_module("receive", "worker.cli.main", "receive")
            service.until(lambda: listens(port), PATIENCE_S, "the receiver")
            sent = _Sent()
            for number in range(rounds):
                for fault in FAULTS:
                    _take_away(fault, disk, Path(folder), port, sent)
                    # A worker that reads a disk which is not mounted finds no file there, and says so.
                    service.until_ended(sent.studies, PATIENCE_S)
                say(f"round {number + 1} of {rounds}; {sent.refused} instances were refused")
            verdict = verify(service, sent.studies)
            sent.wrong += _left(disk) + _not_json(service)
    return Figure(
        "storage full under the receiver",
        f"{rounds} times each: {', '.join(FAULTS)}; {len(sent.studies)} studies over one association each time",
        f"{said(verdict)}; {sent.refused} instances were answered A700, and were sent again; "
        + ("; ".join(sent.wrong) or "nothing left behind, no association ended, each log line JSON"),
        "0 lost of what was answered 0000, A700 for all else",
        verdict.is_clean and not sent.wrong,
    )


def _take_away(fault: str, disk: Path, folder: Path, port: int, sent: _Sent) -> None:
    """Send studies while the storage has a fault, and what was refused of them once it has none."""
    studies = [_make(folder, len(sent.studies) + number) for number in range(STUDIES)]
    first, *others = [path for _, paths in studies for path in paths]
    with _association(port) as association:
        expected = [association.send_c_store(dcmread(first)).Status == SUCCESS]
        with FAULTS[fault](disk):
            during = [association.send_c_store(dcmread(path)).get("Status") for path in others]
        after = [association.send_c_store(dcmread(path)).get("Status") for path in others]
        expected += [status == OUT_OF_RESOURCES for status in during] + [status == SUCCESS for status in after]
        if not all(expected) or not association.is_established:
            sent.wrong.append(f"{fault}: {[during, after]} were answered")
    sent.refused += during.count(OUT_OF_RESOURCES)
    sent.studies += [study for study, _ in studies]


def _make(folder: Path, number: int) -> tuple[MadeStudy, Sequence[Path]]:
    """Write a study's image and report; two lesions, whose scores follow from the pixels."""
    uid = _UID.format(number)
    frame = np.random.default_rng(number).integers(0, 256, (ROWS, COLUMNS), np.uint8)
    image, report = folder / f"{number}.dcm", folder / f"{number}.sr.dcm"
    header = Header(uid, "", "", "", "20261124", patient_age=f"{_AGE:03.0f}Y")
    sop_instance_uid = write_ultrasound(image, header, [frame], ExplicitVRLittleEndian)
    lesions = [
        {
            "lesion_id": f"L{place}",
            "sop_instance_uid": sop_instance_uid,
            "birads": "4A",
            "roi": {"x": roi.x, "y": roi.y, "width": roi.width, "height": roi.height},
        }
        for place, roi in enumerate(ROIS, start=1)
    ]
    write_report(report, image, lesions)
    crops = [frame[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width] for roi in ROIS]
    expected = {f"L{place}": (_AGE, *scores_of(crop, _AGE)) for place, crop in enumerate(crops, start=1)}
    return MadeStudy(uid, {}, expected), (image, report)


@contextmanager
def _association(port: int) -> Iterator[Association]:
    entity = AE(ae_title="SCANNER")
    for sop_class in (UltrasoundImageStorage, Comprehensive3DSRStorage):
        entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title="DLR")
    try:
        yield association
    finally:
        association.release()


def _left(disk: Path) -> list[str]:
    left = list((disk / "received" / "arriving").iterdir())
    return [f"{len(left)} files are left of instances that were not kept"] if left else []


def _not_json(service: FaultService) -> list[str]:
    """Tell lines of the receiver's log that no program can read; the first says where it listens."""
    lines = service.services.home.log_file("receive").read_text().splitlines()[1:]
    strange = [line for line in lines if not line.startswith("{")]
    return [f"{len(strange)} lines of the log are no JSON: {strange[0]}"] if strange else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
