"""Data in another transfer syntax than its File Meta Information says is told as that, whatever it would break."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import (
    HTJ2K,
    UID,
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
    LIMITS,
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
from worker.errors import Code, LesionRefused
from worker.imaging.identity import read_identity
from worker.imaging.transfer_syntax import check_data_set

FRAME = picture()
DATA_SETS = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
STREAMS = {
    JPEGBaseline8Bit: jpeg(FRAME),
    JPEGLosslessSV1: jpeg_lossless(FRAME),
    JPEGLSLossless: jpeg_ls(FRAME),
    JPEG2000Lossless: jpeg_2000(FRAME),
    RLELossless: None,
}
ALL = [*DATA_SETS, *STREAMS]
NOT_TOLD = {
    (ImplicitVRLittleEndian, ExplicitVRLittleEndian): "each element is read as what it is",
    (JPEGBaseline8Bit, JPEGLosslessSV1): "a codestream says which process of JPEG it is",
    (JPEGLosslessSV1, JPEGBaseline8Bit): "the same",
}


def _written(path: Path, syntax: UID) -> Path:
    stream = STREAMS.get(syntax)
    return write(path, FRAME, syntax) if stream is None else write_frames(path, [stream], FRAME, syntax)


def _relabelled(path: Path, written: UID, said: UID) -> Path:
    """Say in the File Meta Information that a file is in another transfer syntax than it was written in."""
    before, after = (uid.encode() + b"\0" * (len(uid) % 2) for uid in (written, said))
    content = path.read_bytes()
    at = content.index(b"UI" + len(before).to_bytes(2, "little") + before) + 2
    content = content[:at] + len(after).to_bytes(2, "little") + after + content[at + 2 + len(before) :]
    length_at = content.index(b"\2\0\0\0UL") + 8
    length = int.from_bytes(content[length_at : length_at + 4], "little") + len(after) - len(before)
    path.write_bytes(content[:length_at] + length.to_bytes(4, "little") + content[length_at + 4 :])
    return path


@pytest.mark.parametrize("said", ALL, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("written", ALL, ids=lambda uid: uid.keyword)
def test_every_contradiction_is_named_with_both_sides(tmp_path: Path, written: UID, said: UID) -> None:
    path = _relabelled(_written(tmp_path / "a.dcm", written), written, said)
    if written == said or (written, said) in NOT_TOLD:
        assert np.abs(decoded(path).astype(int) - FRAME).mean() < 2
        return
    refused = refusal(path)
    assert refused.code == Code.TRANSFER_SYNTAX_MISMATCH
    assert f"says {said.name}, and " in refused.reason
    found = refused.reason.split(", and ")[1]
    family = {JPEGBaseline8Bit: "JPEG", JPEGLosslessSV1: "JPEG", JPEGLSLossless: "JPEG", JPEG2000Lossless: "JPEG 2000"}
    named = (written.name, "not compressed", "is compressed", family.get(written, "RLE"), "Explicit VR Little Endian")
    assert any(name in found for name in named)


@pytest.mark.parametrize("said", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_a_file_s_identity_is_refused_for_the_same_reason_and_not_missed(tmp_path: Path, said: UID) -> None:
    path = _relabelled(write(tmp_path / "a.dcm", FRAME), ExplicitVRLittleEndian, said)
    with pytest.raises(LesionRefused, match=Code.TRANSFER_SYNTAX_MISMATCH) as refused:
        read_identity(path, LIMITS)
    assert "the data set is Explicit VR Little Endian" in refused.value.reason


def test_compressed_pixels_of_a_length_that_are_said_to_be_native_are_told_too(tmp_path: Path) -> None:
    made = dataset(FRAME)
    stream = STREAMS[JPEGBaseline8Bit]
    item = b"\xfe\xff\x00\xe0"
    made.PixelData = item + bytes(4) + item + len(stream).to_bytes(4, "little") + stream
    assert refusal(save(tmp_path / "a.dcm", made)).code == Code.TRANSFER_SYNTAX_MISMATCH


def test_native_pixels_that_begin_as_compressed_ones_do_are_native_where_their_length_is_right(tmp_path: Path) -> None:
    frame = FRAME.copy()
    item = np.frombuffer(b"\xfe\xff\x00\xe0" + bytes(4) + b"\xfe\xff\x00\xe0", np.uint8)
    frame[0, : len(item)] = item
    assert np.array_equal(decoded(write(tmp_path / "a.dcm", frame)), frame)


def test_high_throughput_and_plain_jpeg_2000_are_of_one_family(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.dcm", [STREAMS[JPEG2000Lossless]], FRAME, HTJ2K)
    assert np.array_equal(decoded(path), FRAME)


@pytest.mark.parametrize("said", ["1.2.840.113619.5.2", "1.2.3.4.5"])
def test_a_transfer_syntax_that_is_not_decoded_stays_one(tmp_path: Path, said: str) -> None:
    assert refusal(write(tmp_path / "a.dcm", FRAME, said)).code == Code.TRANSFER_SYNTAX_UNSUPPORTED


@given(start=st.binary(max_size=64), said=st.sampled_from(ALL))
def test_whatever_a_data_set_begins_with_is_let_pass_or_told(start: bytes, said: UID) -> None:
    with suppress(LesionRefused):
        check_data_set(start, said)
