"""A model's input, recomputed step by step from its definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.worker.imaging.dicom_files import picture
from worker.errors import LesionRefused
from worker.imaging.cropping import crop, letterbox, model_input
from worker.study import Roi

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("channels", ["gray", "rgb"])
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_the_input_is_what_its_definition_says(colour: bool, channels: str, resize: str) -> None:
    frame, region, margin, size = picture(61, 83, colour=colour), Roi(20, 10, 31, 17), 0.15, 24
    image = Image.fromarray(frame)
    if channels == "gray":
        image = image.convert("L")
    left, top = math.floor(20 - 0.15 * 31), math.floor(10 - 0.15 * 17)
    right, bottom = math.ceil(51 + 0.15 * 31), math.ceil(27 + 0.15 * 17)
    image = image.crop((left, top, right, bottom))
    if resize == "letterbox":
        side = max(image.size)
        square = Image.new(image.mode, (side, side))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = square
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR).convert("RGB"), np.float64)
    expected = ((pixels / 255 - MEAN) / STD).transpose(2, 0, 1)

    made = model_input(frame, region, size=size, margin=margin, resize=resize, channels=channels, mean=MEAN, std=STD)
    assert made.shape == (3, size, size)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_an_odd_pixel_of_padding_goes_to_the_right_or_the_bottom() -> None:
    tall, wide = np.full((4, 1), 9, np.uint8), np.full((1, 4), 9, np.uint8)
    assert letterbox(tall)[0].tolist() == [0, 9, 0, 0]
    assert letterbox(wide)[:, 0].tolist() == [0, 9, 0, 0]


def test_a_region_whose_square_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(LesionRefused, match="pixels_too_large"):
        letterbox(np.zeros((1, 1_000_000), np.uint8))


def test_letterbox_keeps_the_aspect_ratio_and_stretch_does_not() -> None:
    frame = np.full((40, 80), 255, np.uint8)
    values = {"size": 80, "margin": 0.0, "channels": "gray", "mean": (0.0,), "std": (1.0,)}
    boxed = model_input(frame, Roi(0, 0, 80, 40), resize="letterbox", **values)
    stretched = model_input(frame, Roi(0, 0, 80, 40), resize="stretch", **values)
    assert boxed[0].sum() == pytest.approx(80 * 40, rel=0.02)
    assert (stretched == 1).all()


def test_the_frame_is_left_as_it_was() -> None:
    frame = picture(colour=True)
    before = frame.copy()
    model_input(frame, Roi(3, 3, 9, 9), size=16, margin=0.5, resize="letterbox", channels="rgb", mean=MEAN, std=STD)
    assert np.array_equal(frame, before)


@pytest.mark.parametrize(("resize", "channels"), [("fit", "gray"), ("stretch", "bgr")])
def test_an_unknown_word_is_refused(resize: str, channels: str) -> None:
    with pytest.raises(ValueError, match="letterbox or stretch"):
        model_input(picture(), Roi(0, 0, 9, 9), size=8, margin=0, resize=resize, channels=channels, mean=MEAN, std=STD)


@st.composite
def _regions(draw: st.DrawFn) -> tuple[int, int, Roi]:
    rows, columns = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    x, y = draw(st.integers(0, columns - 1)), draw(st.integers(0, rows - 1))
    return rows, columns, Roi(x, y, draw(st.integers(1, columns - x)), draw(st.integers(1, rows - y)))


@given(place=_regions(), margin=st.floats(0, 3))
def test_a_crop_holds_the_whole_region_and_stays_inside_the_frame(place: tuple[int, int, Roi], margin: float) -> None:
    rows, columns, region = place
    numbered = np.arange(rows * columns).reshape(rows, columns)
    wanted = numbered[region.y : region.y + region.height, region.x : region.x + region.width]
    cut = crop(numbered, region, margin)
    assert set(wanted.ravel()) <= set(cut.ravel())
    assert (margin > 0) or np.array_equal(cut, wanted)


@given(
    place=_regions(), margin=st.floats(0, 2), size=st.integers(1, 40), resize=st.sampled_from(["letterbox", "stretch"])
)
def test_any_region_gives_a_finite_input_of_the_asked_size(
    place: tuple[int, int, Roi], margin: float, size: int, resize: str
) -> None:
    rows, columns, region = place
    made = model_input(
        picture(rows, columns), region, size=size, margin=margin, resize=resize, channels="gray", mean=MEAN, std=STD
    )
    assert made.shape == (3, size, size)
    assert np.isfinite(made).all()
