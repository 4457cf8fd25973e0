"""Whether two files are one image in two encodings, as where a scanner and its PACS use different transfer syntaxes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from worker.image_access import Limits
from worker.imaging.dicom_file import DicomFile, open_dicom
from worker.imaging.layout import PixelLayout, pixel_layout
from worker.imaging.pixels import decode_frame
from worker.imaging.regions import ultrasound_regions
from worker.text import composed

MOST_PIXELS: Final = 1 << 28
"""Rows x columns x frames of an image that are compared: 870 frames of 640 x 480."""

TEXTS: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "StudyDate",
    "StudyTime",
    "TimezoneOffsetFromUTC",
    "AccessionNumber",
    "PlacerOrderNumberImagingServiceRequest",
    "StudyID",
    "StudyDescription",
    "ReferringPhysicianName",
    "Modality",
    "ImageType",
    "Manufacturer",
    "ManufacturerModelName",
    "InstitutionName",
    "StationName",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "Laterality",
    "ImageLaterality",
    "BurnedInAnnotation",
    "PixelSpacingCalibrationType",
)
"""What is read of a header as text, for scoring or for documents."""

NUMBERS: Final = ("PixelSpacing",)


def same_image(
    one: Path, other: Path, limits: Limits, before_pixels: Callable[[PixelLayout], None] = lambda _layout: None
) -> bool:
    """Compare two files by what is read of them: their attributes, and every frame as it is displayed, pixel by pixel.

    How the pixels are encoded (PS3.5, 8 and annex A; PS3.3, C.7.6.3) is not compared, and neither is what else a header
    holds.

    Args:
        one: a confined path.
        other: the same.
        limits: the largest file and the largest frame.
        before_pixels: called with the layout before anything is decoded.

    Returns:
        ``False`` also where there is more to compare than `MOST_PIXELS`.

    Raises:
        LesionRefused: one of them cannot be read, or decoded.
        Unavailable: ``storage_unavailable``.
    """
    with open_dicom(one, limits, TEXTS) as first, open_dicom(other, limits, TEXTS) as second:
        if _said(first) != _said(second):
            return False
        layout, reencoded = pixel_layout(first, limits), pixel_layout(second, limits)
        size = layout.rows, layout.columns, layout.frames
        if size != (reencoded.rows, reencoded.columns, reencoded.frames) or np.prod(size) > MOST_PIXELS:
            return False
        before_pixels(max(layout, reencoded, key=lambda one: one.samples))
        return all(
            np.array_equal(decode_frame(first, layout, index), decode_frame(second, reencoded, index))
            for index in range(layout.frames)
        )


def _said(file: DicomFile) -> list[Any]:
    header = file.header
    numbers = [header.decimals(keyword) for keyword in NUMBERS]
    return [[composed(header.text(keyword)) for keyword in TEXTS], numbers, ultrasound_regions(header)]
