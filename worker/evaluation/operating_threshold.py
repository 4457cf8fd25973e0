"""The threshold that a version is judged at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from db.schema.vocabulary import LH_MODEL
from worker.evaluation.discrimination import Scores
from worker.evaluation.evaluation_options import Choice, ChosenBy, Options
from worker.evaluation.ground_truth import OWN, Truth, answers
from worker.evaluation.lesions import JudgedLesion, Scorer
from worker.evaluation.thresholds import sensitivity_threshold, youden_threshold


@dataclass(frozen=True, slots=True)
class Operating:
    """A threshold, 0 to 1, where it comes from, and whether it was chosen on the very lesions that are measured on."""

    threshold: float
    chosen_by: ChosenBy
    chosen_on_tested: bool


def as_operated(lesions: Sequence[JudgedLesion], operating: Mapping[Scorer, Operating]) -> tuple[JudgedLesion, ...]:
    """Take the thresholds of their sites from lesions, where a version is not judged by its card's threshold."""
    by_card = {one for one, at in operating.items() if at.chosen_by is ChosenBy.CARD}
    return tuple(
        replace(lesion, thresholds={one: at for one, at in lesion.thresholds.items() if one in by_card})
        if lesion.thresholds.keys() - by_card
        else lesion
        for lesion in lesions
    )


def thresholds_of(lesions: Sequence[JudgedLesion], scorer: Scorer, threshold: float) -> Scores:
    """Return from which probability on a version takes each lesion for positive, float64 (N,)."""
    return np.array([lesion.threshold(scorer, threshold) for lesion in lesions], np.float64)


def operating_of(
    scorer: Scorer, choosing: Sequence[JudgedLesion], tested: Sequence[JudgedLesion], options: Options
) -> Operating | None:
    """Return the threshold that was asked for; else the card's; else one that is chosen; ``None`` where none can be.

    It is chosen by the model's own question, and by pathology where that has no lesions of both classes, as DLR_LH's
    has none among 4A lesions alone.

    Args:
        scorer: the version.
        choosing: lesions to choose it on.
        tested: lesions that are measured on.
        options: what was asked for.
    """
    given = options.lh_threshold if scorer.model == LH_MODEL else options.bm_threshold
    if given is not None:
        return Operating(given, ChosenBy.GIVEN, chosen_on_tested=False)
    if scorer.threshold is not None:
        return Operating(scorer.threshold, ChosenBy.CARD, chosen_on_tested=False)
    by = ChosenBy(options.choose)
    for lesions in (choosing, tested):
        for truth in (OWN[scorer.model], Truth.PATHOLOGY):
            found = answers(lesions, scorer, truth)
            if found.has_both and options.choose is Choice.YOUDEN:
                return Operating(youden_threshold(found.scores, found.labels), by, lesions is tested)
            if found.has_both:
                at = sensitivity_threshold(found.scores, found.labels, options.sensitivity)
                return Operating(at, by, lesions is tested)
    return None
