"""The rectangle around an outline holds all of it, and no pixel more."""

from math import cos, pi, sin

from hypothesis import given
from hypothesis import strategies as st

from tests.worker.intake.reports import rectangle as outline
from worker.intake.bounding_box import bounding_box
from worker.study import Roi


@given(st.floats(0, pi), st.floats(1, 50), st.floats(1, 50), st.floats(0, 2 * pi))
def test_no_point_of_an_ellipse_is_outside_of_its_rectangle(
    turned: float, major: float, minor: float, at: float
) -> None:
    along, across = (cos(turned), sin(turned)), (-sin(turned), cos(turned))
    ends = [(60 + sign * major * along[0], 60 + sign * major * along[1]) for sign in (-1, 1)]
    ends += [(60 + sign * minor * across[0], 60 + sign * minor * across[1]) for sign in (-1, 1)]
    roi = bounding_box("ELLIPSE", ends)
    assert roi is not None
    x, y = (60 + major * cos(at) * along[i] + minor * sin(at) * across[i] for i in (0, 1))
    assert roi.x - 1e-6 <= x <= roi.x + roi.width + 1e-6
    assert roi.y - 1e-6 <= y <= roi.y + roi.height + 1e-6


@given(st.integers(0, 900), st.integers(0, 900), st.integers(1, 900), st.integers(1, 900))
def test_a_rectangle_of_whole_pixels_is_itself(x: int, y: int, width: int, height: int) -> None:
    assert bounding_box("POLYLINE", outline(x, y, width, height)) == Roi(x, y, width, height)


def test_a_point_and_a_spline_have_no_rectangle() -> None:
    assert [bounding_box(kind, [(3, 4), (5, 6), (3, 4)]) for kind in ("POINT", "INTERPOLATED")] == [None, None]
