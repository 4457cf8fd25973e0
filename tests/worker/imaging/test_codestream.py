"""Sizes are read from codestreams without decoding them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.imaging.dicom_files import jpeg, picture
from worker.imaging.codestream import jpeg_size

HUGE = 60_000


def jpeg_ls(rows: int, columns: int) -> bytes:
    start = struct.pack(">HHHBHHBBBB", 0xFFD8, 0xFFF7, 11, 8, rows, columns, 1, 1, 0x11, 0)
    return start + struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, 0, 0, 0) + bytes(64) + b"\xff\xd9"


def test_a_jpeg_s_size_is_rows_columns_and_components() -> None:
    assert jpeg_size(jpeg(picture(48, 64))) == (48, 64, 1)
    assert jpeg_size(jpeg(picture(48, 64, colour=True), progressive=True)) == (48, 64, 3)


def test_fill_bytes_before_a_marker_are_passed_over() -> None:
    stream = jpeg(picture(48, 64))
    assert jpeg_size(stream[:2] + b"\xff\xff\xff" + stream[2:]) == (48, 64, 1)


def test_a_size_that_would_take_minutes_to_decode_is_read_at_once() -> None:
    assert jpeg_size(jpeg_ls(HUGE, HUGE)) == (HUGE, HUGE, 1)


@pytest.mark.parametrize(
    "stream", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x00" * 9, jpeg(picture())[:40], b"no" * 50]
)
def test_no_frame_header_is_an_error(stream: bytes) -> None:
    with pytest.raises(ValueError):
        jpeg_size(stream)


@given(st.binary(max_size=400))
def test_whatever_follows_a_start_is_a_size_or_an_error(tail: bytes) -> None:
    try:
        rows, columns, components = jpeg_size(b"\xff\xd8" + tail)
    except ValueError:
        return
    assert (rows, columns, components) >= (0, 0, 0)
