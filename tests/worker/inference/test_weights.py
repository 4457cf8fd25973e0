"""Weights are those of the card, to the last tensor, or they are refused."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.worker.inference.samples import sample_card, sample_network, write_ensemble
from worker.errors import Code, ModelRefused
from worker.inference.model_card import load_card
from worker.inference.weights import load_network, load_networks, save_network
from worker.inference.weights_file import sha256_of

CPU = torch.device("cpu")


def _refusal(path: Path, code: Code, digest: str | None = None, **changes: object) -> str:
    card = sample_card(weights_sha256=digest or sha256_of(path), **changes)
    with pytest.raises(ModelRefused) as refused:
        load_network(card, path, CPU)
    assert refused.value.code is code
    return refused.value.reason


def _saved(path: Path, **changes: torch.Tensor | None) -> Path:
    """Weights of a sample network with some tensors changed, added, or left out (``None``)."""
    tensors = sample_network().state_dict() | {name.replace("__", "."): tensor for name, tensor in changes.items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}, path)
    return path


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    network = sample_network(seed=3)
    digest = save_network(network, tmp_path / "w")
    loaded = load_network(sample_card(weights_sha256=digest), tmp_path / "w", CPU)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_an_ensembles_weights_are_each_those_of_its_member(tmp_path: Path) -> None:
    card_path, weights = write_ensemble(tmp_path, (0, 1))
    card = load_card(card_path)
    for network, seed in zip(load_networks(card, weights, CPU), (0, 1), strict=True):
        for name, tensor in sample_network(seed).state_dict().items():
            assert torch.equal(network.state_dict()[name], tensor), name
    for given, code in ((weights[::-1], Code.WEIGHTS_HASH_MISMATCH), (weights[:1], Code.WEIGHTS_MISSING)):
        with pytest.raises(ModelRefused) as refused:
            load_networks(card, given, CPU)
        assert refused.value.code is code


def test_weights_that_are_not_there_are_refused(tmp_path: Path) -> None:
    reason = _refusal(tmp_path / "none", Code.WEIGHTS_MISSING, digest="0" * 64)
    assert str(tmp_path) not in reason


def test_other_weights_are_refused_by_their_hash(tmp_path: Path) -> None:
    save_network(sample_network(), tmp_path / "w")
    reason = _refusal(tmp_path / "w", Code.WEIGHTS_HASH_MISMATCH, digest="ab" * 32)
    assert "ab" * 32 in reason
    assert sha256_of(tmp_path / "w") in reason


def test_one_changed_byte_is_refused(tmp_path: Path) -> None:
    digest = save_network(sample_network(), tmp_path / "w")
    content = bytearray((tmp_path / "w").read_bytes())
    content[-1] ^= 1
    (tmp_path / "w").write_bytes(content)
    _refusal(tmp_path / "w", Code.WEIGHTS_HASH_MISMATCH, digest=digest)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "harmed",))  # type: ignore[return-value]

    (tmp_path / "w").write_bytes(pickle.dumps(Harmful()))
    assert "safetensors" in _refusal(tmp_path / "w", Code.WEIGHTS_MISSING)
    assert not (tmp_path / "harmed").exists()


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    save_network(sample_network(), tmp_path / "w")
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:-4])
    assert "safetensors" in _refusal(tmp_path / "w", Code.WEIGHTS_MISSING)


def test_another_backbone_is_refused_with_what_differs(tmp_path: Path) -> None:
    reason = _refusal(_saved(tmp_path / "w"), Code.WEIGHTS_SHAPE_MISMATCH, backbone="resnet34")
    assert "missing: image.backbone.layer1.2.conv1.weight" in reason
    assert "more" in reason


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"age__fc2__bias": None}, "missing: age.fc2.bias"),
        ({"age__fc3__bias": torch.zeros(2)}, "unexpected: age.fc3.bias"),
        (
            {
                "image__fc2__weight": torch.zeros(3, 128),
                "age__fc1__weight": torch.zeros(16, 127),
                "age__fc1__bias": torch.zeros(16, dtype=torch.float16),
            },
            (
                "other shape: image.fc2.weight is float32 (2, 128) in the network, float32 (3, 128) in the file, "
                "age.fc1.weight is float32 (16, 128) in the network, float32 (16, 127) in the file, "
                "age.fc1.bias is float32 (16,) in the network, float16 (16,) in the file"
            ),
        ),
        (
            {"image__fc1__bias": torch.full((128,), torch.inf), "age__fc1__bias": torch.full((16,), torch.nan)},
            "not finite: image.fc1.bias, age.fc1.bias",
        ),
    ],
    ids=["missing", "unexpected", "other shapes", "not finite"],
)
def test_weights_that_do_not_fit_are_refused_with_what_differs(
    tmp_path: Path, changes: dict[str, torch.Tensor | None], expected: str
) -> None:
    assert expected in _refusal(_saved(tmp_path / "w", **changes), Code.WEIGHTS_SHAPE_MISMATCH)
