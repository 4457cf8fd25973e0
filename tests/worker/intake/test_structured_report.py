"""Lesions from a DICOM SR: the same as the radiologist marked, or a refusal that says which finding."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from highdicom.sr import CodedConcept, FindingSite, GraphicTypeValues, Measurement, QualitativeEvaluation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.sr.codedict import codes

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


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return write(tmp_path / "b.dcm", picture(seed=1), SOPInstanceUID=SOP_UID + ".2")


IMAGE = {"sop_instance_uid": SOP_UID, "frame": None, "roi": {"x": 3, "y": 4, "width": 20, "height": 10}}
OTHER_IMAGE = {"sop_instance_uid": SOP_UID + ".2", "frame": None, "roi": {"x": 30, "y": 4, "width": 9, "height": 9}}


@pytest.mark.parametrize("assessed_again", [True, False])
def test_a_lesion_that_is_tracked_in_two_planes_has_two_images_and_its_place_in_the_breast(
    tmp_path: Path, image: Path, other: Path, *, assessed_again: bool
) -> None:
    site = FindingSite(
        CodedConcept("76752008", "SCT", "Breast"),
        laterality=codes.SCT.Left,
        topographical_modifier=CodedConcept("129773009", "SCT", "2 o'clock position"),
    )
    nipple = Measurement(CodedConcept("121242", "DCM", "Distance from nipple"), 4.0, CodedConcept("cm", "UCUM", "cm"))
    skin = Measurement(CodedConcept("121243", "DCM", "Distance from skin"), 8.5, CodedConcept("mm", "UCUM", "mm"))
    findings = [
        Finding(image, rectangle(3, 4, 20, 10), tracked="L", sites=[site], measured=[nipple, skin]),
        Finding(other, rectangle(30, 4, 9, 9), ["4A"] if assessed_again else [], tracked="L"),
    ]
    assert lesions_of(write_report(tmp_path / "sr.dcm", findings)) == [
        {
            "lesion_id": "left upper outer",
            "birads": "4A",
            "images": [IMAGE, OTHER_IMAGE],
            "laterality": "left",
            "clock_position": 2,
            "distance_to_nipple_mm": 40.0,
            "depth_mm": 8.5,
        }
    ]


def test_a_finding_with_a_region_on_each_of_two_images_has_two_images(tmp_path: Path, image: Path, other: Path) -> None:
    findings = [Finding(image, rectangle(3, 4, 20, 10), also=[(other, rectangle(30, 4, 9, 9))])]
    (lesion,) = lesions_of(write_report(tmp_path / "sr.dcm", findings))
    assert lesion["images"] == [IMAGE, OTHER_IMAGE]


def test_a_region_on_several_frames_is_on_each_of_them(tmp_path: Path) -> None:
    clip = write(tmp_path / "b.dcm", np.stack([picture()] * 5), NumberOfFrames=5)
    path = write_report(tmp_path / "sr.dcm", [Finding(clip, rectangle(3, 4, 20, 10), frame=2)])
    made = dcmread(path)
    items = [made]
    for item in items:
        items += item.get("ContentSequence", [])
    (region,) = (item for item in items if item.ValueType == "SCOORD")
    region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber = [2, 4]
    made.save_as(path)
    (lesion,) = lesions_of(path)
    assert [one["frame"] for one in lesion["images"]] == [2, 4]


def test_two_categories_of_a_lesion_that_is_tracked_twice_are_refused_with_both_places(
    tmp_path: Path, image: Path, other: Path
) -> None:
    findings = [
        Finding(image, rectangle(3, 4, 20, 10), ["4A"], tracked="L"),
        Finding(image, rectangle(40, 4, 9, 9), ["3"]),
        Finding(other, rectangle(30, 4, 9, 9), ["4B"], tracked="L"),
    ]
    with pytest.raises(StudyRefused) as refused:
        lesions_of(write_report(tmp_path / "sr.dcm", findings))
    assert refused.value.code is Code.BIRADS_UNKNOWN
    assert "finding 1 and finding 3" in refused.value.reason


BREAST = ("76752008", "SCT", "Breast")
LEFT, LEFT_BREAST = ("7771000", "SCT", "Left"), ("80248007", "SCT", "Left breast")
RIGHT_IN_SRT, BOTH = ("G-A100", "SRT", "Right"), ("51440002", "SCT", "Bilateral")
FIVE_IN_SRT, AXILLA = ("F-01785", "SRT", "5 o'clock position"), ("129791004", "SCT", "Axilla region")
Coded = tuple[str, str, str]


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        ([(BREAST, LEFT, None)], {"laterality": "left"}),
        ([(LEFT_BREAST, None, None)], {"laterality": "left"}),
        ([(LEFT_BREAST, LEFT, FIVE_IN_SRT)], {"laterality": "left", "clock_position": 5}),
        ([(BREAST, RIGHT_IN_SRT, AXILLA)], {"laterality": "right"}),
        ([(BREAST, BOTH, None)], {}),
        ([(BREAST, LEFT, None), (BREAST, RIGHT_IN_SRT, None)], {}),
        ([(BREAST, None, None)], {}),
    ],
)
def test_where_a_lesion_is_is_read_as_far_as_it_is_coded(
    tmp_path: Path, image: Path, sites: list[tuple[Coded, Coded | None, Coded | None]], said: dict[str, object]
) -> None:
    def site(place: Coded, *modifiers: Coded | None) -> FindingSite:
        return FindingSite(CodedConcept(*place), *(one and CodedConcept(*one) for one in modifiers))

    finding = Finding(image, rectangle(3, 4, 20, 10), sites=[site(*one) for one in sites])
    (lesion,) = lesions_of(write_report(tmp_path / "sr.dcm", [finding]))
    assert {name: lesion[name] for name in ("laterality", "clock_position") if name in lesion} == said


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(4.0, "cm", 40.0), (35.5, "mm", 35.5), (301.0, "mm", None), (-1.0, "mm", None), (2.0, "[in_i]", None)],
)
def test_a_distance_from_the_nipple_is_in_millimetres_or_left_out(
    tmp_path: Path, image: Path, value: float, unit: str, said: float | None
) -> None:
    distance = CodedConcept("121242", "DCM", "Distance from nipple")
    measured = [Measurement(distance, value, CodedConcept(unit, "UCUM", unit))]
    finding = Finding(image, rectangle(3, 4, 20, 10), measured=measured)
    (lesion,) = lesions_of(write_report(tmp_path / "sr.dcm", [finding]))
    assert lesion.get("distance_to_nipple_mm") == said


def test_the_plane_of_an_image_and_the_clock_face_are_read_as_evaluations_too(tmp_path: Path, image: Path) -> None:
    evaluated = [
        QualitativeEvaluation(
            CodedConcept("111031", "DCM", "Image View"), CodedConcept("62824007", "SCT", "Transverse")
        ),
        QualitativeEvaluation(
            CodedConcept("111014", "DCM", "Clockface or region"),
            CodedConcept("129783008", "SCT", "12 o'clock position"),
        ),
    ]
    finding = Finding(image, rectangle(3, 4, 20, 10), evaluated=evaluated)
    (lesion,) = lesions_of(write_report(tmp_path / "sr.dcm", [finding]))
    assert (lesion["images"], lesion["clock_position"]) == ([IMAGE | {"plane": "transverse"}], 12)


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
