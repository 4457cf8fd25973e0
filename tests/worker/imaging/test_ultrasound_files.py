"""Every ultrasound file that pydicom's packages have, through the whole of imaging."""

import numpy as np
import pytest
from pydicom import dcmread

from tests.end_to_end.ultrasound_files import (
    JOB_AGE_YEARS,
    ULTRASOUND_FILES,
    UltrasoundFile,
    is_ultrasound,
    locate,
    package_files,
)
from tests.worker.imaging.dicom_files import lesion
from worker.errors import LesionRefused
from worker.imaging.lesion import load_lesion
from worker.imaging.reading import Limits, index_study
from worker.study import AgeSource, LesionImage

_LIMITS = Limits(max_file_bytes=2 << 30, max_frame_pixels=50_000_000)


def _load(name: str, frame: int = 1) -> LesionImage:
    path = locate(name)
    header = dcmread(path, stop_before_pixels=True)
    files = index_study(path.parent, [path.name], str(header.StudyInstanceUID), _LIMITS)
    return load_lesion(files, lesion(sop_instance_uid=str(header.SOPInstanceUID), frame=frame), JOB_AGE_YEARS, _LIMITS)


def test_the_table_names_every_ultrasound_file_of_the_packages_and_no_other() -> None:
    found = [path.name for path in package_files() if is_ultrasound(path)]
    assert sorted(found) == sorted(file.name for file in ULTRASOUND_FILES)


@pytest.mark.parametrize("file", ULTRASOUND_FILES, ids=lambda file: file.name)
def test_a_file_gives_what_the_table_says(file: UltrasoundFile) -> None:
    if file.expected != "scored":
        with pytest.raises(LesionRefused) as refused:
            _load(file.name)
        assert refused.value.code == file.expected
        return
    image = _load(file.name)
    assert image.frame.shape[:2] == (file.rows, file.columns)
    assert image.region_source == file.region
    assert image.region.x + image.region.width <= file.columns
    assert image.region.y + image.region.height <= file.rows
    assert (image.age.years, image.age.source) == (JOB_AGE_YEARS, AgeSource.JOB)


@pytest.mark.parametrize("file", [file for file in ULTRASOUND_FILES if file.frames > 1], ids=lambda file: file.name)
def test_the_last_frame_is_there_and_the_one_after_it_is_not(file: UltrasoundFile) -> None:
    _load(file.name, file.frames)
    with pytest.raises(LesionRefused, match="frame_not_found"):
        _load(file.name, file.frames + 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("OBXXXX1A.dcm", "OBXXXX1A_expb.dcm"),
        ("OBXXXX1A.dcm", "OBXXXX1A_rle.dcm"),
        ("OBXXXX1A.dcm", "OBXXXX1A_2frame.dcm"),
        ("gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"),
        ("US1_UNCR.dcm", "US1_J2KR.dcm"),
        ("US1_UNCI.dcm", "US1_J2KI.dcm"),
        ("color-pl.dcm", "color-px.dcm"),
    ],
)
def test_one_picture_written_in_two_ways_gives_one_array(one: str, other: str) -> None:
    assert np.array_equal(_load(one).frame, _load(other).frame)
