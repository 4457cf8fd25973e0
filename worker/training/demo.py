"""The demo models: both trained on phantoms, for trying the service out and never for a patient."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worker.errors import ModelRefused
from worker.inference.card import CLASSES, DEMO_NOTICE, MODEL_NAMES, ModelCard, ModelName, Reference
from worker.inference.network import DlrNetwork
from worker.inference.registry import Entry, Registry
from worker.inference.weights import save_network
from worker.training.cohort import Cohort, make_cohort
from worker.training.evaluate import auc, auc_gain, best_threshold, rates
from worker.training.recipe import DEMO_SEED, Recipe
from worker.training.reference import reference_of
from worker.training.train import (
    embed,
    new_network,
    normalized_ages,
    reproducible,
    train_age_classifier,
    train_image_network,
)

OnProgress = Callable[[str, float], None]
_COHORT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A demo model in the registry.

    Attributes:
        card: with its metrics on held-out phantoms.
        trained: now; ``False`` when the registry had it already.
        activated: now; ``False`` when a version of the model was active already, which is left alone.
    """

    card: ModelCard
    trained: bool
    activated: bool


@dataclass(frozen=True, slots=True)
class _Judged:
    """What lesions that a model did not learn from say of it."""

    threshold: float
    metrics: dict[str, float | str]
    reference: Reference


def make_demo_models(
    registry: Registry, *, seed: int = DEMO_SEED, on_progress: OnProgress, recipe: Recipe | None = None
) -> tuple[DemoModel, ...]:
    """Make sure that the registry has both demo models, and activate them where nothing is active.

    Args:
        registry: where they go.
        seed: the same seed and recipe give the same weights on the same machine.
        on_progress: told what is being done, and the share of all that is.
        recipe: how they are trained; the demo's own, unless a test wants a quicker one.

    Returns:
        DLR_LH and DLR_BM.
    """
    recipe = recipe or Recipe()
    known = {name: _sound_entry(registry, name, seed, recipe) for name in MODEL_NAMES}
    cards: dict[ModelName, ModelCard] = {name: entry.card for name, entry in known.items() if entry is not None}
    made = {} if len(cards) == len(MODEL_NAMES) else _train_both(registry, seed, recipe, on_progress)
    on_progress("done", 1.0)
    return tuple(
        DemoModel(card, trained=name in made, activated=_activate_if_none_is(registry, card))
        for name, card in (cards | made).items()
    )


def _sound_entry(registry: Registry, name: ModelName, seed: int, recipe: Recipe) -> Entry | None:
    prefix = _version_prefix(seed, recipe)
    for entry in registry.list():
        if entry.card.name == name and entry.card.version.startswith(prefix) and registry.is_sound(entry):
            return entry
    return None


def _activate_if_none_is(registry: Registry, card: ModelCard) -> bool:
    try:
        registry.active(card.name)
    except ModelRefused:
        registry.activate(card.name, card.version)
        return True
    return False


def _train_both(registry: Registry, seed: int, recipe: Recipe, on_progress: OnProgress) -> dict[ModelName, ModelCard]:
    """Train DLR_LH, and DLR_BM on from its image network: what it learnt to see serves both."""
    learnt, count = recipe.train + recipe.calibration, recipe.train + recipe.calibration + recipe.test
    cohort = make_cohort(
        seed, count, recipe.preprocessing, lambda share: on_progress("drawing phantoms", share * _COHORT_SHARE)
    )
    both, test = cohort.split(learnt, recipe.test)
    train, calibration = both.split(recipe.train, recipe.calibration)
    made: dict[ModelName, ModelCard] = {}
    with reproducible(seed):
        network = new_network(recipe)
        for place, name in enumerate(MODEL_NAMES):
            start, share = _COHORT_SHARE + place * (1 - _COHORT_SHARE) / 2, (1 - _COHORT_SHARE) / 2

            def tell(done: float, what: str = f"training {name}", start: float = start, share: float = share) -> None:
                on_progress(what, start + share * done)

            epochs = recipe.epochs if place == 0 else recipe.epochs_continued
            train_image_network(network, train, labels_of(name, train), recipe, epochs, tell)
            train_age_classifier(network, both, labels_of(name, both), recipe)
            made[name] = _add(registry, name, network, (calibration, test), seed, recipe)
    return made


def labels_of(name: ModelName, cohort: Cohort) -> NDArray[np.bool_]:
    """Return whether each lesion is of the model's positive class, bool (N,)."""
    return cohort.high_risk if name == "DLR_LH" else cohort.malignant


def _add(
    registry: Registry,
    name: ModelName,
    network: DlrNetwork,
    calibration_and_test: tuple[Cohort, Cohort],
    seed: int,
    recipe: Recipe,
) -> ModelCard:
    calibration, test = calibration_and_test
    threshold = best_threshold(_scores(network, calibration, recipe)[0], labels_of(name, calibration))
    scores = _scores(network, test, recipe)
    judged = _Judged(threshold, _metrics(scores, name, test, threshold, seed), reference_of(test.ages, scores[0]))
    with tempfile.TemporaryDirectory() as folder:
        weights_path, card_path = Path(folder) / "weights.safetensors", Path(folder) / "card.json"
        digest = save_network(network, weights_path)
        card = _card(name, f"{_version_prefix(seed, recipe)}{digest[:8]}", digest, judged, recipe)
        card_path.write_text(card.to_json(), encoding="utf-8")
        return registry.add(card_path, weights_path)


def _scores(network: DlrNetwork, cohort: Cohort, recipe: Recipe) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the positive probabilities with age, and from the image alone, each float64 (N,)."""
    with torch.no_grad():
        embeddings = embed(network, cohort)
        with_age = network.age(embeddings, normalized_ages(cohort, recipe))
        image_only = network.image.fc2(embeddings)
    both = [torch.softmax(logits.double(), dim=1)[:, 1].numpy() for logits in (with_age, image_only)]
    return both[0], both[1]


def _metrics(
    scores: tuple[NDArray[np.float64], NDArray[np.float64]], name: ModelName, test: Cohort, threshold: float, seed: int
) -> dict[str, float | str]:
    labels = labels_of(name, test)
    with_age, image_only = scores
    gain = auc_gain(with_age, test.ages, labels, seed)
    at_threshold = rates(with_age, labels, threshold)
    measured = {
        "auc": auc(with_age, labels),
        "auc_image_only": auc(image_only, labels),
        "auc_age_only": auc(test.ages, labels),
        "auc_gain_over_age": gain.gain,
        "auc_gain_over_age_lower_95": gain.lower_95,
        "sensitivity": at_threshold.sensitivity,
        "specificity": at_threshold.specificity,
    }
    rounded: dict[str, float | str] = {key: round(value, 4) for key, value in measured.items()}
    return rounded | {"test_set": f"{len(labels)} held-out phantoms, {DEMO_NOTICE}"}


def _card(name: ModelName, version: str, digest: str, judged: _Judged, recipe: Recipe) -> ModelCard:
    taken = recipe.preprocessing
    return ModelCard(
        schema_version=1,
        name=name,
        version=version,
        backbone=recipe.backbone,
        classes=CLASSES[name],
        positive_class=CLASSES[name][1],
        input_size=taken.size,
        channels=taken.channels,
        resize=taken.resize,
        pixel_mean=taken.mean,
        pixel_std=taken.std,
        roi_margin=taken.margin,
        age_mean=recipe.age_mean,
        age_sd=recipe.age_sd,
        threshold=round(judged.threshold, 4),
        weights_sha256=digest,
        intended_use=f"Trying the service out: {DEMO_NOTICE}",
        training_data=f"{recipe.train + recipe.calibration} phantoms drawn by the study's Table S1: {DEMO_NOTICE}",
        notice=DEMO_NOTICE,
        metrics=judged.metrics,
        reference=judged.reference,
        created_at=datetime.now(UTC),
    )


def _version_prefix(seed: int, recipe: Recipe) -> str:
    return f"demo-{seed}-{recipe.fingerprint()}-"
