"""Softcopy presentation states written by highdicom: outlines and texts on an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.pr import (
    GraphicAnnotation,
    GraphicGroup,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from pydicom.uid import generate_uid

from tests.worker.intake.reports import of_frame, one_frame, tracking_uid

LAYER = GraphicLayer("LESIONS", 1)
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Annotation:
    """An item of Graphic Annotation Sequence: outlines and texts, and the groups that they are of."""

    outlines: Sequence[Points]
    texts: Sequence[str]
    groups: Sequence[int] = ()
    graphic: str = "POLYLINE"
    units: str = "PIXEL"
    name: str | None = None
    tracked: str | None = None


def write_presentation(
    path: Path, image: Path, annotations: Sequence[Annotation], frame: int | None = None, **elements: Any
) -> Path:
    """Write a presentation state of an image, or of a frame of it."""
    source = one_frame(image)
    source.SamplesPerPixel, source.PhotometricInterpretation, source.BitsStored = 1, "MONOCHROME2", 8
    source.BitsAllocated, source.PixelRepresentation = 8, 0
    ids = sorted({group for annotation in annotations for group in annotation.groups})
    made = GrayscaleSoftcopyPresentationState(
        referenced_images=[source],
        series_instance_uid=generate_uid(),
        series_number=7,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Tests",
        manufacturer_model_name="Tests",
        software_versions="1",
        device_serial_number="1",
        content_label="LESIONS",
        graphic_layers=[LAYER],
        graphic_groups=[GraphicGroup(one, f"group {one}") for one in ids] or None,
        graphic_annotations=[_annotation(one, source) for one in annotations],
        concept_name=None,
    )
    for item in made.GraphicAnnotationSequence:
        of_frame(item.ReferencedImageSequence[0], image, frame)
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.save_as(path)
    return path


def _annotation(annotation: Annotation, source: Any) -> GraphicAnnotation:
    groups = [GraphicGroup(one, f"group {one}") for one in annotation.groups]
    uid = generate_uid() if annotation.tracked is None else tracking_uid(annotation.tracked)
    return GraphicAnnotation(
        referenced_images=[source],
        graphic_layer=LAYER,
        graphic_objects=[
            GraphicObject(
                annotation.graphic,
                np.array(points, dtype=float),
                annotation.units,
                tracking_id=annotation.name,
                tracking_uid=None if annotation.name is None else uid,
                graphic_group=groups[place] if groups else None,
            )
            for place, points in enumerate(annotation.outlines)
        ]
        or None,
        text_objects=[
            TextObject(
                text, "PIXEL", anchor_point=(1.0, 1.0), graphic_group=groups[place % len(groups)] if groups else None
            )
            for place, text in enumerate(annotation.texts)
        ]
        or None,
    )
