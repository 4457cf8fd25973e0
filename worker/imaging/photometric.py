"""What three decoded samples are, RGB or YBR: the header and the codestream each have a say (PS3.5, 8.2; PS3.3,
C.7.6.3.1.2).

A codestream that is certain is followed, whatever the header says: where it transforms its colours itself, and where
JPEG's marks say what its decoder takes them for. What only labels samples, as the header does, has to agree with it.
"""

from typing import Final

from worker.errors import Code, LesionRefused
from worker.imaging.codestream import Codestream, Coding, Colours

SUB_SAMPLED: Final = ("YBR_FULL_422", "YBR_PARTIAL_420")
_TRANSFORMED = ("YBR_ICT", "YBR_RCT")


def colours_without_codestream(photometric: str, *, sub_sampled: bool) -> Colours:
    """Return what the samples of native or RLE pixels are, of which the header alone speaks.

    Args:
        photometric: the header's Photometric Interpretation, of three samples.
        sub_sampled: whether the pixels have fewer samples of their second and third component.

    Raises:
        LesionRefused: ``photometric_unsupported``; it says that they are sub-sampled, and they are not.
    """
    if photometric in SUB_SAMPLED and not sub_sampled:
        raise _contradiction("the header says that chroma is subsampled, but it is not")
    return "RGB" if photometric == "RGB" else "YBR"


def decoded_colours(photometric: str, stream: Codestream) -> Colours:
    """Return what the three components of a codestream are, before anybody converts them but JPEG 2000's own decoder.

    Args:
        photometric: the header's Photometric Interpretation, of three samples.
        stream: the codestream, of three components, and none that is not known.

    Raises:
        LesionRefused: ``photometric_unsupported``; the two cannot be reconciled.
    """
    if len(stream.colours) > 1:
        raise _contradiction("the codestream contradicts itself on its colours")
    if stream.coding == Coding.JPEG_2000:
        return _of_jpeg_2000(photometric, stream)
    marked = next(iter(stream.colours), None)
    if stream.coding == Coding.JPEG:
        return marked or _said(photometric)
    # These codings have no colour transform, so that their marks are labels as well.
    if marked not in (None, _said(photometric)):
        raise _contradiction("the header and the codestream contradict each other on the colours")
    return marked or colours_without_codestream(photometric, sub_sampled=stream.sub_sampled)


def _of_jpeg_2000(photometric: str, stream: Codestream) -> Colours:
    """OpenJPEG undoes the multiple component transform, and turns into RGB what is sub-sampled or in an sYCC file."""
    if stream.transformed and "YBR" not in stream.colours:
        return "RGB"
    if stream.sub_sampled and "RGB" not in stream.colours:
        return "RGB"
    agreed = not stream.transformed and not stream.sub_sampled and stream.colours <= {_said(photometric)}
    if not agreed or photometric in _TRANSFORMED:
        raise _contradiction("the header and the codestream contradict each other on the colours")
    return "RGB" if stream.colours else colours_without_codestream(photometric, sub_sampled=False)


def _said(photometric: str) -> Colours:
    return "RGB" if photometric == "RGB" else "YBR"


def _contradiction(reason: str) -> LesionRefused:
    return LesionRefused(Code.PHOTOMETRIC_UNSUPPORTED, reason)
