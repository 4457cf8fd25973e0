"""A lesion on several images: its one score above them, each one's own, which were refused, and where they disagree."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from db.reads.worklist_page_records import ImageResultRow
from db.schema.records import ImageResultRecord, LesionImageRecord
from db.schema.tables import ModelRow
from tests.db.samples import ended, lesion, refused, scored, scored_image, study
from tests.worker.web.conftest import client_of
from tests.worker.web.test_heat_maps import PNG
from worker.demo.dicom import Header, write_ultrasound
from worker.errors import MEANINGS, Code
from worker.phantom.phantom import phantom
from worker.reporting.explanation import picture_name
from worker.settings import Settings
from worker.web.heat_maps import HeatMaps
from worker.web.languages import language
from worker.web.site import Site
from worker.web.words import Words, on_each_side

SignIn = Callable[..., TestClient]
Writing = sessionmaker[Session]

BOX = (10, 20, 60, 50)
UNIFORM = ImageResultRecord("failed", "pixels_uniform", "nothing but black")


def marked(*planes: str | None, files: tuple[str, ...] = (), **changes: Any) -> Any:
    """A study with one lesion, on as many images as planes are given, each in a file of its own or in none."""
    images = tuple(
        LesionImageRecord(f"1.2.9.{number}" if not files else files[number], None if files else number + 1, BOX, plane)
        for number, plane in enumerate(planes)
    )
    return study("1.2.9", lesions=(lesion("L1", images=images, **changes),))


def of_images(*images: ImageResultRecord, lh: float = 0.9, bm: float = 0.8) -> Any:
    return replace(scored(lh=lh, bm=bm), images=images)


def shown(client: TestClient, study_id: UUID) -> str:
    """Return what is to be read on the page of a study, with single spaces."""
    text = unescape(re.sub(r"<[^>]+>", " ", client.get(f"/studies/{study_id}").text))
    return re.sub(r"\s+(?=[:.,])", "", re.sub(r"\s+", " ", text))


def test_each_image_has_its_own_scores_and_the_lesions_stand_above_them(sessions: Writing, sign_in: SignIn) -> None:
    with sessions.begin() as session:
        both = of_images(scored_image(0.95, 0.7), scored_image(0.85, 0.9), lh=0.9, bm=0.8)
        study_id = ended(session, marked("radial", "antiradial"), both).study_id
    page = shown(sign_in(), study_id)
    said = [
        "One score from 2 images: the mean of their scores",
        "0.800 malignant", "0.900 high risk",
        "Image 1 radial plane", "DLR_BM 0.700 malignant", "DLR_LH 0.950 high risk",
        "Image 2 antiradial plane", "DLR_BM 0.900 malignant", "DLR_LH 0.850 high risk",
        "DLR_LH says high risk and DLR_BM says malignant",
    ]  # fmt: skip
    places = [page.find(one) for one in said]
    assert -1 not in places, dict(zip(said, places, strict=True))
    assert places == sorted(places)
    assert "could not be scored" not in page
    assert "disagree" not in page


@pytest.mark.parametrize(
    ("lh", "bm", "said", "german"),
    [
        (None, "mean", "the mean of their scores", "der Mittelwert ihrer Werte"),
        ("max", "max", "the highest of their scores", "der höchste ihrer Werte"),
        ("logit_mean", "logit_mean", "the mean of the logits of their scores", "der Mittelwert der Logits ihrer Werte"),
        (
            "max",
            "mean",
            "DLR_BM the mean of their scores, DLR_LH the highest of their scores",
            "DLR_BM der Mittelwert ihrer Werte, DLR_LH der höchste ihrer Werte",
        ),
    ],
)
def test_the_page_names_what_the_cards_make_of_the_images_scores(
    sessions: Writing, sign_in: SignIn, lh: str | None, bm: str, said: str, german: str
) -> None:
    with sessions.begin() as session:
        for row in session.scalars(select(ModelRow)):
            how = lh if row.name == "DLR_LH" else bm
            row.card = {**row.card, **({} if how is None else {"aggregation": how})}
        study_id = ended(session, marked(None, None), of_images(scored_image(), scored_image())).study_id
    assert f"One score from 2 images: {said}" in shown(sign_in(), study_id)
    page = sign_in().get(f"/studies/{study_id}", headers={"Accept-Language": "de"}).text
    assert f"Ein Wert aus 2 Bildern: {german}" in page


@pytest.mark.parametrize(
    ("count", "of_the_score", "of_the_others"),
    [
        (1, "One score from 2 images", "1 of 3 images could not be scored, and the score is without it."),
        (2, "The score of one image", "2 of 3 images could not be scored, and the score is without them."),
    ],
)
def test_an_image_that_was_refused_says_why_and_that_the_score_is_without_it(
    sessions: Writing, sign_in: SignIn, count: int, of_the_score: str, of_the_others: str
) -> None:
    images = [*[UNIFORM] * count, *[scored_image()] * (3 - count)]
    with sessions.begin() as session:
        study_id = ended(session, marked(None, None, None), of_images(*images)).study_id
    page = shown(sign_in(), study_id)
    assert f"{of_the_score}" in page
    assert of_the_others in page
    assert page.count("Not scored: pixels_uniform") == page.count(MEANINGS[Code.PIXELS_UNIFORM]) == count
    assert "nothing but black" not in page
    assert shown(sign_in("admin"), study_id).count("nothing but black") == count


def test_a_lesion_of_which_no_image_was_scored_names_each_ones_reason(sessions: Writing, sign_in: SignIn) -> None:
    failed = replace(refused("L1", "pixels_uniform"), images=(UNIFORM, replace(UNIFORM, error_code="doppler_in_roi")))
    with sessions.begin() as session:
        study_id = ended(session, marked("radial", None), failed).study_id
    page = shown(sign_in(), study_id)
    assert page.count("Not scored: pixels_uniform") == 2
    assert page.count("Not scored: doppler_in_roi") == 1
    assert "score from" not in page


def test_images_on_both_sides_of_a_threshold_are_said_to_disagree_and_which_they_are(
    sessions: Writing, sign_in: SignIn
) -> None:
    images = scored_image(0.9, 0.7), scored_image(0.8, 0.2), scored_image(0.7, 0.9)
    with sessions.begin() as session:
        study_id = ended(session, marked(None, None, None), of_images(*images, bm=0.6)).study_id
    page = shown(sign_in(), study_id)
    assert "The images of this lesion disagree. Look at it yourself." in page
    assert "DLR_BM: images 1 and 3 malignant, image 2 benign." in page
    assert "DLR_LH: image" not in page


def test_a_reason_for_doubt_names_the_images_that_it_is_of(sessions: Writing, sign_in: SignIn) -> None:
    images = scored_image(gate=()), scored_image(gate=("roi_saturated",)), scored_image(gate=("roi_saturated",))
    with sessions.begin() as session:
        study_id = ended(session, marked(None, None, None), of_images(*images)).study_id
    assert f"Images 2 and 3: {MEANINGS[Code.ROI_SATURATED].split(':')[0]}" in shown(sign_in(), study_id)


def test_where_a_lesion_is_in_the_breast_is_said_as_far_as_it_is_known(sessions: Writing, sign_in: SignIn) -> None:
    place = {"laterality": "left", "clock_position": 10, "distance_to_nipple_mm": 35.5, "depth_mm": 12.0}
    with sessions.begin() as session:
        study_id = ended(session, marked("radial", **place), scored()).study_id
        nowhere = ended(session, study("1.2.3", "b"), scored()).study_id
    reader = sign_in()
    page = shown(reader, study_id)
    assert "Location Left, 10 o'clock, 35.5 mm from the nipple, 12 mm deep" in page
    assert "Image radial plane" in page
    assert "Location" not in shown(reader, nowhere)
    german = reader.get(f"/studies/{study_id}", headers={"Accept-Language": "de"}).text
    assert "Links, 10 Uhr, 35,5 mm von der Mamille, 12 mm tief" in german


def test_the_list_says_how_many_images_a_study_has(sessions: Writing, sign_in: SignIn) -> None:
    with sessions.begin() as session:
        ended(session, marked("radial", "antiradial"), of_images(scored_image(), scored_image()))
    assert '<td data-label="Images">2</td>' in sign_in().get("/").text


# --- pictures


@pytest.fixture
def two_planes(settings: Settings, sessions: Writing) -> tuple[UUID, list[Any]]:
    """A study whose lesion is on two images in the storage; the phantoms that they show."""
    header = Header(generate_uid(), "Roe^Mary", "MRN4711", "ACC4711", "20261123", "19790517")
    drawn = [phantom(number, malignant=True, rows=192, columns=256) for number in (3, 4)]
    paths = [settings.storage_root / f"{number}.dcm" for number in (1, 2)]
    sops = tuple(
        write_ultrasound(path, header, [one.image], ExplicitVRLittleEndian)
        for path, one in zip(paths, drawn, strict=True)
    )
    job = {"images": {"kind": "files", "paths": [path.name for path in paths]}}
    record = replace(marked("radial", "antiradial", files=sops), study_instance_uid=header.study_instance_uid, job=job)
    boxes = [(one.roi.x, one.roi.y, one.roi.width, one.roi.height) for one in drawn]
    with sessions.begin() as session:
        images = [scored_image(region=box) for box in boxes]
        return ended(session, record, of_images(*images)).study_id, drawn


def test_each_image_has_pictures_of_its_own_pixels(two_planes: tuple[UUID, list[Any]], sign_in: SignIn) -> None:
    study_id, drawn = two_planes
    reader = sign_in()
    html = reader.get(f"/studies/{study_id}").text
    for number, one in enumerate(drawn, start=1):
        folder = f"/studies/{study_id}/lesions/1/images/{number}"
        assert f'src="{folder}/crop.png" alt="Image {number} of lesion 1 with its surroundings, as stored"' in html
        frame = np.asarray(Image.open(BytesIO(reader.get(f"{folder}/frame.png").content)))
        inside = np.s_[one.roi.y : one.roi.y + one.roi.height, one.roi.x : one.roi.x + one.roi.width]
        assert (frame[inside] == one.image[inside][..., None]).all()


def test_one_switch_lays_each_images_own_heat_map_over_it(
    two_planes: tuple[UUID, list[Any]], site: Site, sign_in: SignIn, tmp_path: Path
) -> None:
    study_id, _ = two_planes
    maps = {1: PNG + b"1", 2: PNG + b"2"}
    for image, content in maps.items():
        (tmp_path / picture_name(study_id, 1, "DLR_BM", None if image == 1 else image)).write_bytes(content)
    reader = client_of(replace(site, heat_maps=HeatMaps(tmp_path)))
    reader.cookies = sign_in().cookies
    html = reader.get(f"/studies/{study_id}").text
    assert html.count('<fieldset class="heat-switch">') == 1
    assert html.count('type="radio" name="heat-1"') == 2
    for image, content in maps.items():
        address = f"/studies/{study_id}/lesions/1/images/{image}/heat/DLR_BM.png"
        assert f'src="{address}" alt="Where DLR_BM looked in image {image} of lesion 1"' in html
        assert reader.get(address).content == content


# --- words


def image(number: int, bm: float | None) -> ImageResultRow:
    state = "failed" if bm is None else "scored"
    return ImageResultRow(1, number, None, None, state, None, None, None, None, [], None, None, None, bm, bm)


@pytest.mark.parametrize(
    ("probabilities", "reach", "do_not"),
    [((0.5, 0.49), [1], [2]), ((0.2, None, 0.9), [3], [1]), ((0.5, 0.6), [1, 2], []), ((None,), [], [])],
)
def test_an_image_at_the_threshold_reaches_it_and_one_without_a_score_is_on_no_side(
    probabilities: tuple[float | None, ...], reach: list[int], do_not: list[int]
) -> None:
    scores = [(image(number, one), one) for number, one in enumerate(probabilities, start=1)]
    sides = on_each_side(scores, 0.5)
    assert [[one.image for one in side] for side in sides] == [reach, do_not]


@pytest.mark.parametrize(
    ("code", "numbers", "named"),
    [
        ("en", [2], "image 2"),
        ("en", [1, 2, 4], "images 1, 2 and 4"),
        ("de", [2], "Bild 2"),
        ("de", [1, 3], "Bilder 1 und 3"),
    ],
)
def test_images_are_named_by_their_numbers(code: str, numbers: list[int], named: str) -> None:
    assert Words(language(code)).numbered(image(number, 0.5) for number in numbers) == named
