"""Stored grey values to what a screen shows: Modality LUT, VOI LUT, polarity (PS3.4, N.2; PS3.3, C.11)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.errors import Code, LesionRefused
from worker.imaging.header import Header
from worker.imaging.layout import PixelLayout

_BYTE = 8

Values = NDArray[Any]


def displayed(stored: Values, header: Header, layout: PixelLayout, index: int = 0) -> NDArray[np.uint8]:
    """Return the grey levels of a monochrome frame, white is 255.

    Modality LUT or rescale first, then the first VOI LUT, else the first window (``LINEAR``, ``LINEAR_EXACT`` or
    ``SIGMOID``). Without either, unsigned 8-bit values that no modality transformation changed stay as they are;
    anything else is stretched between the frame's own minimum and maximum, those of Pixel Padding Value left out.
    MONOCHROME1 is inverted at the end.

    Args:
        stored: integers, (rows, columns), unused bits already cleared.
        header: of the file; a LUT or a window in it that makes no sense is refused, never passed over, a width of zero
            apart, which is no window.
        layout: of its pixels.
        index: of the frame, from 0: it may have a rescale and a window of its own in its functional groups.

    Returns:
        uint8, the same shape.

    Raises:
        LesionRefused: ``photometric_unsupported``.
    """
    _check_presentation(header, layout)
    signed = layout.signed or False
    rescale = _of_frame(header, "PixelValueTransformationSequence", index)
    values, may_be_negative = _modality(stored, rescale, signed=signed)
    levels = _voi(values, _of_frame(header, "FrameVOILUTSequence", index), may_be_negative=may_be_negative)
    if levels is None:
        plain = values is stored and not signed and layout.bits_stored == _BYTE
        levels = stored if plain else _stretched(values, *_range(values, stored, header, signed=signed))
    shown = levels.astype(np.uint8, copy=False)
    return np.subtract(255, shown) if layout.photometric == "MONOCHROME1" else shown


def _check_presentation(header: Header, layout: PixelLayout) -> None:
    """Colour for some grey values (PS3.3, C.7.6.19) is not applied; a polarity has to be said in one way alone."""
    if header.text("PixelPresentation") in ("COLOR", "MIXED"):
        raise LesionRefused(
            Code.PHOTOMETRIC_UNSUPPORTED, "grey pixels must be displayed in colour (Pixel Presentation)"
        )
    shape = header.text("PresentationLUTShape")
    if shape and shape != {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}[layout.photometric]:
        reason = "Presentation LUT Shape contradicts the photometric interpretation"
        raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, reason)


def _of_frame(header: Header, sequence: str, index: int) -> Header:
    """Return where a frame's values are: in its functional group, in the shared one, or in the data set itself.

    PS3.3, C.7.6.16 (multi-frame functional groups).
    """
    groups = header.items("PerFrameFunctionalGroupsSequence")[index : index + 1]
    groups += header.items("SharedFunctionalGroupsSequence")[:1]
    return next((item for group in groups for item in group.items(sequence)[:1]), header)


def _range(values: Values, stored: Values, header: Header, *, signed: bool) -> tuple[float, float]:
    """Return the least and the greatest value that is no padding (PS3.3, C.7.5.1.1.2)."""
    padding = header.integers("PixelPaddingValue", signed=signed)
    if padding:
        ends = sorted((padding[0], *header.integers("PixelPaddingRangeLimit", signed=signed)[:1]))
        shown = values[(stored < ends[0]) | (stored > ends[-1])]
        values = shown if shown.size else values
    return values.min(), values.max()


def _modality(stored: Values, header: Header, *, signed: bool) -> tuple[Values, bool]:
    """Return what the stored values mean, and whether that can be negative."""
    luts = header.items("ModalityLUTSequence")
    if luts:
        return _looked_up(stored, luts[0], signed=signed)[0], False
    slope, intercept = _decimal(header, "RescaleSlope"), _decimal(header, "RescaleIntercept")
    if slope == 0:
        raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, "a Rescale Slope of 0 makes all pixels equal")
    if slope is None or intercept is None or (slope, intercept) == (1, 0):
        return stored, signed
    return stored * slope + intercept, signed or slope < 0 or intercept < 0


def _voi(values: Values, header: Header, *, may_be_negative: bool) -> Values | None:
    luts = header.items("VOILUTSequence")
    if luts:
        if not np.issubdtype(values.dtype, np.integer):
            values = np.rint(values).astype(np.int64)
        levels, bits = _looked_up(values, luts[0], signed=may_be_negative)
        return _stretched(levels, 0, 2**bits - 1)
    centre, width = _decimal(header, "WindowCenter"), _decimal(header, "WindowWidth")
    # No window has a width of zero (PS3.3, C.11.2.1.2): it is written where there is none, and viewers pass it over.
    if centre is None or not width:
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


def _looked_up(values: Values, lut: Header, *, signed: bool) -> tuple[Values, int]:
    """Apply a LUT (PS3.3, C.11.1.1 and C.11.2.1.1): values below its first input, or past its last, take its ends."""
    descriptor = lut.integers("LUTDescriptor")
    table = np.frombuffer(lut.bytes_of("LUTData"), "<u2" if lut.little_endian else ">u2")
    if len(descriptor) != 3 or len(table) != (descriptor[0] % 2**16 or 2**16) or not 8 <= descriptor[2] <= 16:
        raise LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, "a look-up table does not follow its descriptor")
    # Above 32767 the first input is negative where the inputs can be (its VR follows the pixels').
    first = lut.integers("LUTDescriptor", signed=signed)[1]
    inputs = np.clip(values.astype(np.int64) - first, 0, len(table) - 1)
    return table.astype(np.int64)[inputs], descriptor[2]
