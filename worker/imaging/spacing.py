"""How large a pixel is, and so how large a lesion. Where the file does not say so beyond doubt, nobody guesses."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.imaging.header import Header
from worker.imaging.regions import UltrasoundRegion, contains, is_tissue
from worker.study import LesionSize, Roi

_CENTIMETRES = 3
_MILLIMETRES_A_CENTIMETRE = 10
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_CALIBRATED = ("GEOMETRY", "FIDUCIAL")
_SMALLEST_MM, _LARGEST_MM = 0.001, 5.0
"""No scanner shows tissue with pixels of less than a micrometre or more than half a centimetre."""


@dataclass(frozen=True, slots=True)
class Spacing:
    """Millimetres from one pixel to the next: to the right, and down (away from the skin)."""

    x_mm: float
    y_mm: float


def spacing_at(roi: Roi, regions: Sequence[UltrasoundRegion], header: Header) -> Spacing | None:
    """Find the size of the pixels inside a rectangle.

    - Physical Delta X and Y of the 2-D tissue region that holds the whole rectangle, where both Physical Units are cm
      (PS3.3, C.8.5.5.1.15 and C.8.5.5.1.17). A negative delta runs the other way; its magnitude counts. Region Flags
      do not matter: they rank pixel values, not distances (C.8.5.5.1.3). Regions that disagree say nothing.
    - Only in a Secondary Capture without any region: Pixel Spacing, where Pixel Spacing Calibration Type says that it
      is one in the patient (PS3.3, 10.7.1). The ultrasound IODs have no Pixel Spacing, and Imager Pixel Spacing is of
      X-ray detectors.

    Args:
        roi: wholly inside the frame.
        regions: those of the file.
        header: of the file.
    """
    if not regions:
        return _calibrated(header)
    found = {_of_region(region) for region in regions if is_tissue(region) and contains(region, roi)}
    return found.pop() if len(found) == 1 else None


def size_of(roi: Roi, spacing: Spacing | None) -> LesionSize | None:
    """Return a rectangle's extent in millimetres, where the spacing is known."""
    return None if spacing is None else LesionSize(roi.width * spacing.x_mm, roi.height * spacing.y_mm)


def _of_region(region: UltrasoundRegion) -> Spacing | None:
    if region.units != (_CENTIMETRES, _CENTIMETRES) or region.deltas is None:
        return None
    x, y = (abs(delta) * _MILLIMETRES_A_CENTIMETRE for delta in region.deltas)
    return _plausible(x, y)


def _calibrated(header: Header) -> Spacing | None:
    if not header.text("SOPClassUID").startswith(_SECONDARY_CAPTURE):
        return None
    spacing = header.decimals("PixelSpacing")
    if header.text("PixelSpacingCalibrationType") not in _CALIBRATED or len(spacing) != 2:
        return None
    return _plausible(spacing[1], spacing[0])  # row spacing, which is down, comes first (PS3.3, 10.7.1.3)


def _plausible(x_mm: float, y_mm: float) -> Spacing | None:
    known = all(_SMALLEST_MM <= each <= _LARGEST_MM for each in (x_mm, y_mm))
    return Spacing(x_mm, y_mm) if known else None
