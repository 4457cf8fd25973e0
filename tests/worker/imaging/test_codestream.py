"""What a codestream says of itself is read without decoding it."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.imaging.dicom_files import jpeg, jpeg_2000, jpeg_lossless, jpeg_ls, picture
from worker.imaging.codestream import Coding, read_codestream

HUGE = 60_000
STREAMS = [
    (Coding.JPEG, jpeg(picture(48, 64)), 1),
    (Coding.JPEG, jpeg(picture(48, 64, colour=True), progressive=True), 3),
    (Coding.JPEG, jpeg(picture(48, 64, colour=True), restart_marker_rows=1), 3),
    (Coding.JPEG_LOSSLESS, jpeg_lossless(picture(48, 64)), 1),
    (Coding.JPEG_LS, jpeg_ls(picture(48, 64, colour=True)), 3),
    (Coding.JPEG_2000, jpeg_2000(picture(48, 64, colour=True), transform=True), 3),
    (Coding.JPEG_2000, jpeg_2000(picture(48, 64), file_of="RGB"), 1),
]


def _size(encoded: bytes) -> tuple[int, int, int]:
    stream = read_codestream(encoded)
    return stream.rows, stream.columns, stream.components


def _huge(rows: int, columns: int) -> bytes:
    start = struct.pack(">HHHBHHBBBB", 0xFFD8, 0xFFF7, 11, 8, rows, columns, 1, 1, 0x11, 0)
    return start + struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, 0, 0, 0) + bytes(64) + b"\xff\xd9"


@pytest.mark.parametrize(("coding", "encoded", "components"), STREAMS)
def test_a_codestream_tells_its_family_its_size_and_its_depth(coding: Coding, encoded: bytes, components: int) -> None:
    stream = read_codestream(encoded)
    assert (stream.coding, stream.rows, stream.columns, stream.components) == (coding, 48, 64, components)
    assert (stream.precision, stream.signed, stream.known) == (8, False, True)


@pytest.mark.parametrize("tail", [b"", b"\0", b"\xff\xd8\xff\xe0 another", b"\xff\xd9"])
@pytest.mark.parametrize(("coding", "encoded", "components"), STREAMS)
def test_a_codestream_ends_where_its_end_is_marked(
    coding: Coding, encoded: bytes, components: int, tail: bytes
) -> None:
    assert read_codestream(encoded + tail).end == len(encoded)


@pytest.mark.parametrize(
    ("encoded", "undone"),
    [
        (jpeg_lossless(picture()), False),
        (jpeg_lossless(picture(colour=True)), False),
        (jpeg_ls(picture()), False),
        (jpeg(picture(), progressive=True), True),
    ],
)
def test_a_point_transform_of_lossless_samples_is_not_undone_here(encoded: bytes, *, undone: bool) -> None:
    """Progressive JPEG parts the bits of its coefficients in that way (T.81, A.4)."""
    scan = encoded.index(b"\xff\xda") + 2
    last = scan + int.from_bytes(encoded[scan : scan + 2], "big") - 1
    assert read_codestream(encoded).known
    shifted = encoded[:last] + bytes([encoded[last] | 1]) + encoded[last + 1 :]
    assert read_codestream(shifted).known == undone


def test_fill_bytes_before_a_marker_are_passed_over() -> None:
    stream = jpeg(picture(48, 64))
    assert _size(stream[:2] + b"\xff\xff\xff" + stream[2:]) == (48, 64, 1)


def test_a_size_that_would_take_minutes_to_decode_is_read_at_once() -> None:
    assert _size(_huge(HUGE, HUGE)) == (HUGE, HUGE, 1)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe0\x00\x00" * 9,
        jpeg(picture())[:40],
        b"no" * 50,
        jpeg_2000(picture())[:30],
        jpeg_2000(picture(), file_of="RGB")[:60],
    ],
)
def test_no_frame_header_is_an_error(stream: bytes) -> None:
    with pytest.raises(ValueError):
        read_codestream(stream)


@pytest.mark.parametrize("start", [b"\xff\xd8", jpeg_2000(picture())[:60], jpeg_2000(picture(), file_of="RGB")[:12]])
@given(tail=st.binary(max_size=400))
def test_whatever_follows_a_start_is_read_or_an_error(start: bytes, tail: bytes) -> None:
    try:
        stream = read_codestream(start + tail)
    except ValueError:
        return
    assert 0 <= stream.end <= len(start + tail)
