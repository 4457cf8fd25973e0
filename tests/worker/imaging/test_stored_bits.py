"""Which bits are a sample: High Bit, Bits Stored, Pixel Representation and a codestream's precision, or a refusal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
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
    picture,
    save,
    write,
    write_frames,
)
from worker.errors import Code
from worker.imaging.codestream import Codestream, Coding
from worker.imaging.layout import PixelLayout
from worker.imaging.stored_bits import cut_out

RAMP = (np.arange(1024, dtype=np.uint16) // 4).reshape(32, 32)
NOISE = np.random.default_rng(5).integers(0, 2**16, RAMP.shape, dtype=np.uint16)
NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
ENCODED: dict[str, Callable[[NDArray[Any]], bytes]] = {
    JPEGLosslessSV1: lambda pixels: jpeg_lossless(pixels, 16),
    JPEGLSLossless: jpeg_ls,
    JPEG2000Lossless: lambda pixels: jpeg_2000(pixels, 16),
}


def _placed(values: NDArray[np.uint16], stored: int, high: int, other_bits: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Put values where their header says they are, with something else in all other bits."""
    low = high + 1 - stored
    mask = ((1 << stored) - 1) << low
    return ((values.astype(np.uint32) << low & mask) | (other_bits & ~np.uint32(mask) & 0xFFFF)).astype(np.uint16)


def _file(path: Path, pixels: NDArray[Any], syntax: str, **header: Any) -> Path:
    if syntax in ENCODED:
        return write_frames(path, [ENCODED[syntax](pixels)], pixels, syntax, **header)
    if syntax != RLELossless:
        return write(path, pixels, syntax, **header)
    made = dataset(pixels)
    made.compress(RLELossless, generate_instance_uid=False)
    for keyword, value in header.items():
        setattr(made, keyword, value)
    return save(path, made)


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless, *ENCODED], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize(("stored", "high"), [(8, 15), (8, 7), (8, 11), (12, 15), (12, 11), (12, 13), (10, 15)])
def test_samples_are_where_high_bit_says_in_every_transfer_syntax(
    tmp_path: Path, syntax: str, stored: int, high: int
) -> None:
    values = RAMP << stored - 8
    shown = decoded(
        _file(
            tmp_path / "a.dcm",
            _placed(values, stored, high, np.zeros_like(values)),
            syntax,
            BitsStored=stored,
            HighBit=high,
        )
    )
    assert np.array_equal(shown, RAMP)


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize(("stored", "high"), [(8, 15), (8, 7), (8, 11), (12, 15), (12, 11), (12, 13)])
def test_overlays_and_old_garbage_in_other_bits_are_no_part_of_a_sample(
    tmp_path: Path, syntax: str, stored: int, high: int
) -> None:
    pixels = _placed(RAMP << stored - 8, stored, high, NOISE)
    assert np.array_equal(decoded(_file(tmp_path / "a.dcm", pixels, syntax, BitsStored=stored, HighBit=high)), RAMP)


@pytest.mark.parametrize("syntax", ENCODED, ids=lambda uid: uid.keyword)
def test_a_codestream_with_something_above_the_bits_that_are_stored_is_refused(tmp_path: Path, syntax: str) -> None:
    """Whether those are overlays, or Bits Stored is wrong, nobody can say."""
    path = _file(tmp_path / "a.dcm", RAMP << 8, syntax, BitsStored=12, HighBit=11)
    refused = refusal(path)
    assert (refused.code, "more bits" in refused.reason) == (Code.PHOTOMETRIC_UNSUPPORTED, True)


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless, *ENCODED], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize(("stored", "high"), [(12, 15), (12, 11), (16, 15)])
def test_negative_samples_are_darker_than_positive_ones(tmp_path: Path, syntax: str, stored: int, high: int) -> None:
    values = ((RAMP.astype(np.int16) - 128) << stored - 8).view(np.uint16)
    # A sign goes on to the highest bit, as encoders have it.
    above = np.where(values >> 15, np.uint16(0xFFFF), np.uint16(0))
    pixels = _placed(values, stored, high, np.zeros_like(values) if high == 15 else above)
    path = _file(tmp_path / "a.dcm", pixels, syntax, BitsStored=stored, HighBit=high, PixelRepresentation=1)
    assert np.array_equal(decoded(path), RAMP)


@pytest.mark.parametrize("said", [0, None])
@pytest.mark.parametrize(("kind", "stored"), [("i1", 8), ("i2", 12), ("i2", 16)])
@pytest.mark.parametrize("least", [-128, 0])
def test_a_codestream_of_negative_samples_that_are_said_to_be_none_is_refused(
    tmp_path: Path, said: int | None, kind: str, stored: int, least: int
) -> None:
    samples = (((RAMP.astype(np.int16) + 2 * least) >> 1) << stored - 8).astype(kind)
    stream = jpeg_2000(samples, stored)
    header = {"BitsStored": stored, "HighBit": stored - 1, "PixelRepresentation": said}
    path = write_frames(tmp_path / "a.dcm", [stream], samples, JPEG2000Lossless, **header)
    if least < 0:
        assert refusal(path).code == Code.PHOTOMETRIC_UNSUPPORTED
    else:
        assert decoded(path).max() == (127 if stored == 8 else 255)


@pytest.mark.parametrize(
    ("fault", "header"),
    [
        ("High Bit below Bits Stored", {"BitsStored": 12, "HighBit": 10}),
        ("High Bit past Bits Allocated", {"BitsStored": 12, "HighBit": 16}),
        ("High Bit far away", {"BitsStored": 12, "HighBit": 65535}),
        ("more bits than are allocated", {"BitsStored": 17, "HighBit": 16}),
        ("no bits", {"BitsStored": 0, "HighBit": 0}),
        ("Bits Stored missing", {"BitsStored": None}),
        ("Bits Allocated missing", {"BitsAllocated": None}),
        ("12 bits allocated", {"BitsAllocated": 12, "BitsStored": 12}),
        ("one bit allocated", {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}),
        ("another Pixel Representation", {"PixelRepresentation": 2}),
        ("two samples", {"SamplesPerPixel": 2}),
    ],
)
def test_a_layout_that_leaves_no_room_for_a_sample_is_refused(
    tmp_path: Path, fault: str, header: dict[str, Any]
) -> None:
    assert refusal(write(tmp_path / "a.dcm", RAMP, **header)).code == Code.PHOTOMETRIC_UNSUPPORTED, fault


def test_colour_is_of_the_eight_bits_that_are_allocated(tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "a.dcm", picture(colour=True), HighBit=15)).code == Code.PHOTOMETRIC_UNSUPPORTED


def test_a_missing_high_bit_is_the_highest_of_those_that_are_stored(tmp_path: Path) -> None:
    assert np.array_equal(decoded(write(tmp_path / "a.dcm", RAMP << 4, BitsStored=12, HighBit=None)), RAMP)


@pytest.mark.parametrize(
    ("precision", "stored", "high", "right"),
    [
        (12, 12, 15, True),
        (12, 12, 11, True),
        (12, 16, 15, True),
        (10, 12, 11, True),
        (14, 12, 15, False),
        (10, 12, 15, False),
        (16, 12, 15, True),
    ],
)
@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless], ids=lambda uid: uid.keyword)
def test_a_codestream_s_precision_says_which_bits_it_can_hold(
    tmp_path: Path, syntax: str, precision: int, stored: int, high: int, right: bool
) -> None:
    values = RAMP << precision - 8
    stream = jpeg_lossless(values, precision) if syntax == JPEGLosslessSV1 else jpeg_2000(values, precision)
    path = write_frames(tmp_path / "a.dcm", [stream], values, syntax, BitsStored=stored, HighBit=high)
    if right:
        assert np.array_equal(decoded(path), RAMP)
    else:
        assert refusal(path).code == Code.PHOTOMETRIC_UNSUPPORTED


@pytest.mark.parametrize(
    ("stream", "header"),
    [
        (jpeg_lossless(RAMP << 4, 12), {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
        (jpeg_2000(RAMP << 4, 12), {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
        (jpeg(RAMP.astype(np.uint8)), {"BitsStored": 12, "HighBit": 11}),
        (jpeg_2000(RAMP << 4, 12), {"BitsStored": 16, "PixelRepresentation": 1}),
        (jpeg_lossless(RAMP << 4, 12), {"BitsStored": 16, "PixelRepresentation": 1}),
    ],
)
def test_a_codestream_of_another_depth_is_refused_where_its_values_can_mean_two_things(
    tmp_path: Path, stream: bytes, header: dict[str, Any]
) -> None:
    syntax = JPEG2000Lossless if stream.startswith(b"\xff\x4f") else JPEGLosslessSV1
    syntax = JPEGBaseline8Bit if b"JFIF" in stream else syntax
    refused = refusal(write_frames(tmp_path / "a.dcm", [stream], RAMP, syntax, **header))
    assert (refused.code, "bits" in refused.reason) == (Code.PHOTOMETRIC_UNSUPPORTED, True)


@pytest.mark.parametrize(("values", "right"), [(RAMP, True), (RAMP << 8, False)])
def test_a_missing_pixel_representation_is_refused_where_it_matters(
    tmp_path: Path, values: NDArray[np.uint16], right: bool
) -> None:
    path = write(tmp_path / "a.dcm", values, PixelRepresentation=None)
    if right:
        assert np.array_equal(decoded(path), RAMP)
    else:
        assert "Pixel Representation" in refusal(path).reason
    eight = write(tmp_path / "b.dcm", RAMP.astype(np.uint8), PixelRepresentation=None)
    assert np.array_equal(decoded(eight), RAMP)


@given(st.data())
def test_whatever_is_placed_is_cut_out_again(data: st.DataObject) -> None:
    allocated = data.draw(st.sampled_from([8, 16]))
    stored = data.draw(st.integers(1, allocated))
    high = data.draw(st.integers(stored - 1, allocated - 1))
    signed = data.draw(st.booleans())
    least = -(1 << stored - 1) if signed else 0
    wanted = np.array(data.draw(st.lists(st.integers(least, least + (1 << stored) - 1), min_size=1)))
    rest = np.array(data.draw(st.lists(st.integers(0, 2**16 - 1), min_size=len(wanted), max_size=len(wanted))))
    pixels = _placed(wanted.astype(np.uint16), stored, high, rest.astype(np.uint16)).astype(f"u{allocated // 8}")
    found = cut_out(pixels, _layout(allocated, stored, high, signed=signed))
    assert found.tolist() == wanted.tolist()


def test_a_stream_of_as_many_bits_as_are_stored_is_all_sample() -> None:
    stream = Codestream(Coding.JPEG_LOSSLESS, 16, 16, 1, 12, 0)
    found = cut_out(RAMP << 4, _layout(16, 12, 15, signed=False), stream)
    assert np.array_equal(found, RAMP << 4)


def _layout(allocated: int, stored: int, high: int, *, signed: bool) -> PixelLayout:
    return PixelLayout(ExplicitVRLittleEndian, 16, 16, 1, 1, "MONOCHROME2", -1, allocated, stored, high, signed)
