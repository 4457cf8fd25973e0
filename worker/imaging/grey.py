"""Stored grey values to what a screen shows: Modality LUT, VOI LUT, polarity (PS3.4, N.2; PS3.3, C.11)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.errors import Code, LesionRefused
from worker.imaging.dicom_file import Header

Values = NDArray[Any]


def displayed(stored: Values, header: Header) -> NDArray[np.uint8]:
    """Return the grey levels of a monochrome frame, white is 255.

    Modality LUT or rescale first, then the first VOI LUT, else the first window (``LINEAR``, ``LINEAR_EXACT`` or
    ``SIGMOID``). Without either, unsigned 8-bit values that no modality transformation changed stay as they are;
    anything else is stretched between the frame's own minimum and maximum. MONOCHROME1 is inverted at the end.

    Args:
        stored: integers, (rows, columns), unused bits already cleared.
        header: of the file; a LUT or a window in it that makes no sense is refused, never passed over.

    Returns:
        uint8, the same shape.

    Raises:
        LesionRefused: ``photometric_unsupported``.
    """
    values = _modality(stored, header)
    levels = _voi(values, header)
    if levels is None:
        plain = values is stored and stored.dtype == np.uint8 and header.integer("BitsStored") == 8
        levels = stored if plain else _stretched(values, values.min(), values.max())
    shown = levels.astype(np.uint8)
    return np.subtract(255, shown) if header.text("PhotometricInterpretation") == "MONOCHROME1" else shown


def _modality(stored: Values, header: Header) -> Values:
    luts = header.items("ModalityLUTSequence")
    if luts:
        return _looked_up(stored, luts[0])[0]
    slope, intercept = _decimal(header, "RescaleSlope"), _decimal(header, "RescaleIntercept")
    if slope is None or intercept is None or (slope, intercept) == (1, 0):
        return stored
    return stored * slope + intercept


def _voi(values: Values, header: Header) -> Values | None:
    luts = header.items("VOILUTSequence")
    if luts:
        if not np.issubdtype(values.dtype, np.integer):
            values = np.rint(values).astype(np.int64)
        levels, bits = _looked_up(values, luts[0])
        return _stretched(levels, 0, 2**bits - 1)
    centre, width = _decimal(header, "WindowCenter"), _decimal(header, "WindowWidth")
    if centre is None or width is None:
        return None
    return _windowed(values, centre, width, header.text("VOILUTFunction") or "LINEAR")


def _decimal(header: Header, keyword: str) -> float | None:
    values = header.decimals(keyword)
    if not values and header.text(keyword):
        raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, "a window or a rescale value is not a number")
    return values[0] if values else None


def _windowed(values: Values, centre: float, width: float, function: str) -> Values:
    """Apply PS3.3, C.11.2.1.2 and C.11.2.1.3, onto 0 to 255."""
    if function == "SIGMOID" and width > 0:
        return np.rint(255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -500, 500))))
    if function == "LINEAR" and width >= 1:
        centre, width = centre - 0.5, width - 1
    elif function != "LINEAR_EXACT" or width <= 0:
        raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, "the header's window is not a valid one")
    if width == 0:
        return np.where(values > centre, 255, 0)
    return _stretched(values, centre - width / 2, centre + width / 2)


def _stretched(values: Values, low: float, high: float) -> Values:
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return np.rint((np.clip(values, low, high) - float(low)) * (255 / (float(high) - float(low))))


def _looked_up(values: Values, lut: Header) -> tuple[Values, int]:
    """Apply a LUT (PS3.3, C.11.1.1 and C.11.2.1.1): values below its first input, or past its last, take its ends."""
    descriptor = lut.integers("LUTDescriptor")
    signed = lut.integers("LUTDescriptor", signed=True)
    table = np.frombuffer(lut.bytes_of("LUTData"), "<u2" if lut.little_endian else ">u2")
    if len(descriptor) != 3 or len(table) != (descriptor[0] or 2**16) or not 8 <= descriptor[2] <= 16:
        raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, "a look-up table does not follow its descriptor")
    # Above 32767 the first input is negative where the inputs can be (its VR follows the pixels').
    first = signed[1] if values.min() < 0 else descriptor[1]
    inputs = np.clip(values.astype(np.int64) - first, 0, len(table) - 1)
    return table.astype(np.int64)[inputs], descriptor[2]
