"""Pixel Data holds what the header accounts for, no less and no more, or the lesion is refused."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jpeg_ls import encode_buffer
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, encapsulate_extended, itemize_frame
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
from rle.utils import encode_pixel_data

from tests.worker.imaging.decoding import decoded, refusal
from tests.worker.imaging.dicom_files import (
    dataset,
    jpeg,
    jpeg_2000,
    jpeg_lossless,
    jpeg_ls,
    picture,
    save,
    segment,
    write,
)
from worker.errors import Code
from worker.imaging.codestream import is_run_lengths

GREY = [picture(seed=seed) for seed in range(3)]
COLOUR = [picture(colour=True, seed=seed) for seed in range(3)]
NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
ABSENT = [None, "", "0", "1"]
"""What Number of Frames may be where there is one frame."""


def _run_lengths(frame: NDArray[np.uint8]) -> bytes:
    rows, columns = frame.shape
    samples = {"samples_per_pixel": 1, "bits_allocated": 8}
    return bytes(encode_pixel_data(frame.tobytes(), rows=rows, columns=columns, **samples))


ENCODERS = {
    JPEGBaseline8Bit: lambda frame: jpeg(frame, quality=100),
    JPEGLosslessSV1: jpeg_lossless,
    JPEGLSLossless: jpeg_ls,
    JPEG2000Lossless: jpeg_2000,
    RLELossless: _run_lengths,
}
STREAMS = {syntax: [encode(frame) for frame in GREY] for syntax, encode in ENCODERS.items()}


def _encapsulated(path: Path, syntax: str, pixels: bytes, number: object = None, **header: Any) -> Path:
    header = header if number is None else header | {"NumberOfFrames": number}
    made = dataset(GREY[0], syntax, PixelData=pixels, **header)
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    return save(path, made)


def _items(fragments: Sequence[bytes], table: Sequence[int] = ()) -> bytes:
    offsets = np.array(table, "<u4").tobytes()
    return b"".join(b"\xfe\xff\x00\xe0" + len(value).to_bytes(4, "little") + value for value in (offsets, *fragments))


def _is_first(path: Path, frame: int = 1) -> bool:
    """Lossy JPEG is near enough."""
    return float(np.abs(decoded(path, frame).astype(int) - GREY[frame - 1]).mean()) < 1


@pytest.mark.parametrize("number", ABSENT)
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("frames", [GREY, COLOUR])
def test_native_frames_that_the_header_does_not_count_are_refused(
    tmp_path: Path, syntax: str, number: object, frames: list[NDArray[np.uint8]]
) -> None:
    header = {} if number is None else {"NumberOfFrames": number}
    one = write(tmp_path / "one.dcm", frames[0], syntax, **header)
    assert np.array_equal(decoded(one), frames[0])
    more = write(tmp_path / "more.dcm", frames[0], syntax, PixelData=np.stack(frames).tobytes(), **header)
    refused = refusal(more)
    assert (refused.code, "3 frames" in refused.reason) == (Code.PIXELS_UNDECODABLE, True)


@pytest.mark.parametrize("said", [2, 4])
@pytest.mark.parametrize("frame", [1, 2])
def test_a_number_of_frames_that_is_not_theirs_is_refused_for_each_of_them(
    tmp_path: Path, said: int, frame: int
) -> None:
    path = write(tmp_path / "a.dcm", np.stack(GREY), NumberOfFrames=said)
    assert refusal(path, frame).code == Code.PIXELS_UNDECODABLE
    for syntax, streams in STREAMS.items():
        for table in (True, False):
            path = _encapsulated(tmp_path / "b.dcm", syntax, encapsulate(streams, has_bot=table), said)
            assert refusal(path, frame).code == Code.PIXELS_UNDECODABLE, syntax


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(rows=st.integers(1, 9), columns=st.integers(4, 9), frames=st.integers(1, 3), more=st.integers(-3, 9))
def test_native_pixels_are_as_long_as_they_are_said_to_be_bar_the_padding_byte(
    tmp_path: Path, rows: int, columns: int, frames: int, more: int
) -> None:
    size = rows * columns * frames
    length = size + size % 2 + 2 * more
    frame = np.zeros((rows, columns), np.uint8)
    path = write(tmp_path / "a.dcm", frame, PixelData=bytes(max(length, 2)), NumberOfFrames=frames)
    if max(length, 2) == size + size % 2:
        assert decoded(path, frames).shape == (rows, columns)
    else:
        assert refusal(path, 1).code == Code.PIXELS_UNDECODABLE


@pytest.mark.parametrize("number", ABSENT)
@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("syntax", STREAMS, ids=lambda uid: uid.keyword)
def test_compressed_frames_that_the_header_does_not_count_are_refused(
    tmp_path: Path, syntax: str, number: object, *, table: bool
) -> None:
    streams = STREAMS[syntax]
    one = encapsulate(streams[:1], has_bot=table)
    assert _is_first(_encapsulated(tmp_path / "one.dcm", syntax, one, number))
    refused = refusal(_encapsulated(tmp_path / "more.dcm", syntax, encapsulate(streams, has_bot=table), number))
    assert (refused.code, refused.reason) == (
        Code.PIXELS_UNDECODABLE,
        "the number of frames in Pixel Data is 3, and the header says 1",
    )


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda uid: uid.keyword)
def test_codestreams_one_behind_the_other_in_a_fragment_are_refused(tmp_path: Path, syntax: str) -> None:
    for frames in (2, 3):
        joined = b"".join(STREAMS[syntax][:frames])
        path = _encapsulated(tmp_path / "a.dcm", syntax, _items([joined + b"\0" * (len(joined) % 2)]))
        assert refusal(path).code == Code.PIXELS_UNDECODABLE


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda uid: uid.keyword)
def test_padding_behind_a_codestream_is_nothing(tmp_path: Path, syntax: str) -> None:
    padded = STREAMS[syntax][0] + b"\0" * (len(STREAMS[syntax][0]) % 2) + bytes(6)
    assert _is_first(_encapsulated(tmp_path / "a.dcm", syntax, _items([padded])))


@pytest.mark.parametrize("syntax", [syntax for syntax in STREAMS if syntax != RLELossless], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("kept", [0.5, 0.9, 1])
def test_a_codestream_without_its_end_is_cut_off(tmp_path: Path, syntax: str, kept: float) -> None:
    """Some decoders would fill the rest of the picture with what they like."""
    for frame in (GREY[0], COLOUR[0]):
        stream = ENCODERS[syntax](frame)
        cut = stream[: int(kept * (len(stream) - 2))]
        made = dataset(frame, syntax, PixelData=_items([cut + b"\0" * (len(cut) % 2)]))
        made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
        refused = refusal(save(tmp_path / "a.dcm", made))
        assert (refused.code, "cut off" in refused.reason) == (Code.PIXELS_UNDECODABLE, True)


@pytest.mark.parametrize("scans", [1, 2, 3])
def test_a_codestream_codes_each_of_its_components(tmp_path: Path, scans: int) -> None:
    planes = np.ascontiguousarray(np.moveaxis(COLOUR[0], -1, 0)).tobytes()
    stream = bytes(encode_buffer(planes, *COLOUR[0].shape, 8, interleave_mode=0))
    starts = [at for at in range(len(stream)) if stream.startswith(b"\xff\xda", at)]
    stream = stream[: [*starts, -2][scans]] + b"\xff\xd9"
    made = dataset(COLOUR[0], JPEGLSLossless, PixelData=encapsulate([stream]))
    path = save(tmp_path / "a.dcm", made)
    if scans == len(starts):
        assert np.array_equal(decoded(path), COLOUR[0])
    else:
        assert refusal(path).code == Code.PIXELS_UNDECODABLE


@pytest.mark.parametrize(
    ("side", "tiles"), [((64, 48), 1), ((80, 50), 1), ((32, 48), 2), ((64, 47), 2), ((10, 10), 35)]
)
def test_a_codestream_codes_each_of_its_tiles(tmp_path: Path, side: tuple[int, int], tiles: int) -> None:
    stream = bytearray(STREAMS[JPEG2000Lossless][0])
    struct.pack_into(">II", stream, 24, *side)
    path = _encapsulated(tmp_path / "a.dcm", JPEG2000Lossless, _items([bytes(stream) + bytes(len(stream) % 2)]))
    if tiles == 1:
        assert _is_first(path)
    else:
        assert (refusal(path).code, "tile" in refusal(path).reason) == (Code.PIXELS_UNDECODABLE, True)


@pytest.mark.parametrize("syntax", [syntax for syntax in STREAMS if syntax != RLELossless], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("pad", [b"\0", b"\xff", b" ", b"\x0f", b"\xd9"])
def test_an_odd_codestream_is_padded_with_any_byte(tmp_path: Path, syntax: str, pad: bytes) -> None:
    """DCMTK's JPEG-LS leaves there what was in memory."""
    odd, even = (_of_parity(STREAMS[syntax][0], parity) for parity in (1, 0))
    assert _is_first(_encapsulated(tmp_path / "a.dcm", syntax, _items([odd + pad])))
    more = _encapsulated(tmp_path / "b.dcm", syntax, _items([even + b" " + pad]))
    assert refusal(more).code == Code.PIXELS_UNDECODABLE


def _of_parity(stream: bytes, parity: int) -> bytes:
    """Lengthen a codestream to an odd or even number of bytes by a comment."""
    start, comment = (2, 0xFE) if stream.startswith(b"\xff\xd8") else (4 + int.from_bytes(stream[4:6], "big"), 0x64)
    return stream if len(stream) % 2 == parity else stream[:start] + segment(comment, b"\0\1.") + stream[start:]


@pytest.mark.parametrize("control", range(256))
def test_each_control_byte_of_run_lengths_counts_what_it_unpacks_to(control: int) -> None:
    size = control + 1 if control < 128 else 257 - control if control > 128 else 0
    packed = bytes([control]) + bytes(size if control < 128 else control > 128)
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + packed + b"\0\7" + bytes(len(packed) % 2)
    assert is_run_lengths(frame, 1, size + 1)
    assert not is_run_lengths(frame, 1, size + 2)


@pytest.mark.parametrize("rows", [24, 96])
def test_run_lengths_of_more_or_fewer_rows_than_the_header_says_are_refused(tmp_path: Path, rows: int) -> None:
    path = _encapsulated(tmp_path / "a.dcm", RLELossless, encapsulate(STREAMS[RLELossless][:1]), Rows=rows)
    assert refusal(path).code == Code.PIXELS_UNDECODABLE


@pytest.mark.parametrize("syntax", [syntax for syntax in STREAMS if syntax != RLELossless], ids=lambda uid: uid.keyword)
def test_a_frame_in_fragments_is_one_frame(tmp_path: Path, syntax: str) -> None:
    fragments = list(itemize_frame(STREAMS[syntax][0], 3))
    pixels = _items([]) + b"".join(fragments)
    assert _is_first(_encapsulated(tmp_path / "a.dcm", syntax, pixels))
    parts = [item for stream in STREAMS[syntax] for item in itemize_frame(stream, 2)]
    many = _encapsulated(tmp_path / "b.dcm", syntax, _items([]) + b"".join(parts), 3)
    assert all(_is_first(many, frame) for frame in (1, 2, 3))
    empty_last = _items([]) + b"".join(fragments) + b"\xfe\xff\x00\xe0" + bytes(4)
    assert _is_first(_encapsulated(tmp_path / "c.dcm", syntax, empty_last))


def test_fragments_of_odd_length_are_read_as_long_as_they_are(tmp_path: Path) -> None:
    stream = STREAMS[JPEGBaseline8Bit][0]
    stream += b"\0" * (len(stream) % 2)
    path = _encapsulated(tmp_path / "a.dcm", JPEGBaseline8Bit, _items([stream[:101], stream[101:]]))
    assert _is_first(path)


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize(("longer", "right"), [(0, True), (-2, False), (8, True), (2, False)])
def test_compressed_pixels_of_a_length_end_where_it_says(
    tmp_path: Path, syntax: str, longer: int, *, right: bool
) -> None:
    """With a delimiter (8 bytes), or without."""
    stream = STREAMS[syntax][0] + b"\0" * (len(STREAMS[syntax][0]) % 2)
    path = _encapsulated(tmp_path / "a.dcm", syntax, _items([stream]))
    before, items = path.read_bytes().rsplit(b"OB\0\0\xff\xff\xff\xff", 1)
    items = items[:-8] + b"\xfe\xff\xdd\xe0\0\0\0\0"[: max(longer, 0)]
    items = items[:longer] if longer < 0 else items
    path.write_bytes(before + b"OB\0\0" + len(items).to_bytes(4, "little") + items)
    if right:
        assert _is_first(path)
    else:
        assert refusal(path).code == Code.PIXELS_UNDECODABLE


def test_run_lengths_are_one_fragment_a_frame(tmp_path: Path) -> None:
    parts = list(itemize_frame(STREAMS[RLELossless][0], 2))
    path = _encapsulated(tmp_path / "a.dcm", RLELossless, _items([]) + b"".join(parts))
    assert refusal(path).code == Code.PIXELS_UNDECODABLE


@pytest.mark.parametrize("table", [(), (0,), (0, "end"), (8,), ("end",), (0, 4, 8), (2**31,)])
def test_of_one_frame_in_one_fragment_no_offset_table_is_needed(tmp_path: Path, table: tuple[Any, ...]) -> None:
    """Among them is the table with an entry too many that a toolkit wrote for some time."""
    stream = STREAMS[JPEGLosslessSV1][0]
    fragment = stream + b"\0" * (len(stream) % 2)
    offsets = [len(fragment) + 8 if one == "end" else one for one in table]
    assert _is_first(_encapsulated(tmp_path / "a.dcm", JPEGLosslessSV1, _items([fragment], offsets)))
    _, extended, lengths = encapsulate_extended([stream])
    wrong = {"ExtendedOffsetTable": extended[:-1] + b"\1", "ExtendedOffsetTableLengths": lengths[:-1] + b"\1"}
    assert _is_first(_encapsulated(tmp_path / "b.dcm", JPEGLosslessSV1, _items([fragment]), **wrong))


@pytest.mark.parametrize(("last", "right"), [("end", True), ("before", False), ("past", False)])
def test_an_entry_too_many_may_point_at_the_end_alone(tmp_path: Path, last: str, *, right: bool) -> None:
    fragments = [stream + b"\0" * (len(stream) % 2) for stream in STREAMS[JPEGLosslessSV1]]
    starts = np.cumsum([0, *(len(fragment) + 8 for fragment in fragments)])
    starts[-1] += {"end": 0, "before": -2, "past": 2}[last]
    path = _encapsulated(tmp_path / "a.dcm", JPEGLosslessSV1, _items(fragments, starts.tolist()), 3)
    if right:
        assert all(_is_first(path, frame) for frame in (1, 2, 3))
    else:
        assert refusal(path, 1).code == Code.PIXELS_UNDECODABLE


def test_a_table_of_fragments_in_place_of_frames_is_refused(tmp_path: Path) -> None:
    parts = list(itemize_frame(STREAMS[JPEGLosslessSV1][0], 2))
    table = np.array([0, len(parts[0])], "<u4").tobytes()
    pixels = b"\xfe\xff\x00\xe0" + len(table).to_bytes(4, "little") + table + b"".join(parts)
    assert refusal(_encapsulated(tmp_path / "a.dcm", JPEGLosslessSV1, pixels)).code == Code.PIXELS_UNDECODABLE
