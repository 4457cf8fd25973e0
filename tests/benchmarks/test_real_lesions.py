"""Real lesions: images become lesions, recipes are held against each other on the same ones, and a run goes on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import real_lesions
from benchmarks.real_figures import compared, figures_of, holm, lesions_of, rows_of
from benchmarks.real_lesions import RECIPES, as_markdown
from benchmarks.real_training import PLAIN, Image, RealSet, Recipe
from tests.worker.dataset.manifests import cohort
from worker.dataset.manifest import Split
from worker.dataset.manifest_file import write_manifest
from worker.evaluation.discrimination import auc, compare_aucs


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
    found = compared([lesions_of(images[:50], right[:50])], [lesions_of(images, noise)])
    assert found["lesions"] == 50
    assert (found["difference"] or 0) > 0.3
    assert (found["p_value"] or 0) < 0.001


def test_of_one_seed_the_comparison_is_delongs_and_of_several_that_of_the_mean_of_their_aucs() -> None:
    rng = np.random.default_rng(2)
    images = [image(at, malignant=at % 3 == 0) for at in range(90)]
    labels = np.array([one.malignant for one in images])
    scores = [(rng.random(90) + 0.4 * labels) / 2 for _ in range(4)]
    tables = [lesions_of(images, one.tolist()) for one in scores]
    one = compared(tables[:1], tables[2:3])
    delong = compare_aucs(scores[0], scores[2], labels)
    assert delong.interval is not None
    assert (one["difference"], one["low"], one["p_value"]) == pytest.approx(
        (delong.value, delong.interval.low, delong.p_value)
    )
    both = compared(tables[:2], tables[2:])
    means = [np.mean([auc(one, labels).value for one in those]) for those in (scores[:2], scores[2:])]
    assert both["difference"] == pytest.approx(means[0] - means[1])


def kept(away: RealSet, home: RealSet, gain: float, seed: int) -> dict[int, dict[str, Any]]:
    """What three folds leave of networks that part the classes the better, the higher their gain."""
    rng = np.random.default_rng(seed)

    def scores(images: Sequence[Image]) -> dict[str, list[float]]:
        drawn = [float(rng.normal() + gain * one.malignant) for one in images]
        return {"plain": drawn, "flipped": drawn}

    of = {fold: [one for one in home.images if one.fold == fold] for fold in (1, 2, 3)}
    return {
        fold: {
            "commit": "abc",
            "seconds": 1,
            "losses": [0.5],
            "scores": {"home": scores(inside), "away-1": scores(away.images)},
        }
        for fold, inside in of.items()
    }


def test_what_gains_at_home_on_every_fold_is_chosen_and_alone_looked_at_on_the_other_set() -> None:
    home, away = (
        RealSet(
            tuple(
                replace(image(at, malignant=at % 2 == 0), fold=1 + at % 3) for at in (*range(count), *range(count // 2))
            ),
            np.zeros((count * 3 // 2, 1, 1, 1), np.uint8),
            None,
        )
        for count in (300, 120)
    )
    names = ("plain", "better", "worse", "much better, one fold", "flips", "not there")
    recipes = [Recipe(name, "", flipped=name == "flips") for name in names]
    runs: dict[str, dict[int, dict[int, dict[str, Any]]]] = {
        "plain": {1: kept(away, home, 0.5, 1), 2: kept(away, home, 0.5, 2)},
        "better": {1: kept(away, home, 1.5, 3), 2: kept(away, home, 1.5, 4)},
        "worse": {1: kept(away, home, 0.0, 5)},
        "much better, one fold": {1: {1: kept(away, home, 4.0, 6)[1]}},
    }
    figures = figures_of(recipes, runs, home, away, 3)
    told = {one["name"]: one for one in figures["recipes"]}
    assert figures["not_run"] == ["not there"]
    assert figures["chosen"] == ["better"]
    assert {name: (one.get("folds_of_both"), one.get("seeds_of_both")) for name, one in told.items()} == {
        "plain": (None, None),
        "better": (3, 2),
        "worse": (3, 1),
        "much better, one fold": (1, 1),
        "flips": (3, 2),
    }
    (confirmed,) = figures["confirmed"]
    assert confirmed["name"] == "better"
    assert confirmed["less_plain"]["lesions"] == 120
    assert confirmed["less_plain"]["p_holm"] == confirmed["less_plain"]["p_value"]
    assert {name for name, one in told.items() if one["rows"]["away"]} == {"plain", "better"}
    assert {one["away"] for one in told["worse"]["seeds"]} == {None}
    of_folds, of_images, of_seeds = figures["ensembles"]
    assert (len(of_folds["alone"]), len(of_images["alone"]), len(of_seeds["alone"])) == (3, 2, 2)
    assert of_images["less_alone"]["lesions"] == 150
    assert of_folds["less_alone"]["difference"] == pytest.approx(of_folds["together"] - np.mean(of_folds["alone"]))
    assert of_folds["together"] > max(of_folds["alone"]), "independent errors of equal networks cancel out"
    table = as_markdown({**figures, "folds": 3, "recipe": {"amp": "none"}})
    assert "| better |  | 3 | 2 |" in table
    assert "Not run: not there." in table


def test_holm_multiplies_the_smallest_most_and_keeps_their_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_each_recipe_is_a_configuration_of_the_trainer_and_the_first_is_plain() -> None:
    assert RECIPES[0].changes == {}
    for recipe in RECIPES:
        assert recipe.config(seed=1).backbone == PLAIN["backbone"]
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)


def assert_served_as_their_mean(figures: dict[str, Any], work: Path) -> None:
    """The folds' networks are one version, whose score is the mean of what the benchmark had from each."""
    (version,) = figures["served"]
    assert (version["seed"], [one["fold"] for one in version["members"]]) == (2, [1, 2, 3])
    assert version["furthest_from_mean"] < 1e-5
    assert version["together"]["lesions"] == 36
    (at_training,) = (one["away"] for one in figures["recipes"][0]["seeds"] if one["seed"] == 2)
    assert version["together"]["auc"] == pytest.approx(at_training, abs=0.01)
    for one in version["members"]:
        assert one["less"]["difference"] == pytest.approx(version["together"]["auc"] - one["auc"])
        assert one["less"]["p_holm"] >= (one["less"]["p_value"] or 0)
    assert "| fold 3's network alone |" in as_markdown(figures)
    assert sorted(path.parent.name for path in work.glob("plain-*/weights.safetensors")) == [
        f"plain-{fold}-seed-2" for fold in (1, 2, 3)
    ]


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
    assert {one["folds_of_both"] for one in figures["recipes"][1:]} == {3}
    assert figures["recipes"][1]["less_plain_of"]["all"] == {
        name: value for name, value in figures["recipes"][1]["less_plain"].items() if name != "p_holm"
    }
    assert "| flips | mirrored | 3 | 1 |" in as_markdown(figures)
    assert as_markdown(figures).startswith("In float32. Folds of 3")
    with pytest.raises(SystemExit, match="another precision"):
        real_lesions.run(*asked, recipes, None, bfloat16=True)
    whole = (tmp_path / "work" / "calipers-3" / "scores.json").rename(tmp_path / "kept.json")
    (plain, partly, *_) = real_lesions.run(*asked, recipes[:1], None)["recipes"]
    assert (plain["folds"], partly["folds"], partly["folds_of_both"]) == (3, 2, 2)
    assert partly["less_plain"]["lesions"] == 48, "the lesions of two folds, by the models of these"
    whole.rename(tmp_path / "work" / "calipers-3" / "scores.json")
    seconds = real_lesions.run(*asked, recipes[:1], None, seeds=(2,), serve=True)
    (plain, *_) = seconds["recipes"]
    assert [(one["seed"], one["folds"]) for one in plain["seeds"]] == [(1, 3), (2, 3)]
    assert plain["seeds"][0]["home"] != plain["seeds"][1]["home"]
    assert_served_as_their_mean(seconds, tmp_path / "work")

    def never(*_arguments: object, **_named: object) -> None:
        pytest.fail("a fold that is there was trained again")

    monkeypatch.setattr(real_lesions, "trained_fold", never)
    assert real_lesions.run(*asked, recipes, None)["recipes"][1] == figures["recipes"][1]
