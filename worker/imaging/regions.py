"""The rectangle that a lesion is looked for in."""

from collections.abc import Sequence
from dataclasses import dataclass

from db.schema.vocabulary import RegionSource
from worker.errors import Code, LesionRefused
from worker.imaging.header import Header
from worker.study import Roi

_TWO_DIMENSIONAL = 1
_TISSUE = 1


@dataclass(frozen=True, slots=True)
class UltrasoundRegion:
    """An item of Sequence of Ultrasound Regions (PS3.3, C.8.5.5): its codes and its corner pixels, both included.

    Attributes:
        units: Physical Units X and Y Direction, as codes.
        deltas: Physical Delta X and Y, in those units; ``None`` where the item lacks one.
    """

    spatial_format: int
    data_type: int
    min_x0: int
    min_y0: int
    max_x1: int
    max_y1: int
    units: tuple[int | None, int | None] = (None, None)
    deltas: tuple[float, float] | None = None


def ultrasound_regions(header: Header) -> list[UltrasoundRegion]:
    """Read Sequence of Ultrasound Regions (0018,6011); an item that lacks a value is left out."""
    regions = []
    for item in header.items("SequenceOfUltrasoundRegions"):
        values = [
            item.integer("RegionSpatialFormat"),
            item.integer("RegionDataType"),
            item.integer("RegionLocationMinX0"),
            item.integer("RegionLocationMinY0"),
            item.integer("RegionLocationMaxX1"),
            item.integer("RegionLocationMaxY1"),
        ]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            spatial_format, data_type, min_x0, min_y0, max_x1, max_y1 = known
            units = item.integer("PhysicalUnitsXDirection"), item.integer("PhysicalUnitsYDirection")
            regions.append(
                UltrasoundRegion(spatial_format, data_type, min_x0, min_y0, max_x1, max_y1, units, _deltas(item))
            )
    return regions


def is_tissue(region: UltrasoundRegion) -> bool:
    """Whether a region is B-mode: spatial format 1 (2D) and data type 1 (tissue)."""
    return (region.spatial_format, region.data_type) == (_TWO_DIMENSIONAL, _TISSUE)


def contains(region: UltrasoundRegion, roi: Roi) -> bool:
    """Whether a rectangle is wholly inside a region."""
    right, bottom = roi.x + roi.width - 1, roi.y + roi.height - 1
    return region.min_x0 <= roi.x and region.min_y0 <= roi.y and right <= region.max_x1 and bottom <= region.max_y1


def extent(region: UltrasoundRegion) -> Roi:
    """Return a region as a rectangle, which may lie outside of the frame."""
    width, height = region.max_x1 + 1 - region.min_x0, region.max_y1 + 1 - region.min_y0
    return Roi(region.min_x0, region.min_y0, max(width, 0), max(height, 0))


def shared(region: UltrasoundRegion, roi: Roi) -> int:
    """Count the pixels of a rectangle that are inside a region."""
    width = min(region.max_x1 + 1, roi.x + roi.width) - max(region.min_x0, roi.x)
    height = min(region.max_y1 + 1, roi.y + roi.height) - max(region.min_y0, roi.y)
    return max(width, 0) * max(height, 0)


def resolve_region(
    roi: Roi | None, *, rows: int, columns: int, ultrasound_regions: Sequence[UltrasoundRegion]
) -> tuple[Roi, RegionSource]:
    """Decide on a lesion's rectangle: the job's ROI, else the largest B-mode region, else the whole image.

    Args:
        roi: the job's, in pixels of the stored frame.
        rows: of the frame.
        columns: of the frame.
        ultrasound_regions: those of the file. B-mode is spatial format 1 (2D) and data type 1 (tissue); it is clipped
            to the frame.

    Returns:
        A rectangle wholly inside the frame, at least one pixel large, and its source.

    Raises:
        LesionRefused: ``roi_outside_image``; the job's ROI is not wholly inside the frame, or is empty.
    """
    if roi is not None:
        if not lies_within(roi, rows, columns):
            raise LesionRefused(Code.ROI_OUTSIDE_IMAGE)
        return roi, RegionSource.JOB
    b_mode = [_clipped(region, rows, columns) for region in ultrasound_regions if is_tissue(region)]
    usable = [region for region in b_mode if region.width > 0 and region.height > 0]
    if not usable:
        return Roi(0, 0, columns, rows), RegionSource.WHOLE_IMAGE
    return max(usable, key=lambda region: region.width * region.height), RegionSource.ULTRASOUND_REGION


def lies_within(roi: Roi, rows: int, columns: int) -> bool:
    """Whether a rectangle has an extent and is wholly inside a frame."""
    starts_inside = roi.x >= 0 and roi.y >= 0 and roi.width > 0 and roi.height > 0
    return starts_inside and roi.x + roi.width <= columns and roi.y + roi.height <= rows


def _deltas(item: Header) -> tuple[float, float] | None:
    x, y = item.double("PhysicalDeltaX"), item.double("PhysicalDeltaY")
    return None if x is None or y is None else (x, y)


def _clipped(region: UltrasoundRegion, rows: int, columns: int) -> Roi:
    x, y = max(region.min_x0, 0), max(region.min_y0, 0)
    return Roi(x, y, min(region.max_x1 + 1, columns) - x, min(region.max_y1 + 1, rows) - y)
