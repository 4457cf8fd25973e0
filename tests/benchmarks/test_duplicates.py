"""Copies are made as they are found in the wild, and what is joined is known, an image's own copy, or a stranger's."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.duplicates import WAYS, Picture, as_markdown, copies, joined, known_copies, measured
from tests.worker.dataset.manifests import row
from worker.dataset.manifest_file import write_manifest
from worker.phantom.phantom import phantom
from worker.study import Roi


def picture(seed: int) -> Picture:
    drawn = phantom(seed, malignant=seed % 2 == 0)
    return Picture(f"{seed}", f"P{seed}", drawn.image, drawn.roi)


@pytest.mark.parametrize("way", [pytest.param(way, id=str(number)) for number, way in enumerate(WAYS.values())])
def test_a_copy_is_another_image_with_its_lesion_inside_or_none(way: object) -> None:
    pictures = [picture(seed) for seed in range(4)]
    made = copies(pictures, way)  # type: ignore[arg-type]
    again = copies(pictures, way)  # type: ignore[arg-type]
    for one, copy, same in zip(pictures, made, again, strict=True):
        assert copy.patient == one.patient
        assert np.array_equal(copy.frame, same.frame), "the same seed makes the same copy"
        assert copy.frame.shape != one.frame.shape or not np.array_equal(copy.frame, one.frame)
        if copy.region is not None:
            rows, columns = copy.frame.shape[:2]
            assert copy.region.x + copy.region.width <= columns + 1
            assert copy.region.y + copy.region.height <= rows + 1


def test_a_lesion_that_a_crop_cuts_is_none_any_more() -> None:
    whole = replace(picture(0), region=Roi(0, 0, *reversed(picture(0).frame.shape[:2])))
    (copy,) = copies([whole], list(WAYS.values())[-1])
    assert copy.region is None


def test_known_copies_of_a_set_are_each_named_once() -> None:
    busi = known_copies("busi")
    assert Counter(busi.values()) == {"sift": 214, "eye": 21}
    assert all(one < other for one, other in busi)
    assert Counter(known_copies("bus-bra").values()) == {"eye": 6}
    assert known_copies("of no such set") == {}


@pytest.mark.slow
def test_joined_images_are_known_copies_or_told_by_name_and_copies_are_found(tmp_path: Path) -> None:
    names = ["benign (1)", "benign (318)", "benign (125)", "benign (126)", *(f"other {at}" for at in range(4))]
    seeds = [0, 0, 1, 1, 2, 3, 4, 4]
    rows = []
    for at, (name, seed) in enumerate(zip(names, seeds, strict=True)):
        one = picture(seed)
        Image.fromarray(one.frame).save(tmp_path / f"{name}.jpg", quality=70 + at)
        assert one.region is not None
        roi = {"x": one.region.x, "y": one.region.y, "width": one.region.width, "height": one.region.height}
        rows.append(row(image=f"{name}.jpg", patient_key=f"P{at}", roi=roi))
    write_manifest(tmp_path / "busi.csv", rows)
    found = measured(tmp_path / "busi.csv", 6)
    assert (found["images"], found["patients"], found["pairs_of_different_patients"]) == (8, 8, 28)
    assert (found["by_sift"], found["missed"], found["joined_besides"]) == (1, [], 1)
    assert found["others_joined"] == [("other 2", "other 3")]
    assert [one["of"] for one in found["copies"]] == [6] * len(WAYS)
    assert found["copies"][0]["found"] == 6
    table = as_markdown({"sets": [found]})
    assert "| copies that SIFT finds, missed | 0 of 1 |" in table
    assert "| other pairs of different patients, joined | 1 of 28 |" in table


def test_a_known_copy_that_looks_like_another_image_is_missed() -> None:
    assert joined([picture(0), picture(1)]) == set()
