"""One frame of a file, decoded: grey or RGB, 8 bits, white is bright."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import libjpeg
import numpy as np
import openjpeg
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from worker.errors import Code, DlrError, LesionRefused
from worker.imaging.dicom_file import DicomFile
from worker.imaging.encapsulation import encoded_frame
from worker.imaging.grey import displayed
from worker.imaging.layout import GREY, PALETTE, PixelLayout
from worker.imaging.palette import coloured
from worker.imaging.storage import storage_fault

_PIXEL_BITS = 8
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
        encoded = _reading(lambda: encoded_frame(file, layout.frames, index))
        stored, photometric = _decoding(lambda: _decompressed(encoded, layout))
    else:
        stored, photometric = _decoding(lambda: _native(file, layout, index))
    expected = (layout.rows, layout.columns) if layout.samples == 1 else (layout.rows, layout.columns, layout.samples)
    if stored.shape != expected:
        raise LesionRefused(Code.PIXELS_UNDECODABLE, "the decoded frame is not of the size that the header declares")
    return _decoding(lambda: _shown(stored, photometric, file))


def _reading[Result](read: Callable[[], Result]) -> Result:
    try:
        return read()
    except OSError as error:
        raise storage_fault(error) from None
