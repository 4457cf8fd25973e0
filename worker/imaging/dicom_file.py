"""One DICOM file (PS3.10): its header as raw elements, and where its pixels start. No pixel is read here."""

import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import SEEK_CUR, SEEK_END, BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import data_element_generator, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from worker.errors import Code, LesionRefused
from worker.image_access import Limits
from worker.imaging.header import Header
from worker.imaging.storage import open_regular, storage_fault
from worker.imaging.transfer_syntax import LOOKED_AT, check_data_set

_KEYWORDS = [
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "StudyDate",
    "AccessionNumber",
    "Modality",
    "ImageType",
    "Manufacturer",
    "ManufacturerModelName",
    "InstitutionName",
    "StationName",
    "PatientID",
    "PatientBirthDate",
    "PatientAge",
    "ImageLaterality",
    "SequenceOfUltrasoundRegions",
    "PixelSpacing",
    "PixelSpacingCalibrationType",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "PixelPresentation",
    "PresentationLUTShape",
    "WindowCenter",
    "WindowWidth",
    "RescaleIntercept",
    "RescaleSlope",
    "VOILUTFunction",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
]


def _tags(keywords: Sequence[str]) -> list[BaseTag | int]:
    return [tag for tag in map(tag_for_keyword, keywords) if tag is not None]


_TAGS = _tags(_KEYWORDS)
_PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_PIXEL_VRS = (b"OB", b"OW", b"OF", b"OD", b"UN")
_SHORT_HEADER = 8
_META_GROUP = 2
_UNDEFINED = 0xFFFFFFFF
_LARGEST_VALUE = 16 << 20
_MOST_READS = 200_000
_BLOCK = 1 << 20


class _Metered:
    """A stream that ends a header of more elements than any image has, nested ones included."""

    def __init__(self, stream: BinaryIO) -> None:
        self._read = stream.read
        self.tell = stream.tell
        self.seek = stream.seek
        self._left = _MOST_READS

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise LesionRefused(Code.FILE_NOT_DICOM, "the header has more elements than is allowed")
        return self._read(size)


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixels are: keyword, VR, the value's offset in the stream, and its length (``None``: undefined)."""

    keyword: str
    vr: str
    offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class DicomFile:
    """An open file: its header, its transfer syntax, and its bytes (inflated, where the file is deflated)."""

    header: Header
    transfer_syntax: UID
    stream: BinaryIO
    size: int
    pixels: PixelElement | None
    whole: bool

    def require_whole(self) -> None:
        """Raise ``file_truncated`` where the file ends within an element."""
        if not self.whole:
            raise LesionRefused(Code.FILE_TRUNCATED)


@contextmanager
def open_dicom(path: Path, limits: Limits, also: Sequence[str] = ()) -> Iterator[DicomFile]:
    """Open a file and read its header, up to the pixel data.

    Args:
        path: a confined path.
        limits: the largest file, and what a deflated one may inflate to.
        also: keywords of elements to read beside those that scoring needs.

    Raises:
        LesionRefused: ``file_not_found``, ``file_not_readable``, ``file_not_regular``, ``file_too_large``,
            ``file_not_dicom``, ``file_truncated``, ``transfer_syntax_mismatch``.
        Unavailable: ``storage_unavailable``.
    """
    with open_regular(path, limits) as file:
        try:
            opened = _parse(file, limits, also)
        except LesionRefused:
            raise
        except MemoryError:
            raise LesionRefused(Code.FILE_TOO_LARGE) from None
        except OSError as error:
            raise storage_fault(error) from None
        except (EOFError, struct.error):
            raise LesionRefused(Code.FILE_TRUNCATED) from None
        except Exception:  # noqa: BLE001  pydicom raises many things on bytes that are not DICOM, and quotes them
            raise LesionRefused(Code.FILE_NOT_DICOM) from None
        yield opened


def read_beginning(path: Path, limits: Limits, last: str = "StudyInstanceUID", also: Sequence[str] = ()) -> Header:
    """Read a file's elements as far as they are whole, whatever is wrong with the file.

    Of one that is cut off, damaged or away these are fewer, or none; its size does not matter.

    Args:
        path: anywhere.
        limits: what a deflated file may inflate to.
        last: the keyword of the last element that is wanted.
        also: keywords of elements to read beside those that scoring needs.
    """
    end = tag_for_keyword(last)
    found: dict[BaseTag, DataElement | RawDataElement] = {}
    little_endian = True
    # Who needs the whole file is told what is wrong with it.
    with suppress(Exception), open_regular(path, replace(limits, max_file_bytes=sys.maxsize)) as file:
        read_preamble(file, force=False)
        meta, _ = _elements(file, ExplicitVRLittleEndian, lambda tag: tag >> 16 != _META_GROUP)
        transfer_syntax = UID(meta.text("TransferSyntaxUID"))
        stream = _inflate(file, limits) if transfer_syntax == DeflatedExplicitVRLittleEndian else file
        little_endian = transfer_syntax != ExplicitVRBigEndian
        tags = [*_TAGS, *_tags(also)]
        for element in _generated(stream, transfer_syntax, lambda tag, *_: end is not None and tag > end, tags):
            if not isinstance(element, RawDataElement) or element.length in (_UNDEFINED, len(element.value or b"")):
                found[element.tag] = element
    return Header(Dataset(found), little_endian)


def _parse(file: BinaryIO, limits: Limits, also: Sequence[str]) -> DicomFile:
    try:
        read_preamble(file, force=False)
    except InvalidDicomError:
        raise LesionRefused(Code.FILE_NOT_DICOM) from None
    meta, _ = _elements(file, ExplicitVRLittleEndian, lambda tag: tag >> 16 != _META_GROUP)
    transfer_syntax = UID(meta.text("TransferSyntaxUID"))
    if not transfer_syntax:
        raise LesionRefused(Code.FILE_NOT_DICOM, "the File Meta Information has no Transfer Syntax UID")
    start = file.read(LOOKED_AT)
    file.seek(-len(start), SEEK_CUR)
    check_data_set(start, transfer_syntax)
    stream = _inflate(file, limits) if transfer_syntax == DeflatedExplicitVRLittleEndian else file
    header, ends_at = _elements(stream, transfer_syntax, lambda tag: tag in _PIXELS, [*_TAGS, *_tags(also)])
    pixels = _pixel_element(stream, transfer_syntax)
    size = stream.seek(0, SEEK_END)
    whole = ends_at in (None, size) if pixels is None else pixels.offset + (pixels.length or 0) <= size
    return DicomFile(header, transfer_syntax, stream, size, pixels, whole)


def _elements(
    stream: BinaryIO, transfer_syntax: UID, stop: Callable[[int], bool], tags: list[BaseTag | int] | None = None
) -> tuple[Header, int | None]:
    """Read a data set's elements, and say where the last one ends by its own length."""
    ends_at: int | None = None

    def at(tag: BaseTag, _vr: str | None, length: int) -> bool:
        nonlocal ends_at
        if stop(tag):
            return True
        ends_at = None if length == _UNDEFINED else stream.tell() + length
        return False

    found = _generated(stream, transfer_syntax, at, tags)
    return Header(Dataset({element.tag: element for element in found}), transfer_syntax != ExplicitVRBigEndian), ends_at


def _generated(
    stream: BinaryIO,
    transfer_syntax: UID,
    stop: Callable[[BaseTag, str | None, int], bool],
    tags: list[BaseTag | int] | None,
) -> Iterator[DataElement | RawDataElement]:
    return data_element_generator(
        cast("BinaryIO", _Metered(stream)),
        is_implicit_VR=transfer_syntax == ImplicitVRLittleEndian,
        is_little_endian=transfer_syntax != ExplicitVRBigEndian,
        stop_when=stop,
        defer_size=_LARGEST_VALUE,
        specific_tags=tags,
    )


def _pixel_element(stream: BinaryIO, transfer_syntax: UID) -> PixelElement | None:
    order = ">" if transfer_syntax == ExplicitVRBigEndian else "<"
    start = stream.read(_SHORT_HEADER)
    if len(start) < _SHORT_HEADER:
        return None
    group, number, vr, _ = struct.unpack(f"{order}HH2sH", start)
    keyword = _PIXELS.get(group << 16 | number)
    if keyword is None:
        return None
    if vr in _PIXEL_VRS:
        (length,) = struct.unpack(f"{order}L", stream.read(4))
    else:
        vr, (length,) = b"OW", struct.unpack(f"{order}L", start[4:])
    return PixelElement(keyword, vr.decode("ascii"), stream.tell(), None if length == _UNDEFINED else length)


def _inflate(file: BinaryIO, limits: Limits) -> BinaryIO:
    """Inflate the data set of the Deflated Explicit VR transfer syntax (PS3.5, A.5), up to a limit."""
    limit = min(limits.max_file_bytes, limits.max_inflated_bytes)
    inflater, inflated, waiting = zlib.decompressobj(-zlib.MAX_WBITS), BytesIO(), b""
    while not inflater.eof:
        waiting = waiting or file.read(_BLOCK)
        if not waiting:
            raise LesionRefused(Code.FILE_TRUNCATED)
        inflated.write(inflater.decompress(waiting, _BLOCK))
        waiting = inflater.unconsumed_tail
        if inflated.tell() > limit:
            raise LesionRefused(Code.FILE_TOO_LARGE, "the deflated file inflates to more than is allowed")
    inflated.seek(0)
    return inflated
