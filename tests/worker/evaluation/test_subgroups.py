"""Parts of the lesions: their bands, and when they are too few."""

import numpy as np
import pytest

from tests.worker.evaluation.samples import BM, lesion, many
from worker.evaluation.ground_truth import Truth, answers
from worker.evaluation.subgroups import FEWEST, MOST_SITES, By, Subgroup, age_band, image_band, size_band, subgroups


def of(by: By, *lesions: object) -> dict[str, Subgroup]:
    known = answers(lesions or many(), BM, Truth.PATHOLOGY)
    found = subgroups(known, np.full(len(known.labels), 0.5))  # type: ignore[arg-type]
    return {one.value: one for one in found if one.by is by}


@pytest.mark.parametrize(
    ("age", "band"),
    [(None, "unknown"), (0, "under 40"), (39.99, "under 40"), (40, "40-49"), (69.9, "60-69"),
     (70, "70 and over"), (120, "70 and over")],
)  # fmt: skip
def test_age_bands(age: float | None, band: str) -> None:
    assert age_band(lesion(age_years=age)) == band


@pytest.mark.parametrize(
    ("size", "band"),
    [(None, "unknown"), (1, "up to 10 mm"), (10, "up to 10 mm"), (10.1, "over 10 to 20 mm"), (20, "over 10 to 20 mm"),
     (50, "over 20 to 50 mm"), (51, "over 50 mm")],
)  # fmt: skip
def test_size_bands(size: float | None, band: str) -> None:
    assert size_band(lesion(size_mm=size)) == band


@pytest.mark.parametrize(
    ("images", "band"),
    [(None, "unknown"), (1, "1 image"), (2, "2 images"), (3, "3 images or more"), (64, "3 images or more")],
)
def test_image_bands(images: int | None, band: str) -> None:
    assert image_band(lesion(images=images)) == band


def test_lesions_are_counted_by_their_number_of_images_and_each_once() -> None:
    made = [lesion(f"L{n}", malignant=n % 3 == 0, images=1 + n % 4) for n in range(40)]
    assert {value: part.lesions for value, part in of(By.IMAGES, *made).items()} == {
        "1 image": 10, "2 images": 10, "3 images or more": 20,
    }  # fmt: skip


def test_categories_are_in_order_and_4_without_its_letter_stands_before_4a() -> None:
    made = [
        lesion(f"{birads}{n}", birads=birads, malignant=n < 1)
        for birads in ("5", "4", "4A", "3", None)
        for n in range(2)
    ]
    assert list(of(By.BIRADS, *made)) == ["3", "4", "4A", "5", "unknown"]


@pytest.mark.parametrize(
    ("malignant", "benign", "has"),
    [(FEWEST, FEWEST, (True, True, True)), (FEWEST - 1, FEWEST, (False, False, True)),
     (FEWEST, FEWEST - 1, (False, True, False)), (1, 1, (False, False, False))],
)  # fmt: skip
def test_fewer_than_ten_of_a_class_are_too_few(malignant: int, benign: int, has: tuple[bool, bool, bool]) -> None:
    made = [lesion(f"M{n}", bm=0.8, malignant=True, site="A") for n in range(malignant)]
    made += [lesion(f"B{n}", bm=0.7 if n else 0.9, site="A") for n in range(benign)]
    part = of(By.SITE, *made)["A"]
    assert (part.auc is not None, part.sensitivity is not None, part.specificity is not None) == has
    assert part.too_few is not all(has)
    assert (part.lesions, part.positives) == (malignant + benign, malignant)


def test_what_is_known_of_no_lesion_has_no_rows() -> None:
    made = [lesion("a", malignant=True), lesion("b")]
    assert of(By.AGE, *made) == of(By.SIZE, *made) == of(By.SITE, *made) == {}


def test_the_smallest_sites_share_a_row() -> None:
    made = [lesion(f"{site}-{n}", site=f"S{site:02d}") for site in range(MOST_SITES + 2) for n in range(2 + (site < 3))]
    parts = of(By.SITE, *made, lesion("x", malignant=True))
    assert len(parts) == MOST_SITES + 2
    assert list(parts)[:3] == ["S00", "S01", "S02"]
    assert (parts["other sites"].lesions, parts["unknown"].lesions) == (4, 1)


def test_every_lesion_is_in_one_part_of_each_kind() -> None:
    for by in By:
        assert sum(part.lesions for part in of(by).values()) == len(many())
