"""The drill's studies: one phantom in many studies, so that each has to get the scores of the first."""

import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from worker.demo.dicom import Header, write_ultrasound
from worker.phantom.phantom import phantom

ACCESSION_NUMBER = "DRILL"
"""Of every study of a drill, by which a person finds one that was not cleaned up."""

_SEED = 4
_STUDY_DATE = "20261130"


class Phantoms:
    """Writes studies into a folder of its own below the storage, and removes it in the end.

    Args:
        storage_root: the folder that the workers read.
    """

    def __init__(self, storage_root: Path) -> None:
        self._root = storage_root
        self._folder = storage_root / f"drill-{uuid4()}"
        self._phantom = phantom(_SEED, malignant=True)
        self.jobs: list[dict[str, Any]] = []
        self._folder.mkdir()

    def make(self, count: int) -> list[dict[str, Any]]:
        """Write studies, and return their jobs."""
        made = [self._one() for _ in range(count)]
        self.jobs += made
        return made

    def remove(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _one(self) -> dict[str, Any]:
        uid, roi = generate_uid(), self._phantom.roi
        path = self._folder / f"{len(list(self._folder.iterdir()))}.dcm"
        header = Header(uid, "Drill^Phantom", "DRILL", ACCESSION_NUMBER, _STUDY_DATE)
        sop = write_ultrasound(path, header, [self._phantom.image], ExplicitVRLittleEndian)
        return {
            "schema_version": 1,
            "study_instance_uid": str(uid),
            "accession_number": ACCESSION_NUMBER,
            "priority": "routine",
            "age_years": self._phantom.age_years,
            "images": {"kind": "files", "paths": [str(path.relative_to(self._root))]},
            "lesions": [
                {
                    "lesion_id": "L1",
                    "sop_instance_uid": sop,
                    "frame": 1,
                    "birads": "4A",
                    "roi": {"x": roi.x, "y": roi.y, "width": roi.width, "height": roi.height},
                }
            ],
        }
