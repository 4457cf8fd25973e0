"""One compressed frame, found in encapsulated Pixel Data (PS3.5, A.4) without reading the others."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.uid import RLELossless

from worker.errors import Code, LesionRefused
from worker.imaging.codestream import STARTS
from worker.imaging.dicom_file import DicomFile
from worker.imaging.transfer_syntax import check_pixel_data, check_start

_ITEM = (0xFFFE, 0xE000)
_SEQUENCE_END = (0xFFFE, 0xE0DD)
_TAG_BYTES = 8
_MOST_OFFSETS = 1_000_000
_LONGEST_START = max(map(len, STARTS))
_START_BYTES = 64


@dataclass(frozen=True, slots=True)
class _Item:
    tag_at: int
    length: int


def encoded_frame(file: DicomFile, frames: int, index: int) -> bytes:
    """Read one frame's codestream, all its fragments joined.

    Fragments, offset tables and the number of frames have to agree, whichever frame is asked for: following one of
    them, or passing it over, could show another frame than the one that was marked. A fragment in which a codestream
    begins begins a frame, and a frame of RLE is one fragment (PS3.5, A.4.2). A table counts for nothing where there is
    one frame in one fragment. It may have an entry too many that points at the end, at which no frame can be.

    Args:
        file: with encapsulated Pixel Data.
        frames: the header's Number of Frames.
        index: of the frame, from 0.

    Raises:
        LesionRefused: ``file_truncated``; the items do not end within the file. ``pixels_undecodable``; the items or
            an offset table contradict each other or the number of frames. ``transfer_syntax_mismatch``.
    """
    if file.pixels is not None:
        file.stream.seek(file.pixels.offset)
        check_pixel_data(file.stream.read(_TAG_BYTES), file.pixels.length, file.transfer_syntax)
    table, *fragments = _items(file)
    if fragments:
        check_start(_value(file, fragments[0], _START_BYTES), file.transfer_syntax)
    firsts = _firsts(file, fragments)
    if len(firsts) != frames:
        raise LesionRefused(Code.PIXELS_UNDECODABLE, _other_number(len(firsts), frames))
    if len(fragments) > 1:
        _check_tables(file, table, fragments, firsts)
    end = firsts[index + 1] if index + 1 < frames else len(fragments)
    return b"".join(_value(file, fragment) for fragment in fragments[firsts[index] : end])


def _items(file: DicomFile) -> list[_Item]:
    """Walk the items of Pixel Data, the Basic Offset Table first, up to their end."""
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
    if file.pixels.length is None:
        raise LesionRefused(Code.FILE_TRUNCATED)
    # A length should not be there (PS3.5, A.4); where it is, it says as well as a delimiter where the items end.
    if at != end or not items:
        raise _contradiction()
    return items


def _firsts(file: DicomFile, fragments: Sequence[_Item]) -> list[int]:
    """Return which fragments begin a frame."""
    if file.transfer_syntax == RLELossless:
        return list(range(len(fragments)))
    begins = [_value(file, fragment, _LONGEST_START).startswith(STARTS) for fragment in fragments]
    # What comes before the first codestream, or is none, is left to the decoder to refuse.
    return [number for number, begin in enumerate(begins) if begin or number == 0]


def _check_tables(file: DicomFile, table: _Item, fragments: Sequence[_Item], firsts: Sequence[int]) -> None:
    starts = [fragment.tag_at - fragments[0].tag_at for fragment in fragments]
    frames = [starts[first] for first in firsts]
    end = starts[-1] + _TAG_BYTES + fragments[-1].length
    consistent = _fits(_basic_offsets(file, table), frames, end)
    offsets, lengths = (_longs(file.header.bytes_of(f"ExtendedOffsetTable{name}")) for name in ("", "Lengths"))
    if offsets:
        # Only a frame of one fragment has a place in this table (PS3.3, C.7.6.3.1.8).
        whole = [length + length % 2 for length in lengths] == [fragment.length for fragment in fragments]
        consistent = consistent and whole and _fits(offsets, frames, end)
    if not consistent:
        raise _contradiction()


def _value(file: DicomFile, item: _Item, most: int | None = None) -> bytes:
    file.stream.seek(item.tag_at + _TAG_BYTES)
    return file.stream.read(item.length if most is None else min(item.length, most))


def _basic_offsets(file: DicomFile, table: _Item) -> Sequence[int]:
    count = table.length // 4
    if count > _MOST_OFFSETS:
        raise _contradiction()
    return struct.unpack(f"<{count}L", _value(file, table, 4 * count))


def _longs(value: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(value) // 8}Q", value[: len(value) // 8 * 8]))


def _fits(offsets: Sequence[int], frames: Sequence[int], end: int) -> bool:
    return not offsets or list(offsets) in (frames, [*frames, end])


def _other_number(found: int, frames: int) -> str:
    return f"the number of frames in Pixel Data is {found}, and the header says {frames}"


def _contradiction() -> LesionRefused:
    return LesionRefused(Code.PIXELS_UNDECODABLE, "fragments, offset table and number of frames contradict each other")
