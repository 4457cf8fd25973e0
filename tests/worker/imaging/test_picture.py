from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from worker.imaging.picture import LONGEST_SIDE, crop_picture, frame_picture
from worker.study import Roi

NOISE = np.random.default_rng(3).integers(0, 256, (240, 320), np.uint8)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)))


@pytest.mark.parametrize("frame", [NOISE, np.stack([NOISE] * 3, -1)], ids=["grey", "colour"])
def test_a_crop_is_the_stored_pixels_with_a_margin(frame: np.ndarray) -> None:
    shown = pixels(crop_picture(frame, Roi(100, 80, 40, 20)))
    assert (shown == frame[75:105, 90:150]).all()


@given(x=st.integers(0, 300), y=st.integers(0, 220), width=st.integers(1, 320), height=st.integers(1, 240))
def test_the_line_around_a_region_touches_no_pixel_of_it(x: int, y: int, width: int, height: int) -> None:
    region = Roi(x, y, min(width, 320 - x), min(height, 240 - y))
    shown = pixels(frame_picture(NOISE, region))
    inside = np.s_[region.y : region.y + region.height, region.x : region.x + region.width]
    assert shown.shape == (240, 320, 3)
    assert (shown[inside] == NOISE[inside][..., None]).all()


def test_the_line_is_there() -> None:
    shown = pixels(frame_picture(NOISE, Roi(100, 80, 40, 20)))
    assert (shown == (255, 214, 64)).all(-1).sum() > 100


def test_a_large_frame_is_made_smaller_and_keeps_its_shape() -> None:
    shown = pixels(frame_picture(np.zeros((1000, 4000), np.uint8), Roi(1, 1, 9, 9)))
    assert shown.shape == (LONGEST_SIDE // 4, LONGEST_SIDE, 3)
