"""The DICOM SR (TID 1500) that a workstation would write for a demo study: a region and a BI-RADS category a lesion."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from worker.clinical.birads_codes import CATEGORIES
from worker.clinical.categories import Birads

if TYPE_CHECKING:
    from highdicom.sr import PlanarROIMeasurementsAndQualitativeEvaluations

_OBSERVER = "Radiologist^Phantom"


def write_report(path: Path, image: Path, lesions: Sequence[Mapping[str, Any]]) -> None:
    """Write a report on one image.

    Args:
        path: where.
        image: a file of `worker.demo.dicom.write_ultrasound`, whose patient and study the report takes over.
        lesions: as a job has them, each with a ROI.
    """
    from highdicom.sr import (
        CodedConcept,
        Comprehensive3DSR,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
        PersonObserverIdentifyingAttributes,
    )
    from pydicom.sr.codedict import codes

    evidence = dcmread(image, stop_before_pixels=True)
    observer = PersonObserverIdentifyingAttributes(name=_OBSERVER)
    content = MeasurementReport(
        observation_context=ObservationContext(observer_person_context=ObserverContext(codes.DCM.Person, observer)),
        procedure_reported=CodedConcept("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=[_group(evidence, lesion) for lesion in lesions],
        title=codes.DCM.ImagingMeasurementReport,
    )
    Comprehensive3DSR(
        evidence=[evidence],
        content=content,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Phantom",
        is_complete=True,
    ).save_as(path)


def _group(image: Dataset, lesion: Mapping[str, Any]) -> "PlanarROIMeasurementsAndQualitativeEvaluations":
    import numpy as np
    from highdicom.sr import (
        CodedConcept,
        GraphicTypeValues,
        ImageRegion,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForRegion,
        TrackingIdentifier,
    )

    roi = lesion["roi"]
    left, top, right, bottom = roi["x"], roi["y"], roi["x"] + roi["width"], roi["y"] + roi["height"]
    outline = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    frames = [lesion["frame"]] if "NumberOfFrames" in image else None
    scheme, value = next(code for code, birads in CATEGORIES.items() if birads is Birads(lesion["birads"]))
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=ImageRegion(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=np.array(outline, dtype=float),
            source_image=SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID, frames),
        ),
        tracking_identifier=TrackingIdentifier(uid=generate_uid(), identifier=lesion["lesion_id"]),
        finding_type=CodedConcept("52988006", "SCT", "Lesion"),
        qualitative_evaluations=[
            QualitativeEvaluation(
                name=CodedConcept("111005", "DCM", "Assessment Category"),
                value=CodedConcept(value, scheme, f"BI-RADS {lesion['birads']}"),
            )
        ],
    )
