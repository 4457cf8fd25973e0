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
from pydicom.uid import RLELossless

from worker.errors import Code, DlrError, LesionRefused
from worker.imaging.codestream import jpeg_2000_size, jpeg_size
from worker.imaging.dicom_file import DicomFile
from worker.imaging.encapsulation import encoded_frame
from worker.imaging.grey import displayed
from worker.imaging.layout import GREY, JPEG, JPEG_2000, PALETTE, PixelLayout
from worker.imaging.palette import coloured
from worker.imaging.storage import storage_fault

_PIXEL_BITS = 8
_RLE_HEADER = 64
_LARGE_FRAME = 4 << 20
# Lossless compression of ultrasound reaches 3 or so, and lossy 50; an empty JPEG 2000 codestream reaches 50,000.
_MOST_COMPRESSION = 2000
_OTHER_SIZE = "the frame is not of the size that the header declares"
Stored = NDArray[Any]


def decode_frame(file: DicomFile, layout: PixelLayout, index: int) -> NDArray[np.uint8]:
    """Decode one frame, reading no other.

    Colour is converted to RGB as the codestream says, else as Photometric Interpretation says (PS3.3, C.7.6.3.1.2);
    palettes are applied; grey goes through the Modality and VOI LUTs (see `worker.imaging.grey`), and without a VOI
    LUT or window, 8-bit values stay as they are and deeper ones are stretched between the frame's own minimum and
    maximum. No ICC profile is applied.

    Args:
        file: open, and whole.
        layout: of its pixels, checked by `worker.imaging.layout.pixel_layout`.
        index: of the frame, from 0 (`worker.imaging.layout.frame_index`).

    Returns:
        uint8, (rows, columns) for grey or (rows, columns, 3) for RGB.

    Raises:
        LesionRefused: ``pixels_undecodable``, ``pixels_too_large``, ``photometric_unsupported``, ``file_truncated``.
        Unavailable: ``storage_unavailable``.
    """
    if layout.transfer_syntax.is_encapsulated:
        with _storage_faults():
            encoded = encoded_frame(file, layout.frames, index)
        with _decoder_faults():
            stored, photometric = _decompressed(encoded, layout)
    else:
        with _decoder_faults(), _storage_faults():
            stored, photometric = _native(file, layout, index)
    expected = (layout.rows, layout.columns) if layout.samples == 1 else (layout.rows, layout.columns, layout.samples)
    if stored.shape != expected:
        raise LesionRefused(Code.PIXELS_UNDECODABLE, _OTHER_SIZE)
    with _decoder_faults():
        if layout.photometric in GREY:
            return displayed(stored, file.header)
        if layout.photometric == PALETTE:
            return coloured(stored, file.header)
        return _rgb(stored, photometric)


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


def _native(file: DicomFile, layout: PixelLayout, index: int) -> tuple[Stored, str]:
    if file.pixels is None:
        raise LesionRefused(Code.PIXELS_MISSING)
    file.stream.seek(file.pixels.offset)
    options = _options(layout) | {"number_of_frames": layout.frames, "pixel_vr": file.pixels.vr}
    stored, found = get_decoder(layout.transfer_syntax).as_array(file.stream, index=index, raw=True, **options)
    return stored, str(found["photometric_interpretation"])


def _decompressed(encoded: bytes, layout: PixelLayout) -> tuple[Stored, str]:
    if layout.frame_bytes > _LARGE_FRAME and layout.frame_bytes > _MOST_COMPRESSION * len(encoded):
        raise LesionRefused(Code.PIXELS_UNDECODABLE, "the compressed frame holds too little for a frame of its size")
    if layout.transfer_syntax in JPEG and layout.bits_stored == layout.bits_allocated == _PIXEL_BITS:
        return _jpeg(encoded, layout)
    if layout.transfer_syntax != RLELossless:
        _check_codestream(encoded, layout)
    elif len(encoded) > _RLE_HEADER + 2 * layout.frame_bytes:
        # Packing what does not repeat adds one byte in 128 (PS3.5, G.3.1): the rest would be inflated for nothing.
        raise LesionRefused(Code.PIXELS_UNDECODABLE, "the compressed frame holds more than the header declares")
    # One decoder, so that every installation gives the same pixels.
    stored, found = get_decoder(layout.transfer_syntax).as_array(
        encapsulate([encoded]), index=0, raw=True, decoding_plugin="pylibjpeg", **_options(layout)
    )
    return stored, str(found["photometric_interpretation"])


def _jpeg(encoded: bytes, layout: PixelLayout) -> tuple[Stored, str]:
    """Decode 8-bit JPEG with Pillow: three times as fast as libjpeg, without the GIL, and strict on cut streams."""
    with Image.open(BytesIO(encoded), formats=("JPEG",)) as image:
        if image.size != (layout.columns, layout.rows) or image.mode != {1: "L", 3: "RGB"}[layout.samples]:
            raise LesionRefused(Code.PIXELS_UNDECODABLE, _OTHER_SIZE)
        marked = "jfif" in image.info or "adobe_transform" in image.info or _component_ids(image) == b"RGB"
        if layout.photometric == "RGB" and not marked:
            # Nothing in the stream says YCbCr, though libjpeg would take it for that: keep the samples as they are.
            image.draft("YCbCr", image.size)
        return np.asarray(image), "RGB"


def _component_ids(image: Image.Image) -> bytes:
    return bytes(component[0] for component in image.layer) if isinstance(image, JpegImageFile) else b""


def _check_codestream(encoded: bytes, layout: PixelLayout) -> None:
    """A codestream may declare a far larger image than its header: see that before memory is taken for it."""
    size = jpeg_2000_size(encoded) if layout.transfer_syntax in JPEG_2000 else jpeg_size(encoded)
    if size != (layout.rows, layout.columns, layout.samples):
        raise LesionRefused(Code.PIXELS_UNDECODABLE, _OTHER_SIZE)


def _options(layout: PixelLayout) -> dict[str, Any]:
    return {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples,
        "number_of_frames": 1,
        "photometric_interpretation": layout.photometric,
        "planar_configuration": max(layout.planar, 0),
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.signed),
        "pixel_keyword": "PixelData",
    }


def _rgb(stored: Stored, photometric: str) -> NDArray[np.uint8]:
    samples = np.ascontiguousarray(stored, np.uint8)
    if photometric == "RGB":
        return samples
    rows, columns, _ = samples.shape
    return np.asarray(Image.frombytes("YCbCr", (columns, rows), samples.tobytes()).convert("RGB"))
