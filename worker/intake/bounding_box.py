"""The rectangle around an outline that somebody drew, in a DICOM SR or in a presentation state."""

from collections.abc import Sequence
from math import ceil, floor, hypot

from worker.study import Roi

Points = Sequence[tuple[float, float]]


def bounding_box(graphic_type: str, points: Points) -> Roi | None:
    """Return the smallest rectangle of whole pixels around an outline; ``None`` for what has no extent that is known.

    Both kinds of object count alike, from 0\\0 at the top left corner of the top left pixel to Columns\\Rows at the
    bottom right corner of the last: SCOORD (PS3.3, C.18.6.1.2), and GSPS in units of PIXEL (PS3.3, table C.10-5). It
    is Displayed Area alone that counts pixels from 1\\1 (PS3.3, C.10.4).

    Args:
        graphic_type: ``POLYLINE``, ``CIRCLE`` (its centre, and a point of it) or ``ELLIPSE`` (the ends of the major
            axis, then those of the minor axis). A ``POINT`` has no extent, and a spline goes beyond its points.
        points: (column, row), in pixels.

    Raises:
        ValueError: the points are not as many as the type has.
    """
    bounds = _BOUNDS.get(graphic_type)
    if bounds is None:
        return None
    left, top, right, bottom = bounds(points)
    x, y = floor(left), floor(top)
    return Roi(x, y, max(ceil(right) - x, 1), max(ceil(bottom) - y, 1))


def _around_points(points: Points) -> tuple[float, float, float, float]:
    across, down = [x for x, _ in points], [y for _, y in points]
    return min(across), min(down), max(across), max(down)


def _around_circle(points: Points) -> tuple[float, float, float, float]:
    (x, y), (at_x, at_y) = points
    radius = hypot(at_x - x, at_y - y)
    return x - radius, y - radius, x + radius, y + radius


def _around_ellipse(points: Points) -> tuple[float, float, float, float]:
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = points
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    wide, high = hypot(x2 - x1, x4 - x3) / 2, hypot(y2 - y1, y4 - y3) / 2
    return x - wide, y - high, x + wide, y + high


_BOUNDS = {
    "POLYLINE": _around_points,
    "CIRCLE": _around_circle,
    "ELLIPSE": _around_ellipse,
}
