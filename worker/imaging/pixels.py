"""One frame of a file, decoded: grey or RGB, 8 bits, white is bright."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, RLELossless

from worker.errors import Code, DlrError, LesionRefused
from worker.imaging.codestream import Coding, Colours, is_run_lengths, read_codestream
from worker.imaging.dicom_file import DicomFile
from worker.imaging.encapsulation import encoded_frame
from worker.imaging.grayscale import displayed
from worker.imaging.layout import GREY, PALETTE, PixelLayout
from worker.imaging.palette_colour import coloured
from worker.imaging.photometric import SUB_SAMPLED, colours_without_codestream, decoded_colours
from worker.imaging.storage import storage_fault
from worker.imaging.stored_bits import cut_out
from worker.imaging.transfer_syntax import check_coding

_RLE_HEADER = 64
_LARGE_FRAME = 4 << 20
# Lossless compression of ultrasound reaches 3 or so, and lossy 50; an empty JPEG 2000 codestream reaches 50,000.
_MOST_COMPRESSION = 2000
_OTHER_SIZE = "the frame's size differs from the header's"
_MORE = "the compressed frame holds more than the header declares"
_PADDING = b"\0\xff"
_BYTE = 8
_AS_DECODED: dict[Colours | None, str] = {None: "MONOCHROME2", "RGB": "RGB", "YBR": "YBR_FULL"}
Stored = NDArray[Any]


def decode_frame(file: DicomFile, layout: PixelLayout, index: int) -> NDArray[np.uint8]:
    """Decode one frame, reading no other.

    The bits of a sample are those that Bits Stored and High Bit name (see `worker.imaging.stored_bits`). Colour is
    converted to RGB as the codestream says, else as Photometric Interpretation says (see `worker.imaging.photometric`);
    palettes are applied; grey goes through the Modality and VOI LUTs (see `worker.imaging.grayscale`), and without a
    VOI LUT or window, 8-bit values stay as they are and deeper ones are stretched between the frame's own minimum and
    maximum. No ICC profile is applied.

    Args:
        file: open, and whole.
        layout: of its pixels, checked by `worker.imaging.layout.pixel_layout`.
        index: of the frame, from 0 (`worker.imaging.layout.frame_index`).

    Returns:
        uint8, (rows, columns) for grey or (rows, columns, 3) for RGB.

    Raises:
        LesionRefused: ``pixels_undecodable``, ``pixels_too_large``, ``photometric_unsupported``, ``file_truncated``,
            ``transfer_syntax_mismatch``.
        Unavailable: ``storage_unavailable``.
    """
    if layout.transfer_syntax.is_encapsulated:
        with _storage_faults():
            encoded = encoded_frame(file, layout.frames, index)
        with _decoder_faults():
            stored, colours = _decompressed(encoded, layout)
    else:
        with _decoder_faults(), _storage_faults():
            stored, colours = _native(file, layout, index)
    with _decoder_faults():
        if layout.photometric in GREY:
            return displayed(stored, file.header, layout, index)
        if layout.photometric == PALETTE:
            return coloured(stored, file.header, signed=layout.signed or False)
        return _rgb(stored, colours)


@contextmanager
def _storage_faults() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_fault(error) from None


@contextmanager
def _decoder_faults() -> Iterator[None]:
    """Turn whatever a decoder raises on malformed bytes into this lesion's refusal, without the decoder's words."""
    try:
        yield
    except DlrError:
        raise
    except MemoryError:
        raise LesionRefused(Code.PIXELS_TOO_LARGE, "decoding the frame needs more memory than there is") from None
    except Exception:  # noqa: BLE001  decoders raise many things, and quote what they read
        raise LesionRefused(Code.PIXELS_UNDECODABLE) from None


def _native(file: DicomFile, layout: PixelLayout, index: int) -> tuple[Stored, Colours | None]:
    if file.pixels is None:
        raise LesionRefused(Code.PIXELS_MISSING)
    colours = _header_colours(layout)
    file.stream.seek(file.pixels.offset)
    options = _options(layout, layout.bits_allocated, colours, signed=layout.signed or False)
    options |= {"number_of_frames": layout.frames, "pixel_vr": file.pixels.vr}
    options["photometric_interpretation"] = layout.photometric
    stored, _ = get_decoder(layout.transfer_syntax).as_array(file.stream, index=index, raw=True, **options)
    return cut_out(_of_declared_size(stored, layout), layout), colours


def _decompressed(encoded: bytes, layout: PixelLayout) -> tuple[Stored, Colours | None]:
    if layout.frame_bytes > _LARGE_FRAME and layout.frame_bytes > _MOST_COMPRESSION * len(encoded):
        raise LesionRefused(Code.PIXELS_UNDECODABLE, "the compressed frame holds too little for a frame of its size")
    if layout.transfer_syntax == RLELossless:
        return _run_lengths(encoded, layout)
    stream = read_codestream(encoded)
    check_coding(stream.coding, layout.transfer_syntax)
    # A codestream may declare a far larger image than its header: see that before memory is taken for it.
    if (stream.rows, stream.columns, stream.components) != (layout.rows, layout.columns, layout.samples):
        raise LesionRefused(Code.PIXELS_UNDECODABLE, _OTHER_SIZE)
    if not stream.whole:
        # Some decoders make a picture of what there is.
        raise LesionRefused(Code.PIXELS_UNDECODABLE, "the compressed frame is cut off, or lacks a component or a tile")
    # Toolkits pad an odd codestream with whatever byte is there.
    if encoded[stream.end + stream.end % 2 :].strip(_PADDING):
        raise LesionRefused(Code.PIXELS_UNDECODABLE, _MORE)
    if not stream.known:
        reason = "the codestream has a transform or components that are not supported"
        raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, reason)
    colours = decoded_colours(layout.photometric, stream) if layout.samples > 1 else None
    if stream.coding == Coding.JPEG and stream.precision == _BYTE:
        stored = _jpeg(encoded, colours)
        # Pillow has converted what is not RGB.
        colours = "RGB" if colours else None
    else:
        container = _BYTE if stream.precision <= _BYTE else 2 * _BYTE
        options = _options(layout, container, colours, signed=stream.signed)
        stored = _with_pylibjpeg(encoded, layout.transfer_syntax, options)
    return cut_out(_of_declared_size(stored, layout), layout, stream), colours


def _run_lengths(encoded: bytes, layout: PixelLayout) -> tuple[Stored, Colours | None]:
    if len(encoded) > _RLE_HEADER + 2 * layout.frame_bytes:
        # Packing what does not repeat adds one byte in 128 (PS3.5, G.3.1): the rest would be inflated for nothing.
        raise LesionRefused(Code.PIXELS_UNDECODABLE, _MORE)
    if not is_run_lengths(encoded, layout.samples * layout.bits_allocated // _BYTE, layout.rows * layout.columns):
        raise LesionRefused(
            Code.PIXELS_UNDECODABLE, "the compressed frame holds more, or less, than the header declares"
        )
    colours = _header_colours(layout)
    options = _options(layout, layout.bits_allocated, colours, signed=layout.signed or False)
    stored = _with_pylibjpeg(encoded, layout.transfer_syntax, options)
    return cut_out(_of_declared_size(stored, layout), layout), colours


def _header_colours(layout: PixelLayout) -> Colours | None:
    if layout.samples == 1:
        return None
    sub_sampled = layout.photometric in SUB_SAMPLED and not layout.transfer_syntax.is_encapsulated
    return colours_without_codestream(layout.photometric, sub_sampled=sub_sampled)


def _with_pylibjpeg(encoded: bytes, transfer_syntax: UID, options: dict[str, Any]) -> Stored:
    # One decoder, so that every installation gives the same pixels.
    stored, _ = get_decoder(transfer_syntax).as_array(
        encapsulate([encoded]), index=0, raw=True, decoding_plugin="pylibjpeg", **options
    )
    return stored


def _jpeg(encoded: bytes, colours: Colours | None) -> Stored:
    """Decode 8-bit JPEG with Pillow: three times as fast as libjpeg, without the GIL, and strict on cut streams.

    Returns:
        uint8, (rows, columns), or (rows, columns, 3) in RGB.
    """
    with Image.open(BytesIO(encoded), formats=("JPEG",)) as image:
        known = "adobe_transform" in image.info or _component_ids(image) == b"RGB"
        if colours == "RGB" and not known:
            # libjpeg takes for YCbCr what nothing in the stream marks as RGB: have it keep the samples as they are.
            image.draft("YCbCr", image.size)
        return np.asarray(image)


def _component_ids(image: Image.Image) -> bytes:
    return bytes(component[0] for component in image.layer) if isinstance(image, JpegImageFile) else b""


def _of_declared_size(stored: Stored, layout: PixelLayout) -> Stored:
    expected = (layout.rows, layout.columns) if layout.samples == 1 else (layout.rows, layout.columns, layout.samples)
    if stored.shape != expected:
        raise LesionRefused(Code.PIXELS_UNDECODABLE, _OTHER_SIZE)
    return stored


def _options(layout: PixelLayout, container: int, colours: Colours | None, *, signed: bool) -> dict[str, Any]:
    """Ask for samples as they stand in ``container`` bits, all of which are said to count: `cut_out` corrects them."""
    return {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples,
        "number_of_frames": 1,
        "photometric_interpretation": _AS_DECODED[colours],
        "planar_configuration": max(layout.planar, 0),
        "bits_allocated": container,
        "bits_stored": container,
        "pixel_representation": int(signed),
        "pixel_keyword": "PixelData",
        "apply_j2k_sign_correction": False,
        "apply_jls_sign_correction": False,
    }


def _rgb(stored: Stored, colours: Colours | None) -> NDArray[np.uint8]:
    samples = np.ascontiguousarray(stored, np.uint8)
    if colours == "RGB":
        return samples
    rows, columns, _ = samples.shape
    return np.asarray(Image.frombytes("YCbCr", (columns, rows), samples.tobytes()).convert("RGB"))
