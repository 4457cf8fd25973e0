"""Both models on real lesions: calibrated at home and held against another set, and an age stage within that set."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from benchmarks import aged_figures, real_aged
from benchmarks.aged_figures import (
    OVER,
    age_figures,
    age_scores,
    calibration_errors,
    image_figures,
    judged,
    one_above_another,
    one_after_another,
)
from benchmarks.real_aged import as_markdown, labelled
from benchmarks.real_training import PLAIN, Image, RealSet, Recipe
from tests.worker.dataset.manifests import row
from worker.dataset.manifest import ManifestRow, Split
from worker.dataset.manifest_file import write_manifest
from worker.evaluation.calibration import reliability
from worker.inference.network import DlrNetwork
from worker.phantom.phantom import phantom
from worker.training import age_stage
from worker.training.config import TrainingConfig
from worker.training.labels import rule_of

SMALL: dict[str, Any] = {"epochs": 1, "input_size": 32, "batch": 8}


def drawn(seed: int, count: int, overconfident: float = 1.0) -> dict[str, list[Any]]:
    """Lesions whose logits are so many times what their odds are."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, count)
    labels = rng.random(count) < 1 / (1 + np.exp(-logits))
    return {"labels": labels.tolist(), "scores": (1 / (1 + np.exp(-overconfident * logits))).tolist()}


def test_the_calibration_error_is_the_evaluations_and_a_lesion_drawn_twice_counts_twice() -> None:
    of = drawn(1, 60)
    scores, labels = np.array(of["scores"]), np.array(of["labels"])
    weights = np.random.default_rng(2).multinomial(60, np.full(60, 1 / 60), 3).astype(float)
    found = calibration_errors(scores, labels, np.vstack([np.ones(60), weights]))
    places = [np.arange(60), *(np.repeat(np.arange(60), one.astype(int)) for one in weights)]
    expected = [reliability(scores[at], labels[at]).expected_calibration_error for at in places]
    assert found == pytest.approx(expected)
    assert len(set(expected)) == 4


def test_a_network_calibrated_at_home_holds_there_and_falls_short_where_lesions_are_others() -> None:
    validation = drawn(1, 800, overconfident=3)
    home = image_figures(judged(validation, drawn(2, 800, overconfident=3)))
    turned = drawn(3, 800, overconfident=3)
    turned["labels"] = [label if at % 3 else not label for at, label in enumerate(turned["labels"])]
    away = image_figures(judged(validation, turned))
    assert home["error_calibrated"]["high"] < home["error_as_scored"]["low"]
    assert home["coverage"]["low"] < 0.9 < home["coverage"]["high"]
    assert away["coverage"]["high"] < home["coverage"]["low"]
    assert away["error_calibrated"]["low"] > home["error_calibrated"]["high"]
    assert away["auc"]["high"] < home["auc"]["low"]


def test_at_home_a_lesion_has_one_network_and_away_it_has_them_all() -> None:
    validation, one, other = (drawn(seed, 40) for seed in (1, 2, 3))
    home = one_after_another([judged(validation, one), judged(validation, other)])
    assert home.scores.tolist() == [one["scores"] + other["scores"]]
    assert home.labels.tolist() == one["labels"] + other["labels"]
    reversed_scores = {**one, "scores": [1 - score for score in one["scores"]]}
    parts = [judged(validation, one), judged(validation, reversed_scores)]
    away, alone = image_figures(one_above_another(parts)), [image_figures(part) for part in parts]
    assert away["lesions"] == 40
    assert away["auc"]["value"] == 0.5, "the mean score is the same for all"
    for measure in ("error_as_scored", "error_calibrated", "coverage"):
        assert away[measure]["value"] == pytest.approx(np.mean([of[measure]["value"] for of in alone]))


def image(patient: int, *, malignant: bool, birads: str | None = "3") -> Image:
    return Image(f"P{patient}", "1", malignant, birads, None, None, calipers=False)


def set_of(images: Sequence[Image]) -> RealSet:
    pixels = np.random.default_rng(0).integers(0, 256, (len(images), 1, 32, 32), np.uint8)
    return RealSet(tuple(images), pixels, None)


def test_dlr_lh_learns_categories_and_leaves_out_what_has_none() -> None:
    categories = ["3", None, "4", "0", "4A", "2"]
    of = set_of([image(at, malignant=at == 5, birads=birads) for at, birads in enumerate(categories)])
    part, ages = labelled(of, rule_of("DLR_LH", Recipe("plain", "").config(1)), (30.0, 31.0, 32.0, 33.0, None, 35.0))
    assert [(one.patient, one.malignant) for one in part.images] == [
        ("P0", False), ("P2", True), ("P4", True), ("P5", False),
    ]  # fmt: skip
    assert ages == (30.0, 32.0, None, 35.0)
    assert (part.pixels == of.pixels[[0, 2, 4, 5]]).all()
    by_pathology, _ = labelled(of, rule_of("DLR_BM", Recipe("plain", "").config(1)))
    assert [one.malignant for one in by_pathology.images] == [False] * 5 + [True]


CONFIG = TrainingConfig.model_validate({**PLAIN, "stages": "age", "init": "of no file", "age": {"learns_on": "train"}})


def patients(count: int) -> tuple[list[Image], list[float], torch.Tensor]:
    """Two lesions of each, whose age is his own; every other one has malignant ones, and is older."""
    images = [replace(image(at // 2, malignant=at // 2 % 2 == 0), lesion=str(at % 2)) for at in range(2 * count)]
    ages = [40.0 + at // 2 / 4 + (25 if one.malignant else 0) for at, one in enumerate(images)]
    return images, ages, torch.randn(len(images), 128, generator=torch.Generator().manual_seed(1)) / 20


class Remembers(torch.nn.Module):
    """A classifier that calls the ages positive that it has learned from."""

    def __init__(self, learned: torch.Tensor) -> None:
        super().__init__()
        self.learned = learned

    def forward(self, _embeddings: torch.Tensor, ages: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.zeros(len(ages)), 20.0 * torch.isin(ages, self.learned) - 10], dim=1)


def test_the_age_stage_scores_each_patient_by_a_classifier_that_saw_none_of_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, ages, embeddings = patients(20)

    def learn(network: Any, _embeddings: torch.Tensor, told: torch.Tensor, *_rest: object) -> None:
        network.age = Remembers(told)

    monkeypatch.setattr(age_stage, "learn_age", learn)
    kept = age_scores(DlrNetwork("resnet18"), embeddings, images, ages, CONFIG)
    assert max(kept["both"]) < 0.5
    assert min(kept["without_age"]) > 0.5, "it is told one age for all"
    assert list(zip(kept["ages"], kept["labels"], strict=True)) == [
        (age, one.malignant) for age, one in zip(ages, images, strict=True)
    ]


def test_where_age_alone_tells_it_adds_to_an_image_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aged_figures, "AGE_FOLDS", 2)
    images, ages, embeddings = patients(40)
    kept = age_scores(DlrNetwork("resnet18"), embeddings, images, ages, CONFIG)
    found = age_figures([kept, kept])
    assert (found["lesions"], found["positives"]) == (80, 40)
    assert found["auc"]["age"]["value"] == 1
    assert found["auc"]["both"]["value"] > 0.9 > 0.6 > found["auc"]["without_age"]["value"]
    for name in OVER:
        less = found["auc"]["both"]["value"] - found["auc"][name]["value"]
        assert found["less"][name]["value"] == pytest.approx(less)
    assert max(found["less"][name]["p_value"] for name in ("image", "without_age")) < 0.001


def test_one_age_for_all_is_refused() -> None:
    images, _, embeddings = patients(20)
    with pytest.raises(ValueError, match="all the same"):
        age_scores(DlrNetwork("resnet18"), embeddings, images, [50.0] * 40, CONFIG)


def phantoms(folder: Path, first: int, count: int) -> list[ManifestRow]:
    """Phantoms of as many patients: every seventh has no age, every ninth no category."""
    folder.mkdir()
    rows = []
    for at in range(count):
        made = phantom(first + at, malignant=at // 3 % 2 == 0)
        Picture.fromarray(made.image).save(folder / f"{at}.png")
        roi = {name: getattr(made.roi, name) for name in ("x", "y", "width", "height")}
        known = {"age_years": None if at % 7 == 0 else round(made.age_years), "roi": roi, "image": f"{at}.png"}
        if at % 9 == 0:
            known["birads"] = None
        else:
            known["birads"] = "4B" if at // 3 % 2 == 0 else "3"
        pathology = "malignant" if made.malignant else "benign"
        rows.append(row(**known, pathology=pathology, patient_key=f"P{first + at}"))
    return rows


@pytest.mark.slow
def test_a_run_does_each_fold_of_each_model_once_and_says_which_are_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_aged, "RECIPES", (Recipe("plain", "", SMALL),))
    monkeypatch.setattr(aged_figures, "AGE_STAGE", {**aged_figures.AGE_STAGE, "steps": 5})
    home, away = tmp_path / "home" / "folds.csv", tmp_path / "away" / "away.csv"
    rows = phantoms(tmp_path / "home", 0, 54)
    write_manifest(
        home, [one.model_copy(update={"split": Split.TRAIN, "fold": 1 + at % 3}) for at, one in enumerate(rows)]
    )
    write_manifest(away, phantoms(tmp_path / "away", 100, 36))
    asked = (home, away, tmp_path / "work", tmp_path / "figures.json")
    figures = real_aged.run(*asked)
    lh, bm = figures["models"]
    assert [(of["model"], of["folds"]) for of in (lh, bm)] == [("DLR_LH", [1, 2, 3]), ("DLR_BM", [1, 2, 3])]
    assert [of["left_out"] for of in (lh, bm)] == [
        {"home": 6, "away": 4, "without_age": 5},
        {"home": 0, "away": 0, "without_age": 6},
    ]
    assert [of["image"][where]["lesions"] for of in (lh, bm) for where in ("home", "away")] == [48, 32, 54, 36]
    assert [of["age"]["lesions"] for of in (lh, bm)] == [27, 30]
    table = as_markdown(figures)
    assert "| DLR_LH | BrEaST, external | 32 (" in table
    assert "| INTERNAL: age stage of |" in table
    (tmp_path / "work" / "aged-DLR_BM-2-seed-1.json").unlink()

    def never(*_arguments: object, **_named: object) -> None:
        pytest.fail("an image network that is there was trained again")

    monkeypatch.setattr(real_aged, "trained_fold", never)
    assert real_aged.run(*asked) == figures
    for path in (tmp_path / "work").glob("aged-DLR_LH-*.json"):
        path.unlink()
    (tmp_path / "work" / "aged-DLR_BM-2-seed-1.json").unlink()
    partly = as_markdown({**figures, "models": real_aged._models(tmp_path / "work", 1)})
    assert "2 of 3 folds' networks" in partly
    assert "DLR_LH: not run." in partly
