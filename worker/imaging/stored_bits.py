"""The bits of a container that are a sample (PS3.5, 8.1.1; PS3.3, C.7.6.3): no others are looked at."""

from typing import Any

from numpy.typing import NDArray

from worker.errors import Code, LesionRefused
from worker.imaging.codestream import Codestream, Coding
from worker.imaging.layout import PixelLayout

Samples = NDArray[Any]

_BYTE = 8


def cut_out(containers: Samples, layout: PixelLayout, stream: Codestream | None = None) -> Samples:
    """Return the samples that Bits Stored and High Bit name, other bits (overlays, old garbage) left out.

    A codestream of just as many bits as are stored holds nothing but the sample, wherever High Bit says it is. One of
    fewer bits holds smaller values, except where it was coded with loss, as if the depth had been reduced.

    Args:
        containers: integers of 8 or 16 bits, as decoded, in any shape.
        layout: what the header says.
        stream: what the codestream says; ``None`` for native and RLE pixels.

    Returns:
        Integers of Bits Allocated bits, signed as Pixel Representation says, in the same shape.

    Raises:
        LesionRefused: ``photometric_unsupported``; where a sample is, or whether it is negative, cannot be told.
    """
    low = layout.high_bit + 1 - layout.bits_stored
    if stream is not None:
        if stream.signed and not layout.signed and (containers < 0).any():
            raise _untold("the codestream has negative samples, but the header says there are none")
        _check_precision(layout, stream)
        if stream.precision <= layout.bits_stored:
            low = 0
    stored = containers.astype(f"{'i' if layout.signed else 'u'}{layout.bits_allocated // _BYTE}", copy=False)
    above = layout.bits_allocated - layout.bits_stored - low
    values = stored << above >> above + low if above or low else stored
    if stream is not None and stream.precision > layout.high_bit + 1 and (values != stored >> low).any():
        # No encoder is asked for bits that nobody needs: Bits Stored may be wrong.
        raise _untold("the codestream uses more bits a sample than the header says are stored")
    if layout.signed is None and layout.bits_stored > _BYTE and (values >> layout.bits_stored - 1).any():
        raise _untold("Pixel Representation is missing, and the samples may be negative")
    return values


def _check_precision(layout: PixelLayout, stream: Codestream) -> None:
    if stream.precision > layout.bits_allocated:
        raise _untold("the codestream has more bits a sample than the header allocates")
    moved = layout.high_bit + 1 > layout.bits_stored
    exact = stream.coding != Coding.JPEG and layout.samples == 1 and stream.signed == bool(layout.signed) and not moved
    if stream.precision < layout.bits_stored and not exact:
        raise _untold("the codestream has fewer bits a sample than the header says are stored")
    if layout.bits_stored < stream.precision <= layout.high_bit:
        raise _untold("the codestream has no bit where the header says that the highest one is")


def _untold(reason: str) -> LesionRefused:
    return LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, reason)
