"""Grad-CAM on networks whose attention is known by hand, and on the frame that it is drawn on."""

import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.end_to_end.small_models import add_small_models
from tests.shared import made_once
from tests.worker.inference.samples import sample_card
from tests.worker.reporting.samples import scored
from worker.errors import Code, LesionRefused, ModelRefused
from worker.imaging.cropping import model_pixels
from worker.inference.gradcam import SAME_SCORE, GradCam, grad_cam, loaded
from worker.inference.model_card import CLASSES, MODEL_NAMES, ModelCard
from worker.inference.model_pair import ScoringNetworks
from worker.inference.network import DlrNetwork
from worker.inference.registry import Registry
from worker.reporting.result import LesionResult, ModelScore
from worker.study import Roi

REGION = Roi(30, 20, 40, 20)
CELLS = 4
"""On a side of the layer4 below: cells of 16 pixels in 64."""

CORNERS = tuple(product((0, CELLS - 1), (0, CELLS - 1)))


class Brightness(nn.Module):
    """A backbone whose layer4 is each colour's brightness in 4 x 4 cells, times a mask; its features are the means."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()

        class Cells(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                return nn.functional.avg_pool2d(images, images.shape[-1] // CELLS) * mask

        self.layer4 = Cells()

    def forward(self, images: Tensor) -> Tensor:
        return self.layer4(images).mean(dim=(2, 3))


def known_network(
    output: int = 1, colours: tuple[float, float, float] = (1, 1, 1), mask: Tensor | None = None
) -> DlrNetwork:
    """A network one of whose logits is the mean of layer4, weighed by colour; so Grad-CAM is layer4, weighed so."""
    with torch.device("meta"):  # a backbone that is not kept would take long to draw
        network = DlrNetwork("resnet18")
        network.image.fc1 = nn.Linear(3, 128)
    network.image.backbone = Brightness(torch.ones(CELLS, CELLS) if mask is None else mask)  # type: ignore[assignment]
    network.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*network.image.fc1.parameters(), *network.age.parameters()):
            tensor.zero_()
        network.image.fc1.weight[0] = torch.tensor(colours)
        network.age.fc1.weight[0, 0] = 1
        network.age.fc1.bias[0] = 10  # so that ReLU lets all of it pass
        network.age.fc2.weight[output, 0] = 1
    return network.requires_grad_(False).eval()


def known_card(**changes: Any) -> ModelCard:
    plain = {"input_size": 64, "roi_margin": 0.0, "pixel_mean": [0, 0, 0], "pixel_std": [1, 1, 1]}
    return sample_card(**(plain | changes))


def noise(rows: int = 96, columns: int = 128) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (rows, columns), np.uint8)


def peak(values: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(values.argmax(), values.shape)
    return int(row), int(column)


def test_the_map_is_the_brightness_of_the_cells_of_a_network_that_weighs_just_that() -> None:
    cells = np.random.default_rng(5).integers(1, 255, (CELLS, CELLS))
    frame = np.zeros((100, 120), np.uint8)
    frame[20:84, 30:94] = np.kron(cells, np.ones((16, 16)))
    heat = grad_cam(known_card(), [known_network()], frame, Roi(30, 20, 64, 64), 47.0).heat
    assert (heat.shown, heat.cells, heat.grey) == (Roi(30, 20, 64, 64), CELLS, True)
    centres = heat.values[28:84:16, 38:94:16]
    assert centres == pytest.approx(cells / cells.max(), abs=0.05)
    assert heat.values.max() == pytest.approx(1, abs=0.02)
    assert heat.values[:20].max() == heat.values[84:].max() == heat.values[:, :30].max() == 0


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize("region", [Roi(30, 20, 64, 32), Roi(20, 10, 24, 72)], ids=["wide", "high"])
@pytest.mark.parametrize("channels", ["gray", "rgb"])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_what_is_bright_in_the_frame_is_hot_at_its_place_in_the_frame(
    corner: tuple[int, int], resize: str, region: Roi, channels: str, name: str
) -> None:
    rows, columns = region.height // CELLS, region.width // CELLS
    top, left = region.y + corner[0] * rows, region.x + corner[1] * columns
    frame = np.full((100, 120), 20, np.uint8)
    frame[top : top + rows, left : left + columns] = 240
    shown = frame if channels == "gray" else np.stack([frame] * 3, axis=2)
    card = known_card(name=name, resize=resize, channels=channels)
    values = grad_cam(card, [known_network()], shown, region, 47.0).heat.values
    row, column = peak(values)
    # A cell of the letterbox may be longer than the bright place.
    assert abs(row - (top + rows / 2)) <= rows
    assert abs(column - (left + columns / 2)) <= columns
    assert values[top : top + rows, left : left + columns].mean() > 2 * values[values > 0].mean()


@pytest.mark.parametrize("corner", CORNERS)
def test_a_model_that_looks_at_one_corner_lights_that_corner_whatever_it_is_shown(corner: tuple[int, int]) -> None:
    mask = torch.zeros(CELLS, CELLS)
    mask[corner] = 1
    card = known_card(roi_margin=0.25, resize="stretch")
    heat = grad_cam(card, [known_network(mask=mask)], noise(), REGION, 47.0).heat
    assert heat.shown == Roi(20, 15, 60, 30)
    lit = np.argwhere(heat.values > 0.5)
    middle = np.array([15 + 15, 20 + 30])
    assert len(lit)
    assert ((lit >= middle) == (np.array(corner) > 0)).all()
    opposite = tuple(15 + 29 * (1 - corner[0] // 3) if axis == 0 else 20 + 59 * (1 - corner[1] // 3) for axis in (0, 1))
    assert heat.values[opposite] == 0


def test_a_look_at_the_padding_of_a_letterbox_is_no_heat_in_the_image() -> None:
    mask = torch.zeros(CELLS, CELLS)
    mask[1:3, 0] = 1
    region, padded = Roi(40, 10, 20, 80), Roi(0, 0, 20, 80)
    card = known_card(pixel_mean=[1, 1, 1])  # so that black is what stands out
    looked = grad_cam(card, [known_network(colours=(-1, -1, -1), mask=mask)], noise(), region, 47.0)
    assert looked.heat.values[:, padded.width + 40 :].max() == 0
    assert looked.heat.values.max() < 0.5


def test_a_colour_that_speaks_for_the_class_is_hot_and_one_against_it_is_not() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:16, :16, 0], frame[48:, 48:, 1] = 250, 250
    card = known_card(channels="rgb")
    heat = grad_cam(card, [known_network(colours=(1, -1, 0))], frame, Roi(0, 0, 64, 64), 47.0).heat
    assert not heat.grey
    assert peak(heat.values)[0] < 16 > peak(heat.values)[1]
    assert heat.values[56, 56] == 0


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("reverse", [False, True])
def test_it_is_the_positive_class_that_is_asked_for(name: str, reverse: bool) -> None:
    classes = CLASSES[name][::-1] if reverse else CLASSES[name]  # type: ignore[index]
    card = known_card(name=name, classes=list(classes))
    for output in (0, 1):
        looked = grad_cam(card, [known_network(output)], noise(), REGION, 47.0)
        assert looked.heat.values.any() == (output == card.positive_index)
        assert (looked.score.positive_probability > 0.5) == (output == card.positive_index)


def test_of_an_ensemble_the_map_is_the_mean_of_the_members_maps_each_on_its_own_scale() -> None:
    def looking_at(corner: tuple[int, int], weight: float) -> DlrNetwork:
        mask = torch.zeros(CELLS, CELLS)
        mask[corner] = weight
        return known_network(mask=mask)

    frame = np.full((64, 64), 200, np.uint8)
    networks = [looking_at((0, 0), 1), looking_at((0, 0), 1), looking_at((3, 3), 9)]
    card, whole = known_card(resize="stretch"), Roi(0, 0, 64, 64)
    each = [grad_cam(card, [network], frame, whole, 47.0) for network in networks]
    together = grad_cam(card, networks, frame, whole, 47.0)
    mean = np.mean([one.heat.values for one in each], axis=0)
    assert together.heat.values == pytest.approx(mean / mean.max(), abs=0.01)
    assert together.heat.values[56, 56] == pytest.approx(0.5, abs=0.05), "however large one's own numbers are"
    scores = [one.score.positive_probability for one in each]
    assert together.score.positive_probability == pytest.approx(np.mean(scores), abs=1e-6)


def test_with_test_time_flips_a_mirrored_look_is_turned_back_to_where_it_was() -> None:
    mask = torch.zeros(CELLS, CELLS)
    mask[0, 0] = 1
    frame, whole = np.full((64, 64), 200, np.uint8), Roi(0, 0, 64, 64)
    frame[:, 32:] = 100
    network = known_network(mask=mask)
    looked = grad_cam(known_card(test_time_flip=True), [network], frame, whole, 47.0)
    plain, mirrored = (grad_cam(known_card(), [network], one, whole, 47.0) for one in (frame, frame[:, ::-1]))
    assert looked.heat.values[8, [8, 56]] == pytest.approx([1, 1], abs=0.1), "either look is on its own scale"
    assert looked.heat.values[56].max() == 0
    expected = (plain.score.positive_probability + mirrored.score.positive_probability) / 2
    assert looked.score.positive_probability == pytest.approx(expected, abs=1e-6)


def test_an_ensemble_none_of_whose_members_looked_anywhere_has_no_heat() -> None:
    nowhere = known_network(mask=torch.zeros(CELLS, CELLS))
    assert not grad_cam(known_card(), [nowhere, nowhere], noise(), REGION, 47.0).heat.values.any()


def test_the_score_is_that_of_the_same_pass(models: tuple[Path, dict[str, ModelCard]]) -> None:
    models_dir, cards = models
    for name in MODEL_NAMES:
        card, networks = loaded(models_dir, name, "test-1")
        wanted = card.preprocessing
        pixels = model_pixels(noise(), REGION, size=wanted.size, margin=wanted.margin, resize=wanted.resize,
                              channels=wanted.channels)  # fmt: skip
        age = torch.tensor([(47.0 - card.age_mean) / card.age_sd])
        logits = ScoringNetworks(card, networks)(torch.from_numpy(pixels[np.newaxis].copy()), age)[:, 0]
        score = grad_cam(card, networks, noise(), REGION, 47.0).score
        assert score.positive_probability == pytest.approx(float(logits.softmax(dim=1)[0, card.positive_index]))
        assert (score.model, score.version, score.threshold) == (name, cards[name].version, cards[name].threshold)


def test_a_network_is_as_it_was_after_it_was_looked_at(models: tuple[Path, dict[str, ModelCard]]) -> None:
    card, networks = loaded(models[0], "DLR_BM", "test-1")
    (network,) = networks
    images, ages = torch.rand(2, 3, card.input_size, card.input_size), torch.zeros(2)
    before = network(images, ages)
    grad_cam(card, networks, noise(), REGION, 47.0)
    assert torch.equal(before, network(images, ages))
    assert not network.image.backbone.layer4._forward_hooks
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.fixture(scope="module")
def models() -> tuple[Path, dict[str, ModelCard]]:
    models_dir = made_once("small models", add_small_models)
    return models_dir, {name: Registry(models_dir).active(name).card for name in MODEL_NAMES}


def result_of(models: tuple[Path, dict[str, ModelCard]]) -> LesionResult:
    """A lesion with the scores that both models give it, as the ledger would have it."""
    said = [_stored(models[0], models[1][name]) for name in MODEL_NAMES]
    region = (REGION.x, REGION.y, REGION.width, REGION.height)
    return replace(scored("1.2"), region=region, age_years=47.0, lh=said[0], bm=said[1])


def _stored(models_dir: Path, card: ModelCard) -> ModelScore:
    score = grad_cam(*loaded(models_dir, card.name, card.version), noise(), REGION, 47.0).score
    return ModelScore(
        card.name, card.version, card.weights_sha256, "b" * 64, card.notice, card.negative_class,
        1 - score.positive_probability, card.positive_class, score.positive_probability, card.threshold,
        score.predicted_class,
    )  # fmt: skip


def test_both_models_say_where_they_looked_in_what_they_scored(models: tuple[Path, dict[str, ModelCard]]) -> None:
    look, lesion = GradCam(models[0]), result_of(models)
    lh, bm = (look(lesion, score, noise()) for score in lesion.scores)
    for heat, name in ((lh, "DLR_LH"), (bm, "DLR_BM")):
        assert heat.values.shape == (96, 128)
        assert 0 <= heat.values.min() <= heat.values.max() <= 1
        margin = models[1][name].roi_margin
        assert heat.shown == Roi(
            30 - round(margin * 40), 20 - round(margin * 20), 40 + 2 * round(margin * 40), 20 + 2 * round(margin * 20)
        )
        outside = heat.values.copy()
        outside[heat.shown.y :, heat.shown.x :][: heat.shown.height, : heat.shown.width] = 0
        assert not outside.any()
    assert lh.shown != bm.shown


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"version": "other"}, Code.MODEL_NOT_FOUND, "dlr models add"),
        ({"weights_sha256": "0" * 64}, Code.MODEL_NOT_FOUND, "other weights"),
    ],
)
def test_only_the_very_version_that_scored_a_lesion_says_where_it_looked(
    models: tuple[Path, dict[str, ModelCard]], changes: dict[str, str], code: Code, said: str
) -> None:
    lesion = result_of(models)
    assert lesion.lh is not None
    with pytest.raises(ModelRefused) as refusal:
        GradCam(models[0])(lesion, replace(lesion.lh, **changes), noise())
    assert (refusal.value.code, said in refusal.value.reason) == (code, True)


def test_a_version_that_was_damaged_says_so(tmp_path: Path, models: tuple[Path, dict[str, ModelCard]]) -> None:
    lesion = result_of(models)
    shutil.copytree(models[0], tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "DLR_BM" / "test-1" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert lesion.bm is not None
    with pytest.raises(ModelRefused) as refusal:
        GradCam(tmp_path)(lesion, lesion.bm, noise())
    assert refusal.value.code is Code.WEIGHTS_HASH_MISMATCH


def test_an_image_that_gets_another_score_is_not_what_was_scored(models: tuple[Path, dict[str, ModelCard]]) -> None:
    lesion = result_of(models)
    assert lesion.bm is not None
    near, far = (
        replace(lesion.bm, positive_probability=lesion.bm.positive_probability + by * SAME_SCORE) for by in (0.9, -1.1)
    )
    assert GradCam(models[0])(lesion, near, noise()).values.any()
    with pytest.raises(LesionRefused) as refusal:
        GradCam(models[0])(lesion, far, noise())
    assert refusal.value.code is Code.IMAGE_CHANGED
    with pytest.raises(LesionRefused) as refusal:
        GradCam(models[0])(replace(lesion, region=None), near, noise())
    assert refusal.value.code is Code.RESULT_MISSING
