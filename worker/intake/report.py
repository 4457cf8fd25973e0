"""Lesions from a DICOM SR: the measurement groups of TID 1500 (PS3.16) that have a region and a BI-RADS assessment.

A report of another template says nothing of lesions. One of this template that says it in a way which is not read here
is refused, with all its lesions: nobody guesses where a lesion is, or which category it has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, hypot
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydicom import Dataset, dcmread

from worker.clinical.birads_codes import ASSESSMENT, CATEGORIES, SUSPICIOUS
from worker.clinical.categories import Birads
from worker.errors import Code, DlrError, SetupRefused, StudyRefused
from worker.imaging.storage import Limits, open_regular
from worker.reporting.identifiers import DEVICE

if TYPE_CHECKING:
    from highdicom.sr import ImageRegion, MeasurementReport, PlanarROIMeasurementsAndQualitativeEvaluations

    Group = PlanarROIMeasurementsAndQualitativeEvaluations

REPORT_CLASSES: Final = tuple(f"1.2.840.10008.5.1.4.1.1.88.{part}" for part in (22, 33, 34))
"""SOP Classes that may hold TID 1500: Enhanced, Comprehensive and Comprehensive 3D SR (PS3.4, B.5)."""

MEASUREMENT_REPORT: Final = "1500"
_LARGEST: Final = 16 << 20
_LONGEST_NAME: Final = 56

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says.

    Attributes:
        patient_id: whom it is about; empty where it does not say.
        written: Content Date and Content Time, to be compared with those of another report.
        lesions: as a job has them; none where the report marks none.
        is_ours: it was written by this software, about lesions that a radiologist's report marked before.
    """

    patient_id: str
    written: str
    lesions: tuple[dict[str, Any], ...]
    is_ours: bool


def read_report(path: Path, limits: Limits) -> Report:
    """Read one report.

    Args:
        path: a confined path.
        limits: the largest file.

    Raises:
        StudyRefused: ``report_invalid``, ``report_unsupported`` or ``birads_unknown``; the reason says which finding,
            by its place in the report.
        LesionRefused: a ``file_`` code.
        SetupRefused: ``setting_invalid``; the extra ``dicom`` is not installed.
        Unavailable: ``storage_unavailable``.
    """
    with open_regular(path, Limits(min(_LARGEST, limits.max_file_bytes), limits.max_frame_pixels)) as file:
        try:
            return _report(dcmread(file))
        except DlrError:
            raise
        except Exception:  # noqa: BLE001  pydicom and highdicom raise many things on what does not conform, and quote it
            raise StudyRefused(Code.REPORT_INVALID) from None


def _report(dataset: Dataset) -> Report:
    written = f"{dataset.get('ContentDate', '')}{dataset.get('ContentTime', '')}"
    report = _measurement_report(dataset)
    groups = [] if report is None else report.get_planar_roi_measurement_groups()
    is_ours = dataset.get("DeviceSerialNumber") == DEVICE
    return Report(str(dataset.get("PatientID", "")).strip(), written, tuple(_lesions(groups)), is_ours)


def _measurement_report(dataset: Dataset) -> "MeasurementReport | None":
    templates = dataset.get("ContentTemplateSequence") or []
    if not any(item.get("TemplateIdentifier") == MEASUREMENT_REPORT for item in templates):
        return None
    try:
        from highdicom.sr import Comprehensive3DSR, ComprehensiveSR, EnhancedSR, MeasurementReport
    except ImportError:
        reason = "a DICOM SR is read by the extra: pip install 'dlr-worker[dicom]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    classes: tuple[Any, ...] = EnhancedSR, ComprehensiveSR, Comprehensive3DSR
    of_class = dict(zip(REPORT_CLASSES, classes, strict=True))
    content = of_class[str(dataset.SOPClassUID)].from_dataset(dataset).content
    if not isinstance(content, MeasurementReport):
        raise StudyRefused(Code.REPORT_INVALID)
    return content


def _lesions(groups: "Sequence[Group]") -> Iterator[dict[str, Any]]:
    names: set[str] = set()
    for place, group in enumerate(groups, start=1):
        birads = _birads(group, place)
        if birads is None:
            continue
        name = _name(group.tracking_identifier, place, names)
        names.add(name)
        yield {"lesion_id": name, "birads": birads.value, **_place_of(group, place)}


def _birads(group: "Group", place: int) -> Birads | None:
    """Return the category of a finding; ``None`` where nobody assessed it, such as a distance that was measured."""
    said = [
        _code(evaluation.value)
        for evaluation in group.get_qualitative_evaluations()
        if _code(evaluation.name) in ASSESSMENT
    ]
    if not said:
        return None
    if len(set(said)) > 1:
        raise StudyRefused(Code.BIRADS_UNKNOWN, f"finding {place} has more than one assessment category")
    if said[0] in SUSPICIOUS:
        raise StudyRefused(Code.BIRADS_UNKNOWN, f"finding {place} is BI-RADS 4, and not 4A, 4B or 4C")
    if said[0] not in CATEGORIES:
        raise StudyRefused(Code.BIRADS_UNKNOWN, f"finding {place} has an assessment category that is not in CID 6027")
    return CATEGORIES[said[0]]


def _code(concept: Any) -> tuple[str, str]:
    return concept.scheme_designator, concept.value


def _name(tracking_identifier: str | None, place: int, taken: set[str]) -> str:
    """Name a lesion as the report tracks it; a second region of the same one is told apart by its place."""
    said = " ".join((tracking_identifier or "").split())[:_LONGEST_NAME]
    name = "".join(character for character in said if character.isprintable()) or f"L{place}"
    return f"{name} ({place})" if name in taken else name


def _place_of(group: "Group", place: int) -> dict[str, Any]:
    """Return a finding's image, frame and rectangle."""
    from highdicom.sr import ImageRegion

    region = group.roi
    if not isinstance(region, ImageRegion):
        reason = f"finding {place} is marked by a segmentation or in three dimensions; a region of an image is read"
        raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
    (image,) = region.ContentSequence[0].ReferencedSOPSequence
    frames = image.get("ReferencedFrameNumber")
    frames = [frames] if isinstance(frames, int) else list(frames or [])
    if len(frames) > 1:
        raise StudyRefused(Code.REPORT_UNSUPPORTED, f"finding {place} is marked on several frames at once")
    return {
        "sop_instance_uid": str(image.ReferencedSOPInstanceUID),
        "frame": int(frames[0]) if frames else None,
        "roi": _rectangle(region, place),
    }


def _rectangle(region: "ImageRegion", place: int) -> dict[str, int]:
    """Return the smallest rectangle of whole pixels around a region.

    SCOORD counts from the top left corner of the top left pixel, 0\\0, to Columns\\Rows (PS3.3, C.18.6.1.2).
    """
    points = [(float(x), float(y)) for x, y in region.value]
    bounds = _BOUNDS.get(region.graphic_type.value)
    if bounds is None:
        raise StudyRefused(Code.REPORT_UNSUPPORTED, f"finding {place} is marked by a point, which has no extent")
    left, top, right, bottom = bounds(points)
    x, y = floor(left), floor(top)
    return {"x": x, "y": y, "width": max(ceil(right) - x, 1), "height": max(ceil(bottom) - y, 1)}


def _around_points(points: Points) -> tuple[float, float, float, float]:
    across, down = [x for x, _ in points], [y for _, y in points]
    return min(across), min(down), max(across), max(down)


def _around_circle(points: Points) -> tuple[float, float, float, float]:
    """Take the centre, and a point of the circle."""
    (x, y), (at_x, at_y) = points
    radius = hypot(at_x - x, at_y - y)
    return x - radius, y - radius, x + radius, y + radius


def _around_ellipse(points: Points) -> tuple[float, float, float, float]:
    """Take the ends of the major axis, then those of the minor axis."""
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = points
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    wide, high = hypot(x2 - x1, x4 - x3) / 2, hypot(y2 - y1, y4 - y3) / 2
    return x - wide, y - high, x + wide, y + high


_BOUNDS = {
    "POLYLINE": _around_points,
    "CIRCLE": _around_circle,
    "ELLIPSE": _around_ellipse,
}
