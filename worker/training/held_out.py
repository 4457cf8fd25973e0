"""What lesions that a model did not learn from say of it: the threshold, the metrics, and what each scored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.clinical.aggregation import aggregate
from worker.dataset.manifest import Split
from worker.evaluation.discrimination import Auc, AucDifference, auc, compare_aucs
from worker.evaluation.lesions import by_lesion
from worker.evaluation.subgroups import FEWEST
from worker.evaluation.thresholds import youden_threshold
from worker.inference.card_parts import Reference
from worker.inference.network import DlrNetwork
from worker.training.augment import normalized_ages
from worker.training.cohort import CohortRow, Lesions, ages_of
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
        with_age: the AI score: the positive class's probability, float64 (N,); ``None`` of the image stage alone.
        image_only: that of FC2, which knows no age, float64 (N,).
    """

    names: tuple[str, ...]
    rows: tuple[CohortRow, ...]
    images: NDArray[np.int64]
    labels: NDArray[np.bool_]
    with_age: NDArray[np.float64] | None
    image_only: NDArray[np.float64]

    @property
    def scores(self) -> NDArray[np.float64]:
        """What the model says in the end: the AI score, or FC2's where there is none, float64 (N,)."""
        return self.image_only if self.with_age is None else self.with_age

    @property
    def ages(self) -> NDArray[np.float64]:
        """Years, float64 (N,): what age alone would score; NaN where it is not known."""
        return ages_of(self.rows)


@dataclass(frozen=True, slots=True)
class AgesPart:
    """What age has to do with how well lesions are told apart.

    Attributes:
        only: AUC of the age.
        over_image: what age adds.
        over_age: what the image adds.
    """

    only: Auc
    over_image: AucDifference
    over_age: AucDifference


@dataclass(frozen=True, slots=True)
class Discrimination:
    """How well held-out lesions are told apart.

    Attributes:
        lesions: how many.
        positives: of them.
        score: AUC of what the model says in the end: of image and age, or of the image stage alone.
        image_only: AUC of the image network's FC2.
        age: ``None`` of the image stage alone.
    """

    lesions: int
    positives: int
    score: Auc
    image_only: Auc
    age: AgesPart | None


@dataclass(frozen=True, slots=True)
class AtSite:
    """Held-out lesions of one site.

    Attributes:
        lesions: how many.
        positives: of them.
        auc: ``None``: too few (see ``worker.evaluation.subgroups.FEWEST``).
        sensitivity: at the threshold, 0 to 1; ``None``: too few positives.
        specificity: likewise; ``None``: too few negatives.
    """

    lesions: int
    positives: int
    auc: Auc | None
    sensitivity: float | None
    specificity: float | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a training.

    Attributes:
        threshold: of a training, chosen on the validation by Youden's index.
        sensitivity: at the threshold, of the held-out lesions, 0 to 1.
        specificity: likewise.
        held_out: ``test``, or ``external`` where there is no test.
        discrimination: of the held-out lesions.
        external: of the lesions at external sites, where they are not the held-out ones and are of both classes.
        by_site: of the held-out lesions and those at external sites, by the site, as far as it is known.
        scored: every lesion that the image network did not learn from, by its split.
        reference: what drift is measured against; ``None`` of the image stage alone, which is not in service.
    """

    threshold: float
    sensitivity: float
    specificity: float
    held_out: Split
    discrimination: Discrimination
    external: Discrimination | None
    by_site: dict[str, AtSite]
    scored: dict[Split, ScoredLesions]
    reference: Reference | None

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
    return judged(scored, round(youden_threshold(chosen_on.scores, chosen_on.labels), THRESHOLD_DIGITS))


def judged(scored: dict[Split, ScoredLesions], threshold: float) -> Judged:
    """Measure what lesions scored.

    Args:
        scored: lesions that the image network did not learn from, by their split; of ``test`` or ``external`` some are
            there, and of both classes.
        threshold: 0 to 1.
    """
    held_out = Split.TEST if Split.TEST in scored else Split.EXTERNAL
    tested = scored[held_out]
    outside = scored.get(Split.EXTERNAL) if held_out is Split.TEST else None
    has_both = outside is not None and 0 < outside.labels.sum() < len(outside.labels)
    positive = tested.scores >= threshold
    return Judged(
        threshold=threshold,
        sensitivity=float(positive[tested.labels].mean()),
        specificity=float((~positive)[~tested.labels].mean()),
        held_out=held_out,
        discrimination=discrimination(tested),
        external=discrimination(outside) if outside is not None and has_both else None,
        by_site=_by_site([part for part in (tested, outside) if part is not None], threshold),
        scored=scored,
        reference=None if tested.with_age is None else reference_of(tested.ages, tested.with_age),
    )


def score(network: DlrNetwork, lesions: Lesions, config: TrainingConfig, team: Team) -> ScoredLesions:
    """Score lesions in float32, as the service does."""
    views = (False, True) if config.test_time_flip else (False,)
    embedded = [embed(network, lesions, config, team, mirrored=mirrored) for mirrored in views]
    ages = normalized_ages(lesions, config).to(team.device)
    with torch.no_grad():
        image_only = _mean([network.image.fc2(one) for one in embedded])
        with_age = _mean([network.age(one, ages) for one in embedded]) if config.needs_ages else None
    rows = lesions.rows
    together = by_lesion([(row.patient_key, row.lesion_id) for row in rows])
    firsts = [places[0] for places in together.values()]
    return ScoredLesions(
        names=tuple(together),
        rows=tuple(rows[at] for at in firsts),
        images=np.array([len(places) for places in together.values()]),
        labels=lesions.labels[firsts],
        with_age=None if with_age is None else _by_lesion(with_age, together.values(), config),
        image_only=_by_lesion(image_only, together.values(), config),
    )


def _mean(logits: Sequence[Tensor]) -> NDArray[np.float64]:
    """Return the mean of the positive probabilities of several passes, float64 (N,)."""
    mean: NDArray[np.float64] = np.mean([positive_probabilities(one) for one in logits], axis=0)
    return mean


def _by_lesion(
    scores: NDArray[np.float64], together: Iterable[Sequence[int]], config: TrainingConfig
) -> NDArray[np.float64]:
    return np.array([aggregate(config.aggregation, [float(scores[place]) for place in places]) for places in together])


def _by_site(parts: Sequence[ScoredLesions], threshold: float) -> dict[str, AtSite]:
    sites = [row.site for part in parts for row in part.rows]
    scores, labels = (
        np.concatenate(arrays) for arrays in zip(*((one.scores, one.labels) for one in parts), strict=True)
    )
    known = sorted({site for site in sites if site is not None})
    places = {site: np.array([one == site for one in sites]) for site in known}
    return {site: _at_site(scores[at], labels[at], threshold) for site, at in places.items()}


def _at_site(scores: NDArray[np.float64], labels: NDArray[np.bool_], threshold: float) -> AtSite:
    positives, negatives = int(labels.sum()), int((~labels).sum())
    positive = scores >= threshold
    return AtSite(
        lesions=len(labels),
        positives=positives,
        auc=auc(scores, labels) if min(positives, negatives) >= FEWEST else None,
        sensitivity=float(positive[labels].mean()) if positives >= FEWEST else None,
        specificity=float((~positive)[~labels].mean()) if negatives >= FEWEST else None,
    )


def discrimination(scored: ScoredLesions) -> Discrimination:
    """Measure how well lesions of both classes are told apart, by DeLong's method."""
    labels = scored.labels
    return Discrimination(
        lesions=len(labels),
        positives=int(labels.sum()),
        score=auc(scored.scores, labels),
        image_only=auc(scored.image_only, labels),
        age=None if scored.with_age is None else _ages_part(scored.with_age, scored),
    )


def _ages_part(with_age: NDArray[np.float64], scored: ScoredLesions) -> AgesPart:
    labels, ages = scored.labels, scored.ages
    return AgesPart(
        only=auc(ages, labels),
        over_image=compare_aucs(with_age, scored.image_only, labels),
        over_age=compare_aucs(with_age, ages, labels),
    )
