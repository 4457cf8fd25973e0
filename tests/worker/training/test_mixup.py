"""MixUp and label smoothing: what is learned from is softened, and what is measured is not."""

from math import log
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.worker.training.small import config, phantoms
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.evaluation.discrimination import auc
from worker.evaluation.scores_file import read_scores
from worker.inference.model_card import ModelCard
from worker.training import fit as fit_module
from worker.training.fit import Fitting, weighted_loss
from worker.training.mixup import mixed, mixed_loss, share_kept
from worker.training.processes import Team
from worker.training.train import train

LABELS = torch.tensor([0, 1, 1, 0, 1])
EVEN = torch.ones(2)


def logits_of(*odds: float) -> Tensor:
    """Logits of lesions whose odds of the second class are these."""
    return torch.tensor([[0.0, log(one)] for one in odds])


@pytest.mark.parametrize(
    ("label", "smoothing", "expected"),
    [
        (1, 0.0, -log(0.75)),
        (1, 0.2, -(0.9 * log(0.75) + 0.1 * log(0.25))),
        (0, 0.2, -(0.9 * log(0.25) + 0.1 * log(0.75))),
        (0, 0.5, -(0.75 * log(0.25) + 0.25 * log(0.75))),
    ],
)
def test_a_smoothed_label_gives_both_classes_half_of_the_share(label: int, smoothing: float, expected: float) -> None:
    for weight in (1.0, 3.0):
        weights = torch.tensor([weight, weight])
        found = weighted_loss(logits_of(3), torch.tensor([label]), weights, smoothing)
        assert float(found) == pytest.approx(weight * expected, rel=1e-6)


def test_a_lesion_keeps_the_weight_of_its_own_class_however_its_label_is_smoothed() -> None:
    weights = torch.tensor([1.0, 5.0])
    found = weighted_loss(logits_of(3), torch.tensor([1]), weights, 0.2)
    assert float(found) == pytest.approx(-5 * (0.9 * log(0.75) + 0.1 * log(0.25)), rel=1e-6)


def test_without_smoothing_the_loss_is_what_it_was_to_the_bit() -> None:
    logits = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    plain = nn.functional.cross_entropy(logits, LABELS, reduction="none")
    assert torch.equal(weighted_loss(logits, LABELS, EVEN), plain.mean())


def test_mixup_that_keeps_all_of_each_lesion_is_none() -> None:
    images, logits = torch.rand(5, 1, 4, 4), torch.randn(5, 2)
    assert mixed(images, 1.0) is images
    assert torch.equal(
        mixed_loss(lambda labels: weighted_loss(logits, labels, EVEN), LABELS, 1.0), weighted_loss(logits, LABELS, EVEN)
    )
    assert {share_kept(config(), epoch, step) for epoch in range(3) for step in range(3)} == {1.0}


def test_each_lesion_is_mixed_with_the_one_before_it_and_the_first_with_the_last() -> None:
    ages = torch.tensor([0.0, 1.0, 10.0])
    assert mixed(ages, 0.75).tolist() == pytest.approx([2.5, 0.75, 7.75])
    one, two = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    assert mixed(torch.stack([one, two]), 0.75)[:, 0, 0, 0].tolist() == pytest.approx([0.25, 0.75])


@given(share=st.floats(0, 1), weight=st.floats(0.1, 5), seed=st.integers(0, 99))
def test_its_loss_is_the_cross_entropy_of_mixed_labels(share: float, weight: float, seed: int) -> None:
    logits = torch.randn(5, 2, generator=torch.Generator().manual_seed(seed))
    weights = torch.tensor([1.0, weight])
    own, other = nn.functional.one_hot(LABELS, 2).float(), nn.functional.one_hot(LABELS.roll(1), 2).float()
    of_class = (share * own + (1 - share) * other) * weights
    expected = -(of_class * torch.log_softmax(logits, 1)).sum(1).mean()
    found = mixed_loss(lambda labels: weighted_loss(logits, labels, weights), LABELS, share)
    assert float(found) == pytest.approx(float(expected), rel=1e-4, abs=1e-5)


def test_the_share_is_drawn_by_seed_epoch_and_step_alone() -> None:
    places = [(seed, epoch, step) for seed in (1, 2) for epoch in range(20) for step in range(1, 21)]
    drawn, again = ([share_kept(config(seed=seed, mixup=0.4), *at) for seed, *at in places] for _ in range(2))
    assert drawn == again
    assert len(set(drawn)) == len(places)
    assert all(0 <= one <= 1 for one in drawn)
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.05)
    assert np.var(drawn) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.1), "the variance of Beta(0.4, 0.4)"


class _Seen(nn.Module):
    """A network that keeps what it was fed."""

    def forward(self, images: Tensor, ages: Tensor) -> tuple[Tensor, ...]:
        self.images, self.ages = images, ages
        return torch.zeros(len(images), 2), torch.zeros(len(images), 2)


def test_where_the_age_is_learned_with_the_image_both_are_mixed_by_one_share() -> None:
    images = torch.stack([torch.full((1, 4, 4), value) for value in (0.1, 0.5, 0.9)])
    ages = torch.tensor([-1.0, 0.0, 2.0])
    made, seen = config(stages="joint", pixel_mean=[0, 0, 0], pixel_std=[1, 1, 1], mixup=0.4), _Seen()
    team, unused = Team(0, 1, torch.device("cpu")), cast("Any", None)
    fitting = Fitting(unused, made, team, unused, on_epoch=unused, on_share=unused)
    fit_module._loss(seen, (images, ages, torch.tensor([0, 1, 0])), EVEN, fitting, 0.25)
    assert seen.ages.tolist() == pytest.approx([0.25 * -1 + 0.75 * 2, 0.75 * -1, 0.25 * 2])
    assert seen.images[:, 0, 0, 0].tolist() == pytest.approx([0.7, 0.2, 0.6])


@pytest.mark.parametrize("changes", [{"label_smoothing": 0.1}, {"mixup": 0.2}])
def test_they_are_refused_where_no_image_network_is_trained(changes: dict[str, float]) -> None:
    with pytest.raises(SetupRefused) as refused:
        config(stages="age", init="weights.safetensors", **changes)
    assert (refused.value.code, "image network" in refused.value.reason) == (Code.CONFIG_INVALID, True)


@pytest.mark.parametrize("changes", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"mixup": -1.0}])
def test_shares_that_are_none_are_refused_by_name(changes: dict[str, float]) -> None:
    with pytest.raises(SetupRefused) as refused:
        config(**changes)
    assert next(iter(changes)) in refused.value.reason


def trained(output: Path, **changes: Any) -> ModelCard:
    made = config(**({"epochs": 1} | changes))
    done = train("DLR_BM", phantoms(made), made, output)
    assert done is not None
    return done.card


@pytest.mark.slow
def test_a_card_names_what_its_training_softened_and_its_figures_are_of_whole_images_and_labels(
    tmp_path: Path,
) -> None:
    plain = trained(tmp_path / "plain")
    assert not {"label_smoothing", "mixup"} & plain.training.keys()
    card = trained(tmp_path / "soft", label_smoothing=0.1, mixup=0.4)
    assert (card.training["label_smoothing"], card.training["mixup"]) == (0.1, 0.4)
    assert len({one.weights_sha256 for one in (plain, card, trained(tmp_path / "mixed", mixup=0.4))}) == 3
    assert trained(tmp_path / "again", label_smoothing=0.1, mixup=0.4).weights_sha256 == card.weights_sha256
    tested = [one for one in read_scores(tmp_path / "soft/scores.csv").material.lesions if one.split is Split.TEST]
    [scores] = zip(*(one.scores.values() for one in tested), strict=True)
    found = auc(np.array(scores), np.array([one.malignant for one in tested]))
    assert found.value == pytest.approx(card.metrics["auc"], abs=1e-4)
