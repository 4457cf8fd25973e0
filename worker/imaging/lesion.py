"""The lesions of one frame: its file, the age, the pixels and each lesion's region, or the one reason why not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from db.schema.vocabulary import QualityFinding, RegionSource
from worker.errors import MEANINGS, Code, LesionRefused
from worker.image_access import Limits
from worker.imaging.age import resolve_age
from worker.imaging.dicom_file import DicomFile, open_dicom
from worker.imaging.examination import examination_of
from worker.imaging.header import Header
from worker.imaging.layout import PixelLayout, frame_index, pixel_layout
from worker.imaging.pixels import decode_frame
from worker.imaging.quality.checks import quality_findings
from worker.imaging.regions import UltrasoundRegion, resolve_region, ultrasound_regions
from worker.imaging.scanner import scanner_of
from worker.imaging.spacing import size_of, spacing_at
from worker.imaging.storage import PathInJson
from worker.imaging.study_files import OnlyFile, confined, entry_of, fault_of
from worker.study import Age, Examination, LesionSize, Roi, Scanner

MODALITIES = ("US", "OT", "")


@dataclass(frozen=True, slots=True)
class Marked:
    """What a decoder has to know of the lesions of one frame.

    Attributes:
        file: the confined path of their file; or the study's only file, at which nobody has looked yet.
        sop_instance_uid: of the image that the file has to hold.
        frame: the job's.
        rois: the job's, one a lesion.
        age_years: the job's.
    """

    file: PathInJson | OnlyFile
    sop_instance_uid: str
    frame: int | None
    rois: tuple[Roi | None, ...]
    age_years: float | None


@dataclass(frozen=True, slots=True)
class Region:
    """A lesion's rectangle, wholly inside its frame.

    Attributes:
        source: where it came from.
        size: of the job's ROI, where the file says how large its pixels are.
        quality_findings: what speaks against scoring it.
    """

    roi: Roi
    source: RegionSource
    size: LesionSize | None = None
    quality_findings: tuple[QualityFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class RegionRefused:
    """Why a lesion of a readable frame cannot be scored: ``roi_outside_image`` or ``pixels_uniform``."""

    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame, uint8, (rows, columns) or (rows, columns, 3), whose and where from, and a region or refusal a lesion."""

    frame: NDArray[np.uint8]
    age: Age
    scanner: Scanner
    examination: Examination
    regions: tuple[Region | RegionRefused, ...]


def decode_lesions(
    marked: Marked, limits: Limits, before_pixels: Callable[[PixelLayout], None] = lambda _layout: None
) -> Decoded:
    """Load the lesions of one frame. Everything that the header can tell is checked before a pixel is decoded.

    Args:
        marked: the lesions.
        limits: the largest file and the largest frame.
        before_pixels: called with the layout once all checks have passed.

    Returns:
        The frame, the age, the scanner, the examination, and one region or refusal a lesion, in their order.

    Raises:
        LesionRefused: none of these lesions can be scored; any code of a file, of pixels or of an age, and
            ``roi_outside_image`` where no lesion is inside the frame.
        Unavailable: ``storage_unavailable``; the same lesions can be tried again.
    """
    path = confined(marked.file) if isinstance(marked.file, OnlyFile) else Path(marked.file)
    with open_dicom(path, limits) as file:
        _check_identity(file, marked)
        # OT is what secondary captures of ultrasound carry. A Modality that is missing says nothing against it:
        # docs/decisions/0007-what-is-not-ultrasound-is-refused.md.
        if file.header.text("Modality") not in MODALITIES:
            raise LesionRefused(Code.MODALITY_NOT_ULTRASOUND)
        layout = pixel_layout(file, limits)
        index = frame_index(layout, marked.frame)
        age = _age(file.header, marked.age_years)
        scanner, examination = scanner_of(file.header), examination_of(file.header)
        known = ultrasound_regions(file.header)
        regions = _regions(marked.rois, layout, known, file.header)
        before_pixels(layout)
        frame = decode_frame(file, layout, index)

    @cache
    def findings(roi: Roi) -> tuple[QualityFinding, ...]:
        return quality_findings(frame, roi, known, file.header)

    found = tuple(_with_content(region, frame, findings) for region in regions)
    return Decoded(frame, age, scanner, examination, found)


def _regions(
    rois: Sequence[Roi | None], layout: PixelLayout, known: Sequence[UltrasoundRegion], header: Header
) -> list[Region | RegionRefused]:
    regions: list[Region | RegionRefused] = []
    for roi in rois:
        try:
            place, source = resolve_region(roi, rows=layout.rows, columns=layout.columns, ultrasound_regions=known)
            # A whole B-mode region is no lesion's size.
            size = size_of(roi, spacing_at(roi, known, header)) if roi is not None else None
            regions.append(Region(place, source, size))
        except LesionRefused as refused:
            regions.append(RegionRefused(refused.code, refused.reason))
    if not any(isinstance(region, Region) for region in regions):
        raise LesionRefused(Code.ROI_OUTSIDE_IMAGE)
    return regions


def _with_content(
    region: Region | RegionRefused, frame: NDArray[np.uint8], findings: Callable[[Roi], tuple[QualityFinding, ...]]
) -> Region | RegionRefused:
    if isinstance(region, RegionRefused):
        return region
    if _uniform(frame, region.roi):
        return RegionRefused(Code.PIXELS_UNIFORM, MEANINGS[Code.PIXELS_UNIFORM])
    return replace(region, quality_findings=findings(region.roi))


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
