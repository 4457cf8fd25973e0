"""Studies to push in numbers: each with UIDs, pixels and an age of its own, two lesions, scores known beforehand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.faults.simulated_device import scores_of
from worker.demo.dicom import Header, write_ultrasound
from worker.study import Roi

ROWS, COLUMNS = 48, 64
ROIS = (Roi(4, 4, 24, 24), Roi(36, 8, 24, 32))
_UID = "1.2.826.0.1.3680043.10.777.{}"
_FIRST = 10_000_000
_DIGITS = 8
_AGE = 44.0


@dataclass(frozen=True, slots=True)
class MadeStudy:
    """A study whose file is in the storage.

    Attributes:
        uid: Study Instance UID.
        job: what is pushed.
        expected: for each lesion id, the age and the scores of DLR_LH and DLR_BM.
    """

    uid: str
    job: dict[str, Any]
    expected: dict[str, tuple[float, float, float]]


class StudyMaker:
    """Writes studies into a storage; no two of one maker are alike."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage
        self._number = _FIRST
        storage.mkdir(parents=True, exist_ok=True)
        template = storage / "template.dcm"
        blank = np.zeros((ROWS, COLUMNS), np.uint8)
        self._sop = write_ultrasound(
            template, Header(_UID.format(_FIRST), "", "", "", "20261124"), [blank], ExplicitVRLittleEndian
        )
        self._template = template.read_bytes()
        template.unlink()

    def make(self, count: int, priority: str = "routine", rois: Sequence[Roi] = ROIS) -> list[MadeStudy]:
        """Make studies with lesions at these places."""
        return [self._one(priority, rois) for _ in range(count)]

    def around(self, write: Callable[[Path, dict[str, str]], object]) -> MadeStudy:
        """Make a study of one lesion, its region the whole image, around a file.

        Args:
            write: writes the file; called with its path and its UIDs by keyword.
        """
        self._number += 1
        uid, sop = _UID.format(self._number), f"{self._sop[:-_DIGITS]}{self._number}"
        path = f"{uid}.dcm"
        write(self._storage / path, {"StudyInstanceUID": uid, "SOPInstanceUID": sop})
        lesion = {"lesion_id": "L1", "sop_instance_uid": sop, "frame": 1, "birads": "4A"}
        return MadeStudy(uid, _job(uid, "routine", _AGE, path, [lesion]), {})

    def _one(self, priority: str, rois: Sequence[Roi]) -> MadeStudy:
        self._number += 1
        uid, sop = _UID.format(self._number), f"{self._sop[:-_DIGITS]}{self._number}"
        frame = np.random.default_rng(self._number).integers(0, 256, (ROWS, COLUMNS), np.uint8)
        data = self._template.replace(_UID.format(_FIRST).encode(), uid.encode())
        data = data.replace(self._sop.encode(), sop.encode())[: -frame.size] + frame.tobytes()
        path = f"{self._number}.dcm"
        (self._storage / path).write_bytes(data)
        age = 20.5 + self._number % 60
        lesions = [
            {
                "lesion_id": f"L{place}",
                "sop_instance_uid": sop,
                "frame": 1,
                "birads": "4A",
                "roi": {"x": roi.x, "y": roi.y, "width": roi.width, "height": roi.height},
            }
            for place, roi in enumerate(rois, start=1)
        ]
        return MadeStudy(
            uid,
            _job(uid, priority, age, path, lesions),
            {f"L{place}": (age, *scores_of(_crop(frame, roi), age)) for place, roi in enumerate(rois, start=1)},
        )


def _job(uid: str, priority: str, age: float, path: str, lesions: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "study_instance_uid": uid,
        "priority": priority,
        "age_years": age,
        "images": {"kind": "files", "paths": [path]},
        "lesions": lesions,
    }


def _crop(frame: NDArray[np.uint8], roi: Roi) -> NDArray[np.uint8]:
    return frame[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
