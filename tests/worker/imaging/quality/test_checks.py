"""What speaks against a region: each check says its reason on pictures that have it, and nothing on those without."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from db.schema.vocabulary import QualityFinding
from worker.errors import MEANINGS, Code, LesionRefused
from worker.image_access import QualityPolicy
from worker.imaging.header import Header
from worker.imaging.quality.checks import quality_findings
from worker.imaging.quality.policy import quality_warnings
from worker.imaging.regions import UltrasoundRegion
from worker.phantom.phantom import phantom
from worker.study import Roi

Picture = NDArray[np.uint8]
ROWS, COLUMNS = 240, 320
ROI = Roi(80, 60, 160, 120)
WHITE, YELLOW = (255, 255, 255), (255, 230, 0)
EVERY_REASON = tuple(QualityFinding)
TISSUE = UltrasoundRegion(1, 1, 0, 0, COLUMNS - 1, ROWS - 1)


def header(image_type: str = "") -> Header:
    raw = RawDataElement(Tag("ImageType"), "CS", len(image_type), image_type.encode(), 0, False, True)
    return Header(Dataset({raw.tag: raw}), little_endian=True)  # type: ignore[arg-type]


def b_mode(seed: int = 0, *, rows: int = ROWS, columns: int = COLUMNS) -> Picture:
    return phantom(seed, malignant=bool(seed % 2), rows=rows, columns=columns).image


def rgb(picture: Picture) -> Picture:
    return np.stack([picture] * 3, axis=-1)


def compressed(picture: Picture, quality: int = 90) -> Picture:
    """What JPEG with half the colour, as scanners write it, makes of a picture."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def look(picture: Picture, roi: Roi = ROI, regions: tuple[UltrasoundRegion, ...] = (), image_type: str = "") -> Any:
    return quality_findings(picture, roi, regions, header(image_type))


def drawn(picture: Picture, colour: tuple[int, int, int], what: str, x: int, y: int) -> Picture:
    image = Image.fromarray(picture if picture.ndim == 3 else rgb(picture))
    pen = ImageDraw.Draw(image)
    if what == "cross":
        pen.line((x - 5, y, x + 5, y), fill=colour)
        pen.line((x, y - 5, x, y + 5), fill=colour)
    elif what == "thick cross":
        pen.line((x - 6, y, x + 6, y), fill=colour, width=2)
        pen.line((x, y - 6, x, y + 6), fill=colour, width=2)
    elif what == "x":
        pen.line((x - 5, y - 5, x + 5, y + 5), fill=colour)
        pen.line((x - 5, y + 5, x + 5, y - 5), fill=colour)
    else:
        pen.text((x, y), what, fill=colour, font=ImageFont.load_default(14))
    return np.asarray(image)


def flow(picture: Picture, radius: int = 14) -> Picture:
    """A red vessel in the middle of the region."""
    image = Image.fromarray(rgb(picture))
    ImageDraw.Draw(image).ellipse((160 - radius, 120 - radius, 160 + radius, 120 + radius), fill=(200, 30, 20))
    return np.asarray(image)


@given(
    seed=st.integers(0, 2**20),
    size=st.sampled_from([(128, 128), (240, 320), (300, 260)]),
    colour=st.booleans(),
    quality=st.sampled_from([None, 75, 95]),
    whole=st.booleans(),
)
def test_a_plain_b_mode_image_raises_no_alarm(
    seed: int, size: tuple[int, int], colour: bool, quality: int | None, whole: bool
) -> None:
    made = phantom(seed, malignant=bool(seed % 2), rows=size[0], columns=size[1])
    picture = rgb(made.image) if colour else made.image
    picture = picture if quality is None else compressed(picture, quality)
    roi = Roi(0, 0, size[1], size[0]) if whole else made.roi
    assert set(look(picture, roi)) <= ({QualityFinding.ROI_TOO_SMALL} if min(roi.width, roi.height) < 16 else set())


@given(
    seed=st.integers(0, 2**20),
    what=st.sampled_from(["cross", "thick cross", "x", "DIST 12.4 mm", "LEFT 2H"]),
    colour=st.sampled_from([WHITE, YELLOW]),
    x=st.integers(90, 140),
    y=st.integers(70, 160),
)
def test_calipers_and_text_in_the_region_are_told_and_those_beside_it_are_not(
    seed: int, what: str, colour: tuple[int, int, int], x: int, y: int
) -> None:
    # Drawn where tissue is not as white as the pen.
    picture = np.minimum(b_mode(seed), 170).astype(np.uint8)
    assert look(drawn(picture, colour, what, x, y)) == (QualityFinding.OVERLAY_IN_ROI,)
    assert look(drawn(picture, colour, what, x, y), Roi(240, 60, 70, 120)) == ()


@pytest.mark.parametrize("colour", [WHITE, YELLOW])
@pytest.mark.parametrize("quality", [90, 98])
def test_calipers_are_told_through_lossy_compression(colour: tuple[int, int, int], quality: int) -> None:
    picture = rgb(b_mode(5))
    for x, y in ((120, 120), (200, 120), (160, 80), (160, 160)):
        picture = drawn(picture, colour, "thick cross", x, y)
    assert QualityFinding.OVERLAY_IN_ROI in look(compressed(picture, quality))


def test_a_bright_line_across_is_a_fascia_and_no_overlay() -> None:
    picture = b_mode(3)
    picture[100:102, 80:240] = 250
    assert look(picture) == ()


@pytest.mark.parametrize(
    ("regions", "image_type", "expected"),
    [
        ((), "", QualityFinding.COLOUR_IN_ROI),
        ((TISSUE,), "ORIGINAL\\PRIMARY\\BREAST\\0001", QualityFinding.COLOUR_IN_ROI),
        ((), "ORIGINAL\\PRIMARY\\BREAST\\0011", QualityFinding.DOPPLER_IN_ROI),
        ((), "ORIGINAL\\PRIMARY\\BREAST\\0101", QualityFinding.DOPPLER_IN_ROI),
        ((), "ORIGINAL\\PRIMARY\\BREAST\\no number", QualityFinding.COLOUR_IN_ROI),
        ((TISSUE, UltrasoundRegion(1, 2, 150, 100, 180, 140)), "", QualityFinding.DOPPLER_IN_ROI),
    ],
)
def test_colour_is_doppler_where_the_header_says_so_and_else_colour(
    regions: tuple[UltrasoundRegion, ...], image_type: str, expected: QualityFinding
) -> None:
    assert look(flow(b_mode()), ROI, regions, image_type) == (expected,)
    assert look(compressed(flow(b_mode())), ROI, regions, image_type) == (expected,)


@pytest.mark.parametrize(
    ("data_type", "told"), [(1, False), (2, True), (3, True), (4, True), (7, True), (8, False), (13, False)]
)
def test_a_doppler_region_of_the_header_is_told_without_colour(data_type: int, told: bool) -> None:
    regions = (TISSUE, UltrasoundRegion(1, data_type, 150, 100, 180, 140))
    assert look(b_mode(), ROI, regions) == ((QualityFinding.DOPPLER_IN_ROI,) if told else ())
    assert look(b_mode(), Roi(0, 0, 100, 90), regions) == ()


def test_doppler_elsewhere_in_the_image_and_a_speck_of_colour_say_nothing() -> None:
    assert look(flow(b_mode()), Roi(10, 10, 100, 80), (), "ORIGINAL\\PRIMARY\\BREAST\\0011") == ()
    assert look(flow(b_mode(), radius=3), ROI, (), "ORIGINAL\\PRIMARY\\BREAST\\0011") == ()


@pytest.mark.parametrize("gap", [1, 2, 12])
@pytest.mark.parametrize("level", [0, 90, 255])
def test_columns_of_one_value_through_the_region_are_a_seam(gap: int, level: int) -> None:
    picture = b_mode(2)
    picture[:, 150 : 150 + gap] = level
    assert QualityFinding.DUAL_VIEW_SEAM_IN_ROI in look(picture)
    assert QualityFinding.DUAL_VIEW_SEAM_IN_ROI not in look(picture, Roi(0, 60, 140, 120))


def test_a_gap_between_two_views_is_a_seam_through_lossy_compression() -> None:
    picture = b_mode(2)
    picture[:, 150:170] = 0
    assert QualityFinding.DUAL_VIEW_SEAM_IN_ROI in look(compressed(picture, 95))


def test_the_black_beside_an_image_and_a_shadow_that_fades_are_no_seam() -> None:
    beside, shadow = b_mode(2), b_mode(2).astype(float)
    beside[:, 200:] = 0
    assert look(beside) == ()
    shadow *= np.clip(np.abs(np.arange(COLUMNS) - 160) / 40 - 0.5, 0, 1)
    assert look(shadow.astype(np.uint8)) == ()


@pytest.mark.parametrize(
    ("regions", "told"),
    [
        (((0, 0, 159, 239), (160, 0, 319, 239)), True),
        (((0, 0, 150, 239), (170, 0, 319, 239)), True),
        (((0, 0, 319, 119), (0, 120, 319, 239)), True),
        (((0, 0, 319, 239), (100, 80, 200, 160)), False),
        (((0, 0, 239, 239), (240, 0, 319, 239)), False),
        (((0, 0, 319, 239),), False),
        ((), False),
    ],
)
def test_a_region_that_reaches_into_two_views_of_the_header_is_told(
    regions: tuple[tuple[int, int, int, int], ...], told: bool
) -> None:
    found = look(b_mode(), ROI, tuple(UltrasoundRegion(1, 1, *corners) for corners in regions))
    assert (QualityFinding.DUAL_VIEW_SEAM_IN_ROI in found) is told


@pytest.mark.parametrize(
    ("corners", "told"),
    [
        ((0, 0, 319, 239), False),
        ((80, 60, 239, 179), False),
        ((86, 60, 239, 179), False),
        ((90, 60, 239, 179), True),
        ((300, 200, 319, 239), True),
        ((0, 0, 10, 10), True),
    ],
)
def test_a_region_outside_of_the_b_mode_regions_is_told_beyond_a_twentieth(
    corners: tuple[int, int, int, int], told: bool
) -> None:
    assert look(b_mode(), ROI, (UltrasoundRegion(1, 1, *corners),)) == (
        (QualityFinding.ROI_OUTSIDE_BMODE,) if told else ()
    )
    assert look(b_mode(), ROI, (UltrasoundRegion(2, 1, *corners),)) == ()


def test_a_region_that_is_small_blank_or_clipped_is_told() -> None:
    picture = b_mode()
    assert look(picture, Roi(80, 60, 16, 16)) == ()
    assert look(picture, Roi(80, 60, 15, 60)) == (QualityFinding.ROI_TOO_SMALL,)
    blank = (picture // 64 + 60).astype(np.uint8)
    blank[60, 80] = 255
    assert look(blank) == (QualityFinding.ROI_BLANK,)
    assert look((picture // 16 + 60).astype(np.uint8)) == ()
    clipped = np.where(picture > np.percentile(picture[60:180, 80:240], 85), 255, picture).astype(np.uint8)
    assert QualityFinding.ROI_SATURATED in look(clipped)


@given(
    pixels=st.tuples(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 2**32 - 1)),
    corners=st.lists(st.tuples(*[st.integers(0, 19)] * 2, *[st.integers(-(2**31), 2**32)] * 4), max_size=4),
)
def test_no_picture_and_no_header_breaks_a_check(
    pixels: tuple[int, int, bool, int], corners: list[tuple[int, int, int, int, int, int]]
) -> None:
    rows, columns, colour, seed = pixels
    shape = (rows, columns, 3) if colour else (rows, columns)
    frame = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    found = look(frame, Roi(0, 0, columns, rows), tuple(UltrasoundRegion(*corner) for corner in corners))
    assert list(found) == [reason for reason in QualityFinding if reason in found]


def test_each_finding_warns_refuses_or_is_not_told_as_the_policies_say() -> None:
    found = (QualityFinding.COLOUR_IN_ROI, QualityFinding.OVERLAY_IN_ROI, QualityFinding.ROI_BLANK)
    assert quality_warnings(found, {}) == found
    assert quality_warnings(found, {QualityFinding.OVERLAY_IN_ROI: QualityPolicy.OFF}) == (found[0], found[2])
    assert quality_warnings(found, {QualityFinding.ROI_SATURATED: QualityPolicy.REFUSE}) == found
    with pytest.raises(LesionRefused) as refused:
        quality_warnings(found, {found[0]: QualityPolicy.OFF, found[2]: QualityPolicy.REFUSE})
    assert refused.value.code is Code.ROI_BLANK


@pytest.mark.parametrize("reason", EVERY_REASON)
def test_each_reason_is_a_code_with_a_sentence(reason: QualityFinding) -> None:
    assert MEANINGS[Code(reason.value)]
