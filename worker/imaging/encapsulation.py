"""One compressed frame, found in encapsulated Pixel Data (PS3.5, A.4) without reading the others."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydicom.encaps import get_frame

from worker.errors import Code, LesionRefused
from worker.imaging.dicom_file import DicomFile

_ITEM = (0xFFFE, 0xE000)
_SEQUENCE_END = (0xFFFE, 0xE0DD)
_TAG_BYTES = 8
_MOST_OFFSETS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Item:
    tag_at: int
    length: int


def encoded_frame(file: DicomFile, frames: int, index: int) -> bytes:
    """Read one frame's codestream, all its fragments joined.

    An offset table that points anywhere but at the first fragment of each frame is refused: following it, or passing
    it over, could show another frame than the one that was marked.

    Args:
        file: with encapsulated Pixel Data.
        frames: the header's Number of Frames.
        index: of the frame, from 0.

    Raises:
        LesionRefused: ``file_truncated``; the items do not end within the file. ``pixels_undecodable``; the items or
            an offset table contradict each other or the number of frames.
    """
    table, *fragments = _items(file)
    basic, extended = _basic_offsets(file, table), _extended_offsets(file)
    starts = [fragment.tag_at - fragments[0].tag_at for fragment in fragments]
    consistent = frames <= len(fragments) and _fits(basic, starts, frames)
    if extended is not None:
        offsets, lengths = extended
        whole = [length + length % 2 for length in lengths] == [fragment.length for fragment in fragments]
        consistent = consistent and whole and _fits(offsets, starts, frames)
    if not consistent:
        raise _contradiction()
    file.stream.seek(table.tag_at)
    try:
        return get_frame(file.stream, index, number_of_frames=frames, extended_offsets=extended)
    except (ValueError, StopIteration, struct.error):
        raise _contradiction() from None


def _items(file: DicomFile) -> list[_Item]:
    """Walk the items of Pixel Data, the Basic Offset Table first, up to the sequence's end."""
    if file.pixels is None:
        raise LesionRefused(Code.PIXELS_MISSING)
    items: list[_Item] = []
    at = file.pixels.offset
    end = file.size if file.pixels.length is None else at + file.pixels.length
    while at + _TAG_BYTES <= end:
        file.stream.seek(at)
        group, number, length = struct.unpack("<HHL", file.stream.read(_TAG_BYTES))
        if (group, number) == _SEQUENCE_END and items:
            return items
        if (group, number) != _ITEM:
            raise _contradiction()
        items.append(_Item(at, length))
        at += _TAG_BYTES + length
    raise LesionRefused(Code.FILE_TRUNCATED)


def _basic_offsets(file: DicomFile, table: _Item) -> Sequence[int]:
    file.stream.seek(table.tag_at + _TAG_BYTES)
    count = table.length // 4
    if count > _MOST_OFFSETS:
        raise _contradiction()
    return struct.unpack(f"<{count}L", file.stream.read(4 * count))


def _extended_offsets(file: DicomFile) -> tuple[list[int], list[int]] | None:
    offsets, lengths = (file.header.bytes_of(f"ExtendedOffsetTable{name}") for name in ("", "Lengths"))
    if not offsets:
        return None
    return _longs(offsets), _longs(lengths)


def _longs(value: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(value) // 8}Q", value[: len(value) // 8 * 8]))


def _fits(offsets: Sequence[int], starts: Sequence[int], frames: int) -> bool:
    if not offsets:
        return True
    rising = all(one < other for one, other in pairwise(offsets))
    return len(offsets) == frames and offsets[0] == 0 and rising and set(offsets) <= set(starts)


def _contradiction() -> LesionRefused:
    return LesionRefused(Code.PIXELS_UNDECODABLE, "fragments, offset table and number of frames contradict each other")
