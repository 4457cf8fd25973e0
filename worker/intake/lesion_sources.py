"""Which of a study's objects says where its lesions are: its DICOM SR, else its SEGs, else its presentation states.

A report is about the study, so the latest one alone counts, and only what may be the latest is read. Segmentations and
presentation states are about an image, so for each image the latest one of it counts; and nothing that an older one
marks may get lost on the way.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Generic

from worker.clinical.categories import Birads
from worker.errors import Code, LesionRefused, StudyRefused
from worker.image_access import Limits
from worker.imaging.identity import Identity
from worker.intake.markings import Finding, Marking, Place, Region, SegmentReference
from worker.intake.presentation_state import PRESENTATION_CLASSES, read_presentation
from worker.intake.segmentation import SEGMENTATION_CLASSES, Segmentation, read_segmentation
from worker.intake.structured_report import REPORT_CLASSES, read_head, read_report
from worker.intake.tracked_lesions import TrackedLesion, lesions_of, tracked_together

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
        lesions: at least one.
        said_by: the objects that say so.
        by_report: a DICOM SR says it, which nothing but another one outweighs.
    """

    lesions: tuple[TrackedLesion, ...]
    said_by: tuple[Instance, ...]
    by_report: bool


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
        Refused: ``lesions_missing``; ``breast_report_unsupported``, where only a Breast Imaging Report without regions
            has come; ``sop_instance_not_found``, for a segmentation that has not; or as reading an object, or
            `lesions_of`, raises it. The reason names the object by its place among the files.
        Unavailable: ``storage_unavailable``.
    """
    files = [_File(one, place) for place, one in enumerate(instances, start=1)]
    segmentations = _of(files, SEGMENTATION_CLASSES)
    reports = _of(files, REPORT_CLASSES)
    report = _report_that_counts(reports, limits)
    if report is not None:
        found = _by_report(report, segmentations, limits)
    else:
        presentations = _of(files, PRESENTATION_CLASSES)
        objects = _marking(segmentations, lambda path: read_segmentation(path, limits).alone()) or _marking(
            presentations, lambda path: read_presentation(path, limits)
        )
        if not objects:
            raise _nothing_marked(reports, limits)
        found = _by_image(objects)
    _same_matrix(found.lesions, instances)
    return found


def _nothing_marked(reports: Sequence[_File], limits: Limits) -> StudyRefused:
    for file in reports:
        if read_head(file.instance.path, limits).is_breast_imaging_report:
            reason = "a Breast Imaging Report, of which no finding has a category and a region on an image"
            return StudyRefused(Code.BREAST_REPORT_UNSUPPORTED, f"file {file.place} of the study is {reason}")
    return StudyRefused(Code.LESIONS_MISSING)


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
        if _marked(report.marking.findings) != _marked(reports[0].marking.findings):
            raise _doubtful(reports[0].file, report.file)
    return max(reports, key=lambda report: report.order, default=None)


def _marked(findings: Iterable[Finding[Place]]) -> set[frozenset[tuple[Birads, Place]]]:
    """Return what is marked, to be compared: which regions with which category are of one lesion."""
    assessed = [(finding, finding.birads) for finding in findings if finding.birads is not None]
    together = tracked_together([finding for finding, _ in assessed])
    of = dict(assessed)
    return {frozenset((of[one], region) for one in group for region in one.regions) for group in together}


def _doubtful(one: _File, other: _File) -> StudyRefused:
    reason = (
        f"files {one.place} and {other.place} of the study mark different lesions, and their dates and times do not "
        "say which is the later one"
    )
    return StudyRefused(Code.REPORT_UNSUPPORTED, reason)


def _by_report(report: _Object[Region | SegmentReference], segmentations: Sequence[_File], limits: Limits) -> Marked:
    wanted: dict[str, set[int]] = {}
    for finding in report.marking.findings:
        for place in finding.regions:
            if isinstance(place, SegmentReference):
                wanted.setdefault(place.sop_instance_uid, set()).add(place.segment)
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
        lesions = lesions_of([one for finding in report.marking.findings for one in _on_images(finding, read)])
    return Marked(lesions, (report.file.instance, *(one.instance for one in used)), by_report=True)


def _on_images(
    finding: Finding[Region | SegmentReference], segmentations: Mapping[str, Segmentation]
) -> Iterator[Finding[Region]]:
    """Give a finding with its segments' regions; none where one without a category is marked as none is read."""
    regions: list[Region] = []
    birads = finding.birads
    try:
        for place in finding.regions:
            if isinstance(place, Region):
                regions.append(place)
            else:
                segmentation = _segmentation(place, finding.where, segmentations)
                birads = birads or segmentation.birads(place.segment)
                regions += _of_segment(place, replace(finding, birads=birads), segmentation)
    except StudyRefused as refused:
        if finding.birads is None and refused.code is Code.REPORT_UNSUPPORTED:
            return
        raise
    said = finding.number, finding.where, finding.tracked_as, birads, tuple(regions), finding.tracking_uid
    yield Finding(*said, finding.site, finding.plane)


def _segmentation(place: SegmentReference, where: str, segmentations: Mapping[str, Segmentation]) -> Segmentation:
    segmentation = segmentations.get(place.sop_instance_uid)
    if segmentation is None:
        reason = f"{where} refers to a segmentation that is not among the study's files; send it"
        raise StudyRefused(Code.SOP_INSTANCE_NOT_FOUND, reason)
    return segmentation


def _of_segment(
    place: SegmentReference, finding: Finding[Region | SegmentReference], segmentation: Segmentation
) -> Sequence[Region]:
    where = finding.where
    if segmentation.birads(place.segment) not in (None, finding.birads):
        raise StudyRefused(Code.BIRADS_UNKNOWN, f"{where} and its segment have different assessment categories")
    regions = segmentation.regions(place.segment, place.frames, where)
    if place.images and not {region.sop_instance_uid for region in regions} <= set(place.images):
        raise StudyRefused(Code.REPORT_INVALID, f"{where} and its segmentation name different images")
    return regions


def _by_image(objects: Sequence[_Object[Region]]) -> Marked:
    """Take for each image the latest object of it."""
    of_image: dict[str, tuple[_Object[Region], list[Finding[Region]]]] = {}
    for one in sorted(objects, key=lambda one: one.order):
        for image, findings in _by_their_image(one.marking.findings).items():
            earlier, older = of_image.get(image, (one, []))
            is_later = "" < earlier.marking.written < one.marking.written
            if older and not is_later and _marked(findings) != _marked(older):
                raise _doubtful(earlier.file, one.file)
            if not all(any(_overlap(old, new) for new in findings) for old in older):
                reason = (
                    f"file {one.file.place} of the study is a later segmentation or presentation state of an image and "
                    f"leaves out a lesion of file {earlier.file.place}; a DICOM SR has to say which lesions there are"
                )
                raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
            of_image[image] = one, findings
    found = [(one, finding) for one, findings in of_image.values() for finding in findings]
    said_by = {one.file.place: one.file.instance for one, _ in found}
    return Marked(_lesions(found), tuple(said_by.values()), by_report=False)


def _by_their_image(findings: Sequence[Finding[Region]]) -> dict[str, list[Finding[Region]]]:
    """Return what is marked on each image; a finding on several images is there once for each."""
    images: dict[str, list[Finding[Region]]] = {}
    for finding in findings:
        for image in dict.fromkeys(region.sop_instance_uid for region in finding.regions):
            there = tuple(region for region in finding.regions if region.sop_instance_uid == image)
            images.setdefault(image, []).append(replace(finding, regions=there))
    return images


def _lesions(found: Sequence[tuple[_Object[Region], Finding[Region]]]) -> tuple[TrackedLesion, ...]:
    """Return the lesions of what counts on each image, put together again."""
    parts: dict[tuple[int, int], list[tuple[_Object[Region], Finding[Region]]]] = {}
    for one, finding in found:
        parts.setdefault((one.file.place, finding.number), []).append((one, finding))
    whole = []
    for number, ((place, _), of_finding) in enumerate(parts.items(), start=1):
        one, first = of_finding[0]
        regions = tuple(region for _, part in of_finding for region in part.regions)
        (marked,) = (each for each in one.marking.findings if each.number == first.number)
        if len(regions) < len(marked.regions) and not first.tracking_uid:
            reason = (
                f"{first.where} of file {place} of the study is on several images, and another file marks one of them "
                "anew; without a Tracking Unique Identifier, nobody can say whether that is the same lesion"
            )
            raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
        where = f"{first.where} of file {place} of the study"
        whole.append(replace(first, number=number, where=where, regions=regions))
    return lesions_of(whole, [place for place, _ in parts])


def _overlap(one: Finding[Region], other: Finding[Region]) -> bool:
    return any(_meet(a, b) for a in one.regions for b in other.regions)


def _meet(one: Region, other: Region) -> bool:
    a, b = one.roi, other.roi
    across = a.x < b.x + b.width and b.x < a.x + a.width
    down = a.y < b.y + b.height and b.y < a.y + a.height
    return one.frame == other.frame and across and down


def _same_matrix(lesions: Sequence[TrackedLesion], instances: Sequence[Instance]) -> None:
    """A segmentation of another size than its image has pixels that are not the image's."""
    matrices = {one.identity.sop_instance_uid: one.identity.matrix for one in instances}
    for lesion in lesions:
        for region in (view.region for view in lesion.views):
            if region.matrix is not None and matrices.get(region.sop_instance_uid, region.matrix) != region.matrix:
                where = lesion.findings[0].where
                reason = f"{where} has a segmentation whose rows and columns differ from its image's"
                raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
