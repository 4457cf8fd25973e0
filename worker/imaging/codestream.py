"""What a codestream's own header declares, read without decoding it: rows, columns and components."""

import struct

from openjpeg.utils import get_parameters

_START = b"\xff\xd8"
_MARKER = 0xFF
_JPEG_LS_FRAME = 0xF7
_FRAMES = frozenset({*range(0xC0, 0xD0), _JPEG_LS_FRAME}) - {0xC4, 0xC8, 0xCC}
_FRAME_HEADER = struct.Struct(">HBHHB")


def jpeg_size(codestream: bytes) -> tuple[int, int, int]:
    """Read the frame header of JPEG (ITU-T T.81, B.2.2) or JPEG-LS (ITU-T T.87, C.2.2).

    Raises:
        ValueError: there is none where one has to be.
    """
    if not codestream.startswith(_START):
        raise ValueError
    at = len(_START)
    while at + 2 + _FRAME_HEADER.size <= len(codestream) and codestream[at] == _MARKER:
        marker = codestream[at + 1]
        length, _precision, rows, columns, components = _FRAME_HEADER.unpack_from(codestream, at + 2)
        if marker in _FRAMES:
            return rows, columns, components
        # Before a marker any number of fill bytes may stand (T.81, B.1.1.2).
        at += 1 if marker == _MARKER else 2 + max(length, 2)
    raise ValueError


def jpeg_2000_size(codestream: bytes) -> tuple[int, int, int]:
    """Read the image and tile size of JPEG 2000 (ITU-T T.800, A.5.1).

    Raises:
        RuntimeError: OpenJPEG does not find it.
    """
    found = get_parameters(codestream)
    return int(found["rows"]), int(found["columns"]), int(found["samples_per_pixel"])
