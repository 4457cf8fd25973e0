"""Strokes are found where their definition finds them, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from worker.imaging.quality.overlay import BRIGHT, EVEN, LENGTH, REACH, STANDS_OUT, _runs

Grey = NDArray[np.uint8]

levels = st.sampled_from([0, 40, BRIGHT - 1, BRIGHT, 128 + EVEN, 129 + EVEN, 255])
images = arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=levels)


def _is_lit(grey: Grey, row: int, column: int, down: int, across: int) -> bool:
    rows, columns = grey.shape
    if not (REACH <= row < rows - REACH and REACH <= column < columns - REACH):
        return False
    level = int(grey[row, column])
    one, other = (int(grey[row + side * REACH * -across, column + side * REACH * down]) for side in (1, -1))
    return level >= BRIGHT and level - max(one, other) >= STANDS_OUT


def _begins(grey: Grey, row: int, column: int, down: int, across: int) -> bool:
    places = [(row + step * down, column + step * across) for step in range(LENGTH)]
    if not all(_is_lit(grey, *place, down, across) for place in places):
        return False
    run = [int(grey[place]) for place in places]
    return max(run) - min(run) <= EVEN


@pytest.mark.parametrize(("down", "across"), [(1, 0), (1, 1), (1, -1), (0, 1)])
@settings(max_examples=60, deadline=None)
@given(images)
def test_a_run_begins_where_its_pixels_are_bright_even_and_stand_out(down: int, across: int, grey: Grey) -> None:
    expected = [place for place in np.ndindex(grey.shape) if _begins(grey, *place, down, across)]
    rows, columns = _runs(grey, down, across)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == expected
