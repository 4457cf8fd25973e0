"""Palette colour to RGB (PS3.3, C.7.6.3.1.5)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from tests.worker.imaging.dicom_files import LIMITS, picture, write
from worker.errors import LesionRefused
from worker.imaging.dicom_file import open_dicom
from worker.imaging.layout import pixel_layout
from worker.imaging.pixels import decode_frame

_TABLES = np.random.default_rng(3).permuted(np.tile(np.arange(256), (3, 1)), axis=1)
_COLOURS = ("Red", "Green", "Blue")


def _palette(tables: NDArray[Any], first: int, bits: int, data: list[bytes]) -> dict[str, Any]:
    header: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, value in zip(_COLOURS, data, strict=True):
        header[f"{colour}PaletteColorLookupTableDescriptor"] = [tables.shape[1] % 2**16, first, bits]
        header[f"{colour}PaletteColorLookupTableData"] = value
    return header


def _words(tables: NDArray[Any], order: str) -> list[bytes]:
    return [table.astype(f"{order}u2").tobytes() for table in tables]


def _shown(path: Path, pixels: NDArray[Any], transfer_syntax: str, **header: Any) -> NDArray[np.uint8]:
    with open_dicom(write(path / "a.dcm", pixels, transfer_syntax, **header), LIMITS) as file:
        return decode_frame(file, pixel_layout(file, LIMITS), 0)


_ORDERS = [(ExplicitVRLittleEndian, "<"), (ExplicitVRBigEndian, ">"), (RLELossless, "<")]


@pytest.mark.parametrize(("transfer_syntax", "order"), _ORDERS)
@pytest.mark.parametrize(("bits", "scale"), [(16, 257), (16, 256), (16, 1), (8, 1)])
def test_each_index_gets_its_colour_of_16_bit_words(
    tmp_path: Path, transfer_syntax: str, order: str, bits: int, scale: int
) -> None:
    pixels = picture()
    header = _palette(_TABLES, 0, bits, _words(_TABLES * scale, order))
    assert np.array_equal(_shown(tmp_path, pixels, transfer_syntax, **header), _TABLES.T[pixels])


@pytest.mark.parametrize(("transfer_syntax", "order"), _ORDERS)
def test_two_8_bit_entries_share_a_word(tmp_path: Path, transfer_syntax: str, order: str) -> None:
    packed = [table.astype(np.uint8).view("<u2").astype(f"{order}u2").tobytes() for table in _TABLES]
    header = _palette(_TABLES, 0, 8, packed)
    assert np.array_equal(_shown(tmp_path, picture(), transfer_syntax, **header), _TABLES.T[picture()])


def test_indices_outside_the_table_take_its_ends(tmp_path: Path) -> None:
    tables = _TABLES[:, :100]
    header = _palette(tables, 50, 16, _words(tables * 257, "<"))
    expected = tables.T[np.clip(picture().astype(int) - 50, 0, 99)]
    assert np.array_equal(_shown(tmp_path, picture(), ExplicitVRLittleEndian, **header), expected)


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_first_index_below_zero_is_of_signed_pixels_though_none_is_negative(
    tmp_path: Path, transfer_syntax: str
) -> None:
    pixels = (picture() // 2).astype(np.int16)
    header = _palette(_TABLES, -100, 16, _words(_TABLES * 257, "<"))
    expected = _TABLES.T[np.clip(pixels + 100, 0, 255)]
    assert np.array_equal(_shown(tmp_path, pixels, transfer_syntax, **header), expected)


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_signed_pixels_may_have_a_palette_of_more_entries_than_their_sign_leaves(
    tmp_path: Path, transfer_syntax: str
) -> None:
    tables = np.random.default_rng(4).integers(0, 2**16, (3, 40_000))
    pixels = picture().astype(np.int16) * 200 - 20_000
    header = _palette(tables, -20_000, 16, _words(tables, "<"))
    shown = _shown(tmp_path, pixels, transfer_syntax, **header)
    assert np.array_equal(shown, (tables >> 8).T[np.clip(pixels.astype(int) + 20_000, 0, 39_999)])


@pytest.mark.parametrize("other", [[255, 0, 16], [256, 1, 16], [256, 0, 8]])
def test_descriptors_that_contradict_each_other_are_refused(tmp_path: Path, other: list[int]) -> None:
    header = _palette(_TABLES, 0, 16, _words(_TABLES * 257, "<")) | {"BluePaletteColorLookupTableDescriptor": other}
    with pytest.raises(LesionRefused, match="photometric_unsupported"):
        _shown(tmp_path, picture(), ExplicitVRLittleEndian, **header)


def test_16_bit_indices_reach_all_of_a_long_table(tmp_path: Path) -> None:
    tables = np.random.default_rng(4).integers(0, 2**16, (3, 2**16))
    pixels = picture().astype(np.uint16) * 257
    shown = _shown(tmp_path, pixels, ExplicitVRLittleEndian, **_palette(tables, 0, 16, _words(tables, "<")))
    assert np.array_equal(shown, (tables >> 8).T[pixels])


def test_a_palette_shorter_than_its_descriptor_is_refused(tmp_path: Path) -> None:
    header = _palette(_TABLES, 0, 16, _words(_TABLES[:, :90], "<"))
    with pytest.raises(LesionRefused, match="photometric_unsupported"):
        _shown(tmp_path, picture(), ExplicitVRLittleEndian, **header)
