"""Copies of an image are found, stored anew, scaled, brightened, marked or cropped; images of two lesions are not."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from tests.shared import real_set
from worker.dataset.importers.breast import import_breast
from worker.dataset.importers.bus_bra import import_bus_bra
from worker.dataset.looks import LESION_CUTS, SIDE, alike, look_of
from worker.dataset.manifest_image import read_picture
from worker.phantom.phantom import phantom
from worker.study import Roi


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.uint8]]:
    return [phantom(seed, malignant=bool(seed % 2)).image for seed in range(40)]


def test_no_two_phantoms_look_alike(images: list[NDArray[np.uint8]]) -> None:
    assert alike([look_of(image) for image in images]) == []


def as_jpeg(image: Image.Image) -> Image.Image:
    stored = BytesIO()
    image.save(stored, "JPEG", quality=60)
    return Image.open(stored)


def with_calipers(image: Image.Image) -> Image.Image:
    drawn = image.copy()
    for x, y in ((60, 60), (120, 70)):
        ImageDraw.Draw(drawn).line((x - 6, y, x + 6, y), 255)
        ImageDraw.Draw(drawn).line((x, y - 6, x, y + 6), 255)
    return drawn


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    columns, rows = image.size
    return image.crop((int(left * columns), int(top * rows), int(right * columns), int(bottom * rows)))


@pytest.mark.parametrize(
    "copied",
    [
        pytest.param(as_jpeg, id="as JPEG"),
        pytest.param(lambda image: image.resize((image.width * 2 // 3, image.height * 3 // 4)), id="scaled"),
        pytest.param(lambda image: ImageEnhance.Brightness(image).enhance(1.3), id="brighter"),
        pytest.param(lambda image: ImageEnhance.Contrast(image).enhance(0.7), id="of less contrast"),
        pytest.param(lambda image: image.convert("RGB"), id="in colour"),
        pytest.param(with_calipers, id="with calipers"),
        pytest.param(lambda image: cropped(image, 0, 0, 1, 0.8), id="without its lower fifth"),
        pytest.param(lambda image: cropped(image, 0.05, 0.1, 0.92, 0.95), id="cropped on all sides"),
    ],
)
def test_a_copy_is_found_among_others(
    copied: Callable[[Image.Image], Image.Image], images: list[NDArray[np.uint8]]
) -> None:
    for place, image in enumerate(images[:5]):
        looks = [*(look_of(other) for other in images[:10]), look_of(np.asarray(copied(Image.fromarray(image))))]
        assert alike(looks) == [(place, 10)]


def test_two_crops_of_an_image_are_found_whichever_comes_first(images: list[NDArray[np.uint8]]) -> None:
    image = Image.fromarray(images[0])
    parts = [look_of(np.asarray(cropped(image, *box))) for box in ((0, 0, 0.94, 1), (0.05, 0.05, 1, 1))]
    assert alike(parts) == alike(parts[::-1]) == [(0, 1)]


def test_a_lesion_is_found_in_a_frame_that_holds_little_else(images: list[NDArray[np.uint8]]) -> None:
    frame = images[0]
    rows, columns = frame.shape[:2]
    lesion = Roi(columns // 3, rows // 3, columns // 4, rows // 4)
    left, top = lesion.x - lesion.width // 3, lesion.y - lesion.height // 3
    part = frame[top : lesion.y + 4 * lesion.height // 3, left : lesion.x + 4 * lesion.width // 3]
    moved = Roi(lesion.x - left, lesion.y - top, lesion.width, lesion.height)
    assert alike([look_of(frame), look_of(part)]) == []
    assert alike([look_of(frame, lesion), look_of(part, moved)], LESION_CUTS) == [(0, 1)]


def test_what_shows_nothing_is_like_nothing() -> None:
    assert alike([bytes(SIDE * SIDE)] * 3) == []
    assert alike([]) == alike([bytes(SIDE * SIDE)]) == []


@pytest.mark.slow
def test_of_a_real_sets_patients_no_two_are_taken_for_one() -> None:
    source = real_set("breast")
    rows = import_breast(source, source, lambda _done, _total: None).rows
    assert alike([look_of(read_picture(source / row.image)) for row in rows]) == []


@pytest.mark.slow
def test_the_cases_that_bus_bra_has_twice_are_found_and_no_others() -> None:
    source = real_set("bus-bra")
    rows = import_bus_bra(source, source, lambda _done, _total: None).rows
    pairs = alike([look_of(read_picture(source / row.image)) for row in rows])
    apart = {(rows[one].patient_key, rows[other].patient_key) for one, other in pairs}
    assert {pair for pair in apart if pair[0] != pair[1]} <= {
        ("bus-bra-44", "bus-bra-65"), ("bus-bra-56", "bus-bra-91"), ("bus-bra-341", "bus-bra-356"),
    }  # fmt: skip
