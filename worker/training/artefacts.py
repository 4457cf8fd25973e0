"""What a training leaves: weights, scores, and the card, from which the service loads exactly that."""

import csv
import hashlib
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import torch

from worker import __version__
from worker.evaluation.discrimination import Auc, AucDifference
from worker.evaluation.scores_file import COLUMN_OF
from worker.inference.card_parts import InitialWeights
from worker.inference.model_card import CLASSES, NOT_STATED, ModelCard, ModelName
from worker.inference.network import DlrNetwork
from worker.inference.weights import tensors_of
from worker.inference.weights_file import sha256_of
from worker.training.checkpoint_files import write_bytes, write_tensors
from worker.training.cohort import Lesions, sizes_of
from worker.training.config import TrainingConfig
from worker.training.folder import TrainingFolder
from worker.training.held_out import AtSite, Discrimination, Judged
from worker.training.labels import LabelRule

SCORES_COLUMNS = ("lesion_id", "pathology", "patient_key", "birads", "age_years", "site", "images", "split")


def write_outcome(
    folder: TrainingFolder,
    network: DlrNetwork,
    judged: Judged,
    lesions: Lesions,
    rule: LabelRule,
    config: TrainingConfig,
    version: str | None,
    started: tuple[InitialWeights, ...] = (),
) -> ModelCard:
    """Write weights, scores and card, the card last.

    Args:
        folder: the training's.
        network: trained.
        judged: what held-out lesions say of it.
        lesions: of all splits.
        rule: that labelled them.
        config: how it was trained.
        version: the owner's; one is made where there is none.
        started: the weights that it started from, the latest first.
    """
    write_tensors(folder.weights_path, tensors_of(network, whole=config.needs_ages))
    write_bytes(folder.scores_path, scores_table(judged, rule.model))
    digest = sha256_of(folder.weights_path)
    card = _card(judged, lesions, rule, config, digest, version or made_version(lesions, config, digest), started)
    write_bytes(folder.card_path, card.to_json().encode())
    return card


def version_prefix(notice: str, config: TrainingConfig) -> str:
    """Return what the versions of a configuration and a seed begin with."""
    return f"{'demo' if notice else 'trained'}-{config.seed}-{config.fingerprint()}-"


def made_version(lesions: Lesions, config: TrainingConfig, digest: str) -> str:
    """Make a version's name: other seed, configuration or weights, other name."""
    return f"{version_prefix(lesions.cohort.notice, config)}{digest[:8]}"


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return this package's version, with 12 characters that change with any line of its code."""
    digest = hashlib.sha256()
    root = Path(str(files("worker")))
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{__version__}+{digest.hexdigest()[:12]}"


def scores_table(judged: Judged, model: ModelName) -> bytes:
    """Return the table that `dlr evaluate --scores` reads; each score with all its digits."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*SCORES_COLUMNS, COLUMN_OF[model]))
    for split, part in judged.scored.items():
        for row, images, score in zip(part.rows, part.images, part.scores, strict=True):
            pathology = "malignant" if row.malignant else "benign"
            known = (row.lesion_id, pathology, row.patient_key, row.birads, row.age_years, row.site, images, split)
            writer.writerow((*("" if cell is None else cell for cell in known), float(score)))
    return text.getvalue().encode()


def _card(
    judged: Judged, lesions: Lesions, rule: LabelRule, config: TrainingConfig, digest: str, version: str,
    started: tuple[InitialWeights, ...],
) -> ModelCard:  # fmt: skip
    taken, cohort, name = config.preprocessing, lesions.cohort, rule.model
    sizes = sizes_of(lesions)
    learned = ", ".join(f"{split} {count}" for split, count in sizes.items())
    return ModelCard(
        schema_version=1,
        name=name,
        version=version,
        stage="age" if config.needs_ages else "image",
        backbone=config.backbone,
        classes=CLASSES[name],
        positive_class=CLASSES[name][1],
        input_size=taken.size,
        channels=taken.channels,
        resize=taken.resize,
        pixel_mean=taken.mean,
        pixel_std=taken.std,
        roi_margin=taken.margin,
        age_mean=config.age_mean,
        age_sd=config.age_sd,
        test_time_flip=config.test_time_flip,
        aggregation=config.aggregation,
        threshold=judged.threshold,
        weights_sha256=digest,
        intended_use=f"Trying the service out: {cohort.notice}" if cohort.notice else f"{NOT_STATED}: research only",
        training_data=f"{cohort.said}; images: {learned}; label: {rule}; data digest {cohort.digest}",
        notice=cohort.notice,
        metrics=metrics_of(judged, cohort.notice),
        metrics_by_site=metrics_by_site(judged),
        reference=judged.reference,
        jpeg_decoder=cohort.jpeg_decoder,
        training=_training(lesions, rule, config, {f"{split}_images": count for split, count in sizes.items()}),
        initial_weights=started,
        created_at=datetime.now(UTC),
    )


def _training(
    lesions: Lesions, rule: LabelRule, config: TrainingConfig, sizes: Mapping[str, int]
) -> dict[str, int | float | str]:
    return {
        "data_digest": lesions.cohort.digest,
        "label_rule": str(rule),
        **sizes,
        "images_of_neither_class": len(lesions.cohort.rows) - len(lesions),
        "stages": config.stages,
        "age_learns_on": _age_learns_on(config),
        **({} if config.fold is None else {"fold": config.fold}),
        **({"label_smoothing": config.label_smoothing} if config.label_smoothing else {}),
        **({"mixup": config.mixup} if config.mixup else {}),
        "seed": config.seed,
        "configuration": config.fingerprint(),
        "code_version": code_version(),
        "torch": torch.__version__,
    }


def _age_learns_on(config: TrainingConfig) -> str:
    match config.stages:
        case "image":
            return "none"
        case "joint":  # at once, so from what the image network learns from
            return "train"
        case _:
            return config.age.learns_on


def metrics_of(judged: Judged, notice: str = "") -> dict[str, float | str]:
    """Return what a card says of the held-out lesions, by name; P values are two-sided, by DeLong's paired test."""
    metrics = _aucs(judged.discrimination)
    metrics |= {"sensitivity": round(judged.sensitivity, 4), "specificity": round(judged.specificity, 4)}
    if judged.external is not None:
        metrics |= {f"external_{name}": value for name, value in _aucs(judged.external).items()}
    found = judged.discrimination
    said = f"{found.lesions} held-out lesions ({judged.held_out}), {found.positives} of them positive"
    return metrics | {"test_set": f"{said}, {notice}" if notice else said}


def metrics_by_site(judged: Judged) -> dict[str, dict[str, int | float | str]]:
    """Return what a card says of the held-out lesions of each site; of an AUC only where there are enough."""
    return {site: _metrics_at(found) for site, found in judged.by_site.items()}


def _metrics_at(found: AtSite) -> dict[str, int | float | str]:
    area = {} if found.auc is None else _auc("auc", found.auc)
    rates = {"sensitivity": found.sensitivity, "specificity": found.specificity}
    known = {name: round(rate, 4) for name, rate in rates.items() if rate is not None}
    return {"lesions": found.lesions, "positives": found.positives, **area, **known}


def _aucs(found: Discrimination) -> dict[str, float | str]:
    metrics = {**_auc("auc", found.score), "auc_image_only": round(found.image_only.value, 4)}
    if found.age is None:
        return metrics
    return {
        **metrics,
        "auc_age_only": round(found.age.only.value, 4),
        **_gain("auc_gain_over_image", found.age.over_image),
        **_gain("auc_gain_over_age", found.age.over_age),
    }


def _auc(name: str, of: Auc) -> dict[str, float | str]:
    values = {name: of.value}
    if of.interval is not None:
        values |= {f"{name}_lower_95": of.interval.low, f"{name}_upper_95": of.interval.high}
    return {key: round(value, 4) for key, value in values.items()}


def _gain(name: str, of: AucDifference) -> dict[str, float | str]:
    values: dict[str, float | str] = {name: round(of.value, 4)}
    if of.interval is not None:
        values[f"{name}_lower_95"] = round(of.interval.low, 4)
    if of.p_value is not None:
        values[f"{name}_p"] = float(f"{of.p_value:.3g}")
    return values
