"""Which of a study's objects says where its lesions are: its DICOM SR, else its SEGs, else its presentation states.

A report is about the study, so the latest one alone counts. Segmentations and presentation states are about an image,
so for each image the latest one of it counts; and nothing that an older one marks may get lost on the way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Generic

from worker.errors import Code, StudyRefused
from worker.imaging.identity import Identity
from worker.imaging.storage import Limits
from worker.intake.findings import Finding, Marking, Place, Region, SegmentReference, names_of
from worker.intake.presentation import PRESENTATION_CLASSES, read_presentation
from worker.intake.report import REPORT_CLASSES, read_report
from worker.intake.segmentation import SEGMENTATION_CLASSES, Segmentation, read_segmentation

MARKING_CLASSES: Final = (*REPORT_CLASSES, *SEGMENTATION_CLASSES, *PRESENTATION_CLASSES)
"""SOP Classes of what may say where lesions are."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A file, and what it says it is."""

    path: Path
    identity: Identity

    @property
    def is_marking(self) -> bool:
        """Whether it may say where lesions are."""
        return self.identity.sop_class_uid in MARKING_CLASSES


@dataclass(frozen=True, slots=True)
class Marked:
    """Where a study's lesions are.

    Attributes:
        findings: at least one.
        said_by: the objects that say so.
        by_report: a DICOM SR says it, which nothing but another one outweighs.
    """

    findings: tuple[Finding[Region], ...]
    said_by: tuple[Instance, ...]
    by_report: bool

    def lesions(self) -> list[dict[str, Any]]:
        """Return the lesions as a job has them."""
        return [
            {
                "lesion_id": name,
                "birads": finding.birads.value,
                "sop_instance_uid": finding.region.sop_instance_uid,
                "frame": finding.region.frame,
                "roi": asdict(finding.region.roi),
            }
            for name, finding in zip(names_of(self.findings), self.findings, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Object(Generic[Place]):
    """An object that marks lesions, and what it marks."""

    instance: Instance
    marking: Marking[Place]

    @property
    def order(self) -> tuple[str, str]:
        return self.marking.written, self.instance.identity.sop_instance_uid


def find_lesions(instances: Sequence[Instance], limits: Limits) -> Marked:
    """Find where a study's lesions are.

    Args:
        instances: of one Study Instance UID, images included.
        limits: the largest file and frame.

    Raises:
        Refused: ``lesions_missing``; ``sop_instance_not_found``, for a segmentation that has not come; or as reading an
            object raises it.
        Unavailable: ``storage_unavailable``.
    """
    segmentations = _of(instances, SEGMENTATION_CLASSES)
    reports = _marking(_of(instances, REPORT_CLASSES), lambda path: read_report(path, limits))
    if reports:
        found = _by_report(max(reports, key=lambda report: report.order), segmentations, limits)
    else:
        presentations = _of(instances, PRESENTATION_CLASSES)
        objects = _marking(segmentations, lambda path: read_segmentation(path, limits).alone()) or _marking(
            presentations, lambda path: read_presentation(path, limits)
        )
        if not objects:
            raise StudyRefused(Code.LESIONS_MISSING)
        found = _by_image(objects)
    _same_matrix(found.findings, instances)
    return found


def _of(instances: Sequence[Instance], classes: Sequence[str]) -> list[Instance]:
    return [one for one in instances if one.identity.sop_class_uid in classes]


def _marking(instances: Iterable[Instance], read: Callable[[Path], Marking[Place]]) -> list[_Object[Place]]:
    """Read objects; return those that mark a lesion."""
    return [_Object(one, marking) for one in instances if (marking := read(one.path)).findings]


def _by_report(report: _Object[Region | SegmentReference], segmentations: Sequence[Instance], limits: Limits) -> Marked:
    wanted: dict[str, set[int]] = {}
    for finding in report.marking.findings:
        if isinstance(finding.region, SegmentReference):
            wanted.setdefault(finding.region.sop_instance_uid, set()).add(finding.region.segment)
    used = [one for one in segmentations if one.identity.sop_instance_uid in wanted]
    read: dict[str, Segmentation] = {}
    for one in used:
        uid = one.identity.sop_instance_uid
        segmentation = read_segmentation(one.path, limits, wanted[uid])
        if read.setdefault(uid, segmentation) != segmentation:
            raise StudyRefused(Code.SOP_INSTANCE_AMBIGUOUS, "two different segmentations have one SOP Instance UID")
    found = tuple(
        Finding(finding.number, finding.where, finding.tracked_as, finding.birads, _region(finding, read))
        for finding in report.marking.findings
    )
    return Marked(found, (report.instance, *used), by_report=True)


def _region(finding: Finding[Region | SegmentReference], segmentations: Mapping[str, Segmentation]) -> Region:
    """Return a finding's region, which may be that of a segment."""
    reference, where = finding.region, finding.where
    if isinstance(reference, Region):
        return reference
    segmentation = segmentations.get(reference.sop_instance_uid)
    if segmentation is None:
        reason = f"{where} refers to a segmentation that is not among the study's files; send it"
        raise StudyRefused(Code.SOP_INSTANCE_NOT_FOUND, reason)
    if segmentation.birads(reference.segment) not in (None, finding.birads):
        raise StudyRefused(Code.BIRADS_UNKNOWN, f"{where} and its segment have different assessment categories")
    region = segmentation.region(reference.segment, reference.frames, where)
    if reference.images and region.sop_instance_uid not in reference.images:
        raise StudyRefused(Code.REPORT_INVALID, f"{where} and its segmentation name different images")
    return region


def _by_image(objects: Sequence[_Object[Region]]) -> Marked:
    """Take for each image the latest object of it."""
    of_image: dict[str, tuple[Instance, list[Finding[Region]]]] = {}
    for one in sorted(objects, key=lambda one: one.order):
        for image, findings in _by_their_image(one.marking.findings).items():
            older = of_image[image][1] if image in of_image else []
            if not all(any(_overlap(old.region, new.region) for new in findings) for old in older):
                reason = (
                    "the later one of two segmentations or presentation states of an image leaves out a lesion of the "
                    "earlier one; a DICOM SR has to say which lesions there are"
                )
                raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
            of_image[image] = one.instance, findings
    found = [finding for _, findings in of_image.values() for finding in findings]
    numbered = tuple(replace(finding, number=number) for number, finding in enumerate(found, start=1))
    return Marked(numbered, tuple({one.path: one for one, _ in of_image.values()}.values()), by_report=False)


def _by_their_image(findings: Sequence[Finding[Region]]) -> dict[str, list[Finding[Region]]]:
    images: dict[str, list[Finding[Region]]] = {}
    for finding in findings:
        images.setdefault(finding.region.sop_instance_uid, []).append(finding)
    return images


def _overlap(one: Region, other: Region) -> bool:
    a, b = one.roi, other.roi
    across = a.x < b.x + b.width and b.x < a.x + a.width
    down = a.y < b.y + b.height and b.y < a.y + a.height
    return one.frame == other.frame and across and down


def _same_matrix(findings: Sequence[Finding[Region]], instances: Sequence[Instance]) -> None:
    """A segmentation of another size than its image has pixels that are not the image's."""
    matrices = {one.identity.sop_instance_uid: one.identity.matrix for one in instances}
    for finding in findings:
        region = finding.region
        if region.matrix is not None and matrices.get(region.sop_instance_uid, region.matrix) != region.matrix:
            reason = f"{finding.where} is segmented in other rows and columns than its image has"
            raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
