"""One lesion of a study: its file, age, region and frame, or the one reason why not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.errors import Code, LesionRefused
from worker.imaging.age import resolve_age
from worker.imaging.dicom_file import DicomFile, Header, open_dicom
from worker.imaging.layout import PixelLayout, frame_index, pixel_layout
from worker.imaging.pixels import decode_frame
from worker.imaging.reading import OnlyFile, confined, entry_of, fault_of
from worker.imaging.regions import resolve_region, ultrasound_regions
from worker.imaging.storage import Limits
from worker.study import Age, RegionSource, Roi

_MODALITIES = ("US", "OT", "")


@dataclass(frozen=True, slots=True)
class Marked:
    """What a decoder has to know of a lesion.

    Attributes:
        file: the confined path of its file; or the study's only file, at which nobody has looked yet.
        sop_instance_uid: of the image that the file has to hold.
        frame: the job's.
        roi: the job's.
        age_years: the job's.
    """

    file: str | OnlyFile
    sop_instance_uid: str
    frame: int | None
    roi: Roi | None
    age_years: float | None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A lesion's frame, uint8, (rows, columns) or (rows, columns, 3), its region inside it, and the patient's age."""

    frame: NDArray[np.uint8]
    region: Roi
    region_source: RegionSource
    age: Age


def decode_lesion(
    marked: Marked, limits: Limits, before_pixels: Callable[[PixelLayout], None] = lambda _layout: None
) -> Decoded:
    """Load one lesion. Everything that the header can tell is checked before a pixel is decoded.

    Args:
        marked: the lesion.
        limits: the largest file and the largest frame.
        before_pixels: called with the layout once all checks have passed.

    Returns:
        The frame with the lesion's region and age.

    Raises:
        LesionRefused: this lesion can not be scored; any code of a file, of pixels, of a region or of an age.
        Unavailable: ``storage_unavailable``; the same lesion can be tried again.
    """
    path = confined(marked.file) if isinstance(marked.file, OnlyFile) else Path(marked.file)
    with open_dicom(path, limits) as file:
        _check_identity(file, marked)
        # OT is what secondary captures of ultrasound carry. A Modality that is missing says nothing against it.
        if file.header.text("Modality") not in _MODALITIES:
            raise LesionRefused(Code.MODALITY_NOT_ULTRASOUND)
        layout = pixel_layout(file, limits)
        index = frame_index(layout, marked.frame)
        age = _age(file.header, marked.age_years)
        region, source = resolve_region(
            marked.roi,
            rows=layout.rows,
            columns=layout.columns,
            ultrasound_regions=ultrasound_regions(file.header),
        )
        before_pixels(layout)
        frame = decode_frame(file, layout, index)
    if _uniform(frame, region):
        raise LesionRefused(Code.PIXELS_UNIFORM)
    return Decoded(frame, region, source, age)


def _check_identity(file: DicomFile, marked: Marked) -> None:
    if isinstance(marked.file, OnlyFile):
        fault = fault_of(entry_of(file), marked.file.study_instance_uid)
        if fault is not None:
            raise LesionRefused(fault)
    if file.header.text("SOPInstanceUID") != marked.sop_instance_uid:
        raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND)


def _age(header: Header, age_years: float | None) -> Age:
    patient_age, birth_date, study_date = map(header.text, ("PatientAge", "PatientBirthDate", "StudyDate"))
    return resolve_age(age_years, patient_age, birth_date, study_date)


def _uniform(frame: NDArray[np.uint8], region: Roi) -> bool:
    pixels = frame[region.y : region.y + region.height, region.x : region.x + region.width]
    return bool((pixels == pixels[0, 0]).all())
