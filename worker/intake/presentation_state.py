r"""Lesions from a softcopy presentation state (PS3.3, A.33): closed outlines beside a text such as "BI-RADS 4A".

A presentation state has no code for a category. A Text Object whose whole text is "BI-RADS" and a category is taken as
one; any other text that speaks of BI-RADS refuses the presentation state, and the rest is left alone.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset

from worker.clinical.categories import Birads
from worker.errors import Code, StudyRefused
from worker.image_access import Limits
from worker.intake.bounding_box import bounding_box
from worker.intake.markings import Finding, Marking, Region, frame_numbers, moment, open_marking
from worker.text import in_plain_letters

PRESENTATION_CLASSES: Final = (
    "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale Softcopy Presentation State
    "1.2.840.10008.5.1.4.1.1.11.2",  # Color Softcopy Presentation State
)

_CATEGORY: Final = re.compile(f"BI-RADS ({'|'.join(Birads)})")
_SPEAKS_OF_IT: Final = re.compile(r"BI[\W_]*RAD|\bACR\b", re.IGNORECASE)
"""BIRAD and ACR 4A are what people write for it, too."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A Graphic Object or a Text Object, and the place and the images of its annotation."""

    item: Dataset
    place: int
    images: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def group(self) -> Any:
        """Graphic Group ID (0070,0295): what belongs together; ``None`` where it has none."""
        return self.item.get("GraphicGroupID")

    @property
    def where(self) -> str:
        return f"annotation {self.place}"


def read_presentation(path: Path, limits: Limits) -> Marking[Region]:
    """Read one presentation state.

    Args:
        path: a confined path.
        limits: the largest file.

    Raises:
        StudyRefused: ``report_invalid``, ``report_unsupported`` or ``birads_unknown``; the reason says which item of
            Graphic Annotation Sequence.
        LesionRefused: a ``file_`` code.
        Unavailable: ``storage_unavailable``.
    """
    with open_marking(path, limits) as dataset:
        written = moment(dataset.get("PresentationCreationDate"), dataset.get("PresentationCreationTime"))
        return Marking(written, tuple(_findings(dataset)))


def _findings(dataset: Dataset) -> Iterator[Finding[Region]]:
    graphics = _drawn(dataset, "GraphicObjectSequence")
    marked: dict[int, tuple[_Drawn, Birads]] = {}
    for text in _drawn(dataset, "TextObjectSequence"):
        birads = _category(text)
        if birads is None:
            continue
        graphic = _graphic_of(text, graphics)
        _, before = marked.setdefault(id(graphic), (graphic, birads))
        if before is not birads:
            raise StudyRefused(Code.BIRADS_UNKNOWN, f"{graphic.where} has more than one assessment category")
    for number, (graphic, birads) in enumerate(marked.values(), start=1):
        tracked_as, tracking_uid = (str(graphic.item.get(name) or "") for name in ("TrackingID", "TrackingUID"))
        yield Finding(number, graphic.where, tracked_as, birads, (_region(graphic),), tracking_uid)


def _drawn(dataset: Dataset, keyword: str) -> list[_Drawn]:
    everywhere = [
        image
        for series in dataset.get("ReferencedSeriesSequence") or ()
        for image in series.get("ReferencedImageSequence") or ()
    ]
    return [
        _Drawn(item, place, _images(annotation.get("ReferencedImageSequence") or everywhere))
        for place, annotation in enumerate(dataset.get("GraphicAnnotationSequence") or (), start=1)
        for item in annotation.get(keyword) or ()
    ]


def _images(items: Sequence[Dataset]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple(
        (str(item.ReferencedSOPInstanceUID), frame_numbers(item.get("ReferencedFrameNumber"))) for item in items
    )


def _category(text: _Drawn) -> Birads | None:
    said = in_plain_letters(str(text.item.get("UnformattedTextValue") or "")).strip()
    if not _SPEAKS_OF_IT.search(said):
        return None
    category = _CATEGORY.fullmatch(said)
    if category is None:
        reason = f'a text of {text.where} mentions BI-RADS but is not just a category, such as "BI-RADS 4A"'
        raise StudyRefused(Code.BIRADS_UNKNOWN, reason)
    return Birads(category[1])


def _graphic_of(text: _Drawn, graphics: Sequence[_Drawn]) -> _Drawn:
    """Return the outline that a category is of: the one of its Graphic Group, else the only one of its annotation."""
    if text.group is None:
        near = [graphic for graphic in graphics if graphic.place == text.place]
    else:
        near = [graphic for graphic in graphics if graphic.group == text.group]
    if len(near) != 1:
        reason = f"the category of {text.where} is not of one graphic: none or several are in its group or annotation"
        raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
    if near[0].images != text.images:
        raise StudyRefused(Code.REPORT_UNSUPPORTED, f"the category of {text.where} is not on its graphic's image")
    return near[0]


def _region(graphic: _Drawn) -> Region:
    where, item = graphic.where, graphic.item
    if len(graphic.images) != 1 or len(graphic.images[0][1]) > 1:
        raise StudyRefused(Code.REPORT_UNSUPPORTED, f"{where} is not on one image, or is on several frames of it")
    if item.GraphicAnnotationUnits != "PIXEL":
        raise StudyRefused(
            Code.REPORT_UNSUPPORTED, f"{where} is not drawn in units of PIXEL, so its position depends on the screen"
        )
    values = [float(value) for value in item.GraphicData]
    points = list(zip(values[::2], values[1::2], strict=True))
    if item.GraphicDimensions != 2 or item.NumberOfGraphicPoints != len(points):
        raise StudyRefused(Code.REPORT_INVALID)
    closed = item.GraphicType != "POLYLINE" or points[0] == points[-1]
    roi = bounding_box(item.GraphicType, points) if closed else None
    if roi is None:
        reason = f"{where} is a point, a spline or an open line; a closed polyline, a circle or an ellipse is read"
        raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
    ((image, frames),) = graphic.images
    return Region(image, frames[0] if frames else None, roi)
