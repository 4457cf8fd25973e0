"""Lesions from a DICOM SR: the same as the radiologist marked, or a refusal that says which finding."""

from collections.abc import Sequence
from math import cos, pi, sin
from pathlib import Path

import numpy as np
import pytest
from highdicom.sr import GraphicTypeValues
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, picture, write
from tests.worker.intake.reports import Finding, rectangle, write_report
from worker.errors import Code, StudyRefused
from worker.intake.report import _around_ellipse, read_report


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
    report = read_report(write_report(tmp_path / "sr.dcm", findings), LIMITS)
    assert report.patient_id == "P1"
    assert list(report.lesions) == [
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
    (lesion,) = read_report(path, LIMITS).lesions
    assert tuple(lesion["roi"].values()) == roi


@given(st.floats(0, pi), st.floats(1, 50), st.floats(1, 50), st.floats(0, 2 * pi))
def test_no_point_of_an_ellipse_is_outside_of_its_rectangle(
    turned: float, major: float, minor: float, at: float
) -> None:
    along, across = (cos(turned), sin(turned)), (-sin(turned), cos(turned))
    ends = [(60 + sign * major * along[0], 60 + sign * major * along[1]) for sign in (-1, 1)]
    ends += [(60 + sign * minor * across[0], 60 + sign * minor * across[1]) for sign in (-1, 1)]
    left, top, right, bottom = _around_ellipse(ends)
    x, y = (60 + major * cos(at) * along[i] + minor * sin(at) * across[i] for i in (0, 1))
    assert left - 1e-6 <= x <= right + 1e-6
    assert top - 1e-6 <= y <= bottom + 1e-6


def test_a_lesion_that_is_tracked_under_a_name_that_is_taken_has_a_name_of_its_own(tmp_path: Path, image: Path) -> None:
    twice = [Finding(image, rectangle(3, 4, 20, 10), name="L"), Finding(image, rectangle(5, 4, 20, 10), name="L")]
    lesions = read_report(write_report(tmp_path / "sr.dcm", twice), LIMITS).lesions
    assert [lesion["lesion_id"] for lesion in lesions] == ["L", "L (2)"]


def test_what_was_measured_and_not_assessed_is_no_lesion(tmp_path: Path, image: Path) -> None:
    findings = [Finding(image, rectangle(3, 4, 20, 10), []), Finding(image, rectangle(5, 5, 5, 5), ["4B"])]
    (lesion,) = read_report(write_report(tmp_path / "sr.dcm", findings), LIMITS).lesions
    assert lesion["birads"] == "4B"


@pytest.mark.parametrize("birads", [["4"], ["none of them"], ["4A", "5"]])
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
    assert read_report(path, LIMITS).lesions == ()


def test_a_report_that_does_not_conform_is_refused_and_so_is_one_that_is_no_dicom(tmp_path: Path, image: Path) -> None:
    path = write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])
    broken = dcmread(path)
    del broken.ContentSequence[-1].ContentSequence[0].ContentSequence[0].ConceptNameCodeSequence
    broken.save_as(path)
    for bad in (path, tmp_path / "text.dcm"):
        (tmp_path / "text.dcm").write_text("no DICOM")
        with pytest.raises(StudyRefused, match="report_invalid"):
            read_report(bad, LIMITS)


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
