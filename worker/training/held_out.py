"""What lesions that a model did not learn from say of it: the threshold, the metrics, and what each scored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from worker.clinical.aggregation import aggregate
from worker.dataset.manifest import Split
from worker.evaluation.discrimination import Auc, AucDifference, auc, compare_aucs
from worker.evaluation.lesions import by_lesion
from worker.evaluation.thresholds import youden_threshold
from worker.inference.model_card import Reference
from worker.inference.network import DlrNetwork
from worker.training.augment import normalized_ages
from worker.training.cohort import CohortRow, Lesions
from worker.training.config import TrainingConfig
from worker.training.fit import embed, positive_probabilities
from worker.training.processes import Team
from worker.training.reference import reference_of

THRESHOLD_DIGITS = 4


@dataclass(frozen=True, slots=True)
class ScoredLesions:
    """Lesions with their scores; the scores of several images are put together as the configuration says.

    Attributes:
        names: unique.
        rows: of each, its first image's.
        images: how many each has, int (N,).
        labels: whether it is of the positive class, bool (N,).
        with_age: the AI score: the positive class's probability, float64 (N,).
        image_only: that of FC2, which knows no age, float64 (N,).
    """

    names: tuple[str, ...]
    rows: tuple[CohortRow, ...]
    images: NDArray[np.int64]
    labels: NDArray[np.bool_]
    with_age: NDArray[np.float64]
    image_only: NDArray[np.float64]

    @property
    def ages(self) -> NDArray[np.float64]:
        """Years, float64 (N,): what age alone would score."""
        return np.array([row.age_years for row in self.rows], np.float64)


@dataclass(frozen=True, slots=True)
class Discrimination:
    """How well held-out lesions are told apart: with image and age, and with either alone.

    Attributes:
        lesions: how many.
        positives: of them.
        both: AUC of image and age.
        image_only: AUC of the image network's FC2.
        age_only: AUC of the age.
        over_image: what age adds.
        over_age: what the image adds.
    """

    lesions: int
    positives: int
    both: Auc
    image_only: Auc
    age_only: Auc
    over_image: AucDifference
    over_age: AucDifference


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a training.

    Attributes:
        threshold: chosen on the validation by Youden's index.
        sensitivity: at the threshold, of the held-out lesions, 0 to 1.
        specificity: likewise.
        held_out: ``test``, or ``external`` where there is no test.
        discrimination: of the held-out lesions.
        external: of the lesions at external sites, where they are not the held-out ones and are of both classes.
        scored: every lesion that the image network did not learn from, by its split.
        reference: what drift is measured against.
    """

    threshold: float
    sensitivity: float
    specificity: float
    held_out: Split
    discrimination: Discrimination
    external: Discrimination | None
    scored: dict[Split, ScoredLesions]
    reference: Reference

    @property
    def validation(self) -> ScoredLesions:
        """What the threshold was chosen on."""
        return self.scored[Split.VALIDATION]


def judge(network: DlrNetwork, lesions: Lesions, config: TrainingConfig, team: Team) -> Judged:
    """Score what the image network did not learn from, and measure.

    Args:
        network: trained.
        lesions: of all splits.
        config: how it was trained.
        team: this process alone.
    """
    parts = {split: lesions.of(split) for split in (Split.VALIDATION, Split.TEST, Split.EXTERNAL)}
    scored = {split: score(network, part, config, team) for split, part in parts.items() if len(part)}
    chosen_on = scored[Split.VALIDATION]
    threshold = round(youden_threshold(chosen_on.with_age, chosen_on.labels), THRESHOLD_DIGITS)
    held_out = Split.TEST if Split.TEST in scored else Split.EXTERNAL
    tested = scored[held_out]
    outside = scored.get(Split.EXTERNAL) if held_out is Split.TEST else None
    has_both = outside is not None and 0 < outside.labels.sum() < len(outside.labels)
    positive = tested.with_age >= threshold
    return Judged(
        threshold=threshold,
        sensitivity=float(positive[tested.labels].mean()),
        specificity=float((~positive)[~tested.labels].mean()),
        held_out=held_out,
        discrimination=discrimination(tested),
        external=discrimination(outside) if outside is not None and has_both else None,
        scored=scored,
        reference=reference_of(tested.ages, tested.with_age),
    )


def score(network: DlrNetwork, lesions: Lesions, config: TrainingConfig, team: Team) -> ScoredLesions:
    """Score lesions in float32, as the service does."""
    embeddings = embed(network, lesions, config, team)
    with torch.no_grad():
        logits = network.age(embeddings, normalized_ages(lesions, config).to(team.device))
        image_logits = network.image.fc2(embeddings)
    rows = lesions.rows
    together = by_lesion([(row.patient_key, row.lesion_id) for row in rows])
    firsts = [places[0] for places in together.values()]
    return ScoredLesions(
        names=tuple(together),
        rows=tuple(rows[at] for at in firsts),
        images=np.array([len(places) for places in together.values()]),
        labels=lesions.labels[firsts],
        with_age=_by_lesion(positive_probabilities(logits), together.values(), config),
        image_only=_by_lesion(positive_probabilities(image_logits), together.values(), config),
    )


def _by_lesion(
    scores: NDArray[np.float64], together: Iterable[Sequence[int]], config: TrainingConfig
) -> NDArray[np.float64]:
    return np.array([aggregate(config.aggregation, [float(scores[place]) for place in places]) for places in together])


def discrimination(scored: ScoredLesions) -> Discrimination:
    """Measure how well lesions of both classes are told apart, by DeLong's method."""
    labels, ages = scored.labels, scored.ages
    return Discrimination(
        lesions=len(labels),
        positives=int(labels.sum()),
        both=auc(scored.with_age, labels),
        image_only=auc(scored.image_only, labels),
        age_only=auc(ages, labels),
        over_image=compare_aucs(scored.with_age, scored.image_only, labels),
        over_age=compare_aucs(scored.with_age, ages, labels),
    )
