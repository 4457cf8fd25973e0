"""What a codestream says of itself, read without decoding it: JPEG, JPEG-LS, JPEG 2000, High-Throughput JPEG 2000."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

Colours = Literal["RGB", "YBR"]

_JPEG_START = b"\xff\xd8"
_JPEG_2000_START = b"\xff\x4f\xff\x51"
_JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
STARTS: Final = (_JPEG_START + b"\xff", _JPEG_2000_START, _JP2_START)
"""How a codestream begins: of JPEG and JPEG-LS, of JPEG 2000, and of JPEG 2000 in a JP2 file."""

_MARKER = 0xFF
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_JPEG_LS_FRAME = 0xF7
_DCT_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_FRAMES = frozenset({*range(0xC0, 0xD0), _JPEG_LS_FRAME}) - {0xC4, 0xC8, 0xCC}
_FRAME_HEADER = struct.Struct(">BHHB")
_JFIF, _COLOUR_TRANSFORM, _ADOBE = 0xE0, 0xE8, 0xEE
_ADOBE_TRANSFORM = 11
_POINT_TRANSFORM = 0x0F
_RGB_IDS = (b"RGB", b"rgb")
# In coded data FF stands before 00 (T.81, B.1.1.5), a restart, or a byte below 80 (T.87, A.1); else it is a marker.
_AFTER_CODED_DATA = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")

_SIZE = struct.Struct(">HHIIIIIIIIH")
_COMPONENT_BYTES = 3
_TILE_PART, _TILE_DATA, _CODING_STYLE = 0x90, 0x93, 0x52
_TILE_PART_HEADER = struct.Struct(">HHI")
_TRANSFORM = 8
_SIGNED = 0x80
_BOX = struct.Struct(">I4s")
_ENUMERATED = struct.Struct(">BBBI")
_ENUMERATED_COLOURS: dict[int, Colours] = {16: "RGB", 18: "YBR"}
_SUB_SAMPLED = ({(2, 1)}, {(2, 2)})
_COLOURS = 3

_RLE_HEADER = struct.Struct("<16L")
_MOST_SEGMENTS = 15
# By its first byte: bytes that a run has, and those that it unpacks to (PS3.5, G.3.2).
_PACKED = (*range(2, 130), 1, *[2] * 127)
_UNPACKED = (*range(1, 129), 0, *range(128, 1, -1))


class Coding(StrEnum):
    """Families of codestreams; their decoders treat colours each in a way of its own."""

    JPEG = "JPEG"
    JPEG_LOSSLESS = "lossless JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    RLE = "RLE"


@dataclass(frozen=True, slots=True)
class Codestream:
    """What a codestream says of itself.

    Attributes:
        coding: its family.
        rows: of its image.
        columns: of its image.
        components: samples a pixel.
        precision: bits a sample, which are the lowest of what a decoder gives.
        end: bytes that it has; what follows them is no part of it.
        signed: whether samples may be negative; only JPEG 2000 has a word for it.
        colours: what its marks say that three components are: ``RGB``, ``YBR``, both, or nothing.
        transformed: whether its decoder itself turns three components into RGB (T.800, annex G).
        sub_sampled: whether the second and third component have fewer samples than the first.
        known: ``False``: it has a transform or components that the decoders here do not undo, or undo wrongly.
        whole: whether its end is marked, and each of its components, or tiles, is coded somewhere.
    """

    coding: Coding
    rows: int
    columns: int
    components: int
    precision: int
    end: int
    signed: bool = False
    colours: frozenset[Colours] = frozenset()
    transformed: bool = False
    sub_sampled: bool = False
    known: bool = True
    whole: bool = True


def coding_at(start: bytes) -> Coding | None:
    """Tell the family of a frame by its first 64 bytes, where they can be of one alone; JPEG-LS begins as JPEG does."""
    if start.startswith(_JPEG_START):
        return Coding.JPEG
    if start.startswith((_JPEG_2000_START, _JP2_START)):
        return Coding.JPEG_2000
    if len(start) < _RLE_HEADER.size:
        return None
    count, first, *_ = _RLE_HEADER.unpack_from(start)
    return Coding.RLE if 1 <= count <= _MOST_SEGMENTS and first == _RLE_HEADER.size else None


def read_codestream(encoded: bytes) -> Codestream:
    """Read a codestream's headers, and look for its end.

    Raises:
        ValueError: it is of no family that is known, or its headers are not whole.
    """
    try:
        if encoded.startswith(_JPEG_START):
            return _jpeg(encoded)
        if encoded.startswith(_JP2_START):
            return _jpeg_2000(encoded, *_jp2(encoded))
        if encoded.startswith(_JPEG_2000_START):
            return _jpeg_2000(encoded, 0, None)
    except (struct.error, IndexError):
        raise ValueError from None
    raise ValueError


def is_run_lengths(encoded: bytes, segments: int, samples: int) -> bool:
    """Whether a frame of RLE holds just so many segments, the last of so many bytes once unpacked (PS3.5, annex G).

    More rows than the header says are in each segment, and another frame is behind the last, so that is looked at.
    """
    count, *offsets = _RLE_HEADER.unpack_from(encoded.ljust(_RLE_HEADER.size, b"\0"))
    starts = offsets[:segments]
    ordered = count == segments and starts == sorted(starts) and starts[0] >= _RLE_HEADER.size
    return ordered and _unpacks_to(encoded[starts[-1] :], samples)


def _unpacks_to(packed: bytes, size: int) -> bool:
    at = unpacked = 0
    while unpacked < size and at < len(packed):
        control = packed[at]
        unpacked += _UNPACKED[control]
        at += _PACKED[control]
    return unpacked == size and at <= len(packed) and not packed[at:].strip(b"\0\x80")


def _jpeg(encoded: bytes) -> Codestream:
    """Read JPEG (T.81, B.2.2) or JPEG-LS (T.87, C.2.2), with what JFIF and Adobe say of colours."""
    colours: set[Colours] = set()
    found: tuple[int, bytes] | None = None
    end, ended, known, shifted = len(encoded), False, True, False
    scanned: set[int] = set()
    for marker, body, at in _segments(encoded):
        colours |= _mark(marker, body)
        if marker == _COLOUR_TRANSFORM and body.startswith(b"mrfx"):
            known = body[4:5] == b"\0"
        elif marker in _FRAMES and found is None:
            found = marker, body
        elif marker == _SCAN:
            scanned.update(body[1 : 1 + 2 * body[0] : 2])
            shifted |= bool(body[-1] & _POINT_TRANSFORM)
        elif marker in (_START, _END):
            end, ended = at, marker == _END
    if found is None:
        raise ValueError
    marker, body = found
    precision, rows, columns, components = _FRAME_HEADER.unpack_from(body)
    specified = body[_FRAME_HEADER.size :][: 3 * components]
    ids, factors = specified[::3], specified[1::3]
    if ids in _RGB_IDS:
        colours.add("RGB")
    sub_sampled = len(set(factors)) > 1
    if sub_sampled:
        colours.add("YBR")
    coding = Coding.JPEG_LS if marker == _JPEG_LS_FRAME else Coding.JPEG_LOSSLESS
    coding = Coding.JPEG if marker in _DCT_FRAMES else coding
    return Codestream(
        coding,
        rows,
        columns,
        components,
        precision,
        end,
        colours=frozenset(colours if components == _COLOURS else ()),
        sub_sampled=sub_sampled,
        # In progressive JPEG it is how the bits of a sample are parted among scans (T.81, B.2.3).
        known=known and (coding == Coding.JPEG or not shifted),
        whole=ended and scanned.issuperset(ids),
    )


def _mark(marker: int, body: bytes) -> set[Colours]:
    if marker == _JFIF and body.startswith(b"JFIF\0"):
        return {"YBR"}
    if marker == _ADOBE and body.startswith(b"Adobe") and len(body) > _ADOBE_TRANSFORM:
        return {"YBR" if body[_ADOBE_TRANSFORM] else "RGB"}
    return set()


def _segments(encoded: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield marker, body and place of each segment; the end, or another start, is the last, and has no body."""
    at = len(_JPEG_START)
    while at + 2 <= len(encoded) and encoded[at] == _MARKER:
        marker = encoded[at + 1]
        if marker == _MARKER:
            # Before a marker any number of fill bytes may stand (T.81, B.1.1.2).
            at += 1
        elif marker in (_START, _END):
            yield marker, b"", at + 2 if marker == _END else at
            return
        else:
            length = max(int.from_bytes(encoded[at + 2 : at + 4], "big"), 2)
            yield marker, encoded[at + 4 : at + 2 + length], at
            at += 2 + length
            following = _AFTER_CODED_DATA.search(encoded, at) if marker == _SCAN else None
            if marker == _SCAN and following is None:
                return
            at = following.start() if following else at


def _jpeg_2000(encoded: bytes, start: int, boxed: Colours | None) -> Codestream:
    """Read JPEG 2000 (T.800, A.5.1 and A.6.1); in a JP2 file it starts later, and the file names its colours."""
    at = start + len(_JPEG_2000_START)
    length, _, right, bottom, left, top, *tiling, components = _SIZE.unpack_from(encoded, at)
    specified = encoded[at + _SIZE.size : at + length]
    depths, across, down = (specified[part::_COMPONENT_BYTES] for part in range(_COMPONENT_BYTES))
    if len(specified) != _COMPONENT_BYTES * components:
        raise ValueError
    transforms, tiles, end = _walked(encoded, at + length)
    chroma = set(zip(across[1:], down[1:], strict=True))
    sub_sampled = chroma in _SUB_SAMPLED
    transformed = transforms == {1} and components == _COLOURS
    known = len(set(depths)) == 1 and (across[0], down[0]) == (1, 1) and transforms in ({0}, {1})
    return Codestream(
        Coding.JPEG_2000,
        bottom - top,
        right - left,
        components,
        (depths[0] & ~_SIGNED) + 1,
        end,
        signed=bool(depths[0] & _SIGNED),
        colours=frozenset({boxed} if boxed and components == _COLOURS else ()),
        transformed=transformed,
        sub_sampled=sub_sampled,
        known=known and (chroma <= {(1, 1)} or (sub_sampled and not transformed)),
        whole=encoded.endswith(bytes((_MARKER, _END)), 0, end) and len(tiles) == _tiles(right, bottom, *tiling),
    )


def _tiles(right: int, bottom: int, width: int, height: int, left: int, top: int) -> int:
    """Return how many tiles of so many columns and rows, the first at (left, top), there have to be (T.800, B.3)."""
    if not width or not height:
        raise ValueError
    return -(-(right - left) // width) * -(-(bottom - top) // height)


def _walked(encoded: bytes, at: int) -> tuple[set[int], set[int], int]:
    """Collect the multiple component transforms (T.800, table A.17) and the numbers of all tiles, and find the end."""
    transforms: set[int] = set()
    tiles: set[int] = set()
    next_part: int | None = None
    while at + 2 <= len(encoded):
        if encoded[at] != _MARKER:
            raise ValueError
        marker = encoded[at + 1]
        if marker == _END:
            return transforms, tiles, at + 2
        if marker == _TILE_DATA:
            # The last part may leave its length open (T.800, A.4.2); no marker stands in its data.
            end = encoded.find(bytes((_MARKER, _END)), at)
            at = next_part if next_part is not None else (end if end >= 0 else len(encoded))
            continue
        if marker == _CODING_STYLE:
            transforms.add(encoded[at + _TRANSFORM])
        length = int.from_bytes(encoded[at + 2 : at + 4], "big")
        if marker == _TILE_PART:
            length, tile, part = _TILE_PART_HEADER.unpack_from(encoded, at + 2)
            tiles.add(tile)
            next_part = at + part if part else None
            if next_part is not None and next_part <= at + 2 + length:
                raise ValueError
        at += 2 + max(length, 2)
    return transforms, tiles, len(encoded)


def _jp2(encoded: bytes) -> tuple[int, Colours | None]:
    """Return where the codestream of a JP2 file starts, and which colours the file says it has (T.800, annex I)."""
    at, end = 0, len(encoded)
    colours: Colours | None = None
    while at + _BOX.size <= end:
        length, kind = _BOX.unpack_from(encoded, at)
        if kind == b"jp2c":
            return at + _BOX.size, colours
        if kind == b"jp2h":
            length = _BOX.size
        elif kind == b"colr":
            method, _, _, space = _ENUMERATED.unpack_from(encoded, at + _BOX.size)
            colours = _ENUMERATED_COLOURS.get(space) if method == 1 else None
        elif kind == b"pclr" or length < _BOX.size:
            raise ValueError
        at += length
    raise ValueError
