"""A start without labels: the loss is the paper's and falls, and a training starts from the images it learns from."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks import self_supervised
from benchmarks.real_lesions import RECIPES
from benchmarks.real_training import START_FILE, Image, RealSet, Recipe, read_set, trained_fold
from benchmarks.self_supervised import contrastive_losses, nt_xent, start_of
from tests.worker.dataset.manifests import cohort
from worker.dataset.manifest_file import write_manifest
from worker.training.cohort import phantom_cohort
from worker.training.config import TrainingConfig
from worker.training.start import new_network

SMALL = {"epochs": 1, "input_size": 32, "batch": 8}
PLAIN, STARTED = Recipe("plain", "", SMALL), Recipe("self-supervised start", "", SMALL, self_supervised=1)
CONFIG = PLAIN.config(seed=1)
FOLDS = 3


@pytest.fixture(scope="module")
def phantoms() -> RealSet:
    drawn = phantom_cohort(TrainingConfig.model_validate({**CONFIG.model_dump(), "phantoms": {"count": 24}}))
    images = [
        Image(row.patient_key, row.lesion_id, row.malignant, None, 1 + at % FOLDS, None, calipers=False)
        for at, row in enumerate(drawn.rows)
    ]
    return RealSet(tuple(images), drawn.pixels, None)


def of_fold(phantoms: RealSet, *folds: int) -> list[int]:
    return [at for at, image in enumerate(phantoms.images) if image.fold in folds]


def blackened(phantoms: RealSet, places: Sequence[int]) -> RealSet:
    pixels = phantoms.pixels.copy()
    pixels[places] = 0
    return replace(phantoms, pixels=pixels)


def start_kept(phantoms: RealSet, work: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The start that the fold tested on first makes: the training that follows is stopped."""
    monkeypatch.setattr("worker.training.fit.fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        trained_fold(phantoms, [], 1, FOLDS, CONFIG, work, self_supervised=1)
    return load_file(work / START_FILE)


def stopped(*_arguments: object) -> None:
    raise KeyboardInterrupt


def test_the_loss_is_equation_1_of_the_paper() -> None:
    views = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 4))).float()
    cosine = [[float(a @ b / (a.norm() * b.norm())) for b in views] for a in views]
    terms = []
    for i in range(6):
        others = sum(exp(cosine[i][k] / 0.2) for k in range(6) if k != i)
        terms.append(-log(exp(cosine[i][(i + 3) % 6] / 0.2) / others))
    assert float(nt_xent(views, 0.2)) == pytest.approx(np.mean(terms), rel=1e-5)


def test_views_that_are_all_alike_have_the_loss_of_chance_and_pairs_apart_from_all_others_none() -> None:
    assert float(nt_xent(torch.ones(8, 3), 0.5)) == pytest.approx(log(7), rel=1e-5)
    assert float(nt_xent(torch.eye(4).repeat(2, 1), 0.02)) == pytest.approx(0, abs=1e-5)


def test_the_loss_falls(phantoms: RealSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_supervised, "SMALLEST_CROP", 0.8)
    losses = list(contrastive_losses(new_network(CONFIG), phantoms.pixels, CONFIG, epochs=8))
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.3


def test_two_views_of_an_image_differ_and_follow_from_the_seed(phantoms: RealSet) -> None:
    (views,) = self_supervised.epoch_of_views(phantoms.pixels, CONFIG, epoch=0, batch=24)
    (again,) = self_supervised.epoch_of_views(phantoms.pixels, CONFIG, epoch=0, batch=24)
    (later,) = self_supervised.epoch_of_views(phantoms.pixels, CONFIG, epoch=1, batch=24)
    assert views.shape == (48, 1, 32, 32)
    assert 0 <= float(views.min()) < float(views.max()) <= 1
    assert torch.equal(views, again)
    assert not torch.equal(views, later)
    assert all(not torch.equal(one, other) for one, other in zip(views[:24], views[24:], strict=True))


def test_the_start_learns_from_the_images_that_the_fold_trains_on_and_from_no_others(
    phantoms: RealSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = start_kept(phantoms, tmp_path / "whole", monkeypatch)
    tested, validation, train = (of_fold(phantoms, fold) for fold in (1, 2, 3))
    others = start_kept(blackened(phantoms, tested + validation), tmp_path / "others", monkeypatch)
    assert all(torch.equal(start[name], others[name]) for name in start)
    own = start_kept(blackened(phantoms, train[:1]), tmp_path / "own", monkeypatch)
    assert any(not torch.equal(start[name], own[name]) for name in start)


def test_a_stopped_training_goes_on_from_the_start_that_it_has(
    phantoms: RealSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = start_kept(phantoms, tmp_path, monkeypatch)

    def never(*_arguments: object) -> None:
        pytest.fail("it learned without labels a second time")

    monkeypatch.setattr(self_supervised, "contrastive_losses", never)
    kept = start_of(phantoms.pixels, CONFIG, 1, tmp_path)
    network = new_network(CONFIG.model_copy(update={"init": str(kept)}))
    of_network, plain = network.state_dict(), new_network(CONFIG).state_dict()
    assert {name for name in start if not torch.equal(start[name], of_network[name])} == set()
    assert set(start) == {name for name in plain if name.startswith("image.backbone.")}
    assert not torch.equal(plain["image.backbone.conv1.weight"], start["image.backbone.conv1.weight"])
    assert torch.equal(plain["image.fc1.weight"], of_network["image.fc1.weight"]), "the rest is drawn as it was"


@pytest.mark.slow
def test_the_plain_recipe_is_what_it_was_and_the_other_differs_and_leaves_nothing_but_scores(
    phantoms: RealSet, tmp_path: Path
) -> None:
    plain = trained_fold(phantoms, [phantoms], 1, FOLDS, CONFIG, tmp_path / "plain")
    started = trained_fold(phantoms, [phantoms], 1, FOLDS, CONFIG, tmp_path / "started", self_supervised=1)
    again = trained_fold(phantoms, [phantoms], 1, FOLDS, CONFIG, tmp_path / "again", self_supervised=1)
    assert started == again
    assert started != plain
    assert plain == trained_fold(phantoms, [phantoms], 1, FOLDS, CONFIG, tmp_path / "after")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_it_takes_the_images_that_the_plain_recipe_kept(tmp_path: Path) -> None:
    write_manifest(tmp_path / "lesions.csv", cohort(tmp_path, 6))
    plain, started = (read_set(tmp_path / "lesions.csv", one.config(seed=1), tmp_path) for one in (PLAIN, STARTED))
    assert np.array_equal(plain.pixels, started.pixels)
    assert len(list(tmp_path.glob("lesions-*.npz"))) == 1
    assert {recipe.name for recipe in RECIPES if recipe.self_supervised} == {"self-supervised start"}
