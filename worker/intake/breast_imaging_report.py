"""Lesions from DICOM's own Breast Imaging Report (PS3.16, TID 4200): its coded findings that have a region.

A finding (TID 4206) has below it its assessment (TID 4203: Assessment Category of CID 6026, which includes CID 6027),
and where it is: Laterality, and "Clockface or region" of CID 6018. What it rests on stands there too, by value (TID
350; PS3.17, Q.1); where that is spatial coordinates on an image, the finding is a lesion. The template asks for none,
and a Basic Text SR can hold none: a report without a region leaves its lesions to the study's other objects. The
Overall Assessment is of a breast or of both, and is not taken for a finding's.
"""

from collections.abc import Iterator
from typing import Final

from pydicom import Dataset

from worker.clinical.birads_codes import ASSESSMENT
from worker.clinical.categories import Birads
from worker.errors import Code, StudyRefused
from worker.intake.finding_site import children, coded, finding_site, image_plane, name_of
from worker.intake.image_region import regions_of
from worker.intake.markings import Finding, Region, category

_FINDINGS: Final = {("LN", "59776-5"), ("DCM", "121070")}
"""The section "Findings" (CID 6052), and its code before it was LOINC's."""

_FINDING: Final = ("DCM", "121071")
_TRACKING_UID: Final = ("DCM", "112040")
_TRACKING_IDENTIFIER: Final = ("DCM", "112039")


def findings_of(report: Dataset) -> tuple[Finding[Region], ...]:
    """Return the findings that have a region and an assessment of their own; none where no finding has both.

    Args:
        report: a Breast Imaging Report.

    Raises:
        StudyRefused: ``breast_report_unsupported``: beside such findings, one that was assessed as other than negative
            has no region, or names its image elsewhere; ``birads_unknown``; the reason says which finding.
        Exception: the report does not conform.
    """
    numbered = enumerate(_coded_findings(report), start=1)
    assessed = [(number, item) for number, item in numbered if coded(children(item), ASSESSMENT)]
    if not any(_outlines(item) for _, item in assessed):
        return ()
    found = [(number, item, category(coded(children(item), ASSESSMENT), _where(number))) for number, item in assessed]
    return tuple(
        _finding(number, item, birads)
        for number, item, birads in found
        if _outlines(item) or birads is not Birads.NEGATIVE
    )


def _coded_findings(item: Dataset, *, in_section: bool = False) -> Iterator[Dataset]:
    """Give the coded findings below an item, in the report's order; those of the narrative are texts."""
    for child in children(item):
        if child.ValueType == "CONTAINER":
            yield from _coded_findings(child, in_section=name_of(child) in _FINDINGS)
        elif in_section and child.ValueType == "CODE" and name_of(child) == _FINDING:
            yield child


def _outlines(finding: Dataset) -> list[Dataset]:
    """Return a finding's own outlines; those of its measurements are below them."""
    return [item for item in children(finding) if item.ValueType == "SCOORD"]


def _where(number: int) -> str:
    return f"finding {number}"


def _finding(number: int, item: Dataset, birads: Birads | None) -> Finding[Region]:
    where, below, outlines = _where(number), children(item), _outlines(item)
    if not outlines or not all(children(outline) for outline in outlines):
        reason = f"{where} has an assessment category and no region on an image, beside findings that have one"
        raise StudyRefused(Code.BREAST_REPORT_UNSUPPORTED, reason)
    regions = tuple(region for outline in outlines for region in regions_of(outline, where))
    texts = {name_of(one): str(one.get("UID") or one.get("TextValue") or "") for one in below}
    return Finding(
        number,
        where,
        texts.get(_TRACKING_IDENTIFIER, ""),
        birads,
        regions,
        texts.get(_TRACKING_UID, ""),
        finding_site(below),
        image_plane(below),
    )
