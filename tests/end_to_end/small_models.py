"""Models small enough to test with: the true architecture on a resnet18, with weights from a seed, made once a run."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tests.shared import made_once
from worker.inference.model_card import CLASSES, MODEL_NAMES, ModelCard, ModelName
from worker.inference.network import DlrNetwork
from worker.inference.registry import Registry
from worker.inference.weights import save_network

NOTICE = "small test model, not for clinical use"


def add_small_models(models_dir: Path, version: str = "test-1", seed: int = 7) -> dict[str, ModelCard]:
    """Make this folder a registry in which both models are active; return their cards."""

    def make(folder: Path) -> None:
        registry = Registry(folder)
        for number, name in enumerate(MODEL_NAMES):
            add_version(folder, name, version, seed + number)
            registry.activate(name, version)

    shutil.copytree(made_once(f"small-models/{version}-{seed}", make), models_dir, dirs_exist_ok=True)
    return {entry.card.name: entry.card for entry in Registry(models_dir).list()}


def add_version(models_dir: Path, name: ModelName, version: str, seed: int) -> None:
    """Add a version to a registry; it is not active yet."""
    with TemporaryDirectory() as incoming:
        _write(Path(incoming), name, version, seed)
        Registry(models_dir).add(Path(incoming) / "card.json", Path(incoming) / "weights.safetensors")


def _write(folder: Path, name: ModelName, version: str, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
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
