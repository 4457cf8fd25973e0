"""Both models as one module; each way to run it gives PyTorch's scores."""

import copy
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tests.worker.inference.samples import sample_card, sample_network
from worker.inference.cpu import OpenVinoRunner
from worker.inference.loading import cpu_runner
from worker.inference.model_card import BACKBONES
from worker.inference.model_pair import ModelPair, ScoringNetworks, TorchRunner
from worker.inference.runner import probabilities, temperatures_of

pytestmark = pytest.mark.slow

CARDS = (sample_card(name="DLR_LH", age_mean=40.0), sample_card(name="DLR_BM", age_sd=9.0))

EACH_KIND = ("resnet18", "resnet50", "resnext50_32x4d")
"""Basic blocks, bottlenecks and grouped ones; the other ResNets have more of them, or wider ones."""


def _pair(backbone: str = "resnet18", **bm: object) -> ModelPair:
    cards = (CARDS[0], sample_card(name="DLR_BM", age_sd=9.0, **bm))
    return ModelPair(cards, [[sample_network(seed, backbone)] for seed in (0, 1)])


def test_it_is_each_model_on_its_own() -> None:
    pair = _pair()
    lh, bm, ages = pair.inputs_of.noise(3)
    logits = TorchRunner(pair).run(lh, bm, ages)
    for place, card in enumerate(CARDS):
        images = (torch.from_numpy(np.stack(lh)).float() / 255 - torch.tensor(card.pixel_mean).reshape(3, 1, 1)) / (
            torch.tensor(card.pixel_std).reshape(3, 1, 1)
        )
        age = torch.tensor([(years - card.age_mean) / card.age_sd for years in ages], dtype=torch.float32)
        alone = sample_network(place)(images, age).detach().numpy()
        np.testing.assert_allclose(logits[:, place], alone, atol=1e-5)


@pytest.mark.parametrize(
    "backbone", [name if name in EACH_KIND else pytest.param(name, marks=pytest.mark.long) for name in BACKBONES]
)
def test_folding_leaves_no_batchnorm_and_pytorch_and_openvino_give_the_same_scores(backbone: str) -> None:
    pair = _pair(backbone)
    batch = pair.inputs_of.noise(3)
    expected = probabilities(TorchRunner(pair).run(*batch))
    on_openvino = OpenVinoRunner(pair.cards, pair.weights())
    pair.fold()
    assert not [module for module in pair.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for runner in (TorchRunner(pair), on_openvino):
        assert np.abs(probabilities(runner.run(*batch)) - expected).max() < 1e-5


def test_an_ensemble_has_the_logits_of_each_of_its_networks_however_it_is_run() -> None:
    ensembles = [[sample_network(0)], [sample_network(seed) for seed in (1, 2, 3)]]
    pair = ModelPair(CARDS, ensembles)
    batch = pair.inputs_of.noise(3)
    expected = probabilities(TorchRunner(pair).run(*batch))
    assert expected.shape == (3, 4, 2)
    for place, seed in enumerate((1, 2, 3)):
        alone = ModelPair(CARDS, [[sample_network(0)], [sample_network(seed)]])
        found = probabilities(TorchRunner(alone).run(*batch))
        np.testing.assert_allclose(expected[:, [0, 1 + place]], found, atol=1e-6)
    on_openvino = OpenVinoRunner(pair.cards, pair.weights())
    for runner in (on_openvino, TorchRunner(pair.fold())):
        assert np.abs(probabilities(runner.run(*batch)) - expected).max() < 1e-5


@pytest.mark.parametrize("channels", ["gray", "rgb"])
def test_with_test_time_flips_the_passes_of_the_mirror_images_follow_those_of_the_images(channels: str) -> None:
    plain = CARDS[0], sample_card(name="DLR_BM", channels=channels)
    flipped = plain[0], plain[1].model_copy(update={"test_time_flip": True})
    networks = [[sample_network(0)], [sample_network(1), sample_network(2)]]
    pair = ModelPair(flipped, networks)
    lh, bm, ages = pair.inputs_of.noise(3)
    found = probabilities(TorchRunner(pair).run(lh, bm, ages))
    assert found.shape == (3, 5, 2)
    alone = TorchRunner(ModelPair(plain, networks))
    turned = [one[..., ::-1].copy() for one in bm]
    mirrored = alone.run(turned if pair.inputs_of.one_crop else lh, turned, ages)
    np.testing.assert_allclose(found[:, :3], probabilities(alone.run(lh, bm, ages)), atol=1e-6)
    np.testing.assert_allclose(found[:, 3:], probabilities(mirrored)[:, 1:], atol=1e-6)
    on_openvino = OpenVinoRunner(pair.cards, pair.weights())
    for runner in (on_openvino, TorchRunner(pair.fold())):
        assert np.abs(probabilities(runner.run(lh, bm, ages)) - found).max() < 1e-5


def _in_bfloat16(pair: ModelPair, ages: torch.Tensor, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """DLR_BM's logits as they are with autocast, and as they were if it were on for the whole network."""
    (network,) = pair.bm.each
    images = (pixels.float() / 255 - pair.bm.mean) / pair.bm.std
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        return pair(ages, pixels)[:, 1], network(images, ages[:, 1]).float()


def test_in_bfloat16_lesions_whose_logits_differ_have_no_ties() -> None:
    pair = _pair()
    (image,), _, _ = pair.inputs_of.noise(1)
    ages = pair.inputs_of.normalized(np.linspace(50, 52, 24))  # above the mean, below which ReLU takes the age away
    found, rounded = _in_bfloat16(pair, torch.from_numpy(ages), torch.from_numpy(np.stack([image] * len(ages))))
    assert found.dtype == torch.float32
    assert len(set(rounded[:, 1].tolist())) < len(ages)
    assert len(set(found[:, 1].tolist())) == len(ages)


def test_in_bfloat16_logits_are_nearer_to_those_of_float32_where_the_resnets_alone_are_rounded() -> None:
    pair = _pair()
    ages, pixels = (torch.from_numpy(one) for one in pair.inputs_of(*pair.inputs_of.noise(24)))
    with torch.inference_mode():
        expected = pair(ages, pixels)[:, 1]
    found, rounded = ((one - expected).abs().mean() for one in _in_bfloat16(pair, ages, pixels))
    assert 0 < found < rounded


@pytest.mark.parametrize("image_only", [False, True])
def test_in_float32_the_logits_are_the_networks_own_to_the_bit(image_only: bool) -> None:
    network = sample_network(0)
    scoring = ScoringNetworks(CARDS[0], [network], image_only=image_only).eval()
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 1, 32, 32), np.uint8))
    age = torch.tensor([0.5, -1.0, 2.0])
    images = ((pixels.float() / 255 - scoring.mean) / scoring.std).expand(-1, 3, -1, -1)
    with torch.inference_mode():
        own = network.image_logits(images) if image_only else network(images, age)
        assert torch.equal(scoring(pixels, age)[:, 0], own)


@pytest.mark.parametrize("bm", [{"input_size": 48}, {"channels": "rgb"}, {"roi_margin": 0.0}])
def test_models_that_take_other_crops_get_each_their_own(bm: dict[str, object]) -> None:
    pair = _pair(**bm)
    assert not pair.inputs_of.one_crop
    batch = pair.inputs_of.noise(2)
    expected = probabilities(TorchRunner(copy.deepcopy(pair)).run(*batch))
    assert np.abs(probabilities(cpu_runner(pair).run(*batch)) - expected).max() < 1e-5


def test_each_models_logits_are_divided_by_its_own_temperature() -> None:
    cards = sample_card(name="DLR_LH", temperature=2.0), sample_card(name="DLR_BM", temperature=0.5)
    logits = np.array([[[1.0, 3.0], [2.0, 1.0]], [[0.0, 0.0], [900.0, -900.0]]], np.float32)
    found = probabilities(logits, temperatures_of(cards))
    odds = np.exp([[2.0 / 2, -1.0 / 0.5], [0.0, -700.0]])
    np.testing.assert_allclose(found[..., 1], odds / (1 + odds), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-15)


def test_where_no_card_has_a_temperature_nothing_is_divided() -> None:
    assert temperatures_of(CARDS) is None


def test_any_number_of_lesions_makes_a_batch() -> None:
    pair = _pair()
    lh, bm, ages = pair.inputs_of.noise(9)
    runner = cpu_runner(pair)
    together = runner.run(lh, bm, ages)
    for count in (1, 2, 5):
        np.testing.assert_allclose(runner.run(lh[:count], bm[:count], ages[:count]), together[:count], atol=1e-4)


def test_batches_beside_each_other_and_a_lesion_alone_give_the_same_scores() -> None:
    pair = _pair()
    lh, bm, ages = pair.inputs_of.noise(12)
    expected = probabilities(TorchRunner(pair).run(lh, bm, ages))
    runner = OpenVinoRunner(pair.cards, pair.weights(), streams=3)
    assert runner.threads == 3
    with ThreadPoolExecutor(6) as threads:
        for count in (1, 2):
            parts = [slice(start, start + count) for start in range(0, 12, count)] * 3
            found = threads.map(lambda part: runner.run(lh[part], bm[part], ages[part]), parts)
            for part, logits in zip(parts, found, strict=True):
                np.testing.assert_allclose(probabilities(logits), expected[part], atol=1e-4)


def test_without_openvino_pytorch_runs_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.inference.cpu.find_spec", lambda _name: None)
    pair = _pair()
    batch = pair.inputs_of.noise(2)
    expected = probabilities(TorchRunner(copy.deepcopy(pair)).run(*batch))
    runner = cpu_runner(pair)
    assert isinstance(runner, TorchRunner)
    assert np.abs(probabilities(runner.run(*batch)) - expected).max() < 1e-5


@pytest.mark.parametrize("said", ["", "1", "1000"])
def test_the_models_compute_on_as_many_cores_as_pytorch_would(said: str) -> None:
    program = "import torch\nfrom worker.inference.cpu import cores\nassert cores() == torch.get_num_threads()"
    environment = {**os.environ, "OMP_NUM_THREADS": said}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=environment, check=True, timeout=120)


def test_openvino_reports_its_use_to_nobody() -> None:
    program = (
        "import worker.inference\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "assert telemetry_utils.tm.__name__ == 'openvino.tools.ovc.telemetry_stub'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_probabilities_are_the_softmax() -> None:
    logits = np.array([[[0.0, 0.0], [1000.0, -1000.0]]], np.float32)
    np.testing.assert_array_equal(probabilities(logits), [[[0.5, 0.5], [1.0, 0.0]]])
