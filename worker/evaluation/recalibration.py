"""A card made anew from held-out scores: a temperature, a conformal set, and what has to follow from them.

With two classes a temperature keeps the order of the scores, so threshold, conformal quantile and the reference for
drift are carried over to the new scale, and no lesion changes its class or its set by the temperature alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import expit, logit

from worker.clinical.conformal import conformal_quantile, conformal_set, fewest_lesions
from worker.clinical.proportions import Proportion, proportion
from worker.errors import Code, ModelRefused, SetupRefused
from worker.evaluation.calibration import fits, scaled, temperature
from worker.evaluation.discrimination import Labels, Scores
from worker.inference.card_parts import Conformal
from worker.inference.model_card import ModelCard, parse_card

_NEAREST = 1e-9
"""A threshold that is carried nearer to 0 or 1 than this could not be told from them."""

_BELOW = 1e-12
"""By this share a carried threshold is lower, so that a lesion on it stays positive though its score was rounded."""


@dataclass(frozen=True, slots=True)
class Sets:
    """What conformal sets say of some lesions.

    Attributes:
        covered: whose set holds the true class.
        certain: whose set is the predicted class alone; each other 4A lesion would stay in 4A.
        both: whose set is both classes.
        neither: whose set is empty.
    """

    covered: Proportion
    certain: Proportion
    both: Proportion
    neither: Proportion


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """A card of a new version, and the lesions that it was calibrated on.

    Attributes:
        card: new in its version, its time, and in what was asked for.
        lesions: how many there were; ``positives`` of them of the positive class.
        sets: of all these lesions, of each class, and of other parts that were asked for; empty where the card asks for
            no set.
    """

    card: ModelCard
    lesions: int
    positives: int
    sets: Mapping[str, Sets]


def recalibrated(
    card: ModelCard,
    probabilities: Scores,
    labels: Labels,
    version: str,
    *,
    fit_temperature: bool,
    coverage: float | None,
    parts: Mapping[str, Labels] = MappingProxyType({}),
    created_at: datetime | None = None,
) -> Recalibrated:
    """Make a card anew from lesions that its model did not learn from.

    Args:
        card: of the model whose scores these are, made at the card's temperature.
        probabilities: float (N,), 0 to 1, of the positive class.
        labels: bool (N,), whether that was the true class.
        version: of the new card.
        fit_temperature: find the temperature with the least negative log-likelihood.
        coverage: of the conformal set, 0.5 to 0.999; ``None``: the card's set, if it has one, is carried over.
        parts: lesions to count the sets of apart, by a name: bool (N,) each.
        created_at: for the card; now, unless given.

    Raises:
        SetupRefused: ``lesions_too_few``: a temperature needs lesions of both classes that the scores do not part
            wholly, and a coverage takes so many lesions.
        ModelRefused: ``card_invalid``: the version is no version, or the threshold cannot be carried over.
    """
    changes: dict[str, Any] = {"version": version, "created_at": (created_at or datetime.now(UTC)).isoformat()}
    if fit_temperature:
        by = fitted(probabilities, labels)
        card, probabilities = rescaled(card, by), scaled(probabilities, by)
    if coverage is not None:
        changes["conformal"] = conformal_of(probabilities, labels, coverage).model_dump(mode="json")
    made = changed(card, changes)
    every = {"all": labels | ~labels, card.positive_class: labels, card.negative_class: ~labels, **parts}
    counted = {name: sets_of(made, probabilities[part], labels[part]) for name, part in every.items()}
    sets = {name: found for name, found in counted.items() if found is not None}
    return Recalibrated(made, len(labels), int(labels.sum()), MappingProxyType(sets))


def at_temperature(card: ModelCard, probabilities: Scores, made_at: float) -> Scores:
    """Return probabilities as they are at the card's temperature: exactly so, since a temperature follows aggregation.

    Args:
        card: the model's.
        probabilities: float (N,), 0 to 1, of the positive class.
        made_at: the temperature that they were made at, above 0.
    """
    return probabilities if made_at == card.temperature else scaled(probabilities, card.temperature / made_at)


def sets_of(card: ModelCard, probabilities: Scores, labels: Labels) -> Sets | None:
    """Count what a card's conformal sets say of lesions; ``None`` where it asks for none.

    Args:
        card: the model's.
        probabilities: float (N,), 0 to 1, of the positive class, at the card's temperature.
        labels: bool (N,), whether that was the true class.
    """
    if card.conformal is None:
        return None
    negative, positive = card.negative_class, card.positive_class
    found = [conformal_set(((negative, 1 - one), (positive, one)), card.conformal.quantile) for one in probabilities]
    predicted = [positive if one >= card.threshold else negative for one in probabilities]
    true = [positive if label else negative for label in labels]
    total = len(found)
    return Sets(
        covered=proportion(sum(one in classes for one, classes in zip(true, found, strict=True)), total),
        certain=proportion(sum(classes == (one,) for one, classes in zip(predicted, found, strict=True)), total),
        both=proportion(sum(len(classes) > 1 for classes in found), total),
        neither=proportion(sum(not classes for classes in found), total),
    )


def conformal_of(probabilities: Scores, labels: Labels, coverage: float) -> Conformal:
    """Calibrate a conformal set.

    Raises:
        SetupRefused: ``lesions_too_few`` for this coverage.
    """
    true_class = np.where(labels, probabilities, 1 - probabilities).tolist()
    if len(true_class) < fewest_lesions(coverage):
        reason = f"a coverage of {coverage:g} takes {fewest_lesions(coverage)} lesions at least: {len(true_class)}"
        raise SetupRefused(Code.LESIONS_TOO_FEW, reason)
    quantile = conformal_quantile(true_class, coverage)
    return Conformal(coverage=coverage, quantile=quantile, lesions=len(true_class))


def fitted(probabilities: Scores, labels: Labels) -> float:
    """Return the temperature that fits.

    Raises:
        SetupRefused: ``lesions_too_few``: lesions of one class alone, or scores that part the classes wholly.
    """
    if not 0 < int(labels.sum()) < len(labels):
        raise SetupRefused(Code.LESIONS_TOO_FEW, "a temperature needs lesions of both classes")
    by = temperature(probabilities, labels)
    if not fits(by):
        reason = "no temperature fits these scores: they separate the classes perfectly or hardly at all"
        raise SetupRefused(Code.LESIONS_TOO_FEW, reason)
    return by


def rescaled(card: ModelCard, by: float) -> ModelCard:
    """Return a card whose logits are divided once more, with all that follows: no class and no set is another.

    Args:
        card: of any temperature.
        by: the further temperature, above 0.

    Raises:
        ModelRefused: ``card_invalid``: the threshold could not be told from 0 or 1 afterwards.
    """
    changes: dict[str, Any] = {"temperature": card.temperature * by, "threshold": _threshold(card.threshold, by)}
    if card.conformal is not None:
        quantile = carried(card.conformal.quantile, by)
        changes["conformal"] = card.conformal.model_dump(mode="json") | {"quantile": quantile}
    if card.reference is not None:
        reference = card.reference.model_dump(mode="json")
        spread = reference["positive_probability"]
        spread["edges"], spread["shares"] = _rising([carried(edge, by) for edge in spread["edges"]], spread["shares"])
        changes["reference"] = reference
    return changed(card, changes)


def changed(card: ModelCard, changes: Mapping[str, Any]) -> ModelCard:
    """Return a card with other fields, as JSON has them.

    Raises:
        ModelRefused: ``card_invalid``.
    """
    return parse_card(json.dumps({**card.model_dump(mode="json"), **changes}))


def _threshold(present: float, by: float) -> float:
    if present in (0, 1):
        return present
    threshold = carried(present, by)
    if not _NEAREST <= threshold <= 1 - _NEAREST:
        reason = "threshold: at the temperature that fits it could not be told from 0 or 1"
        raise ModelRefused(Code.CARD_INVALID, reason)
    return threshold * (1 - _BELOW)


def carried(probability: float, by: float) -> float:
    """Return a probability, 0 to 1, once its logit is divided: 0, 0.5 and 1 stay, and order is kept."""
    return float(expit(logit(probability) / by))


def _rising(edges: list[float], shares: list[float]) -> tuple[list[float], list[float]]:
    """Join the bins between edges that have become one."""
    kept, joined, share = edges[:1], list[float](), 0.0
    for edge, added in zip(edges[1:], shares, strict=True):
        share += added
        if edge > kept[-1]:
            kept.append(edge)
            joined.append(share)
            share = 0.0
    joined[-1] += share
    return kept, joined
