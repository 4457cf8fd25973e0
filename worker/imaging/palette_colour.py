"""Palette colour to RGB (PS3.3, C.7.6.3.1.5, C.7.6.3.1.6 and C.7.9)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from worker.errors import Code, LesionRefused
from worker.imaging.header import Header

_COLOURS = ("Red", "Green", "Blue")
_ENTRIES_8_BIT = 256


def coloured(stored: NDArray[Any], header: Header, *, signed: bool) -> NDArray[np.uint8]:
    """Return the colours of a palette frame.

    Of 16-bit entries the high byte is taken. A table whose entries all fit in 8 bits holds 8-bit intensities, whatever
    its descriptor says.

    Args:
        stored: integers, (rows, columns), unused bits already cleared.
        header: with the palette.
        signed: whether indices may be negative (Pixel Representation).

    Returns:
        uint8 RGB, (rows, columns, 3).

    Raises:
        LesionRefused: ``photometric_unsupported``; the palette is missing or does not follow its descriptor.
    """
    descriptor, *others = (header.integers(f"{colour}PaletteColorLookupTableDescriptor") for colour in _COLOURS)
    if len(descriptor) != 3 or descriptor[2] not in (8, 16) or any(other not in (descriptor, ()) for other in others):
        raise _unusable()
    # Their number has no sign, though it may stand in an element that has one.
    entries = descriptor[0] % 2**16 or 2**16
    # The second value has the sign of the pixels.
    first = header.integers("RedPaletteColorLookupTableDescriptor", signed=signed)[1]
    if header.bytes_of("RedPaletteColorLookupTableData"):
        table: NDArray[np.uint16] = np.stack([_plain(header, colour, entries) for colour in _COLOURS], axis=-1)
    else:
        table = _segmented(header, entries, descriptor[2])
    if table.max() >= _ENTRIES_8_BIT:
        table = (table >> 8).astype(np.uint16)
    inputs = np.clip(stored.astype(np.int64) - first, 0, entries - 1)
    return table.astype(np.uint8)[inputs]


def _plain(header: Header, colour: str, entries: int) -> NDArray[np.uint16]:
    data = header.bytes_of(f"{colour}PaletteColorLookupTableData")
    word = "<u2" if header.little_endian else ">u2"
    if len(data) == 2 * entries:
        return np.frombuffer(data, word).astype(np.uint16)
    if len(data) != entries + entries % 2:
        raise _unusable()
    # Two 8-bit entries share a word, the first in its low byte.
    return np.frombuffer(np.frombuffer(data, word).astype("<u2").tobytes(), np.uint8)[:entries].astype(np.uint16)


def _segmented(header: Header, entries: int, bits: int) -> NDArray[np.uint16]:
    """Let pydicom expand the segments; it maps 8-bit tables of more than 256 entries wrongly."""
    if bits == 8 and entries > _ENTRIES_8_BIT:
        raise _unusable()
    palette = Dataset()
    palette.file_meta = FileMetaDataset()
    palette.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if header.little_endian else ExplicitVRBigEndian
    palette.RedPaletteColorLookupTableDescriptor = [entries % 2**16, 0, bits]
    for colour in _COLOURS:
        keyword = f"Segmented{colour}PaletteColorLookupTableData"
        setattr(palette, keyword, header.bytes_of(keyword))
    try:
        table = apply_color_lut(np.arange(entries), palette)
    except Exception:  # noqa: BLE001  whatever pydicom makes of malformed segments
        raise _unusable() from None
    if table.shape != (entries, len(_COLOURS)):
        raise _unusable()
    return table.astype(np.uint16)


def _unusable() -> LesionRefused:
    return LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, "the palette is missing or does not follow its descriptor")
