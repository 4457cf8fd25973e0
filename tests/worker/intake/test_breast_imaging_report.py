"""Lesions from a Breast Imaging Report: coded findings with a region of their own, and nothing that is guessed."""

from pathlib import Path

import pytest
from pydicom import dcmread

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, picture, write
from tests.worker.intake.breast_reports import BASIC_TEXT, Coded, write_breast_report
from tests.worker.intake.reports import lesions_of, rectangle
from worker.errors import Code, StudyRefused
from worker.intake.structured_report import read_head, read_report

OTHER_UID = SOP_UID + ".2"
BOX = rectangle(3, 4, 20, 10)
OTHER = rectangle(30, 4, 9, 9)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write(tmp_path / "a.dcm", picture())


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return write(tmp_path / "b.dcm", picture(), SOPInstanceUID=OTHER_UID)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sr.dcm"


def refusal(path: Path) -> StudyRefused:
    with pytest.raises(StudyRefused) as refused:
        read_report(path, LIMITS)
    return refused.value


def test_a_coded_finding_with_a_region_is_a_lesion_with_its_own_category(image: Path, path: Path) -> None:
    findings = [Coded([(image, BOX)], ["4A"]), Coded([(image, OTHER)], ["4"])]
    lesions = lesions_of(write_breast_report(path, image, findings, overall="5"))
    assert [(one["lesion_id"], one["birads"], one["roi"]["x"]) for one in lesions] == [("L1", "4A", 3), ("L2", "4", 30)]
    assert not read_head(path, LIMITS).is_silent


def test_a_finding_in_two_planes_is_one_lesion_with_its_place_in_the_breast(
    image: Path, other: Path, path: Path
) -> None:
    clock, side = ("129773009", "SCT", "2 o'clock position"), ("80248007", "SCT", "Left breast")
    finding = Coded([(image, BOX), (other, OTHER)], clock=clock, side=side)
    (lesion,) = lesions_of(write_breast_report(path, image, [finding]))
    assert [one["sop_instance_uid"] for one in lesion["images"]] == [SOP_UID, OTHER_UID]
    assert (lesion["laterality"], lesion["clock_position"]) == ("left", 2)


def test_findings_that_are_tracked_as_one_are_one_lesion(image: Path, other: Path, path: Path) -> None:
    findings = [Coded([(image, BOX)], tracked="L"), Coded([(other, OTHER)], tracked="L")]
    (lesion,) = lesions_of(write_breast_report(path, image, findings))
    assert len(lesion["images"]) == 2


def test_what_a_measurement_was_drawn_by_is_no_region_of_the_lesion(image: Path, path: Path) -> None:
    findings = [Coded([(image, BOX)], diameter=(image, [(3, 4), (23, 14)]))]
    (lesion,) = lesions_of(write_breast_report(path, image, findings))
    assert lesion["roi"] == {"x": 3, "y": 4, "width": 20, "height": 10}
    write_breast_report(path, image, [Coded(diameter=(image, [(3, 4), (23, 14)]))])
    assert read_report(path, LIMITS).findings == ()


@pytest.mark.parametrize(
    "findings",
    [[], [Coded()], [Coded(), Coded(birads=["none of them"])]],
    ids=["a narrative alone", "an assessment without a region", "no category of BI-RADS"],
)
def test_a_report_without_regions_marks_no_lesion_and_refuses_nothing(
    image: Path, path: Path, findings: list[Coded]
) -> None:
    assert read_report(write_breast_report(path, image, findings, overall="4A"), LIMITS).findings == ()


def test_the_overall_assessment_is_not_taken_for_a_finding_s(image: Path, path: Path) -> None:
    write_breast_report(path, image, [Coded([(image, BOX)], birads=[])], overall="4A")
    assert read_report(path, LIMITS).findings == ()


def test_a_finding_that_is_assessed_and_not_marked_beside_one_that_is_refuses_the_report(
    image: Path, path: Path
) -> None:
    refused = refusal(write_breast_report(path, image, [Coded([(image, BOX)]), Coded(birads=["3"])]))
    assert refused.code is Code.BREAST_REPORT_UNSUPPORTED
    assert "finding 2" in refused.reason


def test_a_negative_finding_needs_no_region(image: Path, path: Path) -> None:
    (lesion,) = lesions_of(write_breast_report(path, image, [Coded(birads=["1"]), Coded([(image, BOX)])]))
    assert (lesion["lesion_id"], lesion["birads"]) == ("L2", "4A")


def test_an_outline_that_names_its_image_elsewhere_in_the_report_is_not_looked_up(image: Path, path: Path) -> None:
    write_breast_report(path, image, [Coded([(image, BOX)])])
    made = dcmread(path)
    outline = made.ContentSequence[1].ContentSequence[0].ContentSequence[0].ContentSequence[-1]
    assert outline.ValueType == "SCOORD"
    del outline.ContentSequence
    made.save_as(path)
    assert refusal(path).code is Code.BREAST_REPORT_UNSUPPORTED


@pytest.mark.parametrize("birads", [["none of them"], ["4A", "5"]])
def test_a_category_is_not_guessed(image: Path, path: Path, birads: list[str]) -> None:
    refused = refusal(write_breast_report(path, image, [Coded([(image, BOX)]), Coded([(image, OTHER)], birads)]))
    assert (refused.code, "finding 2" in refused.reason) == (Code.BIRADS_UNKNOWN, True)


def test_a_basic_text_report_of_this_template_is_known_and_one_of_another_says_nothing(image: Path, path: Path) -> None:
    write_breast_report(path, image, [], SOPClassUID=BASIC_TEXT)
    head = read_head(path, LIMITS)
    assert (head.is_breast_imaging_report, head.is_silent) == (True, False)
    made = dcmread(path)
    for templates in ("2000", None):
        made.ContentTemplateSequence[0].TemplateIdentifier = templates
        made.save_as(path)
        assert read_head(path, LIMITS).is_silent
