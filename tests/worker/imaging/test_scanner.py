"""The scanner and the site of an image: names that can be read, and nothing that breaks a line or a column."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, picture, write
from worker.imaging.header import Header
from worker.imaging.lesion import Marked, decode_lesions
from worker.imaging.scanner import LONGEST_NAME, scanner_of
from worker.study import Scanner


def scanner(path: Path) -> Scanner:
    return decode_lesions(Marked(str(path), SOP_UID, 1, (None,), 47.0), LIMITS).scanner


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, Scanner()),
        (
            {"Manufacturer": " Acme ", "ManufacturerModelName": "Sono 1", "InstitutionName": "Example Hospital"},
            Scanner("Acme Sono 1", "Example Hospital"),
        ),
        ({"Manufacturer": "Acme", "StationName": "US-3"}, Scanner("Acme", "US-3")),
        ({"ManufacturerModelName": "Sono 1", "InstitutionName": "", "StationName": "US-3"}, Scanner("Sono 1", "US-3")),
        ({"InstitutionName": "A", "StationName": "US-3"}, Scanner(None, "A")),
        ({"Manufacturer": "  ", "InstitutionName": "\n\t"}, Scanner()),
        ({"Manufacturer": "Ac\x07me\r\nINFO forged line"}, Scanner("Acme INFO forged line")),
        (
            {"SpecificCharacterSet": "ISO_IR 100", "InstitutionName": "Universitätsklinik"},
            Scanner(None, "Universitätsklinik"),
        ),
        ({"SpecificCharacterSet": "ISO_IR 192", "InstitutionName": "示例医院"}, Scanner(None, "示例医院")),
        ({"SpecificCharacterSet": "GB18030", "InstitutionName": "示例医院"}, Scanner(None, "示例医院")),
        (
            {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "InstitutionName": "見本病院"},
            Scanner(None, "見本病院"),
        ),
        (
            {"SpecificCharacterSet": ["", "ISO 2022 IR 149"], "InstitutionName": "병원"},
            Scanner(None, "병원"),
        ),
    ],
)
def test_names_are_read_in_the_file_s_characters_trimmed_and_on_one_line(
    tmp_path: Path, elements: dict[str, Any], expected: Scanner
) -> None:
    assert scanner(write(tmp_path / "a.dcm", picture(), **elements)) == expected


@given(
    name=st.binary(max_size=3000),
    characters=st.sampled_from(["", "ISO_IR 192", "ISO_IR 13", "GB18030", "\\ISO 2022 IR 87\\ISO 2022 IR 149", "?"])
    | st.text(st.characters(max_codepoint=255), max_size=40),
)
def test_whatever_the_bytes_are_a_name_is_printable_and_short(name: bytes, characters: str) -> None:
    elements = {"SpecificCharacterSet": characters.encode("latin-1"), "Manufacturer": name, "InstitutionName": name}
    tags = {"SpecificCharacterSet": 0x00080005, "Manufacturer": 0x00080070, "InstitutionName": 0x00080080}
    raw = {
        Tag(tags[keyword]): RawDataElement(Tag(tags[keyword]), "LO", len(value), value, 0, False, True)
        for keyword, value in elements.items()
    }
    found = scanner_of(Header(Dataset(raw), little_endian=True))  # type: ignore[arg-type]
    for text in (found.model, found.site):
        assert text is None or (text.isprintable() and 0 < len(text) <= LONGEST_NAME and text == text.strip())
