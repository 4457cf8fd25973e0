"""Data that is in another transfer syntax than its File Meta Information says: told as that, and not by what it breaks.

Only what a file's own bytes say beyond doubt is told; all else is left to those who read it. A data set of implicit VR
that is said to be explicit is no contradiction here: each of its elements is read as what it is.
"""

import zlib
from collections.abc import Sequence
from typing import Final

from pydicom.datadict import dictionary_has_tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)
from pydicom.valuerep import VR

from worker.errors import Code, LesionRefused
from worker.imaging.codestream import Coding, coding_at

LOOKED_AT: Final = 4096
"""Bytes of a data set that are looked at."""

ITEM: Final = b"\xfe\xff\x00\xe0"
"""The tag of an item (PS3.5, 7.5), with which encapsulated pixels begin."""

_ELEMENT = 8
_LONGEST_FIRST = 1024
_SYNTAXES: dict[Coding, Sequence[UID]] = {
    Coding.JPEG: JPEGTransferSyntaxes,
    Coding.JPEG_LOSSLESS: JPEGTransferSyntaxes,
    Coding.JPEG_LS: JPEGLSTransferSyntaxes,
    Coding.JPEG_2000: JPEG2000TransferSyntaxes,
    Coding.RLE: (RLELossless,),
}
_VRS = frozenset(vr.value.encode() for vr in VR if len(vr.value) == 2)


def check_data_set(start: bytes, said: UID) -> None:
    """Refuse a data set that is not encoded as is said.

    Args:
        start: its first bytes, as they are in the file; `LOOKED_AT` are enough.
        said: Transfer Syntax UID of the File Meta Information.

    Raises:
        LesionRefused: ``transfer_syntax_mismatch``.
    """
    if said.is_private or not said.is_transfer_syntax:
        return
    found = _encoding(start)
    expected = said if said in (ImplicitVRLittleEndian, ExplicitVRBigEndian) else ExplicitVRLittleEndian
    if said == DeflatedExplicitVRLittleEndian:
        expected = said
    if found is None and _encoding(_inflated(start)) is not None:
        found = DeflatedExplicitVRLittleEndian
    if found not in (None, expected) and (found, expected) != (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        raise _mismatch(said, f"the data set is {UID(str(found)).name}")


def check_pixel_data(start: bytes, length: int | None, said: UID) -> None:
    """Refuse pixels that are encapsulated and said to be native, or the other way round.

    Args:
        start: the first bytes of Pixel Data's value.
        length: of the value; ``None``: undefined.
        said: the transfer syntax.

    Raises:
        LesionRefused: ``transfer_syntax_mismatch``.
    """
    if said.is_encapsulated and length is not None and not start.startswith(ITEM):
        raise _mismatch(said, "Pixel Data is not compressed")
    if not said.is_encapsulated and (length is None or _is_table(start, length)):
        raise _mismatch(said, "Pixel Data is compressed")


def check_coding(coding: Coding | None, said: UID) -> None:
    """Refuse a frame that is coded in another way than is said; which process of JPEG it is does not matter.

    Args:
        coding: of the frame; ``None``: none that is known.
        said: the transfer syntax.

    Raises:
        LesionRefused: ``transfer_syntax_mismatch``.
    """
    if coding is not None and said not in _SYNTAXES[coding]:
        raise _mismatch(said, f"the frame is {coding}")


def check_start(start: bytes, said: UID) -> None:
    """Do as `check_coding` by a frame's first bytes, of which JPEG and JPEG-LS have the same."""
    coding = coding_at(start)
    if coding is not Coding.JPEG or said not in JPEGLSTransferSyntaxes:
        check_coding(coding, said)


def _encoding(start: bytes) -> UID | None:
    """Return how a data set's first element is encoded, where only one way makes sense."""
    if len(start) < _ELEMENT:
        return None
    little, big = (
        int.from_bytes(start[:2], order) << 16 | int.from_bytes(start[2:4], order) for order in ("little", "big")
    )
    tag = min(little, big)
    if not dictionary_has_tag(tag) and tag & 0xFFFF:
        return None
    if start[4:6] in _VRS:
        return ExplicitVRLittleEndian if tag == little else ExplicitVRBigEndian
    length = int.from_bytes(start[4:8], "little")
    return ImplicitVRLittleEndian if tag == little and length <= _LONGEST_FIRST else None


def _inflated(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(start, _ELEMENT)
    except zlib.error:
        return b""


def _is_table(start: bytes, length: int) -> bool:
    """Whether a value begins with an offset table and is followed by an item, as no native pixels do but by chance."""
    table = int.from_bytes(start[4:8], "little")
    return start.startswith(ITEM) and table % 4 == 0 and start[_ELEMENT + table :].startswith(ITEM) and table < length


def _mismatch(said: UID, found: str) -> LesionRefused:
    reason = f"the File Meta Information says {said.name}, and {found}"
    return LesionRefused(Code.TRANSFER_SYNTAX_MISMATCH, reason)
