"""The pixels of a row of a manifest, read as the service reads them: a frame, the lesion's rectangle and the age."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from db.schema.vocabulary import QualityFinding
from worker.dataset.manifest import ManifestRow
from worker.errors import MEANINGS, Code, DlrError, LesionRefused, Refused
from worker.image_access import DEFAULT_LIMITS, Limits
from worker.imaging.age import resolve_age
from worker.imaging.cropping import crop, to_grey
from worker.imaging.dicom_file import open_dicom
from worker.imaging.header import Header
from worker.imaging.layout import frame_index, pixel_layout
from worker.imaging.lesion import MODALITIES
from worker.imaging.pixels import decode_frame
from worker.imaging.quality.calipers import has_calipers
from worker.imaging.quality.checks import quality_findings
from worker.imaging.regions import UltrasoundRegion, resolve_region, ultrasound_regions
from worker.imaging.scanner import scanner_of
from worker.imaging.spacing import Spacing, size_of, spacing_at
from worker.imaging.storage import confine, open_regular
from worker.study import Roi

_SAID = {
    Code.FILE_NOT_FOUND: "no file at that path, from the manifest's folder or --root on",
    Code.PATH_OUTSIDE_STORAGE: "a link at that path leads out of the manifest's folder, or --root",
    Code.FILE_NOT_READABLE: "this user is not allowed to read the file",
    Code.FILE_TOO_LARGE: f"the file is larger than {DEFAULT_LIMITS.max_file_bytes} bytes, or inflates to too many",
    Code.PIXELS_TOO_LARGE: f"the frame has more than {DEFAULT_LIMITS.max_frame_pixels} pixels",
    Code.AGE_CONTRADICTORY: "age_years and the header's age differ by more than a year: correct the wrong one",
}
"""In place of a code's meaning, where that is of a job and of the service's settings, and not of a manifest."""

NEAR = 0.25
"""Margin in which calipers are looked for, a share of the region's sides: what an image network sees by default."""

_PREAMBLE, _MAGIC = 128, b"DICM"
_FORMATS = ("PNG", "JPEG", "TIFF")
_COLOURS = {"RGB": "RGB", "RGBA": "RGB", "P": "RGB", "L": "L", "LA": "L", "1": "L"}


@dataclass(frozen=True, slots=True)
class Appearance:
    """What an image shows of a lesion, and how it was taken, in numbers and words.

    Attributes:
        quality_findings: what the service would say against the region.
        lesion_px: the longer side of the lesion's rectangle, pixels.
        lesion_mm: the same in millimetres, where the size of a pixel is known.
        frame_px: the longer side of the frame, pixels.
        scanner_model: of the row, or of a DICOM file's header; ``None``: neither says it.
    """

    quality_findings: tuple[QualityFinding, ...]
    lesion_px: float
    lesion_mm: float | None
    frame_px: float
    scanner_model: str | None


@dataclass(frozen=True, slots=True)
class TrainingLesion:
    """A row's lesion, ready for the models' preprocessing.

    Attributes:
        frame: uint8, (rows, columns) for grey or (rows, columns, 3) for RGB; white is bright.
        region: the lesion's rectangle, wholly inside the frame, without any margin.
        age_years: 0 to 120; ``None`` where neither the row nor the file's header has one.
        appearance: what else the image shows.
    """

    frame: NDArray[np.uint8]
    region: Roi
    age_years: float | None
    appearance: Appearance

    @property
    def has_calipers(self) -> bool:
        """Whether calipers are on the lesion or beside it: looked for each time, which takes longer than to read it."""
        return has_calipers(to_grey(crop(self.frame, self.region, NEAR)))


def read_lesion(root: Path, row: ManifestRow, limits: Limits = DEFAULT_LIMITS) -> TrainingLesion:
    """Read a row's lesion. Sizes are checked before pixels are decoded, and no path leaves the root.

    Args:
        root: the manifest's, resolved.
        row: not an excluded one.
        limits: the largest file and frame.

    Raises:
        LesionRefused: any code of a file, of pixels or of an age; ``mask_invalid``; ``modality_not_ultrasound``;
            ``roi_outside_image``; ``pixels_uniform``.
        Unavailable: ``storage_unavailable``.
    """
    path = confine(root, row.image)
    reading = _read_dicom if _is_dicom(path, limits) else _read_picture
    frame, header, age_years = reading(path, row, limits)
    regions = ultrasound_regions(header)
    roi = _roi(root, row, frame.shape, limits)
    region = region_with_content(frame, roi, regions)
    size = size_of(region, _spacing(row, region, regions, header))
    appearance = Appearance(
        quality_findings(frame, region, regions, header),
        lesion_px=max(region.width, region.height),
        lesion_mm=None if size is None else max(size.width_mm, size.height_mm),
        frame_px=max(frame.shape[:2]),
        scanner_model=row.scanner_model or scanner_of(header).model,
    )
    return TrainingLesion(frame, region, age_years, appearance)


def region_with_content(frame: NDArray[np.uint8], roi: Roi | None, regions: Sequence[UltrasoundRegion]) -> Roi:
    """Return a lesion's rectangle on its frame, as the service takes it.

    Raises:
        LesionRefused: ``roi_outside_image``, ``pixels_uniform``.
    """
    rows, columns = frame.shape[:2]
    region, _ = resolve_region(roi, rows=rows, columns=columns, ultrasound_regions=regions)
    pixels = frame[region.y : region.y + region.height, region.x : region.x + region.width]
    if (pixels == pixels[0, 0]).all():
        raise LesionRefused(Code.PIXELS_UNIFORM)
    return region


def _spacing(row: ManifestRow, region: Roi, regions: Sequence[UltrasoundRegion], header: Header) -> Spacing | None:
    if row.pixel_spacing_mm is not None:
        return Spacing(row.pixel_spacing_mm, row.pixel_spacing_mm)
    return spacing_at(region, regions, header)


def said_of(refused: Refused) -> str:
    """Return the sentence on a row that is refused, in a manifest's words. It has no value of the row."""
    own = refused.reason != MEANINGS[refused.code]
    return refused.reason if own else _SAID.get(refused.code, refused.reason)


def read_picture(path: Path, frame: int | None = None, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Read a PNG, JPEG or TIFF: uint8, (rows, columns) for grey or (rows, columns, 3) for RGB; any alpha is dropped.

    Raises:
        LesionRefused: the codes of a file; ``pixels_undecodable``, ``pixels_too_large``, ``photometric_unsupported``,
            ``frame_not_given``, ``frame_not_found``.
        Unavailable: ``storage_unavailable``.
    """
    with _opened(path, frame, limits) as image:
        mode = _COLOURS.get(image.mode)
        if mode is None:
            raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, "the image is not 8-bit grey or RGB")
        return np.asarray(image if image.mode == mode else image.convert(mode))


def mask_roi(path: Path, limits: Limits = DEFAULT_LIMITS) -> tuple[Roi, tuple[int, int]]:
    """Return the smallest rectangle around all pixels of a mask that are not 0, and the mask's (rows, columns).

    Raises:
        LesionRefused: ``mask_invalid``, and the codes of a file.
        Unavailable: ``storage_unavailable``.
    """
    try:
        with _opened(path, None, limits) as image:
            marked = np.asarray(image if image.mode in ("L", "1", "I;16") else image.convert("RGB").convert("L")) != 0
    except LesionRefused as refused:
        if refused.code in (Code.PIXELS_UNDECODABLE, Code.PIXELS_TOO_LARGE, Code.FRAME_NOT_GIVEN):
            raise LesionRefused(Code.MASK_INVALID, "the mask is not a PNG, JPEG or TIFF that can be read") from None
        raise
    down, across = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    if not len(down):
        raise LesionRefused(Code.MASK_INVALID, "the mask is empty: it marks no lesion")
    x, y = int(across[0]), int(down[0])
    return Roi(x, y, int(across[-1]) + 1 - x, int(down[-1]) + 1 - y), (marked.shape[0], marked.shape[1])


def _roi(root: Path, row: ManifestRow, shape: tuple[int, ...], limits: Limits) -> Roi | None:
    if row.mask is not None:
        try:
            roi, size = mask_roi(confine(root, row.mask), limits)
        except LesionRefused as refused:
            reason = f"the mask: {said_of(refused)}" if refused.code is not Code.MASK_INVALID else refused.reason
            raise LesionRefused(Code.MASK_INVALID, reason) from None
        if size != shape[:2]:
            raise LesionRefused(Code.MASK_INVALID, "the mask and its image differ in size")
        return roi
    return None if row.roi is None else Roi(row.roi.x, row.roi.y, row.roi.width, row.roi.height)


def _is_dicom(path: Path, limits: Limits) -> bool:
    with open_regular(path, limits) as file:
        return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC


_Read = tuple[NDArray[np.uint8], Header, float | None]


def read_dicom(path: Path, frame: int | None, age_years: float | None, limits: Limits = DEFAULT_LIMITS) -> _Read:
    """Read a frame of a DICOM file.

    Args:
        path: a confined path.
        frame: counts from 1; ``None``: the file's only one.
        age_years: what is known already, and must not contradict the header.
        limits: the largest file and frame.

    Returns:
        The frame, uint8, (rows, columns) or (rows, columns, 3); the header; and the age, 0 to 120 years, ``None`` where
        nothing says it.

    Raises:
        LesionRefused: any code of a file, of pixels or of an age; ``modality_not_ultrasound``.
        Unavailable: ``storage_unavailable``.
    """
    with open_dicom(path, limits) as file:
        if file.header.text("Modality") not in MODALITIES:
            raise LesionRefused(Code.MODALITY_NOT_ULTRASOUND)
        layout = pixel_layout(file, limits)
        index = frame_index(layout, frame)
        years = _age(file.header, age_years)
        return decode_frame(file, layout, index), file.header, years


def _read_dicom(path: Path, row: ManifestRow, limits: Limits) -> _Read:
    return read_dicom(path, row.frame, row.age_years, limits)


def _age(header: Header, age_years: float | None) -> float | None:
    patient_age, birth_date, study_date = map(header.text, ("PatientAge", "PatientBirthDate", "StudyDate"))
    try:
        return resolve_age(age_years, patient_age, birth_date, study_date).years
    except LesionRefused as refused:
        if refused.code is Code.AGE_MISSING:
            return None
        raise


def _read_picture(path: Path, row: ManifestRow, limits: Limits) -> _Read:
    return read_picture(path, row.frame, limits), Header(Dataset(), little_endian=True), row.age_years


@contextmanager
def _opened(path: Path, frame: int | None, limits: Limits) -> Iterator[Image.Image]:
    """Open a picture at a frame, decoded, or refuse it; Pillow's own words may quote the file's and are dropped."""
    try:
        with open_regular(path, limits) as file, Image.open(file, formats=_FORMATS) as image:
            _seek(image, frame, limits)
            image.load()
            yield image
    except DlrError:
        raise
    except Exception:  # noqa: BLE001  Pillow raises many things on what is no picture
        reason = "the image is neither DICOM nor a PNG, JPEG or TIFF that can be decoded"
        raise LesionRefused(Code.PIXELS_UNDECODABLE, reason) from None


def _seek(image: Image.Image, frame: int | None, limits: Limits) -> None:
    frames = getattr(image, "n_frames", 1)
    if frame is None and frames > 1:
        raise LesionRefused(Code.FRAME_NOT_GIVEN)
    if (frame or 1) > frames:
        raise LesionRefused(Code.FRAME_NOT_FOUND)
    image.seek((frame or 1) - 1)
    if image.width * image.height > limits.max_frame_pixels:
        raise LesionRefused(Code.PIXELS_TOO_LARGE)
