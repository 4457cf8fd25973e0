"""Lesions from a presentation state: what is drawn and named without doubt, and nothing that has to be guessed."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, picture, write
from tests.worker.intake.presentations import Annotation, Points, write_presentation
from tests.worker.intake.reports import rectangle
from worker.clinical.categories import Birads
from worker.errors import Code, LesionRefused, StudyRefused
from worker.image_access import Limits
from worker.intake.markings import Region
from worker.intake.presentation_state import read_presentation
from worker.study import Roi

ROWS, COLUMNS = 48, 64
BOX = rectangle(3, 4, 20, 10)
OTHER = rectangle(30, 4, 9, 9)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write(tmp_path / "a.dcm", picture(ROWS, COLUMNS))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pr.dcm"


def refusal(path: Path) -> StudyRefused:
    with pytest.raises(StudyRefused) as refused:
        read_presentation(path, LIMITS)
    return refused.value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_rectangle_that_is_drawn_comes_back(image: Path, path: Path, data: st.DataObject) -> None:
    # To the very edges: the corner of the last pixel is Columns\Rows.
    x, y = data.draw(st.integers(0, COLUMNS - 1)), data.draw(st.integers(0, ROWS - 1))
    width, height = data.draw(st.integers(1, COLUMNS - x)), data.draw(st.integers(1, ROWS - y))
    birads = data.draw(st.sampled_from(Birads))
    write_presentation(path, image, [Annotation([rectangle(x, y, width, height)], [f"BI-RADS {birads}"])])
    (finding,) = read_presentation(path, LIMITS).findings
    assert (finding.regions[0], finding.birads) == (Region(SOP_UID, None, Roi(x, y, width, height)), birads)


@pytest.mark.parametrize(
    ("graphic", "points", "roi"),
    [
        ("POLYLINE", [(3.2, 4.9), (10.1, 4.9), (7, 12), (3.2, 4.9)], Roi(3, 4, 8, 8)),
        ("CIRCLE", [(20, 20), (25, 20)], Roi(15, 15, 10, 10)),
        ("ELLIPSE", [(10, 20), (30, 20), (20, 15), (20, 25)], Roi(10, 15, 20, 10)),
    ],
)
def test_a_lesion_s_rectangle_holds_all_of_its_outline(
    image: Path, path: Path, graphic: str, points: Points, roi: Roi
) -> None:
    write_presentation(path, image, [Annotation([points], ["12 mm", "BI-RADS 4A"], graphic=graphic, name="left")])
    (finding,) = read_presentation(path, LIMITS).findings
    assert (finding.regions[0].roi, finding.tracked_as) == (roi, "left")


def test_a_frame_of_a_multi_frame_image_is_named(tmp_path: Path, path: Path) -> None:
    image = write(tmp_path / "b.dcm", np.stack([picture()] * 5), NumberOfFrames=5)
    write_presentation(path, image, [Annotation([BOX], ["BI-RADS 5"])], frame=4)
    (finding,) = read_presentation(path, LIMITS).findings
    assert finding.regions[0].frame == 4


def test_groups_tell_which_category_is_of_which_outline(image: Path, path: Path) -> None:
    write_presentation(path, image, [Annotation([BOX, OTHER], ["BI-RADS 3", "BI-RADS 4A"], groups=[1, 2])])
    said = [(finding.birads, finding.regions[0].roi) for finding in read_presentation(path, LIMITS).findings]
    assert said == [(Birads("3"), Roi(3, 4, 20, 10)), (Birads("4A"), Roi(30, 4, 9, 9))]


def test_a_group_may_have_its_outline_and_its_text_in_two_annotations_of_one_image(image: Path, path: Path) -> None:
    # As where outlines are in one layer, and texts in another.
    annotations = [Annotation([BOX, OTHER], [], groups=[1, 2]), Annotation([], ["BI-RADS 4A"], groups=[2])]
    (finding,) = read_presentation(write_presentation(path, image, annotations), LIMITS).findings
    assert finding.regions[0].roi == Roi(30, 4, 9, 9)
    made = dcmread(path)
    made.GraphicAnnotationSequence[1].ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    made.save_as(path)
    assert refusal(path).code is Code.REPORT_UNSUPPORTED


def test_images_that_are_named_for_the_whole_presentation_state_count(image: Path, path: Path) -> None:
    write_presentation(path, image, [Annotation([BOX], ["BI-RADS 3"])])
    made = dcmread(path)
    del made.GraphicAnnotationSequence[0].ReferencedImageSequence
    made.save_as(path)
    (finding,) = read_presentation(path, LIMITS).findings
    assert finding.regions[0].sop_instance_uid == SOP_UID


@pytest.mark.parametrize("texts", [[], ["12 mm"], ["4A"], ["biopsy of 4A"], ["radial"]])
def test_a_drawing_without_a_word_of_bi_rads_is_no_lesion(image: Path, path: Path, texts: list[str]) -> None:
    assert read_presentation(write_presentation(path, image, [Annotation([BOX], texts)]), LIMITS).findings == ()


def test_4_without_a_letter_is_a_category(image: Path, path: Path) -> None:
    marking = read_presentation(write_presentation(path, image, [Annotation([BOX], ["BI-RADS 4"])]), LIMITS)
    assert [one.birads.value for one in marking.findings] == ["4"]


@pytest.mark.parametrize(
    "text",
    [
        "BI-RADS 4D",
        "BI-RADS 4a",
        "BIRADS 4A",
        "bi-rads 4A",
        "BI-RADS 4A?",
        "left, BI-RADS 4A",
        "BI-RADS 4A 5",
        "BI_RADS 4A",
        "Birad 4A",
        "BI-RAD 5",
        "ACR 4A",
    ],
)
def test_a_text_that_is_nearly_a_category_is_refused_and_not_guessed(image: Path, path: Path, text: str) -> None:
    annotations = [Annotation([OTHER], ["BI-RADS 3"]), Annotation([BOX], [text])]
    refused = refusal(write_presentation(path, image, annotations))
    assert refused.code is Code.BIRADS_UNKNOWN
    assert "annotation 2" in refused.reason
    assert text not in refused.reason.replace('"BI-RADS 4A"', "")


@pytest.mark.parametrize(
    ("annotation", "code"),
    [
        (Annotation([BOX, OTHER], ["BI-RADS 4A"]), Code.REPORT_UNSUPPORTED),
        (Annotation([], ["BI-RADS 4A"]), Code.REPORT_UNSUPPORTED),
        (Annotation([BOX, OTHER], ["BI-RADS 4A"], groups=[1, 1]), Code.REPORT_UNSUPPORTED),
        (Annotation([BOX], ["BI-RADS 4A", "BI-RADS 3"]), Code.BIRADS_UNKNOWN),
        (Annotation([BOX[:-1]], ["BI-RADS 4A"]), Code.REPORT_UNSUPPORTED),
        (Annotation([BOX], ["BI-RADS 4A"], graphic="INTERPOLATED"), Code.REPORT_UNSUPPORTED),
        (Annotation([[(3, 4)]], ["BI-RADS 4A"], graphic="POINT"), Code.REPORT_UNSUPPORTED),
        (
            Annotation([[(x / COLUMNS, y / ROWS) for x, y in BOX]], ["BI-RADS 4A"], units="DISPLAY"),
            Code.REPORT_UNSUPPORTED,
        ),
    ],
)
def test_a_category_that_is_not_of_one_closed_outline_in_pixels_is_refused(
    image: Path, path: Path, annotation: Annotation, code: Code
) -> None:
    refused = refusal(write_presentation(path, image, [annotation]))
    assert refused.code is code
    assert "annotation 1" in refused.reason


def _on_two_frames(annotation: Any) -> None:
    annotation.ReferencedImageSequence[0].ReferencedFrameNumber = [1, 2]


def _on_two_images(annotation: Any) -> None:
    annotation.ReferencedImageSequence.append(annotation.ReferencedImageSequence[0])


@pytest.mark.parametrize(
    ("mar", "code"),
    [
        (_on_two_frames, Code.REPORT_UNSUPPORTED),
        (_on_two_images, Code.REPORT_UNSUPPORTED),
        (lambda one: setattr(one.GraphicObjectSequence[0], "NumberOfGraphicPoints", 3), Code.REPORT_INVALID),
        (lambda one: setattr(one.GraphicObjectSequence[0], "GraphicData", [1.0, 2.0, 3.0]), Code.REPORT_INVALID),
        (lambda one: one.GraphicObjectSequence[0].pop("GraphicData"), Code.REPORT_INVALID),
        (lambda one: one.GraphicObjectSequence[0].pop("GraphicAnnotationUnits"), Code.REPORT_INVALID),
        (lambda one: one.ReferencedImageSequence[0].pop("ReferencedSOPInstanceUID"), Code.REPORT_INVALID),
    ],
)
def test_what_does_not_conform_is_refused(image: Path, path: Path, mar: Any, code: Code) -> None:
    made = dcmread(write_presentation(path, image, [Annotation([BOX], ["BI-RADS 4A"])]))
    mar(made.GraphicAnnotationSequence[0])
    made.save_as(path)
    assert refusal(path).code is code


def test_a_file_that_is_too_large_is_not_read(image: Path, path: Path) -> None:
    write_presentation(path, image, [Annotation([BOX], ["BI-RADS 4A"])])
    with pytest.raises(LesionRefused, match="file_too_large"):
        read_presentation(path, Limits(path.stat().st_size - 1, LIMITS.max_frame_pixels))


@pytest.fixture
def whole(image: Path, path: Path) -> bytes:
    annotations = [Annotation([BOX], ["BI-RADS 4A"]), Annotation([OTHER], ["BI-RADS 3"])]
    return write_presentation(path, image, annotations).read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 1, exclude_max=True))
def test_one_that_is_cut_is_refused_and_loses_no_lesion(path: Path, whole: bytes, part: float) -> None:
    said = read_presentation(path, LIMITS).findings
    cut = path.with_name("cut.dcm")
    cut.write_bytes(whole[: int(part * len(whole))])
    # Cut between two elements of the data set, it may be whole, and then it marks all or nothing.
    with suppress(StudyRefused, LesionRefused):
        assert read_presentation(cut, LIMITS).findings in (said, ())
