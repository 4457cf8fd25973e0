"""The picture of a heat map: its size, what is on it, and what is not."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from worker.imaging.heat_map import GAP, HEAT_SHARE, LINE, NARROWEST, SCALE, SIDE, HeatMap, heat_picture, heated
from worker.study import Roi

FRAME = np.random.default_rng(3).integers(0, 200, (240, 320), np.uint8)
COLOURED = np.random.default_rng(4).integers(0, 200, (240, 320, 3), np.uint8)
REGION, SHOWN = Roi(110, 85, 40, 20), Roi(100, 80, 60, 30)


def heat(shown: Roi = SHOWN, *, grey: bool = True, value: float = 0, frame: np.ndarray = FRAME) -> HeatMap:
    values = np.zeros(frame.shape[:2], np.float32)
    values[shown.y : shown.y + shown.height, shown.x : shown.x + shown.width] = value
    return HeatMap(values, shown, grey, 7)


def image(png: bytes) -> Image.Image:
    return Image.open(BytesIO(png))


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(image(png)).astype(int)


def both(png: bytes, height: int = SIDE // 2) -> tuple[np.ndarray, np.ndarray]:
    """The plain picture and the one with the heat."""
    drawn = pixels(png)
    return drawn[:height, :SIDE], drawn[:height, SIDE + GAP : 2 * SIDE + GAP]


@pytest.mark.parametrize(
    ("shown", "lines", "size"),
    [
        (Roi(100, 80, 60, 30), (), (2 * (SIDE + GAP) + SCALE, SIDE // 2)),
        (Roi(100, 80, 60, 30), ("one", "two"), (2 * (SIDE + GAP) + SCALE, SIDE // 2 + 2 * LINE + 2 * GAP)),
        (Roi(100, 80, 60, 30), ("word " * 60,), (2 * (SIDE + GAP) + SCALE, SIDE // 2 + 3 * LINE + 2 * GAP)),
        (Roi(0, 0, 40, 200), (), (NARROWEST, SIDE)),
        (Roi(0, 0, 320, 240), (), (2 * (SIDE + GAP) + SCALE, SIDE * 3 // 4)),
    ],
)
def test_its_size_follows_from_what_was_shown_and_what_is_written(
    shown: Roi, lines: tuple[str, ...], size: tuple[int, int]
) -> None:
    drawn = image(heat_picture(FRAME, Roi(shown.x, shown.y, 9, 9), heat(shown), lines))
    assert (drawn.format, drawn.mode, drawn.size, drawn.info) == ("PNG", "RGB", size, {})


def test_nothing_of_the_frame_is_on_it_but_what_the_network_was_shown() -> None:
    other = 255 - FRAME
    inside = np.s_[SHOWN.y : SHOWN.y + SHOWN.height, SHOWN.x : SHOWN.x + SHOWN.width]
    other[inside] = FRAME[inside]
    assert heat_picture(FRAME, REGION, heat(value=0.5)) == heat_picture(other, REGION, heat(value=0.5))
    other[SHOWN.y, SHOWN.x] += 50
    assert heat_picture(FRAME, REGION, heat(value=0.5)) != heat_picture(other, REGION, heat(value=0.5))


def test_without_heat_both_are_the_same_and_with_it_each_pixel_is_a_known_blend() -> None:
    plain, coloured = both(heat_picture(FRAME, REGION, heat()))
    assert (plain == coloured).all()
    flat = np.full_like(FRAME, 100)
    plain, coloured = both(heat_picture(flat, REGION, heat(value=1)))
    assert plain[5, 5].tolist() == [100, 100, 100]
    below = 100 * (1 - HEAT_SHARE)
    assert coloured[5, 5].tolist() == [round(below + 255 * HEAT_SHARE)] * 2 + [round(below)]


def test_colours_are_there_where_the_network_saw_them_and_nowhere_else() -> None:
    grey, _ = both(heat_picture(COLOURED, REGION, heat(frame=COLOURED)))
    coloured, _ = both(heat_picture(COLOURED, REGION, heat(frame=COLOURED, grey=False)))
    of_the_line = 2 * (SIDE + SIDE // 2)
    assert ((grey != grey[..., :1]).any(axis=2)).sum() < of_the_line
    assert ((coloured != coloured[..., :1]).any(axis=2)).sum() > 10 * of_the_line


def test_a_line_is_around_the_region_on_both() -> None:
    dark = np.zeros_like(FRAME)
    for drawn in both(heat_picture(dark, REGION, heat())):
        lit = np.argwhere(drawn.any(axis=2))
        assert lit.min(axis=0).tolist() == [5 * 7 - 1, 10 * 7 - 1]
        assert lit.max(axis=0).tolist() == [25 * 7, 50 * 7]
        assert not drawn[5 * 7 : 25 * 7, 10 * 7 : 50 * 7].any()


def test_the_scale_goes_from_nothing_to_the_most() -> None:
    drawn = pixels(heat_picture(FRAME, REGION, heat()))
    bar = drawn[: SIDE // 2, 2 * (SIDE + GAP) + 3]
    assert (bar[-1] == bar[-1][0]).all()
    expected = heated(np.full((1, 1, 3), bar[-1][0], np.uint8), np.ones((1, 1), np.float32))[0, 0]
    assert bar[0].tolist() == expected.tolist()
    assert (np.diff(bar[:, 0]) <= 0).all()
    assert (drawn[: SIDE // 2, 2 * (SIDE + GAP) + 30 :] > 200).any()


@given(
    x=st.integers(0, 319), y=st.integers(0, 239), width=st.integers(1, 320), height=st.integers(1, 240),
    margin=st.integers(0, 50),
)  # fmt: skip
def test_any_region_of_a_frame_can_be_drawn(x: int, y: int, width: int, height: int, margin: int) -> None:
    region = Roi(x, y, min(width, 320 - x), min(height, 240 - y))
    left, top = max(x - margin, 0), max(y - margin, 0)
    right, bottom = min(x + region.width + margin, 320), min(y + region.height + margin, 240)
    shown = Roi(left, top, right - left, bottom - top)
    assert image(heat_picture(FRAME, region, heat(shown, value=0.3), ("text",))).width >= NARROWEST
