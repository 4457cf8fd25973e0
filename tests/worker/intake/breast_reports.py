"""DICOM's Breast Imaging Report (PS3.16, TID 4200), of highdicom's Content Items: it has no class for the template.

The tree is that of PS3.17, Q.1 and example 3 of Q.2, with spatial coordinates as TID 350 permits them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    EnhancedSR,
    ImageContentItem,
    NumContentItem,
    ScoordContentItem,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.worker.intake.reports import CODES, RETIRED, evidence, tracking_uid

FINDINGS = CodedConcept("59776-5", "LN", "Findings")
FINDING = CodedConcept("121071", "DCM", "Finding")
ASSESSMENT = CodedConcept("111005", "DCM", "Assessment Category")
BASIC_TEXT = "1.2.840.10008.5.1.4.1.1.88.11"
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Coded:
    """A coded finding: its outlines, each on an image; ``birads`` are keys of CODES, ``tracked`` of `tracking_uid`."""

    outlines: Sequence[tuple[Path, Points]] = ()
    birads: Sequence[str] = ("4A",)
    clock: tuple[str, str, str] | None = None
    side: tuple[str, str, str] | None = None
    diameter: tuple[Path, Points] | None = None
    tracked: str | None = None


def write_breast_report(
    path: Path, image: Path, findings: Sequence[Coded], overall: str | None = None, **elements: Any
) -> Path:
    """Write a report on a study's images, with a narrative, coded findings and an overall assessment."""
    images = [image, *(one for finding in findings for one, _ in finding.outlines)]
    narrative = _container(
        CodedConcept("111412", "DCM", "Narrative Summary"),
        [_container(FINDINGS, [TextContentItem(FINDING, "A mass at 2 o'clock.", "CONTAINS")])],
    )
    coded = [_container(FINDINGS, [_finding(finding) for finding in findings])] if findings else []
    if overall is not None:
        assessed = [CodeContentItem(ASSESSMENT, CodedConcept(*CODES[overall]), "CONTAINS")]
        coded.append(_container(CodedConcept("111413", "DCM", "Overall Assessment"), assessed))
    supplementary = _container(CodedConcept("111414", "DCM", "Supplementary Data"), coded)
    root = ContainerContentItem(CodedConcept("111400", "DCM", "Breast Imaging Report"), template_id="4200")
    root.ContentSequence = [narrative, supplementary]
    made = EnhancedSR(
        evidence=[evidence(dcmread(one)) for one in dict.fromkeys(images)],
        content=root,
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Tests",
        is_complete=True,
    )
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.save_as(path)
    return path


def _container(name: CodedConcept, items: Sequence[ContentItem]) -> ContainerContentItem:
    made = ContainerContentItem(name, relationship_type="CONTAINS")
    made.ContentSequence = list(items)
    return made


def _finding(finding: Coded) -> CodeContentItem:
    made = CodeContentItem(FINDING, CodedConcept("111462", "DCM", "Solid mass"), "CONTAINS")
    below: list[ContentItem] = [
        CodeContentItem(ASSESSMENT, CodedConcept(*CODES[birads]), "HAS CONCEPT MOD") for birads in finding.birads
    ]
    if finding.tracked is not None:
        name = CodedConcept("112040", "DCM", "Tracking Unique Identifier")
        below.append(UIDRefContentItem(name, tracking_uid(finding.tracked), "HAS OBS CONTEXT"))
    if finding.side is not None:
        side = CodedConcept("272741003", "SCT", "Laterality")
        below.append(CodeContentItem(side, CodedConcept(*finding.side), "HAS CONCEPT MOD"))
    if finding.clock is not None:
        clock = CodedConcept("111014", "DCM", "Clockface or region")
        below.append(CodeContentItem(clock, CodedConcept(*finding.clock), "HAS PROPERTIES"))
    if finding.diameter is not None:
        length = CodedConcept("81827009", "SCT", "Diameter")
        measured = NumContentItem(length, 7.0, CodedConcept("mm", "UCUM", "mm"), relationship_type="HAS PROPERTIES")
        measured.ContentSequence = [_outline(*finding.diameter)]
        below.append(measured)
    below += [_outline(*outline) for outline in finding.outlines]
    made.ContentSequence = below
    return made


def _outline(path: Path, points: Points) -> ScoordContentItem:
    image = dcmread(path)
    made = ScoordContentItem(
        CodedConcept("111030", "DCM", "Image Region"),
        "POLYLINE",
        np.array(points, dtype=float),
        relationship_type="INFERRED FROM",
    )
    selected = ImageContentItem(
        CodedConcept("121112", "DCM", "Source of Measurement"),
        RETIRED.get(image.SOPClassUID, image.SOPClassUID),
        image.SOPInstanceUID,
        relationship_type="SELECTED FROM",
    )
    made.ContentSequence = [selected]
    return made
