"""A lesion in several images, in each kind of document: what is said once, and what is said of each image."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import hl7
import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle
from hl7apy.parser import parse_message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from tests.worker.intake.reports import lesions_of
from tests.worker.reporting.conftest import Dciodvfy, PixelMed
from tests.worker.reporting.samples import (
    COLUMNS,
    LIMITS,
    ROWS,
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
from worker.imaging.decoder_pool import DecoderPool
from worker.imaging.heat_map import HeatMap
from worker.reporting import concepts
from worker.reporting.documents import Camera, Kind, documents_of
from worker.reporting.fhir import fhir_bundle
from worker.reporting.frames import frame_reader
from worker.reporting.hl7 import hl7_message
from worker.reporting.lesion_content import has_several_images, summary_of, views_disagree
from worker.reporting.lesion_picture import IN_A_ROW, LARGEST, PANEL, Shown, drawn_side_by_side, lines_of
from worker.reporting.result import LesionResult, ModelScore, StudyResult
from worker.reporting.secondary_capture import secondary_capture_of_images
from worker.reporting.structured_report import structured_report
from worker.sending.destination import Parcel
from worker.sending.webhook import event_of
from worker.sending.work_item import Worklist, work_item
from worker.study import Roi

YELLOW = [255, 220, 0]


@pytest.fixture(scope="module")
def camera() -> Iterator[Camera]:
    pool = DecoderPool(LIMITS, 1, 60.0)
    yield Camera(frame_reader(pool))
    pool.close()


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
        "121242": 40.0, "121243": 12.5, "IMAGES": 3, "IMAGES_REFUSED": 1,
    }  # fmt: skip
    assert choices(of_lesion) == {
        "111005": "MA.II.A.5.4A", "RECOMMENDED": "REC_ABOVE_4A", "OUTCOME": "UPGRADED", "LH_CLASS": "HIGH_RISK",
        "BM_CLASS": "MALIGNANT", "AGE_SOURCE": "SENDER", "VIEWS_DISAGREE": "373066001",
    }  # fmt: skip
    size = {"REGION_WIDTH": 8.25, "REGION_HEIGHT": 5.5, "ASPECT_RATIO": 5.5 / 8.25}
    assert [numbers(group) for group in images[:2]] == [
        {"IMAGE": 1, "I_HIGH_RISK": 0.75, "I_MALIGNANT": 0.25, **size},
        {"IMAGE": 2, "I_HIGH_RISK": 0.625, "I_MALIGNANT": 0.875, **size},
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
    assert numbers(refused) == {"IMAGE": 3}
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


def test_our_own_reader_takes_each_region_with_the_radiologists_category(tmp_path: Path) -> None:
    lesions = lesions_of(written(in_several_images(tmp_path), tmp_path))
    assert {lesion["birads"] for lesion in lesions} == {"4A"}


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
        "272741003": "7771000", "111014": "129781005", "121242": "40.0", "121243": "12.5",
    }.items()  # fmt: skip
    assert not said["1"].keys() & {"IMAGE_UID", "REGION", "FRAME"}
    second = result.lesions[0].images[1]
    assert said["1.2"].items() >= {
        "IMAGE_UID": second.sop_instance_uid, "FRAME": "3", "REGION": "5, 6, 70, 80", "IMAGE": "2",
        "I_HIGH_RISK": "0.625", "I_MALIGNANT": "0.875", "111031": "62824007",
    }.items()  # fmt: skip
    assert (said["1.1"]["GATE"], said["1.3"]["NOT_SCORED"]) == ("OVERLAY_IN_ROI", "PIXELS_UNIFORM")
    assert not said["2"].keys() & {"IMAGES", "IMAGES_REFUSED", "VIEWS_DISAGREE"}
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


# --- pictures


def test_all_images_are_side_by_side_with_the_text_above_and_their_scores_below(
    camera: Camera, dciodvfy: Dciodvfy, tmp_path: Path
) -> None:
    result = in_several_images(tmp_path)
    source = source_of(result, tmp_path)
    first, second = documents_of(Kind.SC, result, source, camera)
    made = dcmread(BytesIO(first.content))
    pixels = made.pixel_array
    assert pixels.shape[1] == 3 * PANEL
    frames = (dcmread(tmp_path / "a.dcm").pixel_array, dcmread(tmp_path / "b.dcm").pixel_array[2])
    insides = ((slice(20, 60), slice(10, 40)), (slice(6, 86), slice(5, 75)))
    [top] = {
        place
        for place in range(len(pixels) - ROWS)
        if all(
            (pixels[place : place + ROWS, left : left + COLUMNS, 0][inside] == frame[inside]).all()
            for left, frame, inside in zip((0, PANEL), frames, insides, strict=True)
        )
    }
    assert pixels[top + 19, 9].tolist() == pixels[top + 5, PANEL + 4].tolist() == YELLOW
    assert (pixels[:top, :PANEL] > 100).any()
    assert (pixels[top + ROWS :, PANEL : 2 * PANEL] > 100).any()
    origins = [(one.ReferencedSOPInstanceUID, one.get("ReferencedFrameNumber")) for one in made.SourceImageSequence]
    scored_images = result.lesions[0].images[:2]
    assert [sop for sop, _ in origins] == [image.sop_instance_uid for image in scored_images]
    assert origins[1][1] == 3
    (tmp_path / "sc.dcm").write_bytes(first.content)
    assert dciodvfy(tmp_path / "sc.dcm", "SCImage") == []
    assert dcmread(BytesIO(second.content)).Columns == COLUMNS + PANEL


def test_the_text_above_says_how_many_images_count_and_that_they_disagree(tmp_path: Path) -> None:
    result = in_several_images(tmp_path)
    written = [line for line, _ in lines_of(result, result.lesions[0])]
    assert "Scored together: 2 of its 3 images" in written
    assert "The images lie on both sides of a threshold." in written
    assert not any("image" in line.lower() for line, _ in lines_of(result, result.lesions[1]))


def test_many_images_stand_in_rows_and_are_drawn_smaller(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm")
    frame = np.full((LARGEST // 2, LARGEST), 60, np.uint8)

    def size(images: int) -> tuple[int, int]:
        lesion = scored(sop, images=tuple(image_of(sop, place) for place in range(1, images + 1)))
        shown = [Shown(image, frame) for image in lesion.images]
        height, width, _ = drawn_side_by_side(study(lesion), lesion, shown).shape
        return height, width

    assert size(IN_A_ROW)[1] == IN_A_ROW * LARGEST
    assert size(IN_A_ROW + 1)[1] == IN_A_ROW * LARGEST // 2
    assert size(2 * IN_A_ROW) == size(IN_A_ROW + 1)
    assert size(2 * IN_A_ROW + 1)[0] > size(2 * IN_A_ROW)[0]


def test_where_models_looked_is_drawn_on_each_image_with_that_images_own_score(camera: Camera, tmp_path: Path) -> None:
    asked: list[tuple[str, float]] = []

    def look(lesion: LesionResult, score: ModelScore, frame: np.ndarray) -> HeatMap:
        asked.append((score.model, score.positive_probability))
        assert lesion.region is not None
        return HeatMap(np.zeros(frame.shape, np.float32), Roi(*lesion.region), grey=True, cells=7)

    result = in_several_images(tmp_path)
    source = source_of(result, tmp_path)
    documents = [documents_of(Kind.SC, result, source, one)[0] for one in (Camera(camera.frames, look), camera)]
    made, plain = (dcmread(BytesIO(document.content)) for document in documents)
    assert asked[:4] == [("DLR_LH", 0.75), ("DLR_BM", 0.25), ("DLR_LH", 0.625), ("DLR_BM", 0.875)]
    assert "Grad-CAM" in made.DerivationDescription
    assert made.SOPInstanceUID != plain.SOPInstanceUID


def test_only_frames_that_are_all_free_of_annotation_make_a_picture_that_is(tmp_path: Path) -> None:
    for said, wanted in ((("NO", "NO"), "NO"), (("NO", "YES"), "YES"), (("NO", ""), "YES")):
        sops = []
        for name, annotation in zip(("a.dcm", "b.dcm"), said, strict=True):
            sops.append(write_image(tmp_path / name))
            image = dcmread(tmp_path / name)
            image.BurnedInAnnotation = annotation
            image.save_as(tmp_path / name)
        images = tuple(image_of(sop, place) for place, sop in enumerate(sops, start=1))
        lesion = scored(sops[0], images=images)
        result = study(lesion, paths=("a.dcm", "b.dcm"))
        shown = [Shown(image, np.zeros((ROWS, COLUMNS), np.uint8)) for image in images]
        made = secondary_capture_of_images(result, lesion, source_of(result, tmp_path), shown)
        assert made.BurnedInAnnotation == wanted


def test_places_and_planes_have_the_codes_of_the_standard() -> None:
    assert {concept.value for concept in concepts.CLOCK_POSITIONS.values()} == {
        str(code) for code in (129772004, 129773009, 129774003, 129775002, 129776001, 129777005,
                               129778000, 129779008, 129780006, 129781005, 129782003, 129783008)
    }  # fmt: skip
    assert list(concepts.CLOCK_POSITIONS) == list(range(1, 13))


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
