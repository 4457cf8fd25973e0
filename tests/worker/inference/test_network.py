"""The architecture of the study, Figures S2 and S3, fact by fact."""

import subprocess
import sys
from typing import get_args

import pytest
import torch
from torchvision import models

from tests.worker.inference.samples import sample_network
from worker.errors import Code, ModelRefused
from worker.inference.model_card import Backbone
from worker.inference.network import DlrNetwork, resnet


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in DlrNetwork().state_dict().items()}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("image.fc1.weight", (128, 2048)),
        ("image.fc1.bias", (128,)),
        ("image.fc2.weight", (2, 128)),
        ("image.fc2.bias", (2,)),
        ("age.fc1.weight", (16, 128)),
        ("age.fc1.bias", (16,)),
        ("age.fc2.weight", (2, 17)),
        ("age.fc2.bias", (2,)),
    ],
)
def test_each_fully_connected_layer_has_the_studys_shape(
    shapes: dict[str, tuple[int, ...]], name: str, shape: tuple[int, ...]
) -> None:
    assert shapes[name] == shape


def test_the_backbone_is_a_resnet_50_without_its_last_layer(shapes: dict[str, tuple[int, ...]]) -> None:
    with torch.device("meta"):
        plain = {name: tuple(tensor.shape) for name, tensor in models.resnet50().state_dict().items()}
    ours = {name.removeprefix("image.backbone."): shape for name, shape in shapes.items() if "backbone" in name}
    assert ours == {name: shape for name, shape in plain.items() if not name.startswith("fc.")}


def test_there_are_four_fully_connected_layers_and_nothing_else_besides_the_backbone(
    shapes: dict[str, tuple[int, ...]],
) -> None:
    assert {name.rsplit(".", 1)[0] for name in shapes if "backbone" not in name} == {
        "image.fc1",
        "image.fc2",
        "age.fc1",
        "age.fc2",
    }


def test_the_image_logits_are_fc2_of_the_embedding_with_nothing_between() -> None:
    network, images = sample_network(), torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        embedding = network.embed(images)
        expected = embedding @ network.image.fc2.weight.T + network.image.fc2.bias
        assert embedding.shape == (3, 128)
        assert (embedding < 0).any(), "an activation would have cut the negative numbers off"
        torch.testing.assert_close(network.image_logits(images), expected)


def test_relu_is_applied_to_all_seventeen_features_the_age_included() -> None:
    network, images = sample_network(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        below = network(images, torch.tensor([-0.5, -0.5]))
        further_below = network(images, torch.tensor([-2.0, -2.0]))
        above = network(images, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(below, further_below)
    assert not torch.allclose(below, above)


def test_the_classifier_joins_the_age_behind_the_sixteen_features() -> None:
    network, images, ages = sample_network(), torch.rand(2, 3, 32, 32), torch.tensor([0.3, 1.7])
    with torch.no_grad():
        sixteen = network.embed(images) @ network.age.fc1.weight.T + network.age.fc1.bias
        seventeen = torch.cat([sixteen, ages[:, None]], dim=1).clamp(min=0)
        expected = seventeen @ network.age.fc2.weight.T + network.age.fc2.bias
        torch.testing.assert_close(network(images, ages), expected)


def test_a_card_can_name_every_resnet_of_torchvision_and_nothing_else() -> None:
    builders = {
        name for name in models.list_models(module=models) if name.startswith(("resnet", "resnext", "wide_resnet"))
    }
    assert set(get_args(Backbone)) == builders


@pytest.mark.parametrize("backbone", ["resnet18", "resnext50_32x4d", "wide_resnet50_2"])
def test_another_resnet_brings_its_own_width(backbone: str) -> None:
    with torch.device("meta"):
        network = DlrNetwork(backbone)
        logits = network(torch.empty(2, 3, 32, 32), torch.empty(2))
    assert network.image.fc1.in_features == getattr(models, backbone)(weights=None).fc.in_features
    assert logits.shape == (2, 2)


@pytest.mark.parametrize("name", ["vgg16", "densenet121", "resnet9000", "", "quantized_resnet18"])
def test_what_is_not_a_resnet_is_refused(name: str) -> None:
    with pytest.raises(ModelRefused) as refused:
        resnet(name)
    assert refused.value.code is Code.CARD_INVALID
    assert "backbone" in refused.value.reason


@pytest.mark.parametrize("backbone", get_args(Backbone))
def test_a_resnet_has_torchvisions_layers_by_its_names_in_its_order(backbone: str) -> None:
    with torch.device("meta"):
        ours, theirs = resnet(backbone), models.get_model(backbone, weights=None)
    assert [(name, tensor.shape) for name, tensor in ours.state_dict().items()] == [
        (name, tensor.shape) for name, tensor in theirs.state_dict().items()
    ]


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2"])
def test_a_resnet_of_a_seed_is_torchvisions_of_that_seed_to_the_bit(backbone: str) -> None:
    made = []
    for make in (resnet, lambda name: models.get_model(name, weights=None)):
        torch.manual_seed(7)
        network = make(backbone).eval()
        with torch.inference_mode():
            made.append((network.state_dict(), network(torch.rand(2, 3, 64, 64))))
    (ours, our_features), (theirs, their_features) = made
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert torch.equal(our_features, their_features)


def test_a_worker_that_scores_imports_no_torchvision() -> None:
    program = "import sys, worker.inference.engine, worker.inference.cpu; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
