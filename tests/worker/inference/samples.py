"""Small models for the tests: ResNet-18 at 64 pixels with weights drawn from a seed."""

import hashlib
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from worker.inference.card import CLASSES, ModelCard
from worker.inference.network import DlrNetwork
from worker.inference.registry import Registry
from worker.inference.weights import save_network


def card_fields(**changes: Any) -> dict[str, Any]:
    """A valid card, as JSON has it, with changes."""
    name = changes.get("name", "DLR_BM")
    fields: dict[str, Any] = {
        "schema_version": 1,
        "name": name,
        "version": "1.0",
        "backbone": "resnet18",
        "classes": list(CLASSES[name]),
        "positive_class": CLASSES[name][1],
        "input_size": 64,
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
        "notice": "",
        "metrics": {"auc": 0.5, "test_set": "none"},
        "created_at": "2026-11-23T12:00:00Z",
    }
    return fields | changes


def sample_card(**changes: Any) -> ModelCard:
    import json

    return ModelCard.model_validate_json(json.dumps(card_fields(**changes)))


def sample_network(seed: int = 0, backbone: str = "resnet18") -> DlrNetwork:
    """A network whose BatchNorm statistics are not the trivial ones, so that each of them matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DlrNetwork(backbone)
        for name, tensor in network.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.2)
            elif name.endswith("running_var"):
                tensor.uniform_(0.6, 1.4)
    return network.eval()


@lru_cache(maxsize=4)
def _weights(seed: int, backbone: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save_network(sample_network(seed, backbone), Path(folder) / "w")
        return (Path(folder) / "w").read_bytes()


def write_model(folder: Path, seed: int = 0, **changes: Any) -> tuple[Path, Path]:
    """Write a card and its weights; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    card_path, weights_path = folder / "card.json", folder / "weights.safetensors"
    content = _weights(seed, changes.get("backbone", "resnet18"))
    weights_path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    card_path.write_text(sample_card(**({"weights_sha256": digest} | changes)).to_json())
    return card_path, weights_path


def registry_with_both(folder: Path, **changes: Any) -> Registry:
    """A registry with both models, active."""
    registry = Registry(folder / "registry")
    for seed, name in enumerate(CLASSES):
        card = registry.add(*write_model(folder / "incoming" / name, seed, name=name, **changes))
        registry.activate(card.name, card.version)
    return registry
