"""A lesion in several images, in each kind of document: what is said once, and what is said of each image."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import hl7
import pytest
from fhir.resources.R4B.bundle import Bundle
from hl7apy.parser import parse_message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from tests.worker.intake.reports import lesions_of
from tests.worker.reporting.conftest import Dciodvfy, PixelMed
from tests.worker.reporting.samples import (
    image_of,
    in_several_images,
    mixed,
    refused_image,
    scored,
    source_of,
    study,
    write_image,
)
from tests.worker.reporting.test_structured_report import choices, numbers, read_back, texts, written
from worker.clinical import location_codes
from worker.reporting import concepts
from worker.reporting.fhir import fhir_bundle
from worker.reporting.hl7 import hl7_message
from worker.reporting.lesion_content import has_several_images, spreads, summary_of, views_disagree
from worker.reporting.result import StudyResult
from worker.reporting.structured_report import structured_report
from worker.sending.destination import Parcel
from worker.sending.webhook import event_of
from worker.sending.work_item import Worklist, work_item

PLACE = {"121242": 40.0, "121243": 12.5}
"""How far the lesion is from the nipple and from the skin, in millimetres."""


# --- what is told in one sentence


def test_a_study_whose_lesions_have_one_image_each_says_nothing_of_images(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    assert not any(has_several_images(lesion) for lesion in result.lesions)
    assert "mages" not in summary_of(result)
    one = replace(result.lesions[0], images=(image_of(result.lesions[0].sop_instance_uid, 1),))
    assert "mages" not in summary_of(study(one))


def test_the_summary_counts_images_those_without_scores_and_lesions_whose_images_disagree(tmp_path: Path) -> None:
    result = in_several_images(tmp_path)
    said = summary_of(result)
    assert said.startswith("DLR scored 2 of 2 lesions. Images of these lesions: 4, of which could not be scored: 1.")
    assert "Lesions whose images lie on both sides of a threshold: 1." in said
    agreed = replace(result.lesions[0], images=result.lesions[0].images[1:2] * 2)
    said = summary_of(study(agreed))
    assert "Images of these lesions: 2." in said
    assert "both sides" not in said


@pytest.mark.parametrize(
    ("lh", "bm", "disagree"),
    [
        ((0.75, 0.75), (0.75, 0.75), False),
        ((0.75, 0.25), (0.75, 0.75), True),
        ((0.75, 0.75), (0.25, 0.75), True),
        ((0.5, 0.5), (0.5, 0.49), True),
        ((0.5, None), (0.5, None), False),
        ((None, None), (None, None), False),
    ],
)
def test_images_disagree_where_they_lie_on_both_sides_of_either_models_threshold(
    lh: tuple[float | None, ...], bm: tuple[float | None, ...], disagree: bool
) -> None:
    images = tuple(image_of("1.2.3", place, *both) for place, both in enumerate(zip(lh, bm, strict=True), start=1))
    assert views_disagree(scored("1.2.3", images=images)) is disagree


def test_a_lesion_of_which_one_image_has_scores_has_no_spread(tmp_path: Path) -> None:
    lesion = in_several_images(tmp_path).lesions[0]
    only = replace(lesion, images=(lesion.images[0], lesion.images[2]))
    assert spreads(only) == ()
    assert [number.value for number in spreads(lesion)] == [0.125, 0.625]


# --- DICOM SR


def groups_by_tracking(result: StudyResult, root: Path) -> tuple[Any, list[Any], list[Any]]:
    """The first lesion's group of all its images, those of images with a region, and those without one."""
    content = read_back(structured_report(result, source_of(result, root)))
    uid = content.get_image_measurement_groups()[0].tracking_uid
    of_lesion, *without = content.get_image_measurement_groups(tracking_uid=uid)
    return of_lesion, content.get_planar_roi_measurement_groups(tracking_uid=uid), without


def test_every_images_region_is_under_the_lesions_one_tracking_uid_and_the_scores_of_all_are_there_once(
    tmp_path: Path,
) -> None:
    result = in_several_images(tmp_path)
    of_lesion, images, without = groups_by_tracking(result, tmp_path)
    assert numbers(of_lesion) == {
        "P_LOW_RISK": 0.3125, "P_HIGH_RISK": 0.6875, "T_HIGH_RISK": 0.5,
        "P_BENIGN": 0.4375, "P_MALIGNANT": 0.5625, "T_MALIGNANT": 0.5, "121033": 47.3,
        **PLACE, "IMAGES": 3, "IMAGES_REFUSED": 1, "HIGH_RISK_SPREAD": 0.125, "MALIGNANT_SPREAD": 0.625,
    }  # fmt: skip
    assert choices(of_lesion) == {
        "111005": "MA.II.A.5.4A", "RECOMMENDED": "REC_ABOVE_4A", "OUTCOME": "UPGRADED", "LH_CLASS": "HIGH_RISK",
        "BM_CLASS": "MALIGNANT", "AGE_SOURCE": "SENDER", "VIEWS_DISAGREE": "373066001",
    }  # fmt: skip
    size = {"REGION_WIDTH": 8.25, "REGION_HEIGHT": 5.5, "ASPECT_RATIO": 5.5 / 8.25}
    assert [numbers(group) for group in images[:2]] == [
        {"IMAGE": 1, "I_HIGH_RISK": 0.75, "I_MALIGNANT": 0.25, **PLACE, **size},
        {"IMAGE": 2, "I_HIGH_RISK": 0.625, "I_MALIGNANT": 0.875, **PLACE, **size},
    ]
    assert [choices(group)["111031"] for group in images[:2]] == ["RADIAL", "62824007"]
    assert [group.roi.value[0].tolist() for group in images] == [[10, 20], [5, 6], [10, 20]]
    assert without == []
    everything = [of_lesion, *images]
    assert sum("RECOMMENDED" in choices(group) for group in everything) == 1
    assert len({group.tracking_uid for group in everything}) == 1


def test_an_image_that_was_refused_is_listed_with_its_code(tmp_path: Path) -> None:
    result = in_several_images(tmp_path)
    refused = groups_by_tracking(result, tmp_path)[1][2]
    assert numbers(refused) == {"IMAGE": 3, **PLACE}
    assert (choices(refused)["NOT_SCORED"], texts(refused)) == ("PIXELS_UNIFORM", ["L1", "because of pixels_uniform"])
    report = structured_report(result, source_of(result, tmp_path))
    assert report.CompletionFlagDescription == "2 of 2 lesions scored; 1 of 4 images not scored"
    gone = replace(
        result.lesions[0], images=(*result.lesions[0].images[:2], refused_image("1.2.3", 3, "file_not_found"))
    )
    of_lesion, marked, without = groups_by_tracking(replace(result, lesions=(gone,)), tmp_path)
    assert (len(of_lesion.source_images), len(marked), len(without)) == (2, 2, 1)
    assert (choices(without[0])["NOT_SCORED"], without[0].source_images) == ("FILE_NOT_FOUND", [])


def test_laterality_and_clock_position_are_coded_at_each_finding_site(tmp_path: Path) -> None:
    of_lesion, images, _ = groups_by_tracking(in_several_images(tmp_path), tmp_path)
    for group in (of_lesion, *images):
        [site] = group.finding_sites
        said = (site.value.value, site.laterality.value, site.topographical_modifier.value)
        assert said == ("76752008", "7771000", "129781005")
    assert site.topographical_modifier.meaning == "10 o'clock position"


@pytest.mark.parametrize("laterality", ["both", None])
def test_a_lesion_of_which_nobody_says_one_breast_is_in_neither(laterality: str | None, tmp_path: Path) -> None:
    result = in_several_images(tmp_path)
    lesion = replace(result.lesions[0], laterality=laterality, clock_position=None)
    of_lesion, *_ = groups_by_tracking(replace(result, lesions=(lesion,)), tmp_path)
    [site] = of_lesion.finding_sites
    assert (site.laterality, site.topographical_modifier) == (None, None)


def test_our_own_reader_takes_one_lesion_with_all_its_images_and_its_place(tmp_path: Path) -> None:
    result = in_several_images(tmp_path)
    several, other = lesions_of(written(result, tmp_path))
    assert (several["lesion_id"], several["birads"], other["lesion_id"]) == ("L1", "4A", "L2")
    # The radial plane has a code of our own, which no reader knows.
    assert [(one["sop_instance_uid"], one["frame"], one.get("plane")) for one in several["images"]] == [
        (image.sop_instance_uid, frame, plane)
        for image, frame, plane in zip(result.lesions[0].images, (None, 3, 2), (None, "transverse", None), strict=True)
    ]
    assert [tuple(one["roi"].values()) for one in several["images"]] == [
        image.region or image.roi for image in result.lesions[0].images
    ]
    place = {name: several[name] for name in ("laterality", "clock_position", "distance_to_nipple_mm", "depth_mm")}
    assert list(place.values()) == ["left", 10, 40.0, 12.5]


UNIT = st.floats(0, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scores=st.lists(st.tuples(UNIT, UNIT), min_size=2, max_size=5))
def test_the_scores_of_any_images_come_back_to_the_last_bit(tmp_path: Path, scores: list[tuple[float, float]]) -> None:
    image = tmp_path / "a.dcm"
    sop = dcmread(image).SOPInstanceUID if image.exists() else write_image(image)
    images = tuple(image_of(sop, place, *both) for place, both in enumerate(scores, start=1))
    _, groups, _ = groups_by_tracking(study(scored(sop, images=images)), tmp_path)
    assert [(numbers(one)["I_HIGH_RISK"], numbers(one)["I_MALIGNANT"]) for one in groups] == scores


def test_dciodvfy_finds_no_error(dciodvfy: Dciodvfy, tmp_path: Path) -> None:
    assert dciodvfy(written(in_several_images(tmp_path), tmp_path), "Comprehensive3DSR") == []


@pytest.mark.slow
def test_pixelmed_finds_no_error(pixelmed: PixelMed, tmp_path: Path) -> None:
    assert pixelmed(written(mixed(tmp_path), tmp_path)) == []
    assert pixelmed(written(in_several_images(tmp_path), tmp_path)) == []


# --- HL7


def test_the_message_says_of_an_image_what_is_its_own_under_a_sub_id_of_its_own(tmp_path: Path) -> None:
    result = in_several_images(tmp_path)
    message = hl7_message(result, source_of(result, tmp_path))
    assert parse_message(message, find_groups=True).validate()
    said: dict[str, dict[str, str]] = {}
    for obx in hl7.parse(message).segments("OBX"):
        said.setdefault(str(obx[4]), {})[str(obx[3]).split("^")[0]] = str(obx[5]).split("^")[0]
    assert list(said) == ["", "1", "1.1", "1.2", "1.3", "2"]
    assert said["1"].items() >= {
        "P_HIGH_RISK": "0.6875", "IMAGES": "3", "IMAGES_REFUSED": "1", "VIEWS_DISAGREE": "373066001",
        "HIGH_RISK_SPREAD": "0.125", "MALIGNANT_SPREAD": "0.625",
        "272741003": "7771000", "111014": "129781005", "121242": "40.0", "121243": "12.5",
    }.items()  # fmt: skip
    assert not said["1"].keys() & {"IMAGE_UID", "REGION", "FRAME"}
    second = result.lesions[0].images[1]
    assert said["1.2"].items() >= {
        "IMAGE_UID": second.sop_instance_uid, "FRAME": "3", "REGION": "5, 6, 70, 80", "IMAGE": "2",
        "I_HIGH_RISK": "0.625", "I_MALIGNANT": "0.875", "111031": "62824007",
    }.items()  # fmt: skip
    assert (said["1.1"]["GATE"], said["1.3"]["NOT_SCORED"]) == ("OVERLAY_IN_ROI", "PIXELS_UNIFORM")
    assert not said["2"].keys() & {"IMAGES", "IMAGES_REFUSED", "VIEWS_DISAGREE", "HIGH_RISK_SPREAD"}
    assert "P_HIGH_RISK" not in said["1.1"]


# --- FHIR


def test_the_observation_of_a_lesion_is_derived_from_those_of_its_images(tmp_path: Path) -> None:
    result = in_several_images(tmp_path)
    bundle = Bundle.model_validate_json(fhir_bundle(result, source_of(result, tmp_path)))
    known = {entry.fullUrl: entry.resource for entry in bundle.entry}
    observations = [one for one in known.values() if one.get_resource_type() == "Observation"]
    assert len(observations) == 7
    [report] = [one for one in known.values() if one.get_resource_type() == "DiagnosticReport"]
    of_lesion, other = (known[reference.reference] for reference in report.result)
    radiologists, *images = (known[one.reference] for one in of_lesion.derivedFrom)
    assert radiologists.device is None
    said = {one.code.coding[0].code: one for one in of_lesion.component}
    assert (said["IMAGES"].valueQuantity.value, said["IMAGES_REFUSED"].valueQuantity.value) == (3, 1)
    spreads = [float(said[name].valueQuantity.value) for name in ("HIGH_RISK_SPREAD", "MALIGNANT_SPREAD")]
    assert spreads == [0.125, 0.625]
    assert said["VIEWS_DISAGREE"].valueCodeableConcept.coding[0].code == "373066001"
    assert said["111014"].valueCodeableConcept.coding[0].code == "129781005"
    scores = [
        {one.code.coding[0].code: float(one.valueQuantity.value) for one in image.component if one.valueQuantity}
        for image in images
    ]
    assert [(one.get("IMAGE"), one.get("I_HIGH_RISK"), one.get("I_MALIGNANT")) for one in scores] == [
        (1, 0.75, 0.25),
        (2, 0.625, 0.875),
        (3, None, None),
    ]
    shown = [image.derivedFrom[0].identifier.value for image in images]
    assert shown == [f"urn:oid:{image.sop_instance_uid}" for image in result.lesions[0].images]
    assert [image.dataAbsentReason and image.dataAbsentReason.text for image in images] == [
        None,
        None,
        "pixels_uniform",
    ]
    assert [one.derivedFrom[1].identifier.value for one in (other,)] == [shown[0]]
    assert {one.identifier[0].value for one in (of_lesion, radiologists, *images)} == {of_lesion.identifier[0].value}


@pytest.mark.parametrize(
    ("laterality", "code"), [("left", "80248007"), ("right", "73056007"), ("both", "76752008"), (None, "76752008")]
)
def test_the_body_site_is_the_breast_and_which_where_that_is_known(
    laterality: str | None, code: str, tmp_path: Path
) -> None:
    result = study(scored(write_image(tmp_path / "a.dcm"), laterality=laterality))
    bundle = Bundle.model_validate_json(fhir_bundle(result, source_of(result, tmp_path)))
    sites = [one.resource.bodySite for one in bundle.entry if one.resource.get_resource_type() == "Observation"]
    assert {site.coding[0].code for site in sites} == {code}


def test_places_and_planes_are_written_with_the_codes_that_are_read() -> None:
    def codes(table: Mapping[Any, concepts.Concept]) -> dict[tuple[str, str], Any]:
        return {(concept.scheme, concept.value): said for said, concept in table.items() if concept.scheme == "SCT"}

    assert codes(concepts.CLOCK_POSITIONS).items() <= location_codes.CLOCK_POSITIONS.items()
    assert codes(concepts.PLANES).items() <= location_codes.PLANES.items()
    for sides in (concepts.LATERALITIES, concepts.SIDES):
        assert codes(sides).items() <= location_codes.LATERALITIES.items()


# --- what is sent beside documents


def test_the_work_item_counts_images_and_names_each_to_be_read(tmp_path: Path) -> None:
    result = in_several_images(tmp_path)
    item = work_item(result, source_of(result, tmp_path), Worklist("Breast ultrasound", "PACS", with_report=False))
    assert "Images of these lesions: 4, of which could not be scored: 1." in item.CommentsOnTheScheduledProcedureStep
    named = {one.ReferencedSOPInstanceUID for of in item.InputInformationSequence for one in of.ReferencedSOPSequence}
    assert named == {image.sop_instance_uid for image in result.lesions[0].images}


def test_the_webhook_counts_images_where_a_lesion_has_several(tmp_path: Path) -> None:
    told = event_of(Parcel(1, in_several_images(tmp_path)), identifiers=False)
    assert (told["lesions"], told["images"], told["images_refused"], told["views_disagree"]) == (2, 4, 1, 1)
    untold = event_of(Parcel(1, mixed(tmp_path)), identifiers=False)
    assert not {"images", "images_refused", "views_disagree"} & untold.keys()
