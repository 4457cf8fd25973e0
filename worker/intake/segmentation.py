"""Regions from a DICOM Segmentation (PS3.3, A.51): the rectangle around a segment's pixels on the frame it is of.

A category comes from the DICOM SR that refers to the segment. A segmentation alone may have it as a code of PS3.16's
CID 6027 in Segmented Property Type Modifier Code Sequence (0062,0011): CID 244 is that sequence's Baseline Context
Group (PS3.3, table C.8.20-4), and other codes than those of a Baseline are permitted. Free text is not read.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from worker.clinical.birads_codes import CATEGORIES
from worker.clinical.categories import Birads
from worker.errors import Code, SetupRefused, StudyRefused
from worker.image_access import Limits
from worker.intake.markings import Finding, Marking, Region, category, frame_numbers, moment, open_marking
from worker.study import Roi

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEGMENTATION_CLASSES: Final = (
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
)

MOST_FRAMES: Final = 1000
MOST_SEGMENTS: Final = 256
"""Beyond these a segmentation is refused before its pixels are decoded."""

_UNCOMPRESSED: Final = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)


@dataclass(frozen=True, slots=True)
class Segment:
    """What a segment is; ``birads`` is ``None`` where the segmentation has no category of it."""

    number: int
    tracked_as: str
    tracking_uid: str
    birads: Birads | None


@dataclass(frozen=True, slots=True)
class Mask:
    """A segment's pixels in one frame of the segmentation.

    Attributes:
        frame: of the segmentation, from 1.
        segment: its Segment Number.
        sources: the image frames that it was drawn on: (SOP Instance UID, frame or ``None``).
        roi: the smallest rectangle that holds the pixels.
    """

    frame: int
    segment: int
    sources: tuple[tuple[str, int | None], ...]
    roi: Roi


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What a segmentation says.

    Attributes:
        written: Content Date and Content Time.
        matrix: rows and columns.
        segments: all.
        masks: of the segments that have a category or were asked for; frames without pixels of theirs are left out.
    """

    written: str
    matrix: tuple[int, int]
    segments: tuple[Segment, ...]
    masks: tuple[Mask, ...]

    def alone(self) -> Marking[Region]:
        """Return the lesions of a segmentation that no report refers to: its segments with a category.

        Raises:
            StudyRefused: as `regions`.
        """
        numbered = enumerate(self.segments, start=1)
        found = tuple(self._finding(place, segment) for place, segment in numbered if segment.birads is not None)
        return Marking(self.written, found)

    def _finding(self, place: int, segment: Segment) -> Finding[Region]:
        where = f"segment {segment.number}"
        regions = self.regions(segment.number, (), where)
        return Finding(place, where, segment.tracked_as, segment.birads, regions, segment.tracking_uid)

    def birads(self, segment: int) -> Birads | None:
        """Return a segment's own category."""
        return next((one.birads for one in self.segments if one.number == segment), None)

    def regions(self, segment: int, frames: Collection[int], where: str) -> tuple[Region, ...]:
        """Return where a segment is: on each image frame that it was drawn on.

        Args:
            segment: its number.
            frames: of the segmentation, from 1; none: all.
            where: how a person finds what refers to it.

        Raises:
            StudyRefused: ``report_unsupported``; it has no pixels there, or one of its frames is not of exactly one
                frame of one image.
        """
        masks = [mask for mask in self.masks if mask.segment == segment and (not frames or mask.frame in frames)]
        if not masks:
            raise StudyRefused(Code.REPORT_UNSUPPORTED, f"{where} has no pixels in its segmentation")
        return tuple(self._region(mask, where) for mask in masks)

    def _region(self, mask: Mask, where: str) -> Region:
        if not mask.sources:
            reason = f"the segmentation of {where} does not say by Source Image Sequence on which image it was drawn"
            raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
        if len(mask.sources) > 1:
            reason = f"one frame of the segmentation of {where} is of several images or frames at once"
            raise StudyRefused(Code.REPORT_UNSUPPORTED, reason)
        ((image, frame),) = mask.sources
        return Region(image, frame, mask.roi, self.matrix)


def read_segmentation(path: Path, limits: Limits, segments: Collection[int] = ()) -> Segmentation:
    """Read one segmentation: BINARY, FRACTIONAL or LABELMAP, uncompressed.

    A pixel of a FRACTIONAL segmentation belongs to its segment from half of Maximum Fractional Value on.

    Args:
        path: a confined path.
        limits: the largest file, and the largest frame.
        segments: numbers of segments to find, besides those that have a category. Pixels are decoded for these alone.

    Raises:
        StudyRefused: ``report_invalid``, ``report_unsupported``, ``birads_unknown``, ``pixels_too_large`` or
            ``transfer_syntax_unsupported``.
        LesionRefused: a ``file_`` code.
        SetupRefused: ``setting_invalid``; the extra ``dicom`` is not installed.
        Unavailable: ``storage_unavailable``.
    """
    with open_marking(path, limits) as dataset:
        if len(dataset.SegmentSequence) > MOST_SEGMENTS:
            raise StudyRefused(Code.PIXELS_TOO_LARGE, "the segmentation has more segments than are read")
        described = tuple(map(_segment, dataset.SegmentSequence))
        if len({segment.number for segment in described}) < len(described):
            raise StudyRefused(Code.REPORT_INVALID)
        wanted = {segment.number for segment in described if segment.birads is not None}.union(segments)
        written = moment(dataset.get("ContentDate"), dataset.get("ContentTime"))
        matrix = int(dataset.Rows), int(dataset.Columns)
        masks = tuple(_masks(dataset, wanted, limits)) if wanted else ()
        return Segmentation(written, matrix, described, masks)


def _segment(item: Dataset) -> Segment:
    number = int(item.SegmentNumber)
    modifiers = [
        (str(modifier.get("CodingSchemeDesignator", "")), str(modifier.get("CodeValue", "")))
        for kind in item.get("SegmentedPropertyTypeCodeSequence") or ()
        for modifier in kind.get("SegmentedPropertyTypeModifierCodeSequence") or ()
    ]
    # Others say a side, or something else that is no category.
    assessed = [code for code in modifiers if code in CATEGORIES]
    tracking = str(item.get("TrackingID") or ""), str(item.get("TrackingUID") or "")
    return Segment(number, *tracking, category(assessed, f"segment {number}"))


def _masks(dataset: Dataset, wanted: Collection[int], limits: Limits) -> Iterator[Mask]:
    for index, frame in enumerate(_checked_frames(dataset, limits)):
        for segment in _in_frame(dataset, frame, wanted):
            roi = _around(_foreground(dataset, _pixels(dataset, index), segment))
            if roi is not None:
                yield Mask(index + 1, segment, _sources(dataset, frame), roi)


def _checked_frames(dataset: Dataset, limits: Limits) -> Sequence[Dataset]:
    """Return the functional groups of each frame, once the header says that decoding will take what it may."""
    count, frames = int(dataset.NumberOfFrames), dataset.PerFrameFunctionalGroupsSequence
    if count > MOST_FRAMES or dataset.Rows * dataset.Columns > limits.max_frame_pixels:
        raise StudyRefused(Code.PIXELS_TOO_LARGE, "the segmentation has more frames or larger ones than are read")
    if dataset.file_meta.TransferSyntaxUID not in _UNCOMPRESSED:
        reason = "the segmentation is compressed or big endian; send it as Explicit VR Little Endian"
        raise StudyRefused(Code.TRANSFER_SYNTAX_UNSUPPORTED, reason)
    if count != len(frames) or dataset.SamplesPerPixel != 1:
        raise StudyRefused(Code.REPORT_INVALID)
    _check_bits(dataset, count)
    return list(frames)


def _check_bits(dataset: Dataset, count: int) -> None:
    """Refuse pixels that are not where `_pixels` looks: frames padded to bytes, say, or fewer bits than allocated."""
    bits, length = dataset.BitsAllocated, len(dataset.PixelData)
    if (dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation) != (bits, bits - 1, 0):
        raise StudyRefused(Code.REPORT_UNSUPPORTED, "the segmentation's pixels do not fill the bits allocated for them")
    expected = (dataset.Rows * dataset.Columns * count * bits + 7) // 8
    if length not in (expected, expected + expected % 2):
        reason = "the segmentation's Pixel Data is not as long as its header says"
        raise StudyRefused(Code.REPORT_INVALID, reason)


def _in_frame(dataset: Dataset, frame: Dataset, wanted: Collection[int]) -> list[int]:
    if dataset.SegmentationType == "LABELMAP":
        return sorted(wanted)
    (segment,) = _group(dataset, frame, "SegmentIdentificationSequence")
    return [int(segment.ReferencedSegmentNumber)] if segment.ReferencedSegmentNumber in wanted else []


def _pixels(dataset: Dataset, index: int) -> "NDArray[Any]":
    """Return one frame's stored values; unsigned, (rows, columns).

    Bits are packed without padding between frames, the first one lowest (PS3.5, 8.1.1), so that a frame may begin in
    the middle of a byte; frame by frame, pydicom 3.0 does not read each of these.
    """
    try:
        import numpy as np
    except ImportError:
        reason = "a DICOM Segmentation is read by the extra: pip install 'dlr-worker[dicom]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    rows, columns, bits, data = dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.PixelData
    count, start = rows * columns, index * rows * columns
    if bits == 1:
        packed = np.frombuffer(data[start // 8 : (start + count + 7) // 8], np.uint8)
        return np.unpackbits(packed, bitorder="little")[start % 8 :][:count].reshape(rows, columns)
    size = bits // 8
    return np.frombuffer(data, f"<u{size}", count, start * size).reshape(rows, columns)


def _foreground(dataset: Dataset, pixels: "NDArray[Any]", segment: int) -> "NDArray[Any]":
    """Return which pixels belong to a segment (PS3.3, C.8.20.2.3); bool, (rows, columns)."""
    match dataset.SegmentationType:
        case "BINARY":
            belongs: NDArray[Any] = pixels == 1
        case "LABELMAP":
            belongs = pixels == segment
        case "FRACTIONAL":
            belongs = pixels >= max((int(dataset.MaximumFractionalValue) + 1) // 2, 1)
        case _:
            raise StudyRefused(Code.REPORT_UNSUPPORTED, "the segmentation is neither BINARY, FRACTIONAL nor LABELMAP")
    return belongs


def _around(pixels: "NDArray[Any]") -> Roi | None:
    down, across = pixels.nonzero()
    if not down.size:
        return None
    x, y = int(across.min()), int(down.min())
    return Roi(x, y, int(across.max()) - x + 1, int(down.max()) - y + 1)


def _sources(dataset: Dataset, frame: Dataset) -> tuple[tuple[str, int | None], ...]:
    """Return the image frames that a frame was drawn on (PS3.3, C.7.6.16.2.6)."""
    images = [
        (str(image.ReferencedSOPInstanceUID), number)
        for derivation in _group(dataset, frame, "DerivationImageSequence")
        for image in derivation.get("SourceImageSequence") or ()
        for number in frame_numbers(image.get("ReferencedFrameNumber")) or (None,)
    ]
    return tuple(dict.fromkeys(images))


def _group(dataset: Dataset, frame: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return a functional group of a frame, which may be said of all frames at once (PS3.3, C.7.6.16)."""
    groups = (frame, *(dataset.get("SharedFunctionalGroupsSequence") or ()))
    return next((group[keyword].value for group in groups if keyword in group), ())
