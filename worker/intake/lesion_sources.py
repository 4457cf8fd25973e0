"""Which of a study's objects says where its lesions are: its DICOM SR, else its SEGs, else its presentation states.

A report is about the study, so the latest one alone counts, and only what may be the latest is read. Segmentations and
presentation states are about an image, so for each image the latest one of it counts; and nothing that an older one
marks may get lost on the way.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Generic

from worker.clinical.categories import Birads
from worker.errors import Code, LesionRefused, StudyRefused
from worker.image_access import Limits
from worker.imaging.identity import Identity
from worker.intake.markings import Finding, Marking, Place, Region, SegmentReference, names_of
from worker.intake.presentation_state import PRESENTATION_CLASSES, read_presentation
from worker.intake.segmentation import SEGMENTATION_CLASSES, Segmentation, read_segmentation
from worker.intake.structured_report import REPORT_CLASSES, read_head, read_report

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
class _File:
    """A file, and its place among the study's files, from 1, by which a refusal names it."""

    instance: Instance
    place: int

    @contextmanager
    def named(self) -> Iterator[None]:
        """Name the file in what is refused meanwhile."""
        try:
            yield
        except (StudyRefused, LesionRefused) as refused:
            reason = f"file {self.place} of the study: {refused.reason}"
            raise type(refused)(refused.code, reason) from None


@dataclass(frozen=True, slots=True)
class _Object(Generic[Place]):
    """An object that marks lesions, and what it marks."""

    file: _File
    marking: Marking[Place]

    @property
    def order(self) -> tuple[str, str]:
        return self.marking.written, self.file.instance.identity.sop_instance_uid


def find_lesions(instances: Sequence[Instance], limits: Limits) -> Marked:
    """Find where a study's lesions are.

    Args:
        instances: of one Study Instance UID, images included.
        limits: the largest file and frame.

    Raises:
        Refused: ``lesions_missing``; ``sop_instance_not_found``, for a segmentation that has not come; or as reading an
            object raises it. The reason names the object by its place among the files.
        Unavailable: ``storage_unavailable``.
    """
    files = [_File(one, place) for place, one in enumerate(instances, start=1)]
    segmentations = _of(files, SEGMENTATION_CLASSES)
    report = _report_that_counts(_of(files, REPORT_CLASSES), limits)
    if report is not None:
        found = _by_report(report, segmentations, limits)
    else:
        presentations = _of(files, PRESENTATION_CLASSES)
        objects = _marking(segmentations, lambda path: read_segmentation(path, limits).alone()) or _marking(
            presentations, lambda path: read_presentation(path, limits)
        )
        if not objects:
            raise StudyRefused(Code.LESIONS_MISSING)
        found = _by_image(objects)
    _same_matrix(found.findings, instances)
    return found


def _of(files: Sequence[_File], classes: Sequence[str]) -> list[_File]:
    return [one for one in files if one.instance.identity.sop_class_uid in classes]


def _marking(files: Iterable[_File], read: Callable[[Path], Marking[Place]]) -> list[_Object[Place]]:
    """Read objects; return those that mark a lesion."""
    found = []
    for file in files:
        with file.named():
            marking = read(file.instance.path)
        if marking.findings:
            found.append(_Object(file, marking))
    return found


def _report_that_counts(files: Sequence[_File], limits: Limits) -> _Object[Region | SegmentReference] | None:
    """Return the latest report that marks a lesion. What is older than that is not read, so that it may be anything.

    One that does not say when it was written may be the latest one.
    """
    heads = [(read_head(file.instance.path, limits), file) for file in files]
    by_time: dict[str, list[_File]] = {}
    for head, file in heads:
        if not head.is_silent:
            by_time.setdefault(head.written, []).append(file)
    undated = by_time.pop("", [])
    for _, written in sorted(by_time.items(), reverse=True):
        found = _marking(written, lambda path: read_report(path, limits))
        if found:
            return _alike([*found, *_marking(undated, lambda path: read_report(path, limits))])
    return _alike(_marking(undated, lambda path: read_report(path, limits)))


def _alike(reports: Sequence[_Object[Region | SegmentReference]]) -> _Object[Region | SegmentReference] | None:
    """Return one of reports of which none is known to be the latest, since they mark the same lesions."""
    for report in reports[1:]:
        if _lesions(report.marking.findings) != _lesions(reports[0].marking.findings):
            raise _doubtful(reports[0].file, report.file)
    return max(reports, key=lambda report: report.order, default=None)


def _lesions(findings: Iterable[Finding[Place]]) -> set[tuple[Birads, Place]]:
    return {(finding.birads, finding.region) for finding in findings}


def _doubtful(one: _File, other: _File) -> StudyRefused:
    reason = (
        f"files {one.place} and {other.place} of the study mark different lesions, and their dates and times do not "
        "say which is the later one"
    )
    return StudyRefused(Code.REPORT_UNSUPPORTED, reason)


def _by_report(report: _Object[Region | SegmentReference], segmentations: Sequence[_File], limits: Limits) -> Marked:
    wanted: dict[str, set[int]] = {}
    for finding in report.marking.findings:
        if isinstance(finding.region, SegmentReference):
            wanted.setdefault(finding.region.sop_instance_uid, set()).add(finding.region.segment)
    used = [one for one in segmentations if one.instance.identity.sop_instance_uid in wanted]
    read: dict[str, Segmentation] = {}
    for one in used:
        uid = one.instance.identity.sop_instance_uid
        with one.named():
            segmentation = read_segmentation(one.instance.path, limits, wanted[uid])
            if read.setdefault(uid, segmentation) != segmentation:
                reason = "it and another segmentation, which is a different one, have one SOP Instance UID"
                raise StudyRefused(Code.SOP_INSTANCE_AMBIGUOUS, reason)
    with report.file.named():
        found = tuple(
            Finding(finding.number, finding.where, finding.tracked_as, finding.birads, _region(finding, read))
            for finding in report.marking.findings
        )
    return Marked(found, (report.file.instance, *(one.instance for one in used)), by_report=True)


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
    of_image: dict[str, tuple[_Object[Region], list[Finding[Region]]]] = {}
    for one in sorted(objects, key=lambda one: one.order):
        for image, findings in _by_their_image(one.marking.findings).items():
            earlier, older = of_image.get(image, (one, []))
            is_later = "" < earlier.marking.written < one.marking.written
            if older and not is_later and _lesions(findings) != _lesions(older):
                raise _doubtful(earlier.file, one.file)
            if not all(any(_overlap(old.region, new.region) for new in findings) for old in older):
                reason = (
                    f"file {one.file.place} of the study is a later segmentation or presentation state of an image and "
                    f"leaves out a lesion of file {earlier.file.place}; a DICOM SR has to say which lesions there are"
                )
                raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
            of_image[image] = one, findings
    found = [finding for _, findings in of_image.values() for finding in findings]
    numbered = tuple(replace(finding, number=number) for number, finding in enumerate(found, start=1))
    said_by = {one.file.place: one.file.instance for one, _ in of_image.values()}
    return Marked(numbered, tuple(said_by.values()), by_report=False)


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
            reason = f"{finding.where} has a segmentation whose rows and columns differ from its image's"
            raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
