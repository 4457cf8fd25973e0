"""What several images of a lesion cost: the same frames and regions as lesions of two images, and as lesions of one."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.faults.service import fault_service
from benchmarks.faults.studies import COLUMNS, ROIS, ROWS, MadeStudy
from benchmarks.measuring import Figure, Say, in_turns
from benchmarks.queueing import emptied, start_inference
from benchmarks.simulated_gpu import BATCH, N_MAX
from worker.demo.dicom import Header, write_ultrasound

WORKER = "inference"
FRAMES = (1, 2)
AT_HAND = N_MAX // (len(ROIS) * len(FRAMES))
_UID = "1.2.826.0.1.3680043.10.776.{}"


def several(say: Say, *, quick: bool) -> Figure:
    """Studies a second of two lesions of two images, against studies of four lesions of one image."""
    count, rounds = (150, 2) if quick else (600, 5)
    with fault_service(say) as service:
        made = _Maker(service.services.settings.storage_root)
        start_inference(service, WORKER, "benchmarks.simulated_gpu", AT_HAND, {BATCH: str(N_MAX)})

        def rate(studies: Sequence[MadeStudy]) -> float:
            return emptied(service, [WORKER], studies) / len(studies[0].job["lesions"])

        rate(made.of_two_images(AT_HAND)), rate(made.of_one_image(AT_HAND))
        ratio = in_turns(lambda: rate(made.of_two_images(count)), lambda: rate(made.of_one_image(count)), rounds)
    return Figure(
        "images",
        f"studies/s, two lesions of two images / four lesions of one image, on the same two frames; {AT_HAND} "
        f"studies in flight, simulated device of T(n) = 19 + n ms",
        ratio.median,
        ratio.spread,
        ratio.median >= 0.95,
        f"{statistics.median(ratio.ours):.0f} studies/s",
        f"{statistics.median(ratio.peers):.0f} studies/s",
    )


class _Maker:
    """Writes studies of a file with two frames, each with two regions."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage
        self._number = 10_000_000

    def of_two_images(self, count: int) -> list[MadeStudy]:
        return [self._study(2, self._two_images) for _ in range(count)]

    def of_one_image(self, count: int) -> list[MadeStudy]:
        return [self._study(1, self._one_image) for _ in range(count)]

    def _study(self, version: int, lesions_of: Callable[[str], list[dict[str, Any]]]) -> MadeStudy:
        self._number += 1
        uid, path = _UID.format(self._number), f"{self._number}.dcm"
        frames = list(np.random.default_rng(self._number).integers(0, 256, (len(FRAMES), ROWS, COLUMNS), np.uint8))
        header = Header(uid, "", "", "", "20261124")
        sop = write_ultrasound(self._storage / path, header, frames, ExplicitVRLittleEndian)
        job = {
            "schema_version": version,
            "study_instance_uid": uid,
            "age_years": 20.5 + self._number % 60,
            "images": {"kind": "files", "paths": [path]},
            "lesions": lesions_of(sop),
        }
        return MadeStudy(uid, job, {})

    @staticmethod
    def _two_images(sop: str) -> list[dict[str, Any]]:
        return [
            {
                "lesion_id": f"L{place}",
                "birads": "4A",
                "images": [{"sop_instance_uid": sop, "frames": list(FRAMES), "roi": roi}],
            }
            for place, roi in enumerate(_ROIS, start=1)
        ]

    @staticmethod
    def _one_image(sop: str) -> list[dict[str, Any]]:
        marks = [(frame, roi) for roi in _ROIS for frame in FRAMES]
        return [
            {"lesion_id": f"L{place}", "birads": "4A", "sop_instance_uid": sop, "frame": frame, "roi": roi}
            for place, (frame, roi) in enumerate(marks, start=1)
        ]


_ROIS = [{"x": roi.x, "y": roi.y, "width": roi.width, "height": roi.height} for roi in ROIS]
