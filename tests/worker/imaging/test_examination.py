"""The breast that an image shows and the day of its study: as the standard writes them, or not known."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, write_texts
from worker.imaging.examination import LATERALITIES, examination_of
from worker.imaging.header import Header
from worker.imaging.lesion import Marked, decode_lesions
from worker.study import Examination


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, Examination()),
        ({"ImageLaterality": b"L", "StudyDate": b"20261123"}, Examination("left", date(2026, 11, 23))),
        ({"ImageLaterality": b"R "}, Examination("right")),
        ({"ImageLaterality": b"B"}, Examination("both")),
        ({"ImageLaterality": b"U"}, Examination()),
        ({"ImageLaterality": b""}, Examination()),
        ({"ImageLaterality": b"l"}, Examination()),
        ({"ImageLaterality": b"LEFT"}, Examination()),
        ({"ImageLaterality": b"L\\R"}, Examination()),
        # Of the series, and said of a pair of organs: not of this image.
        ({"Laterality": b"L"}, Examination()),
        ({"StudyDate": b"2026.11.23"}, Examination(study_date=date(2026, 11, 23))),
        ({"StudyDate": b"20240229"}, Examination(study_date=date(2024, 2, 29))),
        ({"StudyDate": b"20260229"}, Examination()),
        ({"StudyDate": b"20261301"}, Examination()),
        ({"StudyDate": b"00000101"}, Examination()),
        ({"StudyDate": b"2026-11-23"}, Examination()),
        ({"StudyDate": b"20261123-20261124"}, Examination()),
        ({"StudyDate": b"202611"}, Examination()),
        ({"StudyDate": b""}, Examination()),
    ],
)
def test_a_side_and_a_day_are_taken_as_the_standard_writes_them(
    tmp_path: Path, elements: dict[str, bytes], expected: Examination
) -> None:
    path = write_texts(tmp_path / "a.dcm", None, **elements)
    assert decode_lesions(Marked(str(path), SOP_UID, 1, (None,), 47.0), LIMITS).examination == expected


@given(
    laterality=st.sampled_from([b"L", b"R\0", b"B ", b"U"]) | st.binary(max_size=300),
    day=st.dates().map(lambda day: day.strftime("%Y%m%d").encode()) | st.binary(max_size=300),
)
def test_whatever_the_bytes_are_a_side_is_one_of_three_words_and_a_day_is_in_the_calendar(
    laterality: bytes, day: bytes
) -> None:
    raw = {
        Tag(tag): RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
        for tag, vr, value in ((0x00200062, "CS", laterality), (0x00080020, "DA", day))
    }
    found = examination_of(Header(Dataset(raw), little_endian=True))  # type: ignore[arg-type]
    assert found.laterality in (None, *LATERALITIES.values())
    assert found.study_date is None or date.min <= found.study_date <= date.max
