"""What a frame's colours are: the codestream's word, the header's, or a refusal where both cannot be true."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from PIL import Image
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.worker.imaging.decoding import decoded, refusal
from tests.worker.imaging.dicom_files import (
    dataset,
    jpeg,
    jpeg_2000,
    jpeg_lossless,
    jpeg_ls,
    jpeg_without_colour,
    picture,
    save,
    segment,
    write_frames,
)
from worker.errors import Code

RGB = picture(colour=True)
YBR = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
ADOBE_RGB, ADOBE_YBR = (segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform])) for transform in (0, 1))
COLOUR_TRANSFORM = segment(0xE8, b"mrfx\1")

REFUSED = None
SMOOTH = 4
"""Mean levels that coarse chroma and a lossy code change of this picture; taken for the other colours it is 60."""


def _marked(stream: bytes, *marks: bytes) -> bytes:
    return stream[:2] + b"".join(marks) + stream[2:]


def _named(stream: bytes, ids: bytes) -> bytes:
    """Rename the components of a JPEG from 1, 2 and 3."""
    frame, scan = stream.index(b"\xff\xc0") + 10, stream.index(b"\xff\xda") + 5
    named = bytearray(stream)
    for number, name in enumerate(ids):
        named[frame + 3 * number], named[scan + 2 * number] = name, name
    return bytes(named)


def _shifted(stream: bytes) -> bytes:
    """Declare a point transform of one bit (T.81, H.1.2.1; T.87, C.2.3)."""
    scan = stream.index(b"\xff\xda") + 2
    last = scan + int.from_bytes(stream[scan : scan + 2], "big") - 1
    return stream[:last] + b"\1" + stream[last + 1 :]


def _sub_sampled_jpeg_2000(width: int, height: int) -> bytes:
    """Declare fewer samples of two components than the codestream has; its header alone is looked at."""
    stream = bytearray(jpeg_2000(YBR))
    for component in (1, 2):
        at = 4 + 38 + 3 * component
        stream[at + 1], stream[at + 2] = width, height
    return bytes(stream)


FULL, COARSE = jpeg_without_colour(jpeg(RGB, subsampling=0)), jpeg_without_colour(jpeg(RGB, subsampling=2))
HALF = jpeg_without_colour(jpeg(RGB, subsampling=1))
KEPT = jpeg(RGB, keep_rgb=True)
BARE = jpeg_without_colour(KEPT)
YES = RGB

STREAMS: list[tuple[str, str, bytes, tuple[str, ...], NDArray[np.uint8] | None]] = [
    # JPEG: what its decoders go by wins; where nothing is said, the header
    ("JFIF", JPEGBaseline8Bit, jpeg(RGB, subsampling=0), ("RGB", "YBR_FULL", "YBR_FULL_422"), YES),
    ("JFIF, coarse chroma", JPEGBaseline8Bit, jpeg(RGB, subsampling=2), ("RGB", "YBR_FULL", "YBR_PARTIAL_420"), YES),
    ("coarse chroma", JPEGBaseline8Bit, COARSE, ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420"), YES),
    ("chroma of half the columns", JPEGBaseline8Bit, HALF, ("RGB", "YBR_FULL", "YBR_FULL_422"), YES),
    ("Adobe's YCbCr", JPEGBaseline8Bit, _marked(FULL, ADOBE_YBR), ("RGB", "YBR_FULL", "YBR_FULL_422"), YES),
    ("Adobe's RGB", JPEGBaseline8Bit, _marked(BARE, ADOBE_RGB), ("RGB", "YBR_FULL", "YBR_FULL_422"), YES),
    ("components R, G, B", JPEGBaseline8Bit, _named(BARE, b"RGB"), ("RGB", "YBR_FULL", "YBR_FULL_422"), YES),
    ("components r, g, b", JPEGBaseline8Bit, _named(BARE, b"rgb"), ("RGB", "YBR_FULL", "YBR_FULL_422"), YES),
    ("Adobe's and components", JPEGBaseline8Bit, KEPT, ("RGB", "YBR_FULL"), YES),
    ("nothing said, RGB", JPEGBaseline8Bit, BARE, ("RGB",), YES),
    ("nothing said, YCbCr", JPEGBaseline8Bit, FULL, ("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420"), YES),
    ("progressive", JPEGBaseline8Bit, jpeg(RGB, subsampling=2, progressive=True), ("RGB", "YBR_FULL_422"), YES),
    ("JFIF and components", JPEGBaseline8Bit, _named(_marked(BARE, JFIF), b"RGB"), ("RGB", "YBR_FULL"), REFUSED),
    ("JFIF and Adobe's RGB", JPEGBaseline8Bit, _marked(BARE, JFIF, ADOBE_RGB), ("RGB", "YBR_FULL"), REFUSED),
    ("coarse chroma, Adobe's RGB", JPEGBaseline8Bit, _marked(COARSE, ADOBE_RGB), ("RGB", "YBR_FULL"), REFUSED),
    # lossless JPEG and JPEG-LS transform nothing: their marks are labels, as the header is
    ("nothing said, RGB", JPEGLosslessSV1, jpeg_lossless(RGB), ("RGB",), YES),
    ("nothing said, YCbCr", JPEGLosslessSV1, jpeg_lossless(YBR), ("YBR_FULL",), YES),
    ("nothing sub-sampled", JPEGLosslessSV1, jpeg_lossless(YBR), ("YBR_FULL_422",), REFUSED),
    ("JFIF", JPEGLosslessSV1, jpeg_lossless(YBR, marks=JFIF), ("YBR_FULL", "YBR_FULL_422"), YES),
    ("JFIF", JPEGLosslessSV1, jpeg_lossless(YBR, marks=JFIF), ("RGB",), REFUSED),
    ("components R, G, B", JPEGLosslessSV1, jpeg_lossless(RGB, ids=b"RGB"), ("RGB",), YES),
    ("components R, G, B", JPEGLosslessSV1, jpeg_lossless(RGB, ids=b"RGB"), ("YBR_FULL",), REFUSED),
    ("Adobe's RGB", JPEGLosslessSV1, jpeg_lossless(RGB, marks=ADOBE_RGB), ("YBR_FULL",), REFUSED),
    ("nothing said, RGB", JPEGLSLossless, jpeg_ls(RGB), ("RGB",), YES),
    ("nothing said, YCbCr", JPEGLSLossless, jpeg_ls(YBR), ("YBR_FULL",), YES),
    ("nothing sub-sampled", JPEGLSLossless, jpeg_ls(YBR), ("YBR_FULL_422",), REFUSED),
    ("a transform of colours", JPEGLSLossless, jpeg_ls(RGB, COLOUR_TRANSFORM), ("RGB", "YBR_FULL"), REFUSED),
    ("samples shifted", JPEGLosslessSV1, _shifted(jpeg_lossless(RGB)), ("RGB", "YBR_FULL"), REFUSED),
    ("samples shifted", JPEGLSLossless, _shifted(jpeg_ls(RGB)), ("RGB", "YBR_FULL"), REFUSED),
    # JPEG 2000: its own decoder undoes a transform
    (
        "transformed",
        JPEG2000Lossless,
        jpeg_2000(RGB, transform=True),
        ("RGB", "YBR_RCT", "YBR_ICT", "YBR_FULL", "YBR_FULL_422"),
        YES,
    ),
    (
        "transformed, lossy",
        JPEG2000,
        bytes(encode_array(RGB, bits_stored=8, photometric_interpretation=1, compression_ratios=[5])),
        ("RGB", "YBR_ICT", "YBR_FULL", "YBR_FULL_422"),
        YES,
    ),
    ("not transformed, RGB", JPEG2000Lossless, jpeg_2000(RGB), ("RGB",), YES),
    ("not transformed, YCbCr", JPEG2000Lossless, jpeg_2000(YBR), ("YBR_FULL",), YES),
    ("not transformed", JPEG2000Lossless, jpeg_2000(RGB), ("YBR_RCT", "YBR_ICT", "YBR_FULL_422"), REFUSED),
    ("a file of RGB", JPEG2000Lossless, jpeg_2000(RGB, file_of="RGB"), ("RGB",), YES),
    ("a file of RGB", JPEG2000Lossless, jpeg_2000(RGB, file_of="RGB"), ("YBR_FULL", "YBR_RCT"), REFUSED),
    (
        "a file of RGB, transformed",
        JPEG2000Lossless,
        jpeg_2000(RGB, transform=True, file_of="RGB"),
        ("RGB", "YBR_FULL", "YBR_RCT"),
        YES,
    ),
    ("a file of YCbCr", JPEG2000Lossless, jpeg_2000(YBR, file_of="YBR"), ("YBR_FULL", "YBR_FULL_422"), YES),
    ("a file of YCbCr", JPEG2000Lossless, jpeg_2000(YBR, file_of="YBR"), ("RGB", "YBR_ICT"), REFUSED),
    ("chroma of half the rows", JPEG2000Lossless, _sub_sampled_jpeg_2000(1, 2), ("RGB", "YBR_FULL"), REFUSED),
]

CASES = [
    pytest.param(syntax, stream, label, right, id=f"{syntax.keyword}: {what}, labelled {label}")  # type: ignore[attr-defined]
    for what, syntax, stream, labels, right in STREAMS
    for label in labels
]


def _written(path: Path, stream: bytes, syntax: str, label: str) -> Path:
    return write_frames(path, [stream], RGB, syntax, PhotometricInterpretation=label)


@pytest.mark.parametrize(("syntax", "stream", "label", "right"), CASES)
def test_a_codestream_s_colours_come_out_right_or_not_at_all(
    tmp_path: Path, syntax: str, stream: bytes, label: str, right: NDArray[np.uint8] | None
) -> None:
    path = _written(tmp_path / "a.dcm", stream, syntax, label)
    if right is REFUSED:
        refused = refusal(path)
        assert refused.code == Code.PHOTOMETRIC_UNSUPPORTED
        assert "codestream" in refused.reason or "subsampled" in refused.reason
    else:
        assert np.abs(decoded(path).astype(int) - right).mean() < SMOOTH


@pytest.mark.parametrize(("syntax", "encode"), [(JPEGLosslessSV1, jpeg_lossless), (JPEGLSLossless, jpeg_ls)])
def test_shifted_grey_samples_are_refused(
    tmp_path: Path, syntax: str, encode: Callable[[NDArray[np.uint8]], bytes]
) -> None:
    grey = picture()
    refused = refusal(write_frames(tmp_path / "a.dcm", [_shifted(encode(grey))], grey, syntax))
    assert (refused.code, "transform" in refused.reason) == (Code.PHOTOMETRIC_UNSUPPORTED, True)


def _rle(path: Path, pixels: NDArray[np.uint8], **header: Any) -> Path:
    made = dataset(pixels)
    made.compress(RLELossless, generate_instance_uid=False)
    for keyword, value in header.items():
        setattr(made, keyword, value)
    return save(path, made)


def _native(path: Path, pixels: NDArray[np.uint8], **header: Any) -> Path:
    return save(path, dataset(pixels, ExplicitVRLittleEndian, **header))


@pytest.mark.parametrize("write", [_rle, _native])
@pytest.mark.parametrize(("label", "pixels"), [("RGB", RGB), ("YBR_FULL", YBR)])
def test_where_there_is_no_codestream_the_header_is_followed(
    tmp_path: Path, write: Callable[..., Path], label: str, pixels: NDArray[np.uint8]
) -> None:
    path = write(tmp_path / "a.dcm", pixels, PhotometricInterpretation=label)
    assert np.abs(decoded(path).astype(int) - RGB).max() <= 3


@pytest.mark.parametrize("write", [_rle, _native])
@pytest.mark.parametrize("label", ["YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "MONOCHROME2", "CMYK"])
def test_a_label_that_its_samples_can_not_have_is_refused(
    tmp_path: Path, write: Callable[..., Path], label: str
) -> None:
    code = refusal(write(tmp_path / "a.dcm", YBR, PhotometricInterpretation=label)).code
    assert code in {Code.PHOTOMETRIC_UNSUPPORTED, Code.PIXELS_UNDECODABLE}


@pytest.mark.parametrize(
    ("syntax", "grey", "colour"),
    [
        (JPEGBaseline8Bit, jpeg(picture()), jpeg(RGB)),
        (JPEGLosslessSV1, jpeg_lossless(picture()), jpeg_lossless(RGB)),
        (JPEGLSLossless, jpeg_ls(picture()), jpeg_ls(RGB)),
        (JPEG2000Lossless, jpeg_2000(picture()), jpeg_2000(RGB, transform=True)),
    ],
)
def test_a_codestream_of_other_components_than_the_header_says_is_refused(
    tmp_path: Path, syntax: str, grey: bytes, colour: bytes
) -> None:
    for label in ("RGB", "YBR_FULL"):
        assert refusal(_written(tmp_path / "a.dcm", grey, syntax, label)).code == Code.PIXELS_UNDECODABLE
    path = write_frames(tmp_path / "b.dcm", [colour], picture(), syntax)
    assert refusal(path).code == Code.PIXELS_UNDECODABLE
    path = write_frames(tmp_path / "c.dcm", [grey], picture(), syntax, PhotometricInterpretation="RGB")
    assert refusal(path).code == Code.PHOTOMETRIC_UNSUPPORTED
    path = write_frames(tmp_path / "d.dcm", [colour], RGB, syntax, PhotometricInterpretation="MONOCHROME2")
    assert refusal(path).code == Code.PHOTOMETRIC_UNSUPPORTED


@pytest.mark.parametrize(("planar", "right"), [(None, True), (0, True), (1, False), (7, False)])
def test_sub_sampled_native_colour_has_one_order_of_samples(tmp_path: Path, planar: int | None, *, right: bool) -> None:
    ycc = YBR.repeat(2, axis=1)
    pairs = [ycc[:, ::2, 0], ycc[:, 1::2, 0], ycc[:, ::2, 1], ycc[:, ::2, 2]]
    header = {"PhotometricInterpretation": "YBR_FULL_422", "PlanarConfiguration": planar}
    path = _native(tmp_path / "a.dcm", ycc, PixelData=np.stack(pairs, axis=-1).tobytes(), **header)
    if right:
        assert np.abs(decoded(path).astype(int) - RGB.repeat(2, axis=1)).max() <= 3
    else:
        assert refusal(path).code == Code.PHOTOMETRIC_UNSUPPORTED


@pytest.mark.parametrize("planar", [None, 0, 1, 7])
def test_planar_configuration_is_not_read_where_it_does_not_matter(tmp_path: Path, planar: int | None) -> None:
    grey = picture()
    path = save(tmp_path / "a.dcm", dataset(grey, **({} if planar is None else {"PlanarConfiguration": planar})))
    assert np.array_equal(decoded(path), grey)
    for syntax, stream in (
        (JPEGBaseline8Bit, KEPT),
        (JPEG2000Lossless, jpeg_2000(RGB)),
        (JPEGLSLossless, jpeg_ls(RGB)),
    ):
        path = write_frames(tmp_path / "b.dcm", [stream], RGB, syntax, PlanarConfiguration=planar)
        assert np.abs(decoded(path).astype(int) - RGB).mean() < SMOOTH
    assert np.array_equal(decoded(_rle(tmp_path / "c.dcm", RGB, PlanarConfiguration=planar)), RGB)
