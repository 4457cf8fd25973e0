"""DICOM SR written by highdicom: findings of TID 1500 with a region and a BI-RADS category."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.sr import (
    CodedConcept,
    ComprehensiveSR,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    ReferencedSegmentationFrame,
    SourceImageForRegion,
    SourceImageForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import UltrasoundImageStorage, generate_uid

from tests.worker.imaging.dicom_files import LIMITS
from worker.intake import tracked_lesions
from worker.intake.structured_report import read_report
from worker.intake.tracked_lesions import as_in_a_job

CODES = {
    "1": ("397140005", "SCT", "1 - Negative"),
    "3": ("397143007", "SCT", "3 - Probably Benign"),
    "4": ("397144001", "SCT", "4 - Suspicious"),
    "4A": ("MA.II.A.5.4A", "BI", "4A - Low suspicion"),
    "4B": ("MA.II.A.5.4B", "BI", "4B - Intermediate suspicion"),
    "5": ("397145000", "SCT", "5 - Highly suggestive of malignancy"),
    "none of them": ("123", "99LOCAL", "Something else"),
}

RETIRED = {"1.2.840.10008.5.1.4.1.1.6": UltrasoundImageStorage}


@dataclass(frozen=True)
class Finding:
    """A finding on an image; ``birads`` is a key of CODES, several, or none.

    With a segmentation it has no points: it refers to a segment, in one frame of the segmentation or in all of it. With
    ``also``, other images with their points, it is a finding on several. ``tracked`` is a key of `tracking_uid`.
    """

    image: Path
    points: Sequence[tuple[float, float]] = ()
    birads: Sequence[str] = ("4A",)
    name: str = "left upper outer"
    frame: int | None = None
    graphic: GraphicTypeValues = GraphicTypeValues.POLYLINE
    segmentation: Path | None = None
    segment: int = 1
    in_frame: int | None = 1
    tracked: str | None = None
    sites: Sequence[FindingSite] = ()
    measured: Sequence[Measurement] = ()
    evaluated: Sequence[QualitativeEvaluation] = ()
    also: Sequence[tuple[Path, Sequence[tuple[float, float]]]] = ()


def tracking_uid(name: str) -> str:
    """The same Tracking Unique Identifier for the same name."""
    return generate_uid(entropy_srcs=[name])


def rectangle(x: int, y: int, width: int, height: int) -> list[tuple[float, float]]:
    """The outline of a rectangle of whole pixels."""
    right, bottom = x + width, y + height
    return [(x, y), (right, y), (right, bottom), (x, bottom), (x, y)]


def write_report(path: Path, findings: Sequence[Finding], **elements: Any) -> Path:
    """Write a report on the images of its findings."""
    marked = [path for finding in findings for path in (finding.image, *(other for other, _ in finding.also))]
    images = {path: evidence(dcmread(path)) for path in marked}
    segmentations = {one.segmentation: dcmread(one.segmentation) for one in findings if one.segmentation is not None}
    observer = PersonObserverIdentifyingAttributes(name="Reader^One")
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_person_context=ObserverContext(codes.DCM.Person, observer),
        ),
        procedure_reported=CodedConcept("47079000", "SCT", "Ultrasonography of breast"),
        imaging_measurements=[_group(finding, images) for finding in findings],
        title=codes.DCM.ImagingMeasurementReport,
    )
    made = ComprehensiveSR(
        evidence=[*images.values(), *segmentations.values()],
        content=content,
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Tests",
        is_complete=True,
    )
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.save_as(path)
    return path


def evidence(image: Dataset) -> Dataset:
    """What highdicom has to know of an image: without the rest, which in old files does not conform."""
    known = Dataset()
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "PatientID", "Rows", "Columns", "Modality"):
        setattr(known, keyword, image.get(keyword, ""))
    for keyword in ("PatientName", "PatientSex", "PatientBirthDate", "StudyID", "StudyDate", "StudyTime"):
        setattr(known, keyword, "")
    known.AccessionNumber = known.ReferringPhysicianName = ""
    known.SOPClassUID = RETIRED.get(image.SOPClassUID, image.SOPClassUID)
    known.SeriesInstanceUID = image.get("SeriesInstanceUID") or generate_uid()
    if "NumberOfFrames" in image:
        known.NumberOfFrames = image.NumberOfFrames
    return known


def one_frame(path: Path) -> Dataset:
    """What highdicom has to know of an image that has one frame; of more it wants to know their places in space."""
    known = evidence(dcmread(path))
    known.pop("NumberOfFrames", None)
    known.SOPClassUID, known.file_meta = UltrasoundImageStorage, dcmread(path).file_meta
    return known


def of_frame(reference: Dataset, image: Path, frame: int | None) -> None:
    """Make a reference to an image of one frame one to a frame of its image."""
    reference.ReferencedSOPClassUID = dcmread(image).SOPClassUID
    if frame is not None:
        reference.ReferencedFrameNumber = frame


def _group(
    finding: Finding, images: Mapping[Path, Dataset]
) -> PlanarROIMeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations:
    image = images[finding.image]
    frames = None if finding.frame is None else [finding.frame]
    uid = generate_uid() if finding.tracked is None else tracking_uid(finding.tracked)
    said: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(uid=uid, identifier=finding.name),
        "finding_sites": finding.sites or None,
        "measurements": finding.measured or None,
        "finding_type": CodedConcept("52988006", "SCT", "Lesion"),
        "qualitative_evaluations": [
            QualitativeEvaluation(
                name=CodedConcept("111005", "DCM", "Assessment Category"), value=CodedConcept(*CODES[said])
            )
            for said in finding.birads
        ]
        + list(finding.evaluated),
    }
    if finding.also:
        drawn = [(image, finding.points), *((images[path], points) for path, points in finding.also)]
        regions = [_region(one, points, finding.graphic) for one, points in drawn]
        return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_regions=regions, **said)
    if finding.segmentation is None:
        region = _region(image, finding.points, finding.graphic, frames)
        return PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **said)
    segmentation = dcmread(finding.segmentation)
    ids = segmentation.SOPClassUID, segmentation.SOPInstanceUID
    source = SourceImageForSegmentation(image.SOPClassUID, image.SOPInstanceUID, frames)
    if finding.in_frame is not None:
        frame = ReferencedSegmentationFrame(*ids, finding.in_frame, finding.segment, source)
        return PlanarROIMeasurementsAndQualitativeEvaluations(referenced_segment=frame, **said)
    segment = ReferencedSegment(*ids, finding.segment, source_images=[source])
    return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **said)


def _region(
    image: Dataset,
    points: Sequence[tuple[float, float]],
    graphic: GraphicTypeValues,
    frames: Sequence[int] | None = None,
) -> ImageRegion:
    return ImageRegion(
        graphic_type=graphic,
        graphic_data=np.array(points, dtype=float),
        source_image=SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID, frames),
    )


def lesions_of(path: Path) -> list[dict[str, Any]]:
    """What a report marks, as a job has it; all is drawn in it."""
    return as_in_a_job(tracked_lesions.lesions_of(read_report(path, LIMITS).findings))
