"""Whether a version's probabilities and conformal sets hold on given lesions: in all, and of each site."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from worker.clinical.proportions import proportion
from worker.dataset.manifest import Split
from worker.evaluation.calibration import reliability
from worker.evaluation.ground_truth import Truth, answers
from worker.evaluation.lesions import JudgedLesion, Scorer
from worker.inference.calibration_checks import Check, Covered, Part
from worker.inference.model_card import ModelCard


def checked(
    card: ModelCard,
    scorer: Scorer,
    lesions: Sequence[JudgedLesion],
    truth: Truth,
    data_digest: str,
    split: Split | None,
    at: datetime | None = None,
    *,
    image_only: bool = False,
) -> Check | None:
    """Measure calibration and coverage; ``None`` where no lesion has a score and a known answer.

    Args:
        card: of the version.
        scorer: the version, under which the lesions have its scores and sets.
        lesions: that it did not learn from.
        truth: what is taken for true.
        data_digest: of the manifest that they are of.
        split: theirs.
        at: when; now, unless given.
        image_only: the scores are of the image alone.
    """
    pooled = _part(card, scorer, lesions, truth)
    if pooled is None:
        return None
    sites = sorted({one.site for one in lesions if one.site is not None})
    parts = {site: _part(card, scorer, [one for one in lesions if one.site == site], truth) for site in sites}
    return Check(
        at=at or datetime.now(UTC),
        data_digest=data_digest,
        split=None if split is None else split.value,
        truth=truth.value,
        image_only=image_only,
        pooled=pooled,
        sites={site: part for site, part in parts.items() if part is not None},
    )


def _part(card: ModelCard, scorer: Scorer, lesions: Sequence[JudgedLesion], truth: Truth) -> Part | None:
    known = answers(lesions, scorer, truth)
    if not known.lesions:
        return None
    measured = reliability(known.scores, known.labels)
    return Part(
        lesions=len(known.labels),
        positives=int(known.labels.sum()),
        mean_probability=float(known.scores.mean()),
        observed=float(known.labels.mean()),
        brier=measured.brier,
        expected_calibration_error=min(measured.expected_calibration_error, 1.0),
        covered=_covered(card, scorer, known.lesions, np.asarray(known.labels).tolist()),
    )


def _covered(
    card: ModelCard, scorer: Scorer, lesions: Sequence[JudgedLesion], labels: Sequence[bool]
) -> Covered | None:
    """Lesions of sites with and without a set of their own may be promised different coverages: the lowest counts."""
    asked = [(one, label) for one, label in zip(lesions, labels, strict=True) if scorer in one.sets]
    promised = [conformal.coverage for one, _ in asked if (conformal := card.at_site(one.site).conformal) is not None]
    if not asked or not promised:
        return None
    true = [card.positive_class if label else card.negative_class for _, label in asked]
    held = proportion(sum(of in one.sets[scorer] for (one, _), of in zip(asked, true, strict=True)), len(asked))
    return Covered(lesions=held.total, count=held.count, low=held.low, high=held.high, promised=min(promised))
