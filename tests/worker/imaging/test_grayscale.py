"""Stored grey values to what a screen shows (PS3.3, C.11)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.worker.imaging.decoding import decoded
from tests.worker.imaging.dicom_files import LIMITS, picture, write
from worker.errors import LesionRefused
from worker.imaging.dicom_file import open_dicom
from worker.imaging.layout import pixel_layout
from worker.imaging.pixels import decode_frame

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
DEEP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)


def _shown(path: Path, pixels: NDArray[Any], transfer_syntax: str = ExplicitVRLittleEndian, **header: Any) -> list[int]:
    with open_dicom(write(path / "a.dcm", pixels, transfer_syntax, **header), LIMITS) as file:
        frame = decode_frame(file, pixel_layout(file, LIMITS), 0)
    assert frame.dtype == np.uint8
    shown: list[int] = frame.ravel().tolist()
    return shown


def _lut(first: int, bits: int, entries: NDArray[np.uint16], order: str = "<") -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "US", [len(entries) % 2**16, first % 2**16, bits])
    item.add_new(0x00283006, "OW", entries.astype(f"{order}u2").tobytes())
    item.add_new(0x00283004, "LO", "IDENTITY")
    return item


def _cut(lut: Dataset) -> Dataset:
    lut.LUTData = lut.LUTData[:-2]
    return lut


def test_8_bit_values_stay_as_they_are(tmp_path: Path) -> None:
    low = np.clip(RAMP, 30, 90)
    assert _shown(tmp_path, low) == low.ravel().tolist()
    assert _shown(tmp_path, low, RescaleSlope="1", RescaleIntercept="0") == low.ravel().tolist()


def test_monochrome1_is_inverted_at_the_end(tmp_path: Path) -> None:
    header = {"PhotometricInterpretation": "MONOCHROME1"}
    assert _shown(tmp_path, RAMP, **header) == (255 - RAMP).ravel().tolist()
    assert _shown(tmp_path, DEEP, BitsStored=12, HighBit=11, **header)[0] == 255


def test_deeper_values_are_stretched_between_the_frame_s_own_ends(tmp_path: Path) -> None:
    expected = np.rint(np.arange(256) * 255 / 255).tolist()
    assert _shown(tmp_path, DEEP, BitsStored=12, HighBit=11) == expected
    assert _shown(tmp_path, DEEP.astype(np.int16) - 2000) == expected


def test_a_rescale_alone_changes_no_contrast(tmp_path: Path) -> None:
    header = {"RescaleSlope": "2.5", "RescaleIntercept": "-1024"}
    assert _shown(tmp_path, DEEP, **header) == _shown(tmp_path, DEEP)


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("function", [None, "LINEAR"])
def test_a_linear_window_follows_the_standard_s_formula(
    tmp_path: Path, transfer_syntax: str, function: str | None
) -> None:
    header = {"WindowCenter": "1000", "WindowWidth": "1501"} | ({"VOILUTFunction": function} if function else {})
    values = DEEP.astype(float).ravel()
    expected = [
        0 if x <= 1000 - 0.5 - 1500 / 2 else 255 if x > 1000 - 0.5 + 1500 / 2 else ((x - 999.5) / 1500 + 0.5) * 255
        for x in values
    ]
    assert _shown(tmp_path, DEEP, transfer_syntax, **header) == np.rint(expected).tolist()


def test_the_usual_8_bit_window_changes_nothing(tmp_path: Path) -> None:
    assert _shown(tmp_path, RAMP, WindowCenter="128", WindowWidth="256") == RAMP.ravel().tolist()


def test_a_window_of_width_one_is_a_threshold(tmp_path: Path) -> None:
    assert _shown(tmp_path, RAMP, WindowCenter="100", WindowWidth="1") == [0] * 100 + [255] * 156


@pytest.mark.parametrize("window", [("0", "0"), ("128", "0.0"), ("0", "-0"), (["0", "40"], ["0", "20"]), ("", "0")])
@pytest.mark.parametrize("function", [{}, {"VOILUTFunction": "LINEAR_EXACT"}, {"VOILUTFunction": "SIGMOID"}])
def test_a_window_of_no_width_is_no_window(tmp_path: Path, window: tuple[Any, Any], function: dict[str, str]) -> None:
    header = {"WindowCenter": window[0], "WindowWidth": window[1]} | function
    assert _shown(tmp_path, RAMP, **header) == RAMP.ravel().tolist()
    assert _shown(tmp_path, DEEP, BitsStored=12, HighBit=11, **header) == RAMP.ravel().tolist()


def test_an_exact_window_and_a_sigmoid(tmp_path: Path) -> None:
    window = {"WindowCenter": "100", "WindowWidth": "50"}
    exact = _shown(tmp_path, RAMP, VOILUTFunction="LINEAR_EXACT", **window)
    np.testing.assert_allclose(exact, np.clip((np.arange(256) - 100) / 50 + 0.5, 0, 1) * 255, atol=0.51)
    sigmoid = _shown(tmp_path, RAMP, VOILUTFunction="SIGMOID", **window)
    assert sigmoid == np.rint(255 / (1 + np.exp(-4 * (np.arange(256) - 100) / 50))).tolist()


def test_the_first_of_several_windows_counts_and_sees_rescaled_values(tmp_path: Path) -> None:
    header = {"RescaleSlope": "2", "RescaleIntercept": "-100"}
    shown = _shown(tmp_path, RAMP, WindowCenter=["128", "40"], WindowWidth=["256", "20"], **header)
    assert shown == np.rint(np.clip(np.arange(256) * 2.0 - 100, 0, 255)).tolist()


@pytest.mark.parametrize(
    "header",
    [
        {"WindowCenter": "100", "WindowWidth": "-256"},
        {"WindowCenter": "100", "WindowWidth": "0.5"},
        {"WindowCenter": "100", "WindowWidth": "-5", "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": "100", "WindowWidth": "50", "VOILUTFunction": "MAGIC"},
        {"RescaleSlope": "0", "RescaleIntercept": "0"},
        {"RescaleSlope": "0.0", "RescaleIntercept": "-100", "WindowCenter": "100", "WindowWidth": "50"},
        {"RescaleSlope": "0"},
        {"VOILUTSequence": [_lut(0, 99, DEEP.ravel())]},
        {"ModalityLUTSequence": [_cut(_lut(0, 8, DEEP.ravel()))]},
    ],
)
def test_a_window_or_a_lut_that_makes_no_sense_is_refused(tmp_path: Path, header: dict[str, Any]) -> None:
    with pytest.raises(LesionRefused, match="photometric_unsupported"):
        _shown(tmp_path, RAMP, **header)


@pytest.mark.parametrize(("transfer_syntax", "order"), [(ExplicitVRLittleEndian, "<"), (ExplicitVRBigEndian, ">")])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_voi_lut_goes_before_a_window_and_takes_its_ends_beyond_its_inputs(
    tmp_path: Path, transfer_syntax: str, order: str, bits: int
) -> None:
    top = 2**bits - 1
    curve = np.rint(np.sqrt(np.linspace(0, 1, 2001)) * top).astype(np.uint16)
    shown = _shown(
        tmp_path,
        DEEP,
        transfer_syntax,
        VOILUTSequence=[_lut(1000, bits, curve, order)],
        WindowCenter="1",
        WindowWidth="2",
    )
    expected = curve[np.clip(DEEP.ravel().astype(int) - 1000, 0, 2000)] * (255 / top)
    assert shown == np.rint(expected).tolist()


def test_a_modality_lut_comes_first_and_may_start_below_zero(tmp_path: Path) -> None:
    signed = np.arange(-128, 128, dtype=np.int16).reshape(16, 16)
    inverse = np.arange(255, -1, -1).astype(np.uint16)
    shown = _shown(
        tmp_path, signed, ModalityLUTSequence=[_lut(-128, 8, inverse)], WindowCenter="128", WindowWidth="256"
    )
    assert shown == list(range(255, -1, -1))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_has_no_say_in_the_contrast_and_is_black(tmp_path: Path, photometric: str) -> None:
    """PS3.3, C.7.5.1.1.2: padding is below all other values, of MONOCHROME1 above them."""
    inverted = photometric == "MONOCHROME1"
    padded = np.where(RAMP < 64, 4095 if inverted else -2000, DEEP.astype(np.int16) - 100)
    plain = _shown(tmp_path, np.clip(DEEP.astype(np.int16) - 100, 924, None), PhotometricInterpretation=photometric)
    shown = _shown(
        tmp_path, padded.astype(np.int16), PhotometricInterpretation=photometric, PixelPaddingValue=int(padded[0, 0])
    )
    assert shown[64:] == plain[64:]
    assert set(shown[:64]) == {0}


def test_a_range_of_padding_counts_whole_and_nothing_but_padding_is_black(tmp_path: Path) -> None:
    padded = DEEP.astype(np.int16) - 2000
    header = {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1001}
    expected = np.clip((padded.ravel() + 992) / (padded.max() + 992), 0, 1) * 255
    np.testing.assert_allclose(_shown(tmp_path, padded, **header), expected, atol=0.51)
    assert set(_shown(tmp_path, np.full((16, 16), -2000, np.int16), **header)) == {0}


def test_8_bits_in_a_wider_word_are_shown_as_8_bits_are(tmp_path: Path) -> None:
    low = np.clip(RAMP, 30, 90)
    assert _shown(tmp_path, low.astype(np.uint16), BitsStored=8, HighBit=7) == low.ravel().tolist()


@pytest.mark.parametrize(
    ("photometric", "shape", "said"),
    [
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "IDENTITY", True),
        ("MONOCHROME1", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", False),
        ("MONOCHROME2", "LIN OD", False),
    ],
)
def test_a_polarity_is_said_in_one_way_or_refused(tmp_path: Path, photometric: str, shape: str, *, said: bool) -> None:
    header = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    if said:
        assert _shown(tmp_path, RAMP, **header) == _shown(tmp_path, RAMP, PhotometricInterpretation=photometric)
    else:
        with pytest.raises(LesionRefused, match="photometric_unsupported"):
            _shown(tmp_path, RAMP, **header)


@pytest.mark.parametrize("presentation", ["COLOR", "MIXED"])
def test_grey_that_is_to_be_shown_in_colour_is_refused(tmp_path: Path, presentation: str) -> None:
    with pytest.raises(LesionRefused, match="photometric_unsupported"):
        _shown(tmp_path, RAMP, PixelPresentation=presentation)
    assert _shown(tmp_path, RAMP, PixelPresentation="MONOCHROME") == RAMP.ravel().tolist()


@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
def test_a_lut_s_first_input_is_negative_where_samples_may_be_though_none_is(tmp_path: Path, sequence: str) -> None:
    bright = np.arange(0, 100, dtype=np.int16).repeat(2)[: 12 * 16].reshape(12, 16)
    lut = _lut(-100, 8, np.arange(200).astype(np.uint16))
    header = {"WindowCenter": "128", "WindowWidth": "256"} if sequence == "ModalityLUTSequence" else {}
    shown = _shown(tmp_path, bright, **{sequence: [lut]}, **header)
    assert shown == (bright.ravel() + 100).tolist()


def _groups(**elements: Any) -> Dataset:
    """Make an item of functional groups with a window, or a rescale."""
    group, values = Dataset(), Dataset()
    for keyword, value in elements.items():
        setattr(values, keyword, value)
    sequence = "FrameVOILUTSequence" if "WindowWidth" in elements else "PixelValueTransformationSequence"
    setattr(group, sequence, [values])
    return group


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_window_in_functional_groups_is_of_its_frame_else_of_all(tmp_path: Path, transfer_syntax: str) -> None:
    narrow, wide = ({"WindowCenter": "100", "WindowWidth": width} for width in ("50", "300"))
    clip = np.stack([RAMP, RAMP])
    path = write(
        tmp_path / "clip.dcm",
        clip,
        transfer_syntax,
        NumberOfFrames=2,
        SharedFunctionalGroupsSequence=[_groups(**wide)],
        PerFrameFunctionalGroupsSequence=[Dataset(), _groups(**narrow)],
    )
    assert decoded(path, 1).ravel().tolist() == _shown(tmp_path, RAMP, **wide)
    assert decoded(path, 2).ravel().tolist() == _shown(tmp_path, RAMP, **narrow)


def test_a_rescale_in_functional_groups_comes_before_a_window(tmp_path: Path) -> None:
    window = {"WindowCenter": "128", "WindowWidth": "256"}
    rescale = {"RescaleSlope": "2", "RescaleIntercept": "-100"}
    shared = {"SharedFunctionalGroupsSequence": [_groups(**rescale)]}
    assert _shown(tmp_path, RAMP, **window, **shared) == _shown(tmp_path, RAMP, **window, **rescale)


def test_one_value_everywhere_is_black_and_not_a_division_by_zero(tmp_path: Path) -> None:
    assert set(_shown(tmp_path, np.full((16, 16), 700, np.uint16))) == {0}


def test_bits_above_bits_stored_are_no_part_of_a_value(tmp_path: Path) -> None:
    with_overlay = DEEP | 0xF000
    assert _shown(tmp_path, with_overlay, BitsStored=12, HighBit=11) == _shown(tmp_path, DEEP)


def test_a_picture_keeps_its_order_of_brightness(tmp_path: Path) -> None:
    stored = picture().astype(np.uint16) * 17 + 300
    shown = np.array(_shown(tmp_path, stored))
    assert np.corrcoef(shown, stored.ravel())[0, 1] > 0.9999
