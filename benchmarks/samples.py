"""The two models of the study's architecture, with weights from a seed, and lesions to score with them."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from db.schema.vocabulary import AgeSource, RegionSource
from worker.inference.model_card import CLASSES, MODEL_NAMES, ModelCard, ModelName
from worker.inference.network import DlrNetwork
from worker.inference.registry import Registry
from worker.inference.weights import save_network
from worker.study import Age, LesionImage, Roi

SIZE = 224
BACKBONE = "resnet50"


def network(seed: int) -> DlrNetwork:
    """Make a network whose numbers neither vanish nor grow on their way through it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = DlrNetwork(BACKBONE)
    return made.requires_grad_(False).eval()


def card(name: ModelName, weights_sha256: str = "0" * 64) -> ModelCard:
    """Make a model's card."""
    return ModelCard(
        schema_version=1,
        name=name,
        version="benchmark-1",
        backbone=BACKBONE,
        classes=CLASSES[name],
        positive_class=CLASSES[name][1],
        input_size=SIZE,
        channels="gray",
        pixel_mean=(0.3, 0.3, 0.3),
        pixel_std=(0.2, 0.2, 0.2),
        roi_margin=0.1,
        age_mean=44.23,
        age_sd=12.67,
        threshold=0.5,
        weights_sha256=weights_sha256,
        intended_use="benchmarks",
        training_data="none: weights from a seed",
        notice="benchmark model, not for clinical use",
        created_at=datetime(2026, 11, 24, tzinfo=UTC),
    )


def cards() -> tuple[ModelCard, ModelCard]:
    lh, bm = (card(name) for name in MODEL_NAMES)
    return lh, bm


def add_models(models_dir: Path) -> None:
    """Put both models into a registry and activate them."""
    registry = Registry(models_dir)
    for seed, name in enumerate(MODEL_NAMES):
        with TemporaryDirectory() as folder:
            weights, path = Path(folder) / "weights.safetensors", Path(folder) / "card.json"
            path.write_text(card(name, save_network(network(seed), weights)).to_json())
            registry.add(path, weights)
        registry.activate(name, "benchmark-1", force=True)


def lesion(seed: int = 0) -> LesionImage:
    """Make a lesion on a frame of speckle."""
    rng = np.random.default_rng(seed)
    frame = np.clip(rng.rayleigh(60, (480, 640)), 0, 255).astype(np.uint8)
    return LesionImage(frame, Roi(200, 120, 180, 140), RegionSource.JOB, Age(47.0, AgeSource.JOB))
