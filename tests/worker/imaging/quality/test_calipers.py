"""Marks that scanners draw are found, grey as they are, with their digits and dots; tissue is not taken for one."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tests.shared import real_set
from tests.worker.imaging.quality.test_checks import b_mode, compressed, rgb
from worker.dataset.manifest_image import NEAR, mask_roi, read_picture
from worker.imaging.cropping import crop, to_grey
from worker.imaging.quality import calipers
from worker.imaging.quality.calipers import BESIDE, caliper_pixels, has_calipers
from worker.imaging.quality.colour import Mask
from worker.phantom.phantom import phantom

Grey = NDArray[np.uint8]
ROWS, COLUMNS = 160, 220
BRIGHTER = 70
"""Grey levels that a mark is drawn above the tissue's mean: two thirds of what the service's check asks of a stroke."""

GE_MARKS = (calipers._STAR, calipers._LYING_STAR, calipers._HOLLOW_CROSS, calipers._RING)


def speckle(seed: int, level: int = 70) -> Grey:
    """Rayleigh noise, smeared across more than down, as by a beam."""
    rng = np.random.default_rng(seed)
    noise = rng.rayleigh(1, (ROWS + 2, COLUMNS + 4))
    smeared = sliding_window_view(noise, (3, 5)).mean((2, 3))
    return np.asarray(np.clip(level * smeared / smeared.mean(), 0, 255), np.uint8)


def cross(arm: int, width: int = 1) -> Mask:
    made = np.zeros((2 * arm + width,) * 2, np.bool_)
    made[arm : arm + width] = made[:, arm : arm + width] = True
    return made


def x_mark(arm: int) -> Mask:
    down = np.eye(2 * arm + 1, dtype=np.bool_)
    return down | down[::-1]


def of_pattern(said: str) -> Mask:
    return np.array([[level in "#+" for level in row] for row in said.split()])


MARKS = {
    **{f"a cross with arms of {arm}, {width} wide": cross(arm, width) for arm, width in product((3, 4, 5, 6), (1, 2))},
    **{f"an x with arms of {arm}": x_mark(arm) for arm in (4, 6)},
    **dict(zip(("a star", "a lying star", "a hollow cross", "a ring"), map(of_pattern, GE_MARKS), strict=True)),
}


def marked(frame: Grey, mark: Mask, *places: tuple[int, int], brighter: int = BRIGHTER) -> Grey:
    made = frame.astype(np.int64)
    for row, column in places:
        top, left = row - mark.shape[0] // 2, column - mark.shape[1] // 2
        where = made[top : top + mark.shape[0], left : left + mark.shape[1]]
        where[mark] = int(frame.mean()) + brighter
    return np.clip(made, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", MARKS)
def test_grey_marks_are_found_in_speckle_and_all_their_strokes_are_told(name: str) -> None:
    for seed in range(4):
        plain = speckle(seed, level=50)
        frame = marked(plain, MARKS[name], (40, 50), (110, 150))
        assert has_calipers(frame)
        told, strokes = caliper_pixels(frame), frame > plain + BRIGHTER // 2
        assert told[strokes].mean() > 0.95
        assert told.mean() < 0.05


def test_the_digit_beside_a_mark_and_the_dots_between_two_are_told_with_them() -> None:
    plain = speckle(1, level=50)
    image = Image.fromarray(marked(plain, cross(5), (80, 40), (80, 180)))
    pen = ImageDraw.Draw(image)
    for x in range(52, 170, 6):
        pen.point((x, 80), fill=125)
    pen.text((26, 64), "1", fill=125, font=ImageFont.load_default(12))
    frame = np.asarray(image)
    drawn = frame.astype(int) - plain > BRIGHTER // 2
    told = caliper_pixels(frame)
    assert told[drawn].mean() > 0.95
    assert told.mean() < 0.05


@given(
    seed=st.integers(0, 2**20),
    size=st.sampled_from([(128, 128), (240, 320), (300, 260)]),
    quality=st.sampled_from([None, 75, 95]),
)
@settings(max_examples=15, deadline=None)
def test_a_plain_b_mode_image_has_none(seed: int, size: tuple[int, int], quality: int | None) -> None:
    picture = phantom(seed, malignant=bool(seed % 2), rows=size[0], columns=size[1]).image
    picture = picture if quality is None else compressed(rgb(picture), quality)[..., 0]
    assert not has_calipers(picture)


@given(seed=st.integers(0, 2**20), level=st.integers(20, 140))
@settings(max_examples=20, deadline=None)
def test_speckle_has_none(seed: int, level: int) -> None:
    assert not has_calipers(speckle(seed, level))


def test_a_fascia_and_an_edge_are_no_marks() -> None:
    picture = b_mode(3)
    picture[100:102, 80:240] = 250
    picture[:, 260:] = 0
    assert not has_calipers(picture)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24))))
@settings(max_examples=40, deadline=None)
def test_any_frame_is_looked_at_however_small(frame: Grey) -> None:
    told = caliper_pixels(frame)
    assert told.shape == frame.shape
    assert has_calipers(frame) or not told.any()


@given(name=st.sampled_from(sorted(MARKS)), row=st.integers(20, 140), column=st.integers(20, 200))
@settings(max_examples=20, deadline=None)
def test_nothing_is_told_far_from_a_single_mark(name: str, row: int, column: int) -> None:
    told = caliper_pixels(marked(b_mode(2, rows=ROWS, columns=COLUMNS) // 2, MARKS[name], (row, column)))
    told[max(row - BESIDE - 2, 0) : row + BESIDE + 3, max(column - BESIDE - 2, 0) : column + BESIDE + 3] = False
    assert not told.any()


@pytest.mark.slow
def test_most_lesions_of_bus_bra_have_calipers_and_those_of_breast_have_none() -> None:
    bus_bra, breast = real_set("bus-bra"), real_set("breast")
    masks = {
        image: image.parents[1] / "Masks" / image.name.replace("bus_", "mask_") for image in bus_bra.rglob("bus_*.png")
    }
    found = [_has_calipers(image, masks[image]) for image in sorted(masks)[::18]]
    assert np.mean(found) > 0.75
    masks = {mask.with_name(mask.name.replace("_tumor", "")): mask for mask in breast.rglob("*_tumor.png")}
    found = [_has_calipers(image, masks[image]) for image in sorted(masks)[::8]]
    assert len(found) > 20
    assert not any(found)


def _has_calipers(image: Path, mask: Path) -> bool:
    region, _ = mask_roi(mask)
    return has_calipers(to_grey(crop(read_picture(image), region, NEAR)))
