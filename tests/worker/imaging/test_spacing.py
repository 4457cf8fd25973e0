"""How large a pixel is: only where the file says so beyond doubt."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
)

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, picture, region, write
from worker.imaging.dicom_file import open_dicom
from worker.imaging.lesion import Marked, Region, decode_lesions
from worker.imaging.regions import UltrasoundRegion, ultrasound_regions
from worker.imaging.spacing import Spacing, size_of, spacing_at
from worker.study import LesionSize, Roi

CM = 3
WHOLE = Roi(0, 0, 64, 48)
ROI = Roi(3, 4, 20, 10)


def calibrated(roi: Roi = WHOLE, x: float | None = 0.01, y: float | None = 0.02, **changes: Any) -> Dataset:
    """A 2-D tissue region of 0.1 mm x 0.2 mm a pixel, with what a test says made different."""
    item = region(roi)
    values = {"PhysicalUnitsXDirection": CM, "PhysicalUnitsYDirection": CM, "PhysicalDeltaX": x, "PhysicalDeltaY": y}
    for keyword, value in (values | changes).items():
        if value is not None:
            setattr(item, keyword, value)
    return item


def spacing_of(path: Path, roi: Roi = ROI) -> Spacing | None:
    with open_dicom(path, LIMITS) as file:
        return spacing_at(roi, ultrasound_regions(file.header), file.header)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_the_deltas_of_the_region_around_the_lesion_are_its_spacing(tmp_path: Path, syntax: str) -> None:
    path = write(tmp_path / "a.dcm", picture(), syntax, SequenceOfUltrasoundRegions=[calibrated()])
    assert spacing_of(path) == Spacing(pytest.approx(0.1), pytest.approx(0.2))


NO_SPACING: dict[str, list[Dataset]] = {
    "no region": [],
    "the lesion leaves the region": [calibrated(Roi(0, 0, 22, 48))],
    "not 2-D": [calibrated(RegionSpatialFormat=2)],
    "not tissue": [calibrated(RegionDataType=2)],
    "seconds to the right": [calibrated(PhysicalUnitsXDirection=4)],
    "no unit down": [calibrated(PhysicalUnitsYDirection=0)],
    "units left out": [calibrated(PhysicalUnitsXDirection=None)],
    "no delta down": [calibrated(y=None)],
    "a delta of nothing": [calibrated(x=0.0)],
    "not a number": [calibrated(x=float("nan"))],
    "infinite": [calibrated(y=float("inf"))],
    "pixels of a decimetre": [calibrated(x=10.0)],
    "pixels of a nanometre": [calibrated(y=1e-7)],
    "two regions that disagree": [calibrated(), calibrated(x=0.03)],
}


@pytest.mark.parametrize("why", NO_SPACING)
def test_what_the_file_does_not_say_is_not_guessed(tmp_path: Path, why: str) -> None:
    path = write(tmp_path / "a.dcm", picture(), SequenceOfUltrasoundRegions=NO_SPACING[why])
    assert spacing_of(path) is None


@pytest.mark.parametrize(
    "items",
    [
        [calibrated(x=-0.01), calibrated(Roi(40, 0, 10, 10), x=0.5)],
        [calibrated(y=-0.02), calibrated(RegionDataType=2, x=0.5)],
        [calibrated(RegionFlags=3), calibrated()],
    ],
    ids=["another region elsewhere", "colour flow on top", "low priority, protected"],
)
def test_a_negative_delta_runs_the_other_way_and_other_regions_change_nothing(
    tmp_path: Path, items: list[Dataset]
) -> None:
    path = write(tmp_path / "a.dcm", picture(), SequenceOfUltrasoundRegions=items)
    assert spacing_of(path) == Spacing(pytest.approx(0.1), pytest.approx(0.2))


@pytest.mark.parametrize(
    ("sop_class", "elements", "expected"),
    [
        (SecondaryCaptureImageStorage, {"PixelSpacingCalibrationType": "FIDUCIAL"}, Spacing(0.1, 0.2)),
        (SecondaryCaptureImageStorage, {"PixelSpacingCalibrationType": "GEOMETRY"}, Spacing(0.1, 0.2)),
        (SecondaryCaptureImageStorage, {}, None),
        (SecondaryCaptureImageStorage, {"PixelSpacingCalibrationType": "GUESSED"}, None),
        (UltrasoundImageStorage, {"PixelSpacingCalibrationType": "FIDUCIAL"}, None),
    ],
)
def test_pixel_spacing_counts_in_a_secondary_capture_that_was_calibrated(
    tmp_path: Path, sop_class: str, elements: dict[str, Any], expected: Spacing | None
) -> None:
    path = write(tmp_path / "a.dcm", picture(), SOPClassUID=sop_class, PixelSpacing=[0.2, 0.1], **elements)
    assert spacing_of(path) == expected


def test_a_region_without_a_scale_is_not_helped_out_by_pixel_spacing(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.dcm",
        picture(),
        SOPClassUID=SecondaryCaptureImageStorage,
        PixelSpacing=[0.2, 0.1],
        PixelSpacingCalibrationType="FIDUCIAL",
        SequenceOfUltrasoundRegions=[calibrated(x=None)],
    )
    assert spacing_of(path) is None


def test_a_lesion_has_a_size_where_the_job_gave_its_roi_and_none_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", picture(), SequenceOfUltrasoundRegions=[calibrated(Roi(0, 0, 40, 48))])
    rois = (ROI, Roi(30, 4, 20, 10), None)
    decoded = decode_lesions(Marked(str(path), SOP_UID, 1, rois, 47.0), LIMITS)
    sizes = [found.size for found in decoded.regions if isinstance(found, Region)]
    assert sizes == [LesionSize(pytest.approx(2.0), pytest.approx(2.0)), None, None]


@given(
    delta=st.floats(allow_nan=True, allow_infinity=True),
    width=st.integers(1, 2**16),
    height=st.integers(1, 2**16),
)
def test_a_size_is_above_nothing_and_finite_whatever_the_delta(delta: float, width: int, height: int) -> None:
    roi = Roi(0, 0, width, height)
    around = UltrasoundRegion(1, 1, 0, 0, 2**32, 2**32, (CM, CM), (delta, delta))
    size = size_of(roi, spacing_at(roi, [around], header=None))  # type: ignore[arg-type]
    assert size is None or (0 < size.width_mm < 1e6 and 0 < size.height_mm < 1e6)
