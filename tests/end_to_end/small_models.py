"""Models small enough to test with: the true architecture on a resnet18, with weights from a seed."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from worker.inference.card import CLASSES, MODEL_NAMES, ModelCard, ModelName
from worker.inference.network import DlrNetwork
from worker.inference.registry import Registry
from worker.inference.weights import save_network

NOTICE = "small test model, not for clinical use"


def add_small_models(models_dir: Path, version: str = "test-1", seed: int = 7) -> dict[str, ModelCard]:
    """Put both models into a registry and activate them; return their cards."""
    registry = Registry(models_dir)
    cards = {}
    for number, name in enumerate(MODEL_NAMES):
        with TemporaryDirectory() as folder:
            cards[name] = _write(Path(folder), name, version, seed + number)
            registry.add(Path(folder) / "card.json", Path(folder) / "weights.safetensors")
        registry.activate(name, version)
    return cards


def _write(folder: Path, name: ModelName, version: str, seed: int) -> ModelCard:
    torch.manual_seed(seed)
    network = DlrNetwork("resnet18", 2).eval()
    digest = save_network(network, folder / "weights.safetensors")
    card = ModelCard(
        schema_version=1,
        name=name,
        version=version,
        backbone="resnet18",
        classes=CLASSES[name],
        positive_class=CLASSES[name][1],
        input_size=64,
        channels="gray",
        pixel_mean=(0.3, 0.3, 0.3),
        pixel_std=(0.2, 0.2, 0.2),
        roi_margin=0.1 * (1 + seed % 2),
        age_mean=44.23,
        age_sd=12.67,
        threshold=0.5,
        weights_sha256=digest,
        intended_use="tests",
        training_data="none: weights from a seed",
        notice=NOTICE,
        metrics={"auc": 0.5},
        created_at=datetime(2026, 11, 23, tzinfo=UTC),
    )
    (folder / "card.json").write_text(card.to_json())
    return card
