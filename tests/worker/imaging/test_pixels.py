"""One frame decoded: the right pixels, of every transfer syntax, and only once the header allows it."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
)

from tests.worker.imaging.decoding import decoded, refusal
from tests.worker.imaging.dicom_files import (
    LIMITS,
    dataset,
    jpeg,
    jpeg_lossless,
    jpeg_without_colour,
    picture,
    save,
    write,
    write_deflated,
    write_frames,
)
from worker.errors import Code
from worker.image_access import Limits

LOSSLESS = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
]


def _code(path: Path, frame: int | None = None, limits: Limits = LIMITS) -> Code:
    return refusal(path, frame, limits).code


def _package_file(name: str) -> Path:
    assert find_spec("data_store")
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str)
    return Path(found).resolve()


@pytest.mark.parametrize("transfer_syntax", LOSSLESS, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("size", [(48, 64), (37, 51)])
def test_a_lossless_frame_comes_back_as_it_was(
    tmp_path: Path, transfer_syntax: str, colour: bool, size: tuple[int, int]
) -> None:
    frame = picture(*size, colour=colour)
    assert np.array_equal(decoded(write(tmp_path / "a.dcm", frame, transfer_syntax)), frame)


@pytest.mark.parametrize("transfer_syntax", LOSSLESS, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("colour", [False, True])
def test_each_frame_of_many_is_its_own(tmp_path: Path, transfer_syntax: str, colour: bool) -> None:
    frames = np.stack([picture(37, 51, colour=colour, seed=seed) for seed in range(4)])
    path = write(tmp_path / "a.dcm", frames, transfer_syntax, NumberOfFrames=4)
    for number, frame in enumerate(frames, start=1):
        assert np.array_equal(decoded(path, number), frame)


def test_colour_by_plane_is_put_together(tmp_path: Path) -> None:
    frame = picture(colour=True)
    planes = np.ascontiguousarray(np.moveaxis(frame, -1, 0)).tobytes()
    assert np.array_equal(decoded(write(tmp_path / "a.dcm", frame, PlanarConfiguration=1, PixelData=planes)), frame)


def _ycc(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """PS3.3, C.7.6.3.1.2."""
    weights = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return np.clip(np.rint(frame @ weights.T + [0, 128, 128]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, RLELossless, DeflatedExplicitVRLittleEndian])
def test_ybr_full_becomes_rgb(tmp_path: Path, transfer_syntax: str) -> None:
    frame = picture(colour=True)
    made = dataset(_ycc(frame), PhotometricInterpretation="YBR_FULL")
    if transfer_syntax == RLELossless:
        made.compress(RLELossless, generate_instance_uid=False)
    else:
        made.file_meta.TransferSyntaxUID = transfer_syntax
    assert np.abs(decoded(save(tmp_path / "a.dcm", made)).astype(int) - frame).max() <= 3


@pytest.mark.parametrize("frames", [1, 3])
def test_native_ybr_full_422_shares_chroma_between_two_pixels(tmp_path: Path, frames: int) -> None:
    pictures = [picture(colour=True, seed=seed).repeat(2, axis=1)[:, :64] for seed in range(frames)]
    data = b""
    for frame in pictures:
        ycc = _ycc(frame)
        pairs = [ycc[:, ::2, 0], ycc[:, 1::2, 0], ycc[:, ::2, 1], ycc[:, ::2, 2]]
        data += np.stack(pairs, axis=-1).astype(np.uint8).tobytes()
    path = write(
        tmp_path / "a.dcm",
        np.stack(pictures),
        NumberOfFrames=frames,
        PhotometricInterpretation="YBR_FULL_422",
        PixelData=data,
    )
    assert np.abs(decoded(path, frames).astype(int) - pictures[-1]).max() <= 3


@pytest.mark.parametrize("transfer_syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])
@pytest.mark.parametrize(
    ("photometric", "options"),
    [
        ("YBR_FULL_422", {"subsampling": "4:2:2"}),
        ("YBR_FULL", {"subsampling": "4:4:4"}),
        ("YBR_PARTIAL_420", {"subsampling": "4:2:0"}),
        ("RGB", {"subsampling": "4:4:4"}),
        ("RGB", {"keep_rgb": True}),
    ],
)
def test_jpeg_colour_is_what_its_own_codestream_says(
    tmp_path: Path, transfer_syntax: str, photometric: str, options: dict[str, Any]
) -> None:
    frame = picture(colour=True)
    path = write_frames(
        tmp_path / "a.dcm", [jpeg(frame, **options)], frame, transfer_syntax, PhotometricInterpretation=photometric
    )
    assert np.abs(decoded(path).astype(int) - frame).mean() < 3


@pytest.mark.parametrize(("photometric", "options"), [("RGB", {"keep_rgb": True}), ("YBR_FULL", {"subsampling": 0})])
def test_a_jpeg_that_says_nothing_of_its_colour_is_what_the_header_says(
    tmp_path: Path, photometric: str, options: dict[str, Any]
) -> None:
    frame = picture(colour=True)
    bare = jpeg_without_colour(jpeg(frame, **options))
    path = write_frames(tmp_path / "a.dcm", [bare], frame, JPEGBaseline8Bit, PhotometricInterpretation=photometric)
    assert np.abs(decoded(path).astype(int) - frame).mean() < 3


def test_grey_jpeg_frames_are_their_own(tmp_path: Path) -> None:
    frames = np.stack([picture(seed=seed) for seed in range(3)])
    streams = [jpeg(frame) for frame in frames]
    path = write_frames(tmp_path / "a.dcm", streams, frames, JPEGBaseline8Bit, NumberOfFrames=3)
    for number, frame in enumerate(frames, start=1):
        assert np.abs(decoded(path, number).astype(int) - frame).mean() < 2


@pytest.mark.parametrize("transfer_syntax", [JPEGLossless, JPEGLosslessSV1])
def test_jpeg_lossless_comes_back_as_it_was(tmp_path: Path, transfer_syntax: str) -> None:
    frame = picture()
    path = write_frames(tmp_path / "a.dcm", [jpeg_lossless(frame)], frame, transfer_syntax)
    assert np.array_equal(decoded(path), frame)


@pytest.mark.parametrize(
    ("one", "other", "tolerance"),
    [
        ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm", 0),
        ("MR_small.dcm", "MR_small_jp2klossless.dcm", 0),
        ("MR_small.dcm", "MR_small_RLE.dcm", 0),
        ("MR_small.dcm", "MR_small_bigendian.dcm", 0),
        ("emri_small.dcm", "emri_small_jpeg_ls_lossless.dcm", 0),
        ("emri_small.dcm", "emri_small_RLE.dcm", 0),
        ("693_UNCR.dcm", "693_J2KR.dcm", 0),
        ("693_UNCI.dcm", "693_J2KI.dcm", 0),
        ("MR2_UNCI.dcm", "MR2_J2KI.dcm", 0),
        ("SC_rgb.dcm", "SC_rgb_jpeg_gdcm.dcm", 0),
        ("SC_rgb.dcm", "SC_rgb_gdcm_KY.dcm", 0),
        ("SC_rgb.dcm", "SC_rgb_jls_lossy_line.dcm", 2),
        ("SC_rgb.dcm", "SC_rgb_jls_lossy_sample.dcm", 2),
        ("SC_rgb_dcmtk_ebcr_dcmd.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", 1),
        ("SC_rgb_dcmtk_ebcyn1_dcmd.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm", 1),
        ("SC_rgb_dcmtk_ebcyn2_dcmd.dcm", "SC_rgb_dcmtk_+eb+cy+n2.dcm", 1),
        ("SC_rgb_dcmtk_ebcynp_dcmd.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", 1),
        ("SC_rgb_dcmtk_ebcys2_dcmd.dcm", "SC_rgb_dcmtk_+eb+cy+s2.dcm", 1),
        ("SC_rgb_dcmtk_ebcys4_dcmd.dcm", "SC_rgb_dcmtk_+eb+cy+s4.dcm", 1),
        ("SC_rgb_jpeg_dcmd.dcm", "SC_rgb_jpeg.dcm", 1),
        ("SC_rgb_jpeg_dcmd.dcm", "SC_jpeg_no_color_transform.dcm", 1),
        ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm", 0),
    ],
)
def test_other_people_s_encoders_agree_with_their_uncompressed_original(one: str, other: str, tolerance: int) -> None:
    first, second = (decoded(_package_file(name), 1).astype(int) for name in (one, other))
    assert np.ptp(first) > 50
    assert np.abs(first - second).max() <= tolerance


def test_12_bit_jpeg_extended_is_decoded() -> None:
    original, lossy = (decoded(_package_file(name), 1).astype(int) for name in ("JPEG-LL.dcm", "JPGExtended.dcm"))
    assert np.corrcoef(original.ravel(), lossy.ravel())[0, 1] > 0.98


UNSUPPORTED, UNDECODABLE, MISSING = Code.PHOTOMETRIC_UNSUPPORTED, Code.PIXELS_UNDECODABLE, Code.PIXELS_MISSING
GREY, COLOUR = picture(), picture(colour=True)
CLIP = np.stack([GREY, GREY])


def _frames(path: Path, stream: bytes, transfer_syntax: str, **elements: Any) -> Path:
    return write_frames(path, [stream], GREY, transfer_syntax, **elements)


def _float(path: Path) -> Path:
    made = dataset(GREY, PixelData=None)
    made.FloatPixelData = GREY.astype(np.float32).tobytes()
    return save(path, made)


@pytest.mark.parametrize(
    ("fault", "made", "frame", "code"),
    [
        ("no pixels", lambda to: write(to, GREY, PixelData=None), 1, MISSING),
        ("empty pixels", lambda to: write(to, GREY, PixelData=b""), 1, MISSING),
        ("no rows", lambda to: write(to, GREY, Rows=0), 1, MISSING),
        ("rows absent", lambda to: write(to, GREY, Rows=None), 1, MISSING),
        ("no columns", lambda to: write(to, GREY, Columns=0), 1, MISSING),
        ("a huge frame", lambda to: write(to, GREY, Rows=65535, Columns=65535), 1, Code.PIXELS_TOO_LARGE),
        (
            "huge RLE",
            lambda to: _frames(to, bytes(80), RLELossless, Rows=65535, Columns=65535),
            1,
            Code.PIXELS_TOO_LARGE,
        ),
        ("many frames", lambda to: write(to, GREY, NumberOfFrames=2**31 - 1), 1, Code.PIXELS_TOO_LARGE),
        ("too little data", lambda to: write(to, GREY, Rows=49), 1, UNDECODABLE),
        ("frames that are not there", lambda to: write(to, GREY, NumberOfFrames=3), 2, UNDECODABLE),
        ("frames that are no number", lambda to: write(to, GREY, NumberOfFrames="-4"), 1, UNDECODABLE),
        ("no frame given", lambda to: write(to, CLIP, NumberOfFrames=2), None, Code.FRAME_NOT_GIVEN),
        ("a frame past the end", lambda to: write(to, CLIP, NumberOfFrames=2), 3, Code.FRAME_NOT_FOUND),
        ("frame 2 of one", lambda to: write(to, GREY), 2, Code.FRAME_NOT_FOUND),
        ("frame 0", lambda to: write(to, GREY), 0, Code.FRAME_NOT_FOUND),
        ("MPEG-4", lambda to: _frames(to, b"\0" * 80, "1.2.840.10008.1.2.4.102"), 1, Code.TRANSFER_SYNTAX_UNSUPPORTED),
        ("a private syntax", lambda to: write(to, GREY, "1.2.840.113619.5.2"), 1, Code.TRANSFER_SYNTAX_UNSUPPORTED),
        ("a syntax nobody knows", lambda to: write(to, GREY, "1.2.3.4.5"), 1, Code.TRANSFER_SYNTAX_UNSUPPORTED),
        ("HSV", lambda to: write(to, COLOUR, PhotometricInterpretation="HSV"), 1, UNSUPPORTED),
        ("no photometric", lambda to: write(to, GREY, PhotometricInterpretation=""), 1, UNSUPPORTED),
        ("grey of 3 samples", lambda to: write(to, COLOUR, PhotometricInterpretation="MONOCHROME2"), 1, UNSUPPORTED),
        ("RGB of 1 sample", lambda to: write(to, GREY, PhotometricInterpretation="RGB"), 1, UNSUPPORTED),
        ("no planar", lambda to: write(to, COLOUR, PlanarConfiguration=None), 1, UNSUPPORTED),
        ("32 bits", lambda to: write(to, GREY.astype(np.uint32)), 1, UNSUPPORTED),
        ("16-bit COLOUR", lambda to: write(to, COLOUR.astype(np.uint16)), 1, UNSUPPORTED),
        ("9 of 8 bits", lambda to: write(to, GREY, BitsStored=9), 1, UNSUPPORTED),
        ("floating point", lambda to: _float(to), 1, UNSUPPORTED),
        ("native ICT", lambda to: write(to, COLOUR, PhotometricInterpretation="YBR_ICT"), 1, UNSUPPORTED),
        ("no palette", lambda to: write(to, GREY, PhotometricInterpretation="PALETTE COLOR"), 1, UNSUPPORTED),
        ("RLE noise", lambda to: _frames(to, b"\7" * 80, RLELossless), 1, UNDECODABLE),
        ("JPEG noise", lambda to: _frames(to, b"\7" * 80, JPEGBaseline8Bit), 1, UNDECODABLE),
        ("J2K noise", lambda to: _frames(to, b"\7" * 80, JPEG2000Lossless), 1, UNDECODABLE),
        ("lossless noise", lambda to: _frames(to, b"\7" * 80, JPEGLossless), 1, UNDECODABLE),
        ("cut JPEG", lambda to: _frames(to, jpeg(GREY)[:-80], JPEGBaseline8Bit), 1, UNDECODABLE),
        ("a larger JPEG", lambda to: _frames(to, jpeg(picture(96, 64)), JPEGBaseline8Bit), 1, UNDECODABLE),
        ("a colour JPEG", lambda to: _frames(to, jpeg(COLOUR), JPEGBaseline8Bit), 1, UNDECODABLE),
        ("an empty frame", lambda to: _frames(to, b"\xff\xd8", JPEGBaseline8Bit), 1, UNDECODABLE),
    ],
)
def test_what_can_not_be_decoded_is_refused_with_its_reason(
    tmp_path: Path, fault: str, made: Callable[[Path], Path], frame: int | None, code: Code
) -> None:
    assert _code(made(tmp_path / "a.dcm"), frame) == code


@pytest.mark.parametrize("transfer_syntax", [JPEGLossless, JPEG2000Lossless])
def test_a_codestream_that_declares_a_huge_image_never_reaches_the_decoder(
    tmp_path: Path, transfer_syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _frames(tmp_path / "a.dcm", jpeg_lossless(GREY), JPEGLossless)
    width = 2
    if transfer_syntax == JPEG2000Lossless:
        path, width = write(path, GREY, transfer_syntax), 4
    stream = path.read_bytes()
    order = (64, 48) if transfer_syntax == JPEG2000Lossless else (48, 64)
    declared = b"".join(side.to_bytes(width, "big") for side in order)
    assert declared in stream
    path.write_bytes(stream.replace(declared, (60_000).to_bytes(width, "big") * 2))
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.as_array", lambda *_, **__: pytest.fail("decoded"))
    assert _code(path) == UNDECODABLE


@pytest.mark.parametrize("transfer_syntax", [RLELossless, ExplicitVRLittleEndian])
def test_memory_that_runs_out_is_this_lesion_s_refusal_and_not_the_worker_s_end(
    tmp_path: Path, transfer_syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.as_array", exhausted)
    assert _code(write(tmp_path / "a.dcm", GREY, transfer_syntax)) == Code.PIXELS_TOO_LARGE


def test_the_largest_frame_is_a_limit_of_rows_times_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", GREY)
    assert _code(path, limits=Limits(1 << 20, 48 * 64 - 1)) == Code.PIXELS_TOO_LARGE
    assert np.array_equal(decoded(path, limits=Limits(1 << 20, 48 * 64)), GREY)


def _encapsulated(path: Path, pixels: bytes, **elements: Any) -> Path:
    made = dataset(CLIP, JPEGLossless, NumberOfFrames=2, PixelData=pixels, **elements)
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    return save(path, made)


_STREAMS = [jpeg_lossless(picture(seed=1)), jpeg_lossless(picture(seed=2))]


@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("has_bot", [False, True])
def test_a_frame_is_found_with_and_without_an_offset_table(tmp_path: Path, fragments: int, has_bot: bool) -> None:
    path = _encapsulated(tmp_path / "a.dcm", encapsulate(_STREAMS, fragments_per_frame=fragments, has_bot=has_bot))
    assert np.array_equal(decoded(path, 1), picture(seed=1))
    assert np.array_equal(decoded(path, 2), picture(seed=2))


def test_a_frame_is_found_by_the_extended_offset_table(tmp_path: Path) -> None:
    pixels, offsets, lengths = encapsulate_extended(_STREAMS)
    path = _encapsulated(tmp_path / "a.dcm", pixels, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths)
    assert np.array_equal(decoded(path, 2), picture(seed=2))


@pytest.mark.parametrize("offsets", [(0, 0), (8, 0), (0, 4), (0, 2**31), (4, 8), (0,), (0, 8, 16)])
def test_an_offset_table_that_points_elsewhere_is_refused_and_not_guessed_around(
    tmp_path: Path, offsets: tuple[int, ...]
) -> None:
    table = np.array(offsets, "<u4").tobytes()
    item = b"\xfe\xff\x00\xe0"
    rest = encapsulate(_STREAMS, has_bot=False)[8:]
    pixels = item + len(table).to_bytes(4, "little") + table + rest
    assert _code(_encapsulated(tmp_path / "a.dcm", pixels), 2) == UNDECODABLE


def test_an_extended_offset_table_that_swaps_two_frames_is_refused(tmp_path: Path) -> None:
    pixels, offsets, lengths = encapsulate_extended(_STREAMS)
    swapped = {
        "ExtendedOffsetTable": offsets[8:] + offsets[:8],
        "ExtendedOffsetTableLengths": lengths[8:] + lengths[:8],
    }
    assert _code(_encapsulated(tmp_path / "a.dcm", pixels, **swapped), 1) == UNDECODABLE


@pytest.mark.parametrize("change", [-2, 2, 2**40])
def test_an_extended_offset_table_of_other_lengths_is_refused(tmp_path: Path, change: int) -> None:
    pixels, offsets, lengths = encapsulate_extended(_STREAMS)
    other = (np.frombuffer(lengths, "<i8") + change).astype("<i8").tobytes()
    path = _encapsulated(tmp_path / "a.dcm", pixels, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=other)
    assert _code(path, 1) == UNDECODABLE


@pytest.mark.parametrize("cut", [1, 8, 12, 100, 2000])
def test_compressed_pixels_that_end_too_early_are_a_cut_file(tmp_path: Path, cut: int) -> None:
    path = _encapsulated(tmp_path / "a.dcm", encapsulate(_STREAMS))
    path.write_bytes(path.read_bytes()[:-cut])
    assert _code(path, 1) == Code.FILE_TRUNCATED


def test_fewer_fragments_than_frames_are_refused(tmp_path: Path) -> None:
    assert _code(_encapsulated(tmp_path / "a.dcm", encapsulate(_STREAMS[:1])), 2) == UNDECODABLE


def test_deflated_pixels_are_read_from_the_inflated_data_set(tmp_path: Path) -> None:
    assert np.array_equal(decoded(write_deflated(tmp_path / "a.dcm", dataset(COLOUR))), COLOUR)
