"""The networks of a recipe's folds as one served version: made by `dlr models ensemble`, scored as the service scores.

`benchmarks.real_lesions --serve` tells of it. It holds the version against each of its members by itself, on lesions
that none of them saw, by DeLong's paired test with Holm's correction.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import commit
from benchmarks.real_figures import Lesion, auc_of, compared, correct
from benchmarks.real_training import Recipe
from worker.inference.model_card import CLASSES, ModelCard
from worker.inference.version_folder import CARD_FILE, WEIGHTS_FILE
from worker.training.config import TrainingConfig

DLR = Path(sys.executable).with_name("dlr")
MODEL = "DLR_BM"
TOGETHER = "folds"


def served(recipe: Recipe, seed: int, weights: Mapping[int, Path], manifest: Path, work: Path) -> dict[str, Any]:
    """Make one version of several networks, score a set with it and with each, and hold them against each other.

    Args:
        recipe: of the networks.
        seed: of their trainings.
        weights: the file of each fold's.
        manifest: of lesions that none learned from.
        work: a folder for cards and the registry; what is in it is replaced.
    """
    from worker.dataset.manifest import Split
    from worker.dataset.manifest_file import read_manifest
    from worker.inference.registry import Registry
    from worker.training.manifest_by_version import score_versions

    shutil.rmtree(work, ignore_errors=True)
    config = recipe.config(seed)
    folders = {fold: _member(fold, path, config, work / f"fold-{fold}") for fold, path in sorted(weights.items())}
    whole = work / TOGETHER
    made = [DLR, "models", "ensemble", *folders.values(), "--version", TOGETHER, "--output", whole]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    registry = Registry(work / "models")
    for folder in (whole, *folders.values()):
        registry.add(folder / CARD_FILE, *sorted(folder.glob("*.safetensors")))
    entries = [registry.entry(MODEL, version) for version in (TOGETHER, *map(_version, folders))]
    scored = score_versions(
        read_manifest(manifest), Split.EXTERNAL, entries, lambda _done, _total: None, image_only=True
    )
    lesions = scored.material.lesions
    tables = {
        one.version: [
            Lesion((lesion.patient or "", lesion.lesion_id), lesion.malignant, lesion.scores[one], 1, False, None)
            for lesion in lesions
        ]
        for one in scored.material.scorers
    }
    together = tables[TOGETHER]
    alone = {fold: tables[_version(fold)] for fold in folders}
    less = [compared([together], [of_fold]) for of_fold in alone.values()]
    correct(less)
    of_each = zip(*([one.score for one in table] for table in alone.values()), strict=True)
    means = [sum(scores) / len(scores) for scores in of_each]
    return {
        "recipe": recipe.name,
        "seed": seed,
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "together": auc_of(together),
        "members": [
            {"fold": fold, **auc_of(table), "less": than}
            for (fold, table), than in zip(alone.items(), less, strict=True)
        ],
        "less_alone": compared([together], list(alone.values())),
        "furthest_from_mean": max(abs(one.score - mean) for one, mean in zip(together, means, strict=True)),
    }


def _version(fold: int) -> str:
    return f"fold-{fold}"


def _member(fold: int, weights: Path, config: TrainingConfig, folder: Path) -> Path:
    """Put a fold's network and a card into a folder, as `dlr train --stages image` leaves them."""
    from worker.inference.weights_file import sha256_of
    from worker.training.labels import rule_of

    folder.mkdir(parents=True)
    shutil.copyfile(weights, folder / WEIGHTS_FILE)
    taken = config.preprocessing
    card = ModelCard(
        schema_version=1,
        name=MODEL,
        version=_version(fold),
        stage="image",
        backbone=config.backbone,
        classes=CLASSES[MODEL],
        positive_class=CLASSES[MODEL][1],
        input_size=taken.size,
        channels=taken.channels,
        resize=taken.resize,
        pixel_mean=taken.mean,
        pixel_std=taken.std,
        roi_margin=taken.margin,
        age_mean=config.age_mean,
        age_sd=config.age_sd,
        threshold=0.5,
        weights_sha256=sha256_of(weights),
        intended_use="to measure what an ensemble is worth",
        training_data=f"all folds but {fold}, which is tested, and the next one, which chooses the epoch",
        notice="research only, not for clinical use",
        training={"label_rule": str(rule_of(MODEL, config)), "fold": fold, "seed": config.seed},
        created_at=datetime.now(UTC),
    )
    (folder / CARD_FILE).write_text(card.to_json())
    return folder
