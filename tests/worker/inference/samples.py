"""Small models for the tests: ResNet-18 at 32 pixels, with weights that are drawn from a seed once a run.

Weights have 43 MiB. A registry hashes, loads and syncs what is added to it; what was added once is only copied here.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.shared import made_once
from worker.inference.model_card import CLASSES, ModelCard, load_card
from worker.inference.registry import Registry

if TYPE_CHECKING:
    from worker.inference.network import DlrNetwork

SMALLEST = "resnet18"


def card_fields(**changes: Any) -> dict[str, Any]:
    """A valid card, as JSON has it, with changes."""
    name = changes.get("name", "DLR_BM")
    fields: dict[str, Any] = {
        "schema_version": 1,
        "name": name,
        "version": "1.0",
        "backbone": SMALLEST,
        "classes": list(CLASSES[name]),
        "positive_class": CLASSES[name][1],
        "input_size": 32,
        "channels": "gray",
        "resize": "letterbox",
        "pixel_mean": [0.45, 0.5, 0.55],
        "pixel_std": [0.2, 0.25, 0.3],
        "roi_margin": 0.25,
        "age_mean": 44.23,
        "age_sd": 12.67,
        "threshold": 0.5,
        "weights_sha256": "0" * 64,
        "intended_use": "tests",
        "training_data": "none: weights drawn from a seed",
        "notice": "weights from a seed, for tests",
        "metrics": {"auc": 0.5, "test_set": "none"},
        "created_at": "2026-11-23T12:00:00Z",
    }
    return fields | changes


def sample_card(**changes: Any) -> ModelCard:
    return ModelCard.model_validate_json(json.dumps(card_fields(**changes)))


def sample_network(seed: int = 0, backbone: str = SMALLEST) -> "DlrNetwork":
    """A network whose BatchNorm statistics are not the trivial ones, so that each of them matters."""
    import torch
    from safetensors.torch import load_file

    from worker.inference.network import DlrNetwork

    if backbone != SMALLEST:
        return _drawn(seed, backbone).eval()
    with torch.device("meta"):
        network = DlrNetwork(backbone)
    network.load_state_dict(load_file(sample_weights(seed)[0]), assign=True)
    return network.eval()


def _drawn(seed: int, backbone: str) -> "DlrNetwork":
    import torch

    from worker.inference.network import DlrNetwork

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DlrNetwork(backbone)
        for name, tensor in network.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.2)
            elif name.endswith("running_var"):
                tensor.uniform_(0.6, 1.4)
    return network


def sample_weights(seed: int = 0, backbone: str = SMALLEST) -> tuple[Path, str]:
    """The weights of a `sample_network`, and their SHA-256; nobody writes into the file."""

    def make(folder: Path) -> None:
        from worker.inference.weights import save_network

        (folder / "sha256").write_text(save_network(_drawn(seed, backbone), folder / "weights.safetensors"))

    made = made_once(f"weights/{backbone}-{seed}", make)
    return made / "weights.safetensors", (made / "sha256").read_text()


def write_model(folder: Path, seed: int = 0, **changes: Any) -> tuple[Path, Path]:
    """Write a card and its weights; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    card_path, weights_path = folder / "card.json", folder / "weights.safetensors"
    source, digest = sample_weights(seed, changes.get("backbone", SMALLEST))
    shutil.copyfile(source, weights_path)
    card_path.write_text(sample_card(**({"weights_sha256": digest} | changes)).to_json())
    return card_path, weights_path


def write_ensemble(
    folder: Path, seeds: Sequence[int], version: str = "ensemble", **changes: Any
) -> tuple[Path, list[Path]]:
    """Write the card and the weights of an ensemble of `write_model`'s; return the paths, in the members' order."""
    from worker.inference.ensemble_card import ensemble_card

    written = [write_model(folder / f"member-{seed}", seed, version=f"member-{seed}", **changes) for seed in seeds]
    card = ensemble_card([load_card(card_path) for card_path, _ in written], version)
    # What the cards here say of the tests' weights is as true of several.
    measured = card.model_copy(update={"metrics": {"auc": 0.5, "test_set": "none"}})
    (folder / "card.json").write_text(measured.to_json())
    return folder / "card.json", [weights_path for _, weights_path in written]


def write_image_stage(folder: Path, seed: int = 0, **changes: Any) -> tuple[Path, Path]:
    """As `write_model`, of the image stage alone."""
    from safetensors.torch import load_file, save_file

    from worker.inference.weights_file import sha256_of

    folder.mkdir(parents=True, exist_ok=True)
    tensors = load_file(sample_weights(seed)[0])
    weights_path = folder / "weights.safetensors"
    save_file({name: tensor for name, tensor in tensors.items() if name.startswith("image.")}, weights_path)
    card = sample_card(**({"weights_sha256": sha256_of(weights_path), "stage": "image"} | changes))
    (folder / "card.json").write_text(card.to_json())
    return folder / "card.json", weights_path


def registry_with_both(folder: Path, **changes: Any) -> Registry:
    """A registry with both models, active; a copy of one's own."""

    def make(made: Path) -> None:
        registry = Registry(made / "registry")
        for seed, name in enumerate(CLASSES):
            card = registry.add(*write_model(made / "incoming" / name, seed, name=name, **changes))
            registry.activate(card.name, card.version)
        shutil.rmtree(made / "incoming")

    return copied_registry(folder, changes, make)


def copied_registry(folder: Path, what: object, make: Callable[[Path], None]) -> Registry:
    """A copy, in a folder, of a registry that is made once a run.

    Args:
        folder: gets ``registry``, and is kept otherwise.
        what: is in it, as JSON takes it.
        make: puts ``registry`` into another folder.
    """
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    shutil.copytree(made_once(f"registries/{key}", make), folder, dirs_exist_ok=True)
    return Registry(folder / "registry")
