"""DICOM Segmentations written by highdicom, of images without a patient's space, as ultrasound is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from tests.worker.intake.reports import CODES, of_frame, one_frame, tracking_uid

LEFT = CodedConcept("7771000", "SCT", "Left")


@dataclass(frozen=True)
class Drawn:
    """A segment: a rectangle (x, y, width, height), and what is coded of it; ``birads`` are keys of CODES.

    ``tracked`` is a key of `tracking_uid`.
    """

    rectangle: tuple[int, int, int, int]
    name: str = "left upper outer"
    birads: Sequence[str] = ()
    tracked: str | None = None


def write_segmentation(
    path: Path, image: Path, segments: Sequence[Drawn], frame: int | None = None, kind: str = "BINARY", **elements: Any
) -> Path:
    """Write a segmentation of one frame of an image."""
    source = one_frame(image)
    pixels = np.zeros((1, source.Rows, source.Columns, len(segments)), np.uint8)
    for number, segment in enumerate(segments):
        x, y, width, height = segment.rectangle
        pixels[0, y : y + height, x : x + width, number] = 1
    made = Segmentation(
        source_images=[source],
        pixel_array=pixels,
        segmentation_type=SegmentationTypeValues(kind),
        segment_descriptions=[_described(number, segment) for number, segment in enumerate(segments, start=1)],
        series_instance_uid=generate_uid(),
        series_number=8,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Tests",
        manufacturer_model_name="Tests",
        software_versions="1",
        device_serial_number="1",
    )
    for item in made.PerFrameFunctionalGroupsSequence:
        of_frame(item.DerivationImageSequence[0].SourceImageSequence[0], image, frame)
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.save_as(path)
    return path


def _described(number: int, segment: Drawn) -> SegmentDescription:
    described = SegmentDescription(
        segment_number=number,
        segment_label=f"segment {number}",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type="MANUAL",
        tracking_uid=generate_uid() if segment.tracked is None else tracking_uid(segment.tracked),
        tracking_id=segment.name,
    )
    modifiers: list[Dataset] = [LEFT, *(CodedConcept(*CODES[said]) for said in segment.birads)]
    described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = modifiers
    return described
