"""Grad-CAM against what can be worked out by hand, and on the frame that it is drawn on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.end_to_end.small_models import add_small_models
from tests.worker.reporting.samples import scored
from worker.inference.card import ModelCard
from worker.inference.gradcam import Looker, grad_cam, loaded
from worker.inference.network import DlrNetwork
from worker.reporting.result import LesionResult, ModelScore
from worker.study import Roi

REGION = Roi(30, 20, 40, 20)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelCard]:
    models_dir = tmp_path_factory.mktemp("models")
    return models_dir, add_small_models(models_dir)["DLR_BM"]


def frame() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (96, 128), np.uint8)


def loaded_bm(models: tuple[Path, ModelCard]) -> tuple[ModelCard, DlrNetwork]:
    models_dir, card = models
    found = loaded(models_dir, card.name, card.version, card.weights_sha256)
    assert found is not None
    return found


def test_the_heat_is_within_what_the_network_was_shown(models: tuple[Path, ModelCard]) -> None:
    card, network = loaded_bm(models)
    heat = grad_cam(card, network, frame(), REGION, 47.0)
    assert (heat.shape, heat.dtype) == ((96, 128), np.float32)
    assert (heat.min(), heat.max() <= 1) == (0, True)
    margin_x, margin_y = int(np.ceil(card.roi_margin * 40)), int(np.ceil(card.roi_margin * 20))
    outside = heat.copy()
    outside[20 - margin_y : 40 + margin_y, 30 - margin_x : 70 + margin_x] = 0
    assert not outside.any()


def test_the_weights_are_the_gradients_of_the_positive_class(models: tuple[Path, ModelCard]) -> None:
    """With FC2 of the age network changed so that only the other class depends on the image, nothing speaks for it."""
    card, network = loaded_bm(models)
    with torch.no_grad():
        network.age.fc2.weight[card.positive_index] = 0
    assert not grad_cam(card, network, frame(), REGION, 47.0).any()


def test_a_network_is_as_it_was_after_it_was_looked_at(models: tuple[Path, ModelCard]) -> None:
    card, network = loaded_bm(models)
    images, ages = torch.rand(2, 3, card.input_size, card.input_size), torch.zeros(2)
    before = network(images, ages)
    grad_cam(card, network, frame(), REGION, 47.0)
    assert torch.equal(before, network(images, ages))
    assert not network.image.backbone.layer4._forward_hooks
    assert not any(parameter.requires_grad for parameter in network.parameters())


def bm_score(card: ModelCard, **changes: str) -> ModelScore:
    said = {"version": card.version, "weights_sha256": card.weights_sha256} | changes
    return ModelScore("DLR_BM", said["version"], said["weights_sha256"], "b" * 64, None, "benign", 0.4,
                      "malignant", 0.6, 0.5, "malignant")  # fmt: skip


def test_only_the_very_model_that_scored_a_lesion_says_where_it_looked(models: tuple[Path, ModelCard]) -> None:
    models_dir, card = models
    look = Looker(models_dir)
    region = (30, 20, 40, 20)
    heat = look(_with(card, region), frame())
    assert heat is not None
    assert heat.any()
    assert look(_with(card, region, version="other"), frame()) is None
    assert look(_with(card, region, weights_sha256="0" * 64), frame()) is None
    assert Looker(models_dir / "none")(_with(card, region), frame()) is None


def _with(card: ModelCard, region: tuple[int, int, int, int], **changes: str) -> LesionResult:
    return replace(scored("1.2", region=region), bm=bm_score(card, **changes))
