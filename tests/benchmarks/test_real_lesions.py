"""Real lesions: images become lesions, recipes are held against each other on the same ones, and a run goes on."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import real_lesions
from benchmarks.real_lesions import RECIPES, as_markdown, compared, holm, lesions_of, rows_of
from benchmarks.real_training import PLAIN, Image, Recipe
from tests.worker.dataset.manifests import cohort
from worker.dataset.manifest import Split
from worker.dataset.manifest_file import write_manifest


def image(patient: int, *, malignant: bool = False, calipers: bool = False, scanner: str = "A") -> Image:
    return Image(f"P{patient}", "1", malignant, "3", 1, scanner, calipers)


def test_a_lesion_has_the_mean_of_its_images_and_calipers_if_one_of_them_has() -> None:
    images = [image(1, calipers=True), image(2), image(1)]
    one, other = lesions_of(images, [0.2, 0.9, 0.6])
    assert (one.score, one.views, one.calipers) == (pytest.approx(0.4), 2, True)
    assert (other.score, other.views, other.calipers) == (0.9, 1, False)


def test_groups_have_rows_by_themselves_unless_they_are_too_small() -> None:
    images = [image(at, malignant=at % 2 == 0, scanner="A" if at < 44 else "B") for at in range(50)]
    scores = np.random.default_rng(0).random(50) + [0.5 * one.malignant for one in images]
    rows = {row["group"]: row for row in rows_of(lesions_of(images, (scores / 2).tolist()))}
    assert set(rows) == {"all", "A"}
    assert rows["all"]["lesions"] == 50
    assert rows["A"]["malignant"] == 22
    assert rows["all"]["low"] < rows["all"]["auc"] < rows["all"]["high"]


def test_recipes_are_compared_on_the_lesions_that_both_have() -> None:
    images = [image(at, malignant=at % 2 == 0) for at in range(60)]
    rng = np.random.default_rng(1)
    right = [0.8 * one.malignant + 0.1 * float(rng.random()) for one in images]
    noise = rng.random(60).tolist()
    found = compared(lesions_of(images[:50], right[:50]), lesions_of(images, noise))
    assert found["lesions"] == 50
    assert (found["difference"] or 0) > 0.3
    assert (found["p_value"] or 0) < 0.001


def test_holm_multiplies_the_smallest_most_and_keeps_their_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_each_recipe_is_a_configuration_of_the_trainer_and_the_first_is_plain() -> None:
    assert RECIPES[0].changes == {}
    for recipe in RECIPES:
        assert recipe.config(seed=1).backbone == PLAIN["backbone"]
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)


@pytest.mark.slow
def test_a_run_trains_each_fold_once_and_tells_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row.model_copy(update={"fold": 1 + at // 6 % 3}) for at, row in enumerate(cohort(tmp_path, 72))]
    write_manifest(tmp_path / "folds.csv", [row.model_copy(update={"split": Split.TRAIN}) for row in rows])
    (tmp_path / "away").mkdir()
    write_manifest(tmp_path / "away" / "away.csv", cohort(tmp_path / "away", 36, views=1))
    small = {"epochs": 1, "input_size": 32, "batch": 8}
    recipes = [
        Recipe("plain", "", small),
        Recipe("calipers", "drawn in", {**small, "calipers": 0.5}),
        Recipe("flips", "mirrored", flipped=True),
    ]
    monkeypatch.setattr(real_lesions, "RECIPES", tuple(recipes))
    asked = (tmp_path / "folds.csv", tmp_path / "away" / "away.csv", tmp_path / "work")
    figures = real_lesions.run(*asked, recipes, tmp_path / "figures.json")
    assert [one["folds"] for one in figures["recipes"]] == [3, 3, 3]
    assert figures["not_run"] == []
    (row, *_) = figures["recipes"][0]["rows"]["home"]
    assert (row["lesions"], row["malignant"]) == (72, 24)
    assert {one["less_plain"]["away"]["lesions"] for one in figures["recipes"][1:]} == {36}
    assert {one["folds_of_both"] for one in figures["recipes"][1:]} == {3}
    assert figures["recipes"][1]["less_plain_of"]["all"] == {
        name: value for name, value in figures["recipes"][1]["less_plain"]["home"].items() if name != "p_holm"
    }
    assert "| flips | mirrored | 3 |" in as_markdown(figures)
    whole = (tmp_path / "work" / "calipers-3" / "scores.json").rename(tmp_path / "kept.json")
    (plain, partly, *_) = real_lesions.run(*asked, recipes[:1], None)["recipes"]
    assert (plain["folds"], partly["folds"], partly["folds_of_both"]) == (3, 2, 2)
    assert partly["less_plain"]["home"]["lesions"] == 48, "the lesions of two folds, by the models of these"
    whole.rename(tmp_path / "work" / "calipers-3" / "scores.json")

    def never(*_arguments: object) -> None:
        pytest.fail("a fold that is there was trained again")

    monkeypatch.setattr(real_lesions, "trained_fold", never)
    assert real_lesions.run(*asked, recipes, None)["recipes"] == figures["recipes"]
