"""Regions from a DICOM Segmentation: the segment's rectangle on its image, or a refusal that says which segment."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import RLELossless

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, picture, write
from tests.worker.intake.segmentations import Drawn, write_segmentation
from worker.clinical.categories import Birads
from worker.errors import Code, LesionRefused, StudyRefused
from worker.image_access import Limits
from worker.intake import segmentation as module
from worker.intake.markings import Region
from worker.intake.segmentation import read_segmentation
from worker.study import Roi

COLUMNS, ROWS = 53, 47
MATRIX = ROWS, COLUMNS
KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write(tmp_path / "a.dcm", picture(ROWS, COLUMNS))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seg.dcm"


def change(path: Path, **elements: Any) -> Path:
    made = dcmread(path)
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.save_as(path)
    return path


def refusal(path: Path, segments: Sequence[int] = ()) -> StudyRefused:
    with pytest.raises(StudyRefused) as refused:
        read_segmentation(path, LIMITS, segments).alone()
    return refused.value


@pytest.mark.parametrize("kind", KINDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_rectangle_that_is_drawn_comes_back(image: Path, path: Path, kind: str, data: st.DataObject) -> None:
    # Of the last segment of four, in an odd number of pixels: its bits begin in the middle of a byte.
    x, y = data.draw(st.integers(0, COLUMNS - 1)), data.draw(st.integers(2, ROWS - 1))
    width, height = data.draw(st.integers(1, COLUMNS - x)), data.draw(st.integers(1, ROWS - y))
    frame = data.draw(st.none() | st.integers(1, 90))
    drawn = [Drawn((3, 0, 5, 2)), Drawn((9, 0, 5, 2)), Drawn((20, 0, 5, 2)), Drawn((x, y, width, height))]
    segmentation = read_segmentation(write_segmentation(path, image, drawn, frame, kind), LIMITS, [4])
    (region,) = segmentation.regions(4, (), "finding 1")
    assert region == Region(SOP_UID, frame, Roi(x, y, width, height), (ROWS, COLUMNS))


@pytest.mark.parametrize("kind", KINDS)
def test_each_segment_with_a_coded_category_is_a_lesion_and_the_rest_are_none(
    image: Path, path: Path, kind: str
) -> None:
    drawn = [
        Drawn((3, 4, 20, 10), "left, 2 o'clock", ["4A"]),
        Drawn((0, 20, 9, 9), "nipple"),
        Drawn((30, 4, 9, 9), "left, 3 o'clock", ["5"]),
    ]
    marking = read_segmentation(write_segmentation(path, image, drawn, kind=kind), LIMITS).alone()
    said = [(one.where, one.tracked_as, one.birads.value, one.regions[0].roi) for one in marking.findings]
    assert said == [
        ("segment 1", "left, 2 o'clock", "4A", Roi(3, 4, 20, 10)),
        ("segment 3", "left, 3 o'clock", "5", Roi(30, 4, 9, 9)),
    ]


def test_4_without_a_letter_is_read_as_that(image: Path, path: Path) -> None:
    marking = read_segmentation(write_segmentation(path, image, [Drawn((3, 4, 5, 5), birads=["4"])]), LIMITS).alone()
    assert [one.birads for one in marking.findings] == [Birads.SUSPICIOUS]


@pytest.mark.parametrize("birads", [["4", "4A"], ["4A", "5"]])
def test_a_category_is_not_guessed(image: Path, path: Path, birads: list[str]) -> None:
    refused = refusal(write_segmentation(path, image, [Drawn((3, 4, 5, 5)), Drawn((9, 9, 5, 5), birads=birads)]))
    assert refused.code is Code.BIRADS_UNKNOWN
    assert "segment 2" in refused.reason


def test_a_category_in_free_text_is_not_read(image: Path, path: Path) -> None:
    write_segmentation(path, image, [Drawn((3, 4, 5, 5))])
    made = dcmread(path)
    made.SegmentSequence[0].SegmentLabel = made.SegmentSequence[0].SegmentDescription = "BI-RADS 4A"
    made.save_as(path)
    assert read_segmentation(path, LIMITS).alone().findings == ()


def test_a_pixel_of_a_fractional_segmentation_counts_from_one_half_on(image: Path, path: Path) -> None:
    write_segmentation(path, image, [Drawn((3, 4, 5, 5))], kind="FRACTIONAL")
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    pixels[10, 10:14] = 126, 127, 128, 255
    change(path, PixelData=pixels.tobytes() + b"\0", MaximumFractionalValue=255)
    assert read_segmentation(path, LIMITS, [1]).regions(1, (), "finding 1")[0].roi == Roi(12, 10, 2, 1)


def test_a_segment_on_two_frames_is_on_both_unless_one_of_them_is_named(image: Path, path: Path) -> None:
    write_segmentation(path, image, [Drawn((3, 4, 5, 5), birads=["4A"]), Drawn((9, 9, 6, 6))], frame=2)
    made = dcmread(path)
    other = made.PerFrameFunctionalGroupsSequence[1]
    other.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    other.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = 3
    made.save_as(path)
    (finding,) = read_segmentation(path, LIMITS).alone().findings
    first, second = (Region(SOP_UID, 2, Roi(3, 4, 5, 5), MATRIX), Region(SOP_UID, 3, Roi(9, 9, 6, 6), MATRIX))
    assert finding.regions == (first, second)
    (region,) = read_segmentation(path, LIMITS).regions(1, (2,), "finding 1")
    assert region == second


def test_a_source_that_is_said_of_all_frames_at_once_counts(image: Path, path: Path) -> None:
    write_segmentation(path, image, [Drawn((3, 4, 5, 5), birads=["4A"])])
    made = dcmread(path)
    (frame,) = made.PerFrameFunctionalGroupsSequence
    made.SharedFunctionalGroupsSequence[0].DerivationImageSequence = frame.DerivationImageSequence
    del frame.DerivationImageSequence
    made.save_as(path)
    (finding,) = read_segmentation(path, LIMITS).alone().findings
    assert finding.regions[0].sop_instance_uid == SOP_UID


def _in_space_alone(made: Dataset) -> None:
    del made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence


def _on_two_images(made: Dataset) -> None:
    sources = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence
    other = Dataset()
    other.ReferencedSOPClassUID, other.ReferencedSOPInstanceUID = sources[0].ReferencedSOPClassUID, "1.2.3"
    sources.append(other)


def _on_two_frames_at_once(made: Dataset) -> None:
    source = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedFrameNumber = [1, 2]


def _empty(made: Dataset) -> None:
    made.PixelData = bytes(len(made.PixelData))


@pytest.mark.parametrize(
    ("mar", "code"),
    [
        (_in_space_alone, Code.REPORT_UNSUPPORTED),
        (_on_two_images, Code.REPORT_UNSUPPORTED),
        (_on_two_frames_at_once, Code.REPORT_UNSUPPORTED),
        (_empty, Code.REPORT_UNSUPPORTED),
        (lambda made: setattr(made, "SegmentationType", "OTHER"), Code.REPORT_UNSUPPORTED),
        (lambda made: setattr(made, "NumberOfFrames", 2), Code.REPORT_INVALID),
        (lambda made: setattr(made, "Rows", 60), Code.REPORT_INVALID),
        (lambda made: setattr(made, "Rows", 0), Code.REPORT_INVALID),
        (lambda made: setattr(made, "Rows", made.Rows - 8), Code.REPORT_INVALID),
        (lambda made: setattr(made, "PixelData", made.PixelData + bytes(2)), Code.REPORT_INVALID),
        (lambda made: setattr(made, "PixelData", made.PixelData[:-2]), Code.REPORT_INVALID),
        (lambda made: made.update({"BitsAllocated": 8, "BitsStored": 1, "HighBit": 0}), Code.REPORT_UNSUPPORTED),
        (lambda made: setattr(made, "HighBit", 7), Code.REPORT_UNSUPPORTED),
        (lambda made: setattr(made, "PixelRepresentation", 1), Code.REPORT_UNSUPPORTED),
        (lambda made: setattr(made, "NumberOfFrames", module.MOST_FRAMES + 1), Code.PIXELS_TOO_LARGE),
        (lambda made: made.update({"Rows": 60_000, "Columns": 60_000}), Code.PIXELS_TOO_LARGE),
        (lambda made: made.SegmentSequence.extend([Dataset()] * module.MOST_SEGMENTS), Code.PIXELS_TOO_LARGE),
        (lambda made: made.pop("SegmentSequence"), Code.REPORT_INVALID),
        (lambda made: made.SegmentSequence.append(made.SegmentSequence[0]), Code.REPORT_INVALID),
        (lambda made: made.pop("PixelData"), Code.REPORT_INVALID),
        (lambda made: made.pop("PerFrameFunctionalGroupsSequence"), Code.REPORT_INVALID),
    ],
)
def test_what_is_not_read_is_refused_with_a_code(image: Path, path: Path, mar: Any, code: Code) -> None:
    write_segmentation(path, image, [Drawn((3, 4, 5, 5), birads=["4A"])])
    made = dcmread(path)
    mar(made)
    made.save_as(path)
    assert refusal(path).code is code


def test_a_compressed_one_is_refused_with_a_code(image: Path, path: Path) -> None:
    made = dcmread(write_segmentation(path, image, [Drawn((3, 4, 5, 5), birads=["4A"])], kind="FRACTIONAL"))
    made.compress(RLELossless, generate_instance_uid=False)
    made.save_as(path)
    assert refusal(path).code is Code.TRANSFER_SYNTAX_UNSUPPORTED


def test_one_that_marks_nothing_is_not_decoded(image: Path, path: Path) -> None:
    change(write_segmentation(path, image, [Drawn((3, 4, 5, 5))]), Rows=60_000)
    assert read_segmentation(path, LIMITS).alone().findings == ()


def test_a_file_that_is_too_large_is_not_read(image: Path, path: Path) -> None:
    write_segmentation(path, image, [Drawn((3, 4, 5, 5), birads=["4A"])])
    with pytest.raises(LesionRefused, match="file_too_large"):
        read_segmentation(path, Limits(path.stat().st_size - 1, LIMITS.max_frame_pixels))


@pytest.fixture
def whole(image: Path, path: Path) -> bytes:
    return write_segmentation(path, image, [Drawn((3, 4, 5, 5), birads=["4A"])]).read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@given(part=st.floats(0, 1, exclude_max=True))
def test_one_that_is_cut_is_refused_and_loses_no_lesion(path: Path, whole: bytes, part: float) -> None:
    said = read_segmentation(path, LIMITS).masks
    cut = path.with_name("cut.dcm")
    cut.write_bytes(whole[: int(part * len(whole))])
    # Cut between two elements of the data set, it may be whole, and then it marks all or nothing.
    with suppress(StudyRefused, LesionRefused):
        assert read_segmentation(cut, LIMITS).masks in (said, ())
