"""Findings become lesions: those that are tracked as one are one lesion, marked on several images.

A lesion is told by its Tracking Unique Identifier, whichever object has it; else by its Tracking Identifier, within one
object (PS3.16, TID 4108; PS3.3, C.8.20.4 and C.10.5). A finding with neither is a lesion by itself.

Why it is done so: docs/decisions/0050-what-is-tracked-as-one-is-one-lesion.md.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

from db.schema.vocabulary import Plane
from worker.clinical.categories import Birads
from worker.contract.version_2 import MAX_IMAGES
from worker.errors import Code, StudyRefused
from worker.intake.finding_site import FindingSite, only
from worker.intake.markings import Finding, Place, Region
from worker.text import composed, on_one_line

_LONGEST_NAME: Final = 56

_Frame = tuple[str, int]


@dataclass(frozen=True, slots=True)
class LesionView:
    """One image of a lesion, and how the transducer was held."""

    region: Region
    plane: Plane | None = None


@dataclass(frozen=True, slots=True)
class TrackedLesion:
    """One lesion, from all that marks it.

    Attributes:
        findings: those that have its category, in the order of their objects; one at least.
        birads: its category.
        views: one at least, each of another frame.
        site: where in the breast.
    """

    findings: tuple[Finding[Region], ...]
    birads: Birads
    views: tuple[LesionView, ...]
    site: FindingSite


def lesions_of(findings: Sequence[Finding[Region]], objects: Sequence[int] = ()) -> tuple[TrackedLesion, ...]:
    """Return the lesions that findings mark, in the order of the first finding of each that has a category.

    A finding without a category adds the images that it alone marks. Where another one marks the same frame in another
    way, it adds nothing: what was never assessed refuses nothing.

    Args:
        findings: of one object or of several, numbered in their order.
        objects: which object each finding is of; none: all are of one.

    Raises:
        StudyRefused: ``birads_unknown``: a lesion has two categories; ``report_invalid``: it is in both breasts;
            ``report_unsupported``: it has two regions on one frame, or more images than a job may have. The reason
            names the places.
    """
    lesions = [_lesion(group) for group in tracked_together(findings, objects) if any(one.birads for one in group)]
    return tuple(sorted(lesions, key=lambda lesion: lesion.findings[0].number))


def tracked_together(findings: Sequence[Finding[Place]], objects: Sequence[int] = ()) -> list[list[Finding[Place]]]:
    """Return findings, those of one lesion together; arguments as of `lesions_of`."""
    groups: dict[Hashable, list[Finding[Place]]] = {}
    for place, finding in enumerate(findings):
        key = tracking_of(finding, objects[place] if objects else 0) or place
        groups.setdefault(key, []).append(finding)
    return list(groups.values())


def tracking_of(finding: Finding[Place], of_object: int = 0) -> Hashable:
    """Return what a finding is tracked by, to be compared with another's; ``None`` where it is not tracked."""
    if finding.tracking_uid:
        return finding.tracking_uid
    return (of_object, finding.tracked_as) if finding.tracked_as else None


def as_in_a_job(lesions: Sequence[TrackedLesion]) -> list[dict[str, Any]]:
    """Return lesions as a job has them: as version 1 says it where it can say all, else as version 2 does."""
    named = zip(_names_of(lesions), lesions, strict=True)
    return [{"lesion_id": name, "birads": lesion.birads.value, **_where(lesion)} for name, lesion in named]


def as_before_tracking(lesions: Sequence[TrackedLesion]) -> list[dict[str, Any]] | None:
    """Return lesions as they were taken before several images of one were, and before its place in the breast was.

    A study that is on record in this form is known by it, and makes no new revision when it comes again.

    Returns:
        ``None`` where they were other lesions then, or refused.
    """
    if any(len(lesion.findings) > 1 or len(lesion.findings[0].regions) > 1 for lesion in lesions):
        return None
    named = zip(_names_of(lesions), lesions, strict=True)
    return [
        {"lesion_id": name, "birads": lesion.birads.value, **_image(LesionView(lesion.findings[0].regions[0]))}
        for name, lesion in named
    ]


def _lesion(group: Sequence[Finding[Region]]) -> TrackedLesion:
    assessed = tuple(finding for finding in group if finding.birads is not None)
    birads = only(finding.birads for finding in assessed)
    if birads is None:
        raise StudyRefused(Code.BIRADS_UNKNOWN, f"{_two_that_differ(assessed)} have different assessment categories")
    group = _of_its_breast(group, assessed)
    views = _views(assessed)
    views |= {frame: view for frame, view in _views_without_doubt(group, assessed) if frame not in views}
    if len(views) > MAX_IMAGES:
        reason = f"{assessed[0].where} is marked on more than {MAX_IMAGES} images"
        raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
    return TrackedLesion(assessed, birads, tuple(views.values()), _site(group))


def _two_that_differ(findings: Sequence[Finding[Region]]) -> str:
    one, other = next(pair for pair in pairwise(findings) if pair[0].birads is not pair[1].birads)
    return f"{one.where} and {other.where} are tracked as one lesion, and"


def _views(findings: Sequence[Finding[Region]]) -> dict[_Frame, LesionView]:
    """Return each frame's region."""
    found: dict[_Frame, tuple[LesionView, str]] = {}
    for finding in findings:
        for region in finding.regions:
            view, where = found.setdefault(_frame(region), (LesionView(region, finding.plane), finding.where))
            if view.region.roi != region.roi:
                places = " and ".join(dict.fromkeys((where, finding.where)))
                raise StudyRefused(Code.REPORT_UNSUPPORTED, f"{places}: one lesion has two regions on one frame")
    return {frame: view for frame, (view, _) in found.items()}


def _views_without_doubt(
    group: Sequence[Finding[Region]], assessed: Sequence[Finding[Region]]
) -> Iterator[tuple[_Frame, LesionView]]:
    """Give the frames that findings without a category mark, where they agree."""
    views: dict[_Frame, set[LesionView]] = {}
    for finding in group:
        if finding not in assessed:
            for region in finding.regions:
                views.setdefault(_frame(region), set()).add(LesionView(region, finding.plane))
    for frame, of_frame in views.items():
        view = only(of_frame)
        if view is not None:
            yield frame, view


def _frame(region: Region) -> _Frame:
    # Without a number, a frame is the file's only one, which is its first.
    return region.sop_instance_uid, region.frame or 1


def _of_its_breast(group: Sequence[Finding[Region]], assessed: Sequence[Finding[Region]]) -> Sequence[Finding[Region]]:
    """Return a lesion's findings without those that were never assessed and are in the other breast."""
    said = [finding for finding in assessed if finding.site.laterality is not None]
    for one, other in pairwise(said):
        if one.site.laterality is not other.site.laterality:
            reason = f"{one.where} and {other.where} are tracked as one lesion, and are in different breasts"
            raise StudyRefused(Code.REPORT_INVALID, reason)
    if not said:
        return group
    return [one for one in group if one in assessed or one.site.laterality in (None, said[0].site.laterality)]


def _site(group: Sequence[Finding[Region]]) -> FindingSite:
    sites = [asdict(finding.site) for finding in group]
    names = asdict(FindingSite())
    return FindingSite(**{name: only(site[name] for site in sites if site[name] is not None) for name in names})


def _names_of(lesions: Sequence[TrackedLesion]) -> list[str]:
    """Name lesions as they are tracked; a second one of the same name is told apart by its number."""
    names: list[str] = []
    for lesion in lesions:
        first = lesion.findings[0]
        said = composed(on_one_line(" ".join(first.tracked_as.split())))
        name = said[:_LONGEST_NAME] or f"L{first.number}"
        while name in names:
            name = f"{name} ({first.number})"
        names.append(name)
    return names


def _where(lesion: TrackedLesion) -> dict[str, Any]:
    images, site = [_image(view) for view in lesion.views], _said(asdict(lesion.site))
    return images[0] if len(images) == 1 and not site and "plane" not in images[0] else {"images": images, **site}


def _image(view: LesionView) -> dict[str, Any]:
    region = view.region
    plane = _said({"plane": view.plane})
    return {"sop_instance_uid": region.sop_instance_uid, "frame": region.frame, "roi": asdict(region.roi), **plane}


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that say something, with enumerations as a job has them."""
    return {name: getattr(value, "value", value) for name, value in fields.items() if value is not None}
