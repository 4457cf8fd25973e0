"""The demo's studies: every BI-RADS category, several transfer syntaxes, and one file that is broken."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

from worker.demo.dicom import Header, write_ultrasound
from worker.phantom.phantom import Phantom, phantom

ROWS, COLUMNS = 384, 512
STUDY_DATE = "20261123"


@dataclass(frozen=True, slots=True)
class DemoLesion:
    """A lesion to draw: the category that the radiologist gave, and what pathology will say."""

    birads: str
    malignant: bool


@dataclass(frozen=True, slots=True)
class DemoStudy:
    """A study to make, and the state that it has to end in."""

    name: str
    lesions: tuple[DemoLesion, ...]
    transfer_syntax: UID
    frames: int = 1
    colour: bool = False
    priority: str = "routine"
    age_from: str = "job"
    roi: bool = True
    truncated: bool = False
    ends: str = "done"


def _one(birads: str, *, malignant: bool) -> tuple[DemoLesion, ...]:
    return (DemoLesion(birads, malignant),)


STUDIES: tuple[DemoStudy, ...] = (
    DemoStudy("incomplete", _one("0", malignant=False), ExplicitVRLittleEndian),
    DemoStudy("negative", _one("1", malignant=False), ImplicitVRLittleEndian, age_from="patient_age"),
    DemoStudy("benign", _one("2", malignant=False), ExplicitVRBigEndian, age_from="birth_date"),
    DemoStudy("probably benign", _one("3", malignant=False), RLELossless, colour=True),
    DemoStudy("4A benign", _one("4A", malignant=False), DeflatedExplicitVRLittleEndian),
    DemoStudy("4A malignant", _one("4A", malignant=True), JPEG2000Lossless, age_from="patient_age"),
    DemoStudy("4A urgent", _one("4A", malignant=True), JPEGBaseline8Bit, colour=True, priority="urgent"),
    DemoStudy("4A cine loop", _one("4A", malignant=False), JPEGBaseline8Bit, frames=12),
    DemoStudy("4B", _one("4B", malignant=True), RLELossless, frames=6),
    DemoStudy("4C stat", _one("4C", malignant=True), ExplicitVRLittleEndian, colour=True, priority="stat"),
    DemoStudy("5 without an ROI", _one("5", malignant=True), ExplicitVRLittleEndian, roi=False),
    DemoStudy(
        "three lesions",
        (DemoLesion("4A", malignant=False), DemoLesion("4A", malignant=True), DemoLesion("6", malignant=True)),
        ExplicitVRLittleEndian,
        frames=3,
    ),
    DemoStudy("damaged file", _one("4A", malignant=True), ExplicitVRLittleEndian, truncated=True, ends="failed"),
)


@dataclass(frozen=True, slots=True)
class MadeStudy:
    """A study on disk, and the job that an integrator would push for it."""

    study: DemoStudy
    job: dict[str, Any]


def make_studies(storage_root: Path, seed: int, studies: Sequence[DemoStudy] = STUDIES) -> Iterator[MadeStudy]:
    """Write each study's file under the storage root and yield it with its job.

    Args:
        storage_root: the folder that the workers read.
        seed: of the phantoms; patients are numbered, and no person's.
        studies: what to make.
    """
    for number, study in enumerate(studies, start=1):
        phantoms = [
            phantom(seed + 100 * number + place, malignant=lesion.malignant, rows=ROWS, columns=COLUMNS)
            for place, lesion in enumerate(study.lesions)
        ]
        yield MadeStudy(study, _write(storage_root, number, study, phantoms))


def _write(storage_root: Path, number: int, study: DemoStudy, phantoms: Sequence[Phantom]) -> dict[str, Any]:
    age = round(phantoms[0].age_years)
    header = Header(
        study_instance_uid=generate_uid(),
        patient_name=f"Phantom^Number{number:02d}",
        patient_id=f"PHANTOM-{number:02d}",
        accession_number=f"DEMO{number:04d}",
        study_date=STUDY_DATE,
        birth_date=f"{int(STUDY_DATE[:4]) - age:04d}0101" if study.age_from == "birth_date" else "",
        patient_age=f"{age:03d}Y" if study.age_from == "patient_age" else "",
    )
    relative = Path("demo") / f"study-{number:02d}.dcm"
    path = storage_root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    b_mode = None if study.roi else phantoms[0].roi
    sop_instance_uid = write_ultrasound(path, header, _frames(study, phantoms), study.transfer_syntax, b_mode)
    if study.truncated:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    job: dict[str, Any] = {
        "schema_version": 1,
        "study_instance_uid": header.study_instance_uid,
        "accession_number": header.accession_number,
        "priority": study.priority,
        "images": {"kind": "files", "paths": [str(relative)]},
        "lesions": [
            _lesion_job(place, study, lesion, phantom_, sop_instance_uid)
            for place, (lesion, phantom_) in enumerate(zip(study.lesions, phantoms, strict=True), start=1)
        ],
    }
    return job | ({"age_years": float(age)} if study.age_from == "job" else {})


def _lesion_job(place: int, study: DemoStudy, lesion: DemoLesion, drawn: Phantom, sop_uid: str) -> dict[str, Any]:
    roi = drawn.roi
    job: dict[str, Any] = {
        "lesion_id": f"L{place}",
        "sop_instance_uid": sop_uid,
        "frame": min(place, study.frames),
        "birads": lesion.birads,
    }
    if study.roi:
        job["roi"] = {"x": roi.x, "y": roi.y, "width": roi.width, "height": roi.height}
    return job


def _frames(study: DemoStudy, phantoms: Sequence[Phantom]) -> list[NDArray[np.uint8]]:
    images = [phantoms[min(place, len(phantoms) - 1)].image for place in range(study.frames)]
    return [np.repeat(image[..., None], 3, axis=2) if study.colour else image for image in images]
