"""Lesions from a DICOM SR: the measurement groups of TID 1500 (PS3.16) that have a region and a BI-RADS assessment.

Findings of a Breast Imaging Report are lesions too (`worker.intake.breast_imaging_report`). A report of another
template says nothing of lesions. One of these two that says it in a way which is not read here is refused, with all its
lesions: nobody guesses where a lesion is, or which category it has.

What is read whole or refused, and why: docs/decisions/0017-a-report-is-read-whole-or-refused.md.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydicom import Dataset

from worker.clinical.birads_codes import ASSESSMENT
from worker.clinical.categories import Birads
from worker.errors import Code, SetupRefused, StudyRefused
from worker.image_access import Limits
from worker.imaging.dicom_file import read_beginning
from worker.intake.breast_imaging_report import findings_of
from worker.intake.finding_site import children, finding_site, image_plane
from worker.intake.image_region import regions_of
from worker.intake.markings import Finding, Marking, Region, SegmentReference, category, moment, open_marking
from worker.intake.tracked_lesions import tracking_of
from worker.reporting.identifiers import DEVICE

if TYPE_CHECKING:
    from highdicom.sr import (
        MeasurementReport,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        ReferencedSegment,
        ReferencedSegmentationFrame,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    Group = PlanarROIMeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations

_MEASURED: Final = tuple(f"1.2.840.10008.5.1.4.1.1.88.{part}" for part in (22, 33, 34))
"""SOP Classes that may hold TID 1500: Enhanced, Comprehensive and Comprehensive 3D SR (PS3.4, B.5)."""

_BASIC_TEXT: Final = "1.2.840.10008.5.1.4.1.1.88.11"
"""Basic Text SR, which may hold TID 4200 (PS3.17, Q.1), though without regions."""

REPORT_CLASSES: Final = (_BASIC_TEXT, *_MEASURED)

MEASUREMENT_REPORT: Final = "1500"
BREAST_IMAGING_REPORT: Final = "4200"

_HEAD: Final = ("SOPClassUID", "ContentDate", "ContentTime", "DeviceSerialNumber", "ContentTemplateSequence")

Place = Region | SegmentReference


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a report before it is read.

    Attributes:
        written: Content Date and Content Time (`worker.intake.markings.moment`).
        is_silent: it says nothing of lesions: it is of another template, or this software wrote it about lesions that
            another object marked before.
        is_breast_imaging_report: it is of TID 4200.
    """

    written: str
    is_silent: bool
    is_breast_imaging_report: bool


def read_head(path: Path, limits: Limits) -> Head:
    """Read when a report was written and what it is, of one that is cut off too. Never raises.

    Args:
        path: a confined path.
        limits: what a deflated file may inflate to.
    """
    header = read_beginning(path, limits, last="ContentTemplateSequence", also=_HEAD)
    templates = [item.text("TemplateIdentifier") for item in header.items("ContentTemplateSequence")]
    is_ours = header.text("DeviceSerialNumber") == DEVICE
    is_breast_imaging_report = BREAST_IMAGING_REPORT in templates
    # Of a report without any template, nobody knows before it is read; a text marks no lesion.
    may_measure = header.text("SOPClassUID") != _BASIC_TEXT and (not templates or MEASUREMENT_REPORT in templates)
    is_silent = is_ours or not (may_measure or is_breast_imaging_report)
    written = moment(header.text("ContentDate"), header.text("ContentTime"))
    return Head(written, is_silent, is_breast_imaging_report)


def read_report(path: Path, limits: Limits) -> Marking[Place]:
    """Read one report.

    Args:
        path: a confined path.
        limits: the largest file.

    Raises:
        StudyRefused: ``report_invalid``, ``report_unsupported``, ``breast_report_unsupported`` or ``birads_unknown``;
            the reason says which finding, by its place in the report.
        LesionRefused: a ``file_`` code.
        SetupRefused: ``setting_invalid``; the extra ``dicom`` is not installed.
        Unavailable: ``storage_unavailable``.
    """
    with open_marking(path, limits) as dataset:
        templates = {item.get("TemplateIdentifier") for item in dataset.get("ContentTemplateSequence") or ()}
        findings: tuple[Finding[Place], ...] = ()
        if MEASUREMENT_REPORT in templates:
            findings = _findings(_groups(_measurement_report(dataset)))
        elif BREAST_IMAGING_REPORT in templates:
            findings = findings_of(dataset)
        return Marking(moment(dataset.get("ContentDate"), dataset.get("ContentTime")), findings)


def _measurement_report(dataset: Dataset) -> "MeasurementReport":
    try:
        from highdicom.sr import Comprehensive3DSR, ComprehensiveSR, EnhancedSR, MeasurementReport
    except ImportError:
        reason = "a DICOM SR is read by the extra: pip install 'dlr-worker[dicom]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    classes: tuple[Any, ...] = EnhancedSR, ComprehensiveSR, Comprehensive3DSR
    of_class = dict(zip(_MEASURED, classes, strict=True))
    content = of_class[str(dataset.SOPClassUID)].from_dataset(dataset).content
    if not isinstance(content, MeasurementReport):
        raise StudyRefused(Code.REPORT_INVALID)
    return content


def _groups(report: "MeasurementReport") -> "list[Group]":
    """Return the groups with a region: planar ones (TID 1410), then volumetric ones (TID 1411)."""
    return [*report.get_planar_roi_measurement_groups(), *report.get_volumetric_roi_measurement_groups()]


def _findings(groups: "Sequence[Group]") -> tuple[Finding[Place], ...]:
    """Return the findings that were assessed, and those that are tracked as one with them.

    Others, such as a distance that was measured, are no lesions.
    """
    numbered = list(enumerate(groups, start=1))
    found = {n: _finding(n, group, birads) for n, group in numbered if (birads := _birads(n, group))}
    tracked = {tracking_of(finding) for finding in found.values()} - {None}
    for number, group in numbered:
        if number not in found and tracking_of(_tracked(number, group)) in tracked:
            with suppress(StudyRefused):
                found[number] = _finding(number, group, None)
    return tuple(found[number] for number in sorted(found))


def _birads(number: int, group: "Group") -> Birads | None:
    evaluations = group.get_qualitative_evaluations()
    said = [_code(evaluation.value) for evaluation in evaluations if _code(evaluation.name) in ASSESSMENT]
    return category(said, _where(number))


def _code(concept: Any) -> tuple[str, str]:
    return concept.scheme_designator, concept.value


def _where(number: int) -> str:
    return f"finding {number}"


def _tracked(number: int, group: "Group") -> Finding[Place]:
    """Return a group's finding without what it says of a lesion."""
    tracking_uid = str(group.tracking_uid or "")
    return Finding(number, _where(number), group.tracking_identifier or "", None, (), tracking_uid)


def _finding(number: int, group: "Group", birads: Birads | None) -> Finding[Place]:
    items = children(group[0])
    regions = tuple(_regions(group, _where(number)))
    said = _tracked(number, group)
    return replace(said, birads=birads, regions=regions, site=finding_site(items), plane=image_plane(items))


def _regions(group: "Group", where: str) -> list[Place]:
    from highdicom.sr import ImageRegion, PlanarROIMeasurementsAndQualitativeEvaluations

    drawn: list[Any]
    if isinstance(group, PlanarROIMeasurementsAndQualitativeEvaluations):
        frame, drawn = group.referenced_segmentation_frame, [group.roi]
        if frame is not None:
            return [_segment(frame, [frame.source_image_for_segmentation], where)]
    else:
        segment = group.referenced_segment
        if segment is not None:
            return [_segment(segment, segment.source_images_for_segmentation, where)]
        drawn = group.roi if isinstance(group.roi, list) else [group.roi]
    if not drawn or not all(isinstance(region, ImageRegion) for region in drawn):
        reason = f"{where} is marked in three dimensions; a region of an image or a segment of one is read"
        raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
    return [region for one in drawn for region in regions_of(one, where)]


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
