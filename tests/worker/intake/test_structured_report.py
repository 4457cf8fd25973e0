"""Lesions from a DICOM SR: the same as the radiologist marked, or a refusal that says which finding."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from highdicom.sr import GraphicTypeValues
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, picture, write
from tests.worker.intake.reports import Finding, lesions_of, rectangle, write_report
from worker.errors import Code, LesionRefused, StudyRefused
from worker.intake.structured_report import read_report


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write(tmp_path / "a.dcm", picture())


def test_each_finding_is_a_lesion_with_its_image_rectangle_and_category(tmp_path: Path, image: Path) -> None:
    other = write(tmp_path / "b.dcm", np.stack([picture()] * 5), NumberOfFrames=5, SOPInstanceUID=SOP_UID + ".2")
    findings = [
        Finding(image, rectangle(3, 4, 20, 10), ["4A"], "left, 2 o'clock"),
        Finding(image, rectangle(30, 4, 9, 9), ["3"], "left, 3 o'clock"),
        Finding(other, rectangle(1, 2, 33, 44), ["5"], "right", frame=4),
    ]
    assert lesions_of(write_report(tmp_path / "sr.dcm", findings)) == [
        {
            "lesion_id": "left, 2 o'clock",
            "birads": "4A",
            "sop_instance_uid": SOP_UID,
            "frame": None,
            "roi": {"x": 3, "y": 4, "width": 20, "height": 10},
        },
        {
            "lesion_id": "left, 3 o'clock",
            "birads": "3",
            "sop_instance_uid": SOP_UID,
            "frame": None,
            "roi": {"x": 30, "y": 4, "width": 9, "height": 9},
        },
        {
            "lesion_id": "right",
            "birads": "5",
            "sop_instance_uid": SOP_UID + ".2",
            "frame": 4,
            "roi": {"x": 1, "y": 2, "width": 33, "height": 44},
        },
    ]


@pytest.mark.parametrize(
    ("graphic", "points", "roi"),
    [
        (GraphicTypeValues.POLYLINE, [(3.2, 4.9), (10.1, 4.9), (7, 12), (3.2, 4.9)], (3, 4, 8, 8)),
        (GraphicTypeValues.CIRCLE, [(20, 20), (25, 20)], (15, 15, 10, 10)),
        (GraphicTypeValues.ELLIPSE, [(10, 20), (30, 20), (20, 15), (20, 25)], (10, 15, 20, 10)),
    ],
)
def test_a_lesion_s_rectangle_holds_all_of_its_outline(
    tmp_path: Path,
    image: Path,
    graphic: GraphicTypeValues,
    points: Sequence[tuple[float, float]],
    roi: tuple[int, int, int, int],
) -> None:
    path = write_report(tmp_path / "sr.dcm", [Finding(image, points, graphic=graphic)])
    (lesion,) = lesions_of(path)
    assert tuple(lesion["roi"].values()) == roi


def test_a_lesion_that_is_tracked_under_a_name_that_is_taken_has_a_name_of_its_own(tmp_path: Path, image: Path) -> None:
    twice = [Finding(image, rectangle(3, 4, 20, 10), name="L"), Finding(image, rectangle(5, 4, 20, 10), name="L")]
    path = write_report(tmp_path / "sr.dcm", twice)
    assert [lesion["lesion_id"] for lesion in lesions_of(path)] == ["L", "L (2)"]


def test_what_was_measured_and_not_assessed_is_no_lesion(tmp_path: Path, image: Path) -> None:
    findings = [Finding(image, rectangle(3, 4, 20, 10), []), Finding(image, rectangle(5, 5, 5, 5), ["4B"])]
    (lesion,) = lesions_of(write_report(tmp_path / "sr.dcm", findings))
    assert lesion["birads"] == "4B"


def test_4_without_a_letter_is_read_as_that(tmp_path: Path, image: Path) -> None:
    (lesion,) = lesions_of(write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10), ["4"])]))
    assert lesion["birads"] == "4"


@pytest.mark.parametrize("birads", [["4", "4A"], ["none of them"], ["4A", "5"]])
def test_a_category_that_is_not_one_of_bi_rads_is_refused_and_not_guessed(
    tmp_path: Path, image: Path, birads: list[str]
) -> None:
    findings = [Finding(image, rectangle(3, 4, 20, 10)), Finding(image, rectangle(3, 4, 20, 10), birads)]
    with pytest.raises(StudyRefused) as refused:
        read_report(write_report(tmp_path / "sr.dcm", findings), LIMITS)
    assert refused.value.code is Code.BIRADS_UNKNOWN
    assert "finding 2" in refused.value.reason


def test_a_point_has_no_extent(tmp_path: Path, image: Path) -> None:
    path = write_report(tmp_path / "sr.dcm", [Finding(image, [(3, 4)], graphic=GraphicTypeValues.POINT)])
    with pytest.raises(StudyRefused, match="report_unsupported"):
        read_report(path, LIMITS)


def test_a_report_of_another_template_says_nothing_of_lesions(tmp_path: Path, image: Path) -> None:
    path = write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])
    other = dcmread(path)
    other.ContentTemplateSequence[0].TemplateIdentifier = "5000"
    other.save_as(path)
    assert read_report(path, LIMITS).findings == ()


def test_a_report_that_does_not_conform_is_refused_and_so_is_one_that_is_no_dicom(tmp_path: Path, image: Path) -> None:
    path = write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])
    broken = dcmread(path)
    del broken.ContentSequence[-1].ContentSequence[0].ContentSequence[0].ConceptNameCodeSequence
    broken.save_as(path)
    with pytest.raises(StudyRefused, match="report_invalid"):
        read_report(path, LIMITS)
    path.write_text("no DICOM")
    with pytest.raises(LesionRefused, match="file_not_dicom"):
        read_report(path, LIMITS)


@pytest.fixture
def whole(tmp_path: Path, image: Path) -> bytes:
    findings = [Finding(image, rectangle(3, 4, 20, 10)), Finding(image, rectangle(9, 9, 9, 9), ["3"])]
    return write_report(tmp_path / "whole.dcm", findings).read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_report_that_is_cut_is_refused_and_loses_no_finding(tmp_path: Path, whole: bytes, part: float) -> None:
    said = read_report(tmp_path / "whole.dcm", LIMITS).findings
    path = tmp_path / "sr.dcm"
    path.write_bytes(whole[: int(part * len(whole))])
    # Cut between two elements of the data set, it may be whole, and then it marks all or nothing.
    with suppress(StudyRefused, LesionRefused):
        assert read_report(path, LIMITS).findings in (said, ())


@pytest.mark.parametrize("lost", ["ReferencedSOPSequence", "ContentSequence", "GraphicData", "GraphicType"])
def test_a_region_that_lacks_a_part_refuses_the_report_and_ends_nobody(tmp_path: Path, image: Path, lost: str) -> None:
    path = write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])
    broken = dcmread(path)
    items = [broken]
    for item in items:
        items += item.get("ContentSequence", [])
    (region,) = (item for item in items if item.ValueType == "SCOORD")
    del (region.ContentSequence[0] if lost == "ReferencedSOPSequence" else region)[lost]
    broken.save_as(path)
    with pytest.raises(StudyRefused, match="report_invalid"):
        read_report(path, LIMITS)
