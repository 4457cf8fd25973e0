"""What `benchmarks.real_aged` keeps of each fold's image network, and the figures that it makes of all of them.

Scores are of lesions, and a patient of BUS-BRA and of BrEaST has one lesion, so every interval is by patient: of AUCs
and their differences DeLong's, of calibration errors and coverages the bootstrap's (percentiles, 95 %).
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_figures import lesions_of
from benchmarks.real_training import PLAIN, Image, RealSet
from worker.clinical.conformal import conformal_set
from worker.evaluation.calibration import BINS, scaled, temperature
from worker.evaluation.discrimination import Auc, auc, compare_aucs
from worker.evaluation.recalibration import conformal_of
from worker.training.cohort import Cohort, Lesions
from worker.training.config import TrainingConfig

COVERAGE = 0.9
"""Of the conformal sets: what they promise."""

RESAMPLES = 2000
AGE_FOLDS = 5
AGE_STAGE: Mapping[str, Any] = {"learns_on": "train"}
"""The image network saw none of the lesions, so the classifier with age need not learn on ones kept from it."""

OVER = {"image": "image alone (FC2)", "age": "age alone", "without_age": "the same without age"}
"""What image and age are held against. The last is a classifier that was trained alike, and told no age."""

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]
Kept = Mapping[str, Any]


def network_scores(
    weights: Path, validation: RealSet, tested: RealSet, away: RealSet, ages: Sequence[float | None], seed: int
) -> dict[str, dict[str, list[Any]]]:
    """Score what an image network did not learn from, and cross-validate the age stage on it.

    Args:
        weights: of the image network.
        validation: the fold that chose its epoch.
        tested: the fold that is tested.
        away: another set.
        ages: in years, of the other set's images.
        seed: of the age stage.

    Returns:
        Of the lesions of each set their ``labels``, and their ``scores`` by FC2; ``aged``: see `age_scores`.
    """
    from worker.training.start import new_network

    changes = {"stages": "age", "init": str(weights), "seed": seed, "age": AGE_STAGE}
    config = TrainingConfig.model_validate({**PLAIN, **changes})
    network = new_network(config).eval()
    sets = {"validation": validation, "tested": tested, "away": away}
    embeddings = {name: _embedded(network, of, config) for name, of in sets.items()}
    kept = {name: _of_lesions(of.images, _by_fc2(network, embeddings[name])) for name, of in sets.items()}
    places = [place for place, age in enumerate(ages) if age is not None]
    images, known = [away.images[place] for place in places], [ages[place] or 0.0 for place in places]
    return kept | {"aged": age_scores(network, embeddings["away"][places], images, known, config)}


def _embedded(network: Any, of: RealSet, config: TrainingConfig) -> Any:
    import torch

    from worker.training.fit import embed
    from worker.training.processes import Team

    lesions = Lesions(Cohort(of.pixels, (), "", "real lesions"), np.arange(len(of.images)), np.empty(0, np.bool_))
    return embed(network, lesions, config, Team(0, 1, torch.device("cpu")))


def _by_fc2(network: Any, embeddings: Any) -> Floats:
    from worker.training.fit import positive_probabilities

    return positive_probabilities(network.image.fc2(embeddings))


def age_scores(
    network: Any, embeddings: Any, images: Sequence[Image], ages: Sequence[float], config: TrainingConfig
) -> dict[str, list[Any]]:
    """Cross-validate the age stage: the classifier with age learns on four of five folds, and scores the fifth.

    Args:
        network: whose image network saw none of the lesions, and stays as it is.
        embeddings: of the images, by that, float32 (N, 128).
        images: N. A patient's are in one fold.
        ages: in years, N.
        config: of the age stage.

    Returns:
        Of each lesion its label (``labels``), age (``ages``), and three scores: of image and age (``both``), of FC2
        (``image``), and of a classifier that was trained alike, and told one age for all (``without_age``).

    Raises:
        ValueError: the ages are all the same.
    """
    import torch
    from sklearn.model_selection import StratifiedGroupKFold

    from worker.training import age_stage
    from worker.training.fit import positive_probabilities

    if len(set(ages)) < 2:
        raise ValueError("the ages are all the same, so nothing can be learned from them")
    labels, start = np.array([one.malignant for one in images], np.bool_), deepcopy(network.age)
    own = torch.tensor((np.array(ages) - config.age_mean) / config.age_sd, dtype=torch.float32)
    parts = StratifiedGroupKFold(AGE_FOLDS, shuffle=True, random_state=config.seed)
    scores = {"both": np.empty(len(images)), "without_age": np.empty(len(images))}
    for learned, tested in parts.split(np.zeros(len(images)), labels, [one.patient for one in images]):
        for to, told in (("both", own), ("without_age", torch.zeros_like(own))):
            network.age = deepcopy(start)
            age_stage.learn_age(network, embeddings[learned], told[learned], labels[learned], config)
            scores[to][tested] = positive_probabilities(network.age(embeddings[tested], told[tested]))
    of_lesion = {name: _of_lesions(images, one)["scores"] for name, one in scores.items()}
    of_lesion["ages"] = _of_lesions(images, np.array(ages))["scores"]
    of_image = _of_lesions(images, _by_fc2(network, embeddings))
    return {**of_lesion, "image": of_image["scores"], "labels": of_image["labels"]}


def _of_lesions(images: Sequence[Image], scores: Floats) -> dict[str, list[Any]]:
    lesions = lesions_of(images, scores.tolist())
    return {"labels": [one.malignant for one in lesions], "scores": [one.score for one in lesions]}


@dataclass(frozen=True, slots=True)
class Judged:
    """What several networks say of the same lesions, each calibrated on lesions of its own.

    Attributes:
        labels: bool (N,).
        scores: as the networks give them, float64 (K, N).
        calibrated: at each network's temperature, float64 (K, N).
        covered: the conformal set holds the true class, bool (K, N).
    """

    labels: Labels
    scores: Floats
    calibrated: Floats
    covered: Labels


def judged(validation: Kept, tested: Kept) -> Judged:
    """Calibrate a network on the one, and see what that says of the other."""
    own, labels = (np.array(tested[name]) for name in ("scores", "labels"))
    chosen, true = (np.array(validation[name]) for name in ("scores", "labels"))
    by = temperature(chosen, true)
    quantile = conformal_of(scaled(chosen, by), true, COVERAGE).quantile
    calibrated = scaled(own, by)
    covered = [bool(conformal_set([("true", one)], quantile)) for one in np.where(labels, calibrated, 1 - calibrated)]
    return Judged(labels, own[None], calibrated[None], np.array([covered]))


def one_after_another(parts: Sequence[Judged]) -> Judged:
    """Put lesions of several networks, each scored by one of them, together as if one had scored them all."""
    arrays = ((part.labels, part.scores, part.calibrated, part.covered) for part in parts)
    return Judged(*(np.concatenate(those, axis=-1) for those in zip(*arrays, strict=True)))


def one_above_another(parts: Sequence[Judged]) -> Judged:
    """Put several networks' scores of the same lesions together."""
    arrays = ((part.scores, part.calibrated, part.covered) for part in parts)
    return Judged(parts[0].labels, *(np.concatenate(those, axis=0) for those in zip(*arrays, strict=True)))


def image_figures(of: Judged, seed: int = 1) -> dict[str, Any]:
    """Tell the AUC of the networks' mean score, and the mean of their calibration errors and of their coverages."""
    count = len(of.labels)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(float)
    all_of_them = np.ones((1, count))

    def told(measure: Any, *columns: Any) -> dict[str, float]:
        at, drawn = (np.mean([measure(*one, weights) for one in zip(*columns, strict=True)], axis=0)
                     for weights in (all_of_them, draws))  # fmt: skip
        low, high = np.percentile(drawn, (2.5, 97.5))
        return {"value": float(at[0]), "low": float(low), "high": float(high)}

    labels = np.broadcast_to(of.labels, of.scores.shape)
    return {
        "lesions": count,
        "positives": int(of.labels.sum()),
        "auc": _auc(auc(of.scores.mean(axis=0), of.labels)),
        "error_as_scored": told(calibration_errors, of.scores, labels),
        "error_calibrated": told(calibration_errors, of.calibrated, labels),
        "coverage": told(lambda covered, weights: weights @ covered / count, of.covered),
    }


def calibration_errors(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """Return the expected calibration error, as `worker.evaluation.calibration` has it, of each weighting of lesions.

    Args:
        probabilities: float64 (N,), 0 to 1.
        labels: bool (N,).
        weights: how often each lesion is there, float64 (R, N), N in each row.

    Returns:
        float64 (R,), 0 to 1.
    """
    places = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    off = np.zeros((len(labels), BINS))
    off[np.arange(len(labels)), places] = probabilities - labels
    errors: Floats = np.abs(weights @ off).sum(axis=1) / len(labels)
    return errors


def age_figures(of_networks: Sequence[Kept]) -> dict[str, Any]:
    """Hold image and age, by the mean score over the networks, against each alone."""
    labels, ages = (np.array(of_networks[0][name]) for name in ("labels", "ages"))
    means = {name: np.mean([one[name] for one in of_networks], axis=0) for name in ("both", "image", "without_age")} | {
        "age": ages
    }
    less = {name: compare_aucs(means["both"], means[name], labels) for name in OVER}
    return {
        "lesions": len(labels),
        "positives": int(labels.sum()),
        "auc": {name: _auc(auc(scores, labels)) for name, scores in means.items()},
        "less": {
            name: {"value": of.value, **_interval(of.interval), "p_value": of.p_value} for name, of in less.items()
        },
    }


def _auc(of: Auc) -> dict[str, float | None]:
    return {"value": of.value, **_interval(of.interval)}


def _interval(of: Any) -> dict[str, float | None]:
    return {"low": None, "high": None} if of is None else {"low": of.low, "high": of.high}


def figures_of(kept: Sequence[Kept]) -> dict[str, Any]:
    """Tell of a model what is kept of its folds' networks, one or more.

    Raises:
        ValueError: they were not scored on the same lesions.
    """
    if any(one[part]["labels"] != kept[0][part]["labels"] for one in kept for part in ("away", "aged")):
        raise ValueError("the folds were not scored on the same lesions: give another work folder")
    home = one_after_another([judged(one["validation"], one["tested"]) for one in kept])
    away = one_above_another([judged(one["validation"], one["away"]) for one in kept])
    return {
        "model": kept[0]["model"],
        "rule": kept[0]["rule"],
        "seed": kept[0]["seed"],
        "folds": [one["fold"] for one in kept],
        "commits": sorted({one["commit"] for one in kept}),
        "left_out": kept[0]["left_out"],
        "image": {"home": image_figures(home), "away": image_figures(away)},
        "age": age_figures([one["aged"] for one in kept]),
    }
