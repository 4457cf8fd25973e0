"""What a header says of its pixels, checked before any of them is decoded."""

from dataclasses import dataclass
from typing import Final

from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)

from worker.errors import Code, LesionRefused
from worker.image_access import Limits
from worker.imaging.dicom_file import DicomFile
from worker.imaging.header import Header
from worker.imaging.transfer_syntax import LOOKED_AT, check_pixel_data

GREY: Final = ("MONOCHROME1", "MONOCHROME2")
PALETTE: Final = "PALETTE COLOR"
JPEG: Final = (JPEGBaseline8Bit, JPEGExtended12Bit)
JPEG_2000: Final = (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
_COLOUR: dict[str, tuple[UID, ...] | None] = {
    "RGB": None,
    "YBR_FULL": None,
    "YBR_FULL_422": None,
    "YBR_PARTIAL_420": JPEG,
    "YBR_ICT": JPEG_2000,
    "YBR_RCT": JPEG_2000,
}
_BITS_ALLOCATED = (8, 16)
_RGB_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """The Image Pixel module (PS3.3, C.7.6.3) of a file that can be decoded.

    ``planar`` matters for native colour. ``signed`` is ``None`` where Pixel Representation is missing.
    """

    transfer_syntax: UID
    rows: int
    columns: int
    samples: int
    frames: int
    photometric: str
    planar: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool | None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame (YBR_FULL_422 shares two chroma samples between two pixels: C.7.6.3.1.2)."""
        size = self.rows * self.columns * self.samples * self.bits_allocated // 8
        return (
            size // 3 * 2 if self.photometric == "YBR_FULL_422" and not self.transfer_syntax.is_encapsulated else size
        )


def pixel_layout(file: DicomFile, limits: Limits) -> PixelLayout:
    """Read the layout of a file's pixels and refuse what cannot, or may not, be decoded.

    Raises:
        LesionRefused: ``file_truncated``, ``pixels_missing``, ``pixels_too_large``, ``transfer_syntax_unsupported``,
            ``transfer_syntax_mismatch``, ``photometric_unsupported``, ``pixels_undecodable``.
    """
    file.require_whole()
    header = file.header
    rows, columns = header.integer("Rows") or 0, header.integer("Columns") or 0
    if file.pixels is None or file.pixels.length == 0 or rows == 0 or columns == 0:
        raise LesionRefused(Code.PIXELS_MISSING)
    if rows * columns > limits.max_frame_pixels:
        raise LesionRefused(Code.PIXELS_TOO_LARGE)
    if file.pixels.keyword != "PixelData":
        raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, "the pixels are floating point numbers")
    try:
        decodable = get_decoder(file.transfer_syntax).is_available
    except NotImplementedError:
        decodable = False
    if not decodable:
        raise LesionRefused(Code.TRANSFER_SYNTAX_UNSUPPORTED)
    bits_stored, high_bit = header.integer("BitsStored") or 0, header.integer("HighBit")
    layout = PixelLayout(
        transfer_syntax=file.transfer_syntax,
        rows=rows,
        columns=columns,
        samples=header.integer("SamplesPerPixel") or 0,
        frames=_frames(header),
        photometric=header.text("PhotometricInterpretation"),
        planar=_planar(header, file.transfer_syntax),
        bits_allocated=header.integer("BitsAllocated") or 0,
        bits_stored=bits_stored,
        high_bit=bits_stored - 1 if high_bit is None else high_bit,
        signed=_signed(header),
    )
    _check_samples(layout)
    _check_length(layout, file, limits)
    return layout


def frame_index(layout: PixelLayout, frame: int | None) -> int:
    """Return the index, from 0, of a lesion's frame, which counts from 1.

    When it may be left out: docs/decisions/0005-a-frame-may-be-left-out-where-there-is-one.md.

    Raises:
        LesionRefused: ``frame_not_given``, ``frame_not_found``.
    """
    if frame is None:
        if layout.frames > 1:
            raise LesionRefused(Code.FRAME_NOT_GIVEN)
        return 0
    if not 1 <= frame <= layout.frames:
        raise LesionRefused(Code.FRAME_NOT_FOUND)
    return frame - 1


def _frames(header: Header) -> int:
    frames = header.integer("NumberOfFrames")
    if frames is None and not header.text("NumberOfFrames"):
        return 1
    if frames is None or frames < 0:
        raise LesionRefused(Code.PIXELS_UNDECODABLE, "Number of Frames is not a number of frames")
    return max(frames, 1)


def _planar(header: Header, transfer_syntax: UID) -> int:
    # Compressed frames carry their own order of samples (PS3.5, 8.2), and sub-sampled ones have one alone.
    planar = header.integer("PlanarConfiguration")
    if planar is None and header.text("PhotometricInterpretation") == "YBR_FULL_422":
        planar = 0
    return planar if planar is not None and not transfer_syntax.is_encapsulated else -1


def _signed(header: Header) -> bool | None:
    representation = header.integer("PixelRepresentation")
    if representation not in (None, 0, 1):
        raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, "Pixel Representation is neither 0 nor 1")
    return None if representation is None else representation == 1


def _check_samples(layout: PixelLayout) -> None:
    encapsulated = layout.transfer_syntax.is_encapsulated
    depth = layout.bits_allocated in _BITS_ALLOCATED and 1 <= layout.bits_stored <= layout.bits_allocated
    if depth and not layout.bits_stored <= layout.high_bit + 1 <= layout.bits_allocated:
        raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, "High Bit leaves no room for Bits Stored in Bits Allocated")
    if layout.photometric in (*GREY, PALETTE):
        supported = depth and layout.samples == 1
    else:
        supported = layout.photometric in _COLOUR and layout.samples == _RGB_SAMPLES
        supported = supported and layout.transfer_syntax in (_COLOUR[layout.photometric] or (layout.transfer_syntax,))
        supported = supported and (layout.bits_allocated, layout.bits_stored) == (8, 8) and not layout.signed
        orders = (0,) if layout.photometric == "YBR_FULL_422" else (0, 1)
        supported = supported and (encapsulated or layout.planar in orders)
    if not supported:
        raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED)


def _check_length(layout: PixelLayout, file: DicomFile, limits: Limits) -> None:
    """A native Pixel Data element has to hold exactly what the header declares, the padding byte apart.

    Of more, nobody can say which of it the header means (PS3.5, 8.1.1).
    """
    if layout.transfer_syntax.is_encapsulated or file.pixels is None:
        return
    declared, length = layout.frame_bytes * layout.frames, file.pixels.length
    if length != declared:
        file.stream.seek(file.pixels.offset)
        check_pixel_data(file.stream.read(LOOKED_AT), length, file.transfer_syntax)
    if declared > limits.max_file_bytes:
        raise LesionRefused(Code.PIXELS_TOO_LARGE)
    if length is None or length < declared:
        raise LesionRefused(Code.PIXELS_UNDECODABLE, "Pixel Data is shorter than the header declares")
    if layout.photometric == "YBR_FULL_422" and (layout.columns % 2 or length >= declared // 2 * 3):
        raise LesionRefused(Code.PIXELS_UNDECODABLE, "Pixel Data is not subsampled as its header says")
    if length > declared + declared % 2:
        frames, rest = divmod(length, layout.frame_bytes)
        reason = f"Pixel Data is as long as {frames} frames, and the header says {layout.frames}"
        raise LesionRefused(
            Code.PIXELS_UNDECODABLE, reason if rest <= 1 else "Pixel Data is longer than the header declares"
        )
