"""Regions that a DICOM SR draws on an image: spatial coordinates (SCOORD) and the image that they are of."""

from pydicom import Dataset

from worker.errors import Code, StudyRefused
from worker.intake.bounding_box import bounding_box
from worker.intake.markings import Region, frame_numbers


def regions_of(drawn: Dataset, where: str) -> list[Region]:
    """Return the rectangle around an outline, once for each frame that it is on.

    Args:
        drawn: a Content Item of value type SCOORD (PS3.3, C.18.6), with the IMAGE that it is selected from below it.
        where: how a person finds it.

    Raises:
        StudyRefused: ``report_unsupported``; it is a point.
        Exception: the item does not conform.
    """
    selected = [item for item in drawn.ContentSequence if item.ValueType == "IMAGE"]
    (image,) = selected[0].ReferencedSOPSequence
    values = [float(value) for value in drawn.GraphicData]
    roi = bounding_box(drawn.GraphicType, list(zip(values[::2], values[1::2], strict=True)))
    if roi is None:
        raise StudyRefused(Code.REPORT_UNSUPPORTED, f"{where} is marked by a point, which has no extent")
    frames = frame_numbers(image.get("ReferencedFrameNumber")) or (None,)
    return [Region(str(image.ReferencedSOPInstanceUID), frame, roi) for frame in frames]
