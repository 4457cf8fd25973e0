"""Lesions from a DICOM SR: the measurement groups of TID 1500 (PS3.16) that have a region and a BI-RADS assessment.

A report of another template says nothing of lesions. One of this template that says it in a way which is not read here
is refused, with all its lesions: nobody guesses where a lesion is, or which category it has.

What is read whole or refused, and why: docs/decisions/0017-a-report-is-read-whole-or-refused.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydicom import Dataset

from worker.clinical.birads_codes import ASSESSMENT
from worker.errors import Code, SetupRefused, StudyRefused
from worker.image_access import Limits
from worker.imaging.dicom_file import read_beginning
from worker.intake.bounding_box import bounding_box
from worker.intake.markings import (
    Finding,
    Marking,
    Region,
    SegmentReference,
    category,
    frame_numbers,
    moment,
    open_marking,
)
from worker.reporting.identifiers import DEVICE

if TYPE_CHECKING:
    from highdicom.sr import (
        ImageRegion,
        MeasurementReport,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        ReferencedSegment,
        ReferencedSegmentationFrame,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    Group = PlanarROIMeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations

REPORT_CLASSES: Final = tuple(f"1.2.840.10008.5.1.4.1.1.88.{part}" for part in (22, 33, 34))
"""SOP Classes that may hold TID 1500: Enhanced, Comprehensive and Comprehensive 3D SR (PS3.4, B.5)."""

MEASUREMENT_REPORT: Final = "1500"

_HEAD: Final = ("ContentDate", "ContentTime", "DeviceSerialNumber", "ContentTemplateSequence")

Place = Region | SegmentReference


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a report before it is read.

    Attributes:
        written: Content Date and Content Time (`worker.intake.markings.moment`).
        is_silent: it says nothing of lesions: it is of another template, or this software wrote it about lesions that
            another object marked before.
    """

    written: str
    is_silent: bool


def read_head(path: Path, limits: Limits) -> Head:
    """Read when a report was written and what it is, of one that is cut off too. Never raises.

    Args:
        path: a confined path.
        limits: what a deflated file may inflate to.
    """
    header = read_beginning(path, limits, last="ContentTemplateSequence", also=_HEAD)
    templates = [item.text("TemplateIdentifier") for item in header.items("ContentTemplateSequence")]
    is_ours = header.text("DeviceSerialNumber") == DEVICE
    is_of_another = bool(templates) and MEASUREMENT_REPORT not in templates
    return Head(moment(header.text("ContentDate"), header.text("ContentTime")), is_ours or is_of_another)


def read_report(path: Path, limits: Limits) -> Marking[Place]:
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
    with open_marking(path, limits) as dataset:
        report = _measurement_report(dataset)
        written = moment(dataset.get("ContentDate"), dataset.get("ContentTime"))
        findings = () if report is None else tuple(_findings(_groups(report)))
        return Marking(written, findings)


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


def _groups(report: "MeasurementReport") -> "list[Group]":
    """Return the groups with a region: planar ones (TID 1410), then volumetric ones (TID 1411)."""
    return [*report.get_planar_roi_measurement_groups(), *report.get_volumetric_roi_measurement_groups()]


def _findings(groups: "Sequence[Group]") -> Iterator[Finding[Place]]:
    """Give the findings that were assessed; others, such as a distance that was measured, are no lesions."""
    for number, group in enumerate(groups, start=1):
        where = f"finding {number}"
        birads = category(_assessments(group), where)
        if birads is not None:
            yield Finding(number, where, group.tracking_identifier or "", birads, _region(group, where))


def _assessments(group: "Group") -> list[tuple[str, str]]:
    evaluations = group.get_qualitative_evaluations()
    return [_code(evaluation.value) for evaluation in evaluations if _code(evaluation.name) in ASSESSMENT]


def _code(concept: Any) -> tuple[str, str]:
    return concept.scheme_designator, concept.value


def _region(group: "Group", where: str) -> Place:
    from highdicom.sr import ImageRegion, PlanarROIMeasurementsAndQualitativeEvaluations

    if isinstance(group, PlanarROIMeasurementsAndQualitativeEvaluations):
        frame, region = group.referenced_segmentation_frame, group.roi
        if frame is not None:
            return _segment(frame, [frame.source_image_for_segmentation], where)
    else:
        segment = group.referenced_segment
        if segment is not None:
            return _segment(segment, segment.source_images_for_segmentation, where)
        regions = group.roi if isinstance(group.roi, list) else []
        if len(regions) > 1:
            raise StudyRefused(Code.REPORT_UNSUPPORTED, f"{where} is marked on several images or frames at once")
        region = regions[0] if regions else None
    if not isinstance(region, ImageRegion):
        reason = f"{where} is marked in three dimensions; a region of an image or a segment of one is read"
        raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
    return _on_image(region, where)


def _segment(
    reference: "ReferencedSegmentationFrame | ReferencedSegment", images: Sequence[Any], where: str
) -> SegmentReference:
    """Return the segment that a finding refers to.

    Of the images it was drawn on, the frames are left to the segmentation: highdicom writes the segmentation's own
    frame numbers there.
    """
    numbers = reference.referenced_segment_numbers or []
    if len(numbers) != 1:
        raise StudyRefused(Code.REPORT_UNSUPPORTED, f"{where} does not refer to one segment of its segmentation")
    return SegmentReference(
        str(reference.referenced_sop_instance_uid),
        int(numbers[0]),
        tuple(reference.referenced_frame_numbers or ()),
        tuple(str(image.referenced_sop_instance_uid) for image in images),
    )


def _on_image(region: "ImageRegion", where: str) -> Region:
    (image,) = region.ContentSequence[0].ReferencedSOPSequence
    frames = frame_numbers(image.get("ReferencedFrameNumber"))
    if len(frames) > 1:
        raise StudyRefused(Code.REPORT_UNSUPPORTED, f"{where} is marked on several frames at once")
    roi = bounding_box(region.graphic_type.value, [(float(x), float(y)) for x, y in region.value])
    if roi is None:
        raise StudyRefused(Code.REPORT_UNSUPPORTED, f"{where} is marked by a point, which has no extent")
    return Region(str(image.ReferencedSOPInstanceUID), frames[0] if frames else None, roi)
