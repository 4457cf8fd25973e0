"""One image in two encodings is the same, whatever they are; a lossy copy, or another value that is read, is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
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

from tests.worker.imaging.dicom_files import (
    LIMITS,
    dataset,
    jpeg,
    jpeg_2000,
    jpeg_lossless,
    jpeg_ls,
    picture,
    region,
    save,
    write,
)
from worker.errors import LesionRefused
from worker.imaging import dicom_file, reencoding
from worker.imaging.reencoding import NUMBERS, TEXTS, same_image
from worker.reporting import source_study
from worker.study import Roi

ENCODINGS: dict[str, Callable[[NDArray[np.uint8]], bytes] | None] = {
    ImplicitVRLittleEndian: None,
    ExplicitVRLittleEndian: None,
    ExplicitVRBigEndian: None,
    DeflatedExplicitVRLittleEndian: None,
    RLELossless: None,
    JPEGLosslessSV1: jpeg_lossless,
    JPEGLSLossless: jpeg_ls,
    JPEG2000Lossless: lambda frame: jpeg_2000(frame, transform=frame.ndim == 3),
}
GREY, COLOUR = (np.stack([picture(colour=colour, seed=seed) for seed in range(3)]) for colour in (False, True))
REGIONS = {"SequenceOfUltrasoundRegions": [region(Roi(2, 3, 40, 30))]}


def _file(path: Path, frames: NDArray[np.uint8], syntax: str, **header: Any) -> Path:
    header = REGIONS | {"NumberOfFrames": len(frames)} | header
    encode = ENCODINGS[syntax]
    if encode is None:
        return write(path, frames, syntax, **header)
    return _encapsulated(path, frames, syntax, [encode(frame) for frame in frames], **header)


def _encapsulated(path: Path, frames: NDArray[np.uint8], syntax: str, streams: list[bytes], **header: Any) -> Path:
    if syntax == JPEG2000Lossless and frames.ndim == 4:
        header = {"PhotometricInterpretation": "YBR_RCT"} | header
    made = dataset(frames, syntax, PixelData=encapsulate(streams), **header)
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    return save(path, made)


@pytest.mark.parametrize("syntax", ENCODINGS, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("frames", [GREY, COLOUR])
def test_an_image_is_the_same_in_every_lossless_encoding(
    tmp_path: Path, syntax: str, frames: NDArray[np.uint8]
) -> None:
    original = _file(tmp_path / "a.dcm", frames, ExplicitVRLittleEndian)
    assert same_image(original, _file(tmp_path / "b.dcm", frames, syntax), LIMITS)


@pytest.mark.parametrize("syntax", ENCODINGS, ids=lambda uid: uid.keyword)
def test_one_level_in_one_pixel_of_the_last_frame_is_another_image(tmp_path: Path, syntax: str) -> None:
    other = GREY.copy()
    other[-1, -1, -1] ^= 1
    original = _file(tmp_path / "a.dcm", GREY, ExplicitVRLittleEndian)
    assert not same_image(original, _file(tmp_path / "b.dcm", other, syntax), LIMITS)


@pytest.mark.parametrize("frames", [GREY, COLOUR])
def test_a_lossy_copy_is_another_image(tmp_path: Path, frames: NDArray[np.uint8]) -> None:
    original = _file(tmp_path / "a.dcm", frames, ExplicitVRLittleEndian)
    streams = [jpeg(frame, quality=95) for frame in frames]
    label = "YBR_FULL_422" if frames.ndim == 4 else "MONOCHROME2"
    header = REGIONS | {"NumberOfFrames": 3, "PhotometricInterpretation": label}
    lossy = _encapsulated(tmp_path / "b.dcm", frames, JPEGBaseline8Bit, streams, **header)
    assert not same_image(original, lossy, LIMITS)
    assert same_image(lossy, lossy, LIMITS)


@pytest.mark.parametrize(
    "changed",
    [
        {"PatientAge": "048Y"},
        {"PatientID": "P2"},
        {"ImageLaterality": "L"},
        {"PatientName": "Other^Name"},
        {"SOPInstanceUID": "1.2.3.4"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "", "0010"]},
        {"ManufacturerModelName": "Another"},
        {"PixelSpacing": ["0.2", "0.2"]},
        {"SequenceOfUltrasoundRegions": [region(Roi(2, 3, 41, 30))]},
        {"SequenceOfUltrasoundRegions": []},
        {"NumberOfFrames": 2, "PixelData": GREY[:2].tobytes()},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"WindowCenter": "100", "WindowWidth": "50"},
    ],
)
def test_another_value_that_is_read_is_another_image(tmp_path: Path, changed: dict[str, Any]) -> None:
    original = _file(tmp_path / "a.dcm", GREY, ExplicitVRLittleEndian)
    assert not same_image(original, _file(tmp_path / "b.dcm", GREY, ExplicitVRLittleEndian, **changed), LIMITS)


@pytest.mark.parametrize(
    "changed",
    [
        {"RetrieveAETitle": "PACS"},
        {"InstanceCreationDate": "20260101"},
        {"SpecificCharacterSet": "ISO_IR 192"},
        {"WindowCenter": "128", "WindowWidth": "256"},
        {"BitsAllocated": 16, "BitsStored": 8, "HighBit": 15, "PixelData": (GREY.astype("<u2") << 8).tobytes()},
    ],
)
def test_what_is_not_read_or_shows_the_same_makes_no_other_image(tmp_path: Path, changed: dict[str, Any]) -> None:
    original = _file(tmp_path / "a.dcm", GREY, ExplicitVRLittleEndian)
    path = _file(tmp_path / "b.dcm", GREY, ExplicitVRLittleEndian, **changed)
    assert same_image(original, path, LIMITS)


def test_one_frame_is_the_same_with_and_without_its_number(tmp_path: Path) -> None:
    one = write(tmp_path / "a.dcm", GREY[0], NumberOfFrames=1)
    assert same_image(one, write(tmp_path / "b.dcm", GREY[0], JPEG2000Lossless), LIMITS)


def test_what_would_take_too_long_is_another_image_without_being_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(tmp_path / "a.dcm", GREY, ExplicitVRLittleEndian)
    monkeypatch.setattr(reencoding, "MOST_PIXELS", GREY.size - 1)
    monkeypatch.setattr(reencoding, "decode_frame", lambda *_: pytest.fail("decoded"))
    assert not same_image(path, path, LIMITS)


def test_what_can_not_be_decoded_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.dcm", GREY, ExplicitVRLittleEndian)
    with pytest.raises(LesionRefused):
        same_image(path, _file(tmp_path / "b.dcm", GREY, ExplicitVRLittleEndian, Rows=49), LIMITS)


def test_all_that_is_read_is_compared_or_is_how_pixels_are_encoded_or_shown() -> None:
    shown = {
        "SpecificCharacterSet",
        "SequenceOfUltrasoundRegions",
        "LossyImageCompression",
        "LossyImageCompressionRatio",
        "LossyImageCompressionMethod",
    }
    read = {*dicom_file._KEYWORDS, *source_study._ALSO}
    pixels = set(dicom_file._KEYWORDS[dicom_file._KEYWORDS.index("SamplesPerPixel") :])
    assert read - pixels - shown == {*TEXTS, *NUMBERS}
    assert not pixels & {*TEXTS, *NUMBERS}
