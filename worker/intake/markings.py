"""What a DICOM object says of lesions: findings with a category and regions, whichever kind of object it is."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from pydicom import Dataset, dcmread

from db.schema.vocabulary import Plane
from worker.clinical.birads_codes import CATEGORIES
from worker.clinical.categories import Birads
from worker.errors import Code, DlrError, StudyRefused
from worker.image_access import Limits
from worker.imaging.character_set import read_texts
from worker.imaging.dicom_file import open_dicom
from worker.imaging.storage import open_regular, storage_fault
from worker.intake.finding_site import FindingSite
from worker.study import Roi

LARGEST: Final = 16 << 20
"""No report, segmentation or presentation state of a few ultrasound images has more bytes."""

_DATE: Final = re.compile(r"[0-9]{8}")
_TIME: Final = re.compile(r"[0-9]{2,6}(\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle on a frame of an image.

    Attributes:
        sop_instance_uid: the image.
        frame: counts from 1; ``None``: the image's only one.
        roi: pixels of the stored frame.
        matrix: rows and columns that the image has to have; ``None``: any.
    """

    sop_instance_uid: str
    frame: int | None
    roi: Roi
    matrix: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SegmentReference:
    """A segment of a segmentation, whose pixels are the region.

    Attributes:
        sop_instance_uid: the segmentation.
        segment: its Segment Number.
        frames: of the segmentation, from 1; none: all that the segment has.
        images: SOP Instance UIDs that it is said to have been drawn on; none: nothing is said.
    """

    sop_instance_uid: str
    segment: int
    frames: tuple[int, ...]
    images: tuple[str, ...]


Place = TypeVar("Place", bound=Region | SegmentReference, covariant=True)


@dataclass(frozen=True, slots=True)
class Finding(Generic[Place]):
    """A lesion, or a part of one, as an object marks it: findings that are tracked as one are one lesion.

    Attributes:
        number: its place in the object, from 1.
        where: how a person finds it there, such as "finding 2".
        tracked_as: a Tracking Identifier; empty where there is none.
        birads: its category; ``None`` where the lesion has it from another finding.
        regions: where it is, on one image or more.
        tracking_uid: a Tracking Unique Identifier; empty where there is none.
        site: where in the breast.
        plane: how the transducer was held.
    """

    number: int
    where: str
    tracked_as: str
    birads: Birads | None
    regions: tuple[Place, ...]
    tracking_uid: str = ""
    site: FindingSite = field(default_factory=FindingSite)
    plane: Plane | None = None


@dataclass(frozen=True, slots=True)
class Marking(Generic[Place]):
    """What one object marks.

    Attributes:
        written: date and time (`moment`), to be compared with those of another object of its kind.
        findings: none where the object marks no lesion.
    """

    written: str
    findings: tuple[Finding[Place], ...]


def moment(date: object, time: object) -> str:
    """Return when an object was written, by a DA and a TM (PS3.5, 6.2), as a text that sorts by time.

    Returns:
        Empty where one of them is missing, or is no date and time: nobody can say whether that was before or after.
    """
    is_one = _DATE.fullmatch(str(date)) and _TIME.fullmatch(str(time))
    return f"{date}{time}" if is_one else ""


@contextmanager
def open_marking(path: Path, limits: Limits) -> Iterator[Dataset]:
    """Read a whole file that may mark lesions; whatever looking at it raises is this file's refusal.

    What is cut is refused first: pydicom reads what is left of it, and a lesion would be missing.

    Args:
        path: a confined path.
        limits: the largest file.

    Raises:
        StudyRefused: ``report_invalid``, or as it was raised.
        LesionRefused: a ``file_`` code.
        Unavailable: ``storage_unavailable``.
    """
    limits = replace(limits, max_file_bytes=min(LARGEST, limits.max_file_bytes))
    with open_dicom(path, limits) as checked:
        checked.require_whole()
    with open_regular(path, limits) as file:
        try:
            dataset = dcmread(file)
            read_texts(dataset)
            yield dataset
        except DlrError:
            raise
        except Exception as error:  # noqa: BLE001  pydicom and highdicom raise many things, and quote what they read
            if isinstance(error, OSError) and error.errno is not None:
                raise storage_fault(error) from None
            raise StudyRefused(Code.REPORT_INVALID) from None


def category(codes: Iterable[tuple[str, str]], where: str) -> Birads | None:
    """Return the category that codes say; ``None`` where there are none.

    Args:
        codes: (coding scheme designator, code value) of an assessment.
        where: how a person finds it.

    Raises:
        StudyRefused: ``birads_unknown``.
    """
    said = list(dict.fromkeys(codes))
    if not said:
        return None
    if len(said) > 1:
        raise StudyRefused(Code.BIRADS_UNKNOWN, f"{where} has more than one assessment category")
    if said[0] not in CATEGORIES:
        raise StudyRefused(Code.BIRADS_UNKNOWN, f"{where} has an assessment category that is not in CID 6027")
    return CATEGORIES[said[0]]


def frame_numbers(referenced: Any) -> tuple[int, ...]:
    """Return Referenced Frame Number (0008,1160) as pydicom has it: one number, several, or none."""
    if referenced is None:
        return ()
    return (int(referenced),) if isinstance(referenced, int) else tuple(int(number) for number in referenced)
