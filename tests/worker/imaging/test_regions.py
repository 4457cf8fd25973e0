"""The rectangle a lesion is looked for in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.schema.vocabulary import RegionSource
from worker.errors import LesionRefused
from worker.imaging.regions import UltrasoundRegion, resolve_region
from worker.study import Roi

_coordinate = st.integers(-(2**31), 2**32)


@pytest.mark.parametrize("roi", [Roi(0, 0, 64, 48), Roi(63, 47, 1, 1), Roi(10, 5, 20, 30)])
def test_a_job_s_roi_inside_the_image_is_taken_as_it_is(roi: Roi) -> None:
    regions = [UltrasoundRegion(1, 1, 0, 0, 5, 5)]
    assert resolve_region(roi, rows=48, columns=64, ultrasound_regions=regions) == (roi, RegionSource.JOB)


@pytest.mark.parametrize(
    "roi",
    [
        Roi(-1, 0, 10, 10),
        Roi(0, -1, 10, 10),
        Roi(60, 0, 5, 5),
        Roi(0, 44, 5, 5),
        Roi(64, 48, 1, 1),
        Roi(0, 0, 0, 5),
        Roi(0, 0, 5, -1),
    ],
)
def test_a_job_s_roi_that_leaves_the_image_or_is_empty_is_refused(roi: Roi) -> None:
    with pytest.raises(LesionRefused, match="roi_outside_image"):
        resolve_region(roi, rows=48, columns=64, ultrasound_regions=[])


@pytest.mark.parametrize(
    ("regions", "expected", "source"),
    [
        ([], Roi(0, 0, 64, 48), RegionSource.WHOLE_IMAGE),
        ([(1, 1, 10, 5, 29, 34)], Roi(10, 5, 20, 30), RegionSource.ULTRASOUND_REGION),
        ([(1, 1, 0, 0, 4, 4), (1, 1, 10, 5, 29, 34)], Roi(10, 5, 20, 30), RegionSource.ULTRASOUND_REGION),
        ([(1, 2, 10, 5, 29, 34)], Roi(0, 0, 64, 48), RegionSource.WHOLE_IMAGE),
        ([(2, 1, 10, 5, 29, 34)], Roi(0, 0, 64, 48), RegionSource.WHOLE_IMAGE),
        ([(1, 1, 10, 5, 64, 48)], Roi(10, 5, 54, 43), RegionSource.ULTRASOUND_REGION),
        ([(1, 1, 29, 34, 10, 5)], Roi(0, 0, 64, 48), RegionSource.WHOLE_IMAGE),
        ([(1, 1, 64, 0, 90, 40)], Roi(0, 0, 64, 48), RegionSource.WHOLE_IMAGE),
        ([(1, 1, 7, 7, 7, 7)], Roi(7, 7, 1, 1), RegionSource.ULTRASOUND_REGION),
    ],
)
def test_without_a_job_s_roi_the_largest_b_mode_region_counts(
    regions: list[tuple[int, int, int, int, int, int]], expected: Roi, source: RegionSource
) -> None:
    known = [UltrasoundRegion(*region) for region in regions]
    assert resolve_region(None, rows=48, columns=64, ultrasound_regions=known) == (expected, source)


@given(
    corners=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), *[_coordinate] * 4), max_size=4),
    rows=st.integers(1, 5000),
    columns=st.integers(1, 5000),
)
def test_the_region_is_never_empty_and_never_leaves_the_image(
    corners: list[tuple[int, int, int, int, int, int]], rows: int, columns: int
) -> None:
    regions = [UltrasoundRegion(*corner) for corner in corners]
    region, _ = resolve_region(None, rows=rows, columns=columns, ultrasound_regions=regions)
    assert 0 <= region.x < region.x + region.width <= columns
    assert 0 <= region.y < region.y + region.height <= rows
