"""Every ultrasound file that pydicom's packages have, through the whole of imaging."""

from collections.abc import Iterator

import numpy as np
import pytest
from pydicom import dcmread

from db.schema.vocabulary import AgeSource
from tests.end_to_end.ultrasound_files import (
    JOB_AGE_YEARS,
    ULTRASOUND_FILES,
    UltrasoundFile,
    is_ultrasound,
    locate,
    package_files,
)
from tests.worker.imaging.dicom_files import marked_image
from worker.errors import LesionRefused
from worker.image_access import Limits
from worker.imaging.decoder_pool import DecoderPool
from worker.study import LesionImage, LesionSize, Roi

_LIMITS = Limits(max_file_bytes=2 << 30, max_frame_pixels=50_000_000)


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    pool = DecoderPool(_LIMITS, processes=1, timeout_s=60)
    yield pool
    pool.close()


def _load(decoders: DecoderPool, name: str, frame: int = 1, roi: Roi | None = None) -> LesionImage:
    path = locate(name)
    header = dcmread(path, stop_before_pixels=True)
    files = decoders.index(path.parent, [path.name], str(header.StudyInstanceUID))
    marked = marked_image(sop_instance_uid=str(header.SOPInstanceUID), frame=frame, roi=roi)
    (loaded,) = decoders.load(files, [marked], JOB_AGE_YEARS)
    if isinstance(loaded, LesionRefused):
        raise loaded
    return loaded


def test_the_table_names_every_ultrasound_file_of_the_packages_and_no_other() -> None:
    found = [path.name for path in package_files() if is_ultrasound(path)]
    assert sorted(found) == sorted(file.name for file in ULTRASOUND_FILES)


@pytest.mark.parametrize("file", ULTRASOUND_FILES, ids=lambda file: file.name)
def test_a_file_gives_what_the_table_says(decoders: DecoderPool, file: UltrasoundFile) -> None:
    if file.expected != "scored":
        with pytest.raises(LesionRefused) as refused:
            _load(decoders, file.name)
        assert refused.value.code == file.expected
        return
    image = _load(decoders, file.name)
    assert image.frame.shape[:2] == (file.rows, file.columns)
    assert image.region_source == file.region
    assert image.region.x + image.region.width <= file.columns
    assert image.region.y + image.region.height <= file.rows
    assert (image.age.years, image.age.source) == (JOB_AGE_YEARS, AgeSource.JOB)


@pytest.mark.parametrize("file", [file for file in ULTRASOUND_FILES if file.frames > 1], ids=lambda file: file.name)
def test_the_last_frame_is_there_and_the_one_after_it_is_not(decoders: DecoderPool, file: UltrasoundFile) -> None:
    _load(decoders, file.name, file.frames)
    with pytest.raises(LesionRefused, match="frame_not_found"):
        _load(decoders, file.name, file.frames + 1)


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
def test_one_picture_written_in_two_ways_gives_one_array(decoders: DecoderPool, one: str, other: str) -> None:
    assert np.array_equal(_load(decoders, one).frame, _load(decoders, other).frame)


# What is seen in each rectangle, and how many millimetres a pixel of it has.
SEEN: list[tuple[str, str, Roi, list[str], float | None]] = [
    ("tissue", "US1_UNCR.dcm", Roi(90, 285, 450, 45), [], None),
    ("tissue", "JPGLosslessP14SV1_1s_1f_8b.dcm", Roi(400, 150, 200, 150), [], 0.2548),
    ("tissue", "gdcm-US-ALOKA-16.dcm", Roi(60, 200, 240, 200), [], 0.3827),
    ("tissue", "color3d_jpeg_baseline.dcm", Roi(200, 60, 200, 300), [], 0.5105),
    ("power Doppler, not said by the header", "US1_UNCR.dcm", Roi(100, 170, 200, 90), ["colour_in_roi"], None),
    ("the same, JPEG 2000", "US1_J2KI.dcm", Roi(100, 170, 200, 90), ["colour_in_roi"], None),
    ("colour Doppler, said by Image Type", "color-pl.dcm", Roi(60, 10, 90, 80), ["doppler_in_roi"], None),
    (
        "power Doppler on both sides of a line",
        "US1_UNCR.dcm",
        Roi(250, 150, 150, 110),
        ["colour_in_roi", "dual_view_seam_in_roi"],
        None,
    ),
    ("two views of the header", "gdcm-US-ALOKA-16.dcm", Roi(250, 200, 170, 150), ["dual_view_seam_in_roi"], None),
    ("white calipers", "OBXXXX1A.dcm", Roi(440, 270, 80, 50), ["overlay_in_roi"], 0.2623),
    ("white calipers", "JPGLosslessP14SV1_1s_1f_8b.dcm", Roi(570, 290, 110, 70), ["overlay_in_roi"], 0.2548),
    ("white text", "US1_UNCR.dcm", Roi(230, 360, 150, 40), ["overlay_in_roi"], None),
    ("green pointer and letters", "gdcm-US-ALOKA-16.dcm", Roi(70, 30, 90, 70), ["overlay_in_roi"], 0.3827),
    ("past the sector's region", "color3d_jpeg_baseline.dcm", Roi(20, 60, 280, 300), ["roi_outside_bmode"], None),
]


@pytest.mark.parametrize(("what", "name", "roi", "gate", "millimetres"), SEEN, ids=lambda value: str(value)[:24])
def test_the_gate_and_the_size_say_what_is_there(
    decoders: DecoderPool, what: str, name: str, roi: Roi, gate: list[str], millimetres: float | None
) -> None:
    image = _load(decoders, name, roi=roi)
    assert [reason.value for reason in image.quality_warnings] == gate, what
    assert image.size == (
        None
        if millimetres is None
        else LesionSize(
            pytest.approx(roi.width * millimetres, rel=1e-3), pytest.approx(roi.height * millimetres, rel=1e-3)
        )
    )


def test_a_whole_region_has_no_size_and_a_file_says_its_scanner(decoders: DecoderPool) -> None:
    image = _load(decoders, "OBXXXX1A.dcm")
    assert image.size is None
    assert (image.scanner.model, image.scanner.site) == ("Philips Medical Systems CX50", "Philips Healthcare")
