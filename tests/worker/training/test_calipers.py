"""Calipers taken out of an image and put into it: by what the service's own check finds, and by the seed alone."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.worker.imaging.dicom_files import picture
from tests.worker.imaging.quality.test_calipers import speckle
from worker.imaging.quality.calipers import caliper_pixels, has_calipers
from worker.imaging.quality.colour import taken_apart
from worker.imaging.quality.overlay import overlay_in_roi, overlay_pixels
from worker.training.calipers import painted_over, with_calipers


def tissue(seed: int = 0, rows: int = 96, columns: int = 128) -> NDArray[np.uint8]:
    return picture(rows, columns, seed=seed) // 3 + 20


def marked(frame: NDArray[np.uint8], y: int, x: int, arm: int = 5) -> NDArray[np.uint8]:
    made = frame.copy()
    made[y - arm : y + arm + 1, x] = made[y, x - arm : x + arm + 1] = 250
    return made


@given(
    seed=st.integers(0, 20),
    places=st.lists(st.tuples(st.integers(12, 83), st.integers(12, 115)), min_size=1, max_size=4),
    arm=st.integers(4, 8),
)
def test_crosses_are_covered_by_what_is_beside_them_and_the_rest_stays(
    seed: int, places: list[tuple[int, int]], arm: int
) -> None:
    assume(all(max(abs(y - v), abs(x - u)) > 20 for (y, x), (v, u) in combinations(places, 2)))
    plain = tissue(seed)
    frame = plain
    for place in places:
        frame = marked(frame, *place, arm)
    covered = painted_over(frame)
    assert overlay_in_roi(*taken_apart(covered)) is None
    assert covered.max() <= plain.max()
    changed = covered != frame
    assert not (changed & (frame == plain)).any() or changed.mean() < 0.15
    drawn = overlay_pixels(*taken_apart(frame)) | caliper_pixels(frame)
    assert (covered[~drawn] == frame[~drawn]).all()


@given(seed=st.integers(0, 2**20), brighter=st.integers(50, 80))
def test_grey_crosses_and_the_dots_between_them_are_covered_where_the_services_check_says_nothing(
    seed: int, brighter: int
) -> None:
    plain = speckle(seed, level=50)
    level = int(plain.mean()) + brighter
    frame = plain.copy()
    for column in (30, 96):
        frame[45:56, column] = frame[50, column - 5 : column + 6] = level
    frame[50, 40:90:5] = level
    assert has_calipers(frame)
    covered = painted_over(frame)
    assert not has_calipers(covered)
    drawn = frame.astype(int) - plain > brighter // 2
    assert (covered != frame)[drawn].mean() > 0.9
    assert (covered != frame).mean() < 0.1


def test_a_frame_without_calipers_stays_the_very_same() -> None:
    frame = tissue()
    assert painted_over(frame) is frame
    line_across = frame.copy()
    line_across[40, 10:100] = 200
    assert painted_over(line_across) is line_across


def test_coloured_calipers_on_grey_are_covered() -> None:
    frame = np.repeat(tissue()[..., np.newaxis], 3, axis=2)
    coloured = frame.copy()
    coloured[30:41, 50] = coloured[35, 45:56] = (255, 220, 0)
    covered = painted_over(coloured)
    white, colour = taken_apart(covered)
    assert overlay_in_roi(white, colour) is None
    assert (covered[60:] == frame[60:]).all()


@given(seed=st.integers(0, 2**31 - 1), side=st.sampled_from([32, 64, 224]), channels=st.sampled_from([1, 3]))
def test_calipers_are_drawn_by_the_seed_alone_and_keep_to_a_few_pixels_that_only_brighten(
    seed: int, side: int, channels: int
) -> None:
    image = torch.full((channels, side, side), 0.3)
    torch.manual_seed(seed)
    one = with_calipers(image)
    torch.manual_seed(seed)
    assert torch.equal(one, with_calipers(image))
    assert one.shape == image.shape
    assert float(one.max()) <= 1
    assert (one >= image - 1e-6).all()
    assert 0 < float((one > image + 0.01).float().mean()) < 0.15


@pytest.mark.parametrize("side", [224, 320])
def test_what_is_drawn_in_is_found_as_calipers_are(side: int) -> None:
    found = []
    for seed in range(20):
        torch.manual_seed(seed)
        made = with_calipers(torch.full((1, side, side), 0.2))
        found.append(overlay_in_roi((made[0] * 255).byte().numpy(), None) is not None)
    assert sum(found) >= 10
