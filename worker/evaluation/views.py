"""How far the images of one lesion agree: a lesion examined in two planes looks alike in both, or it does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from worker.clinical.aggregation import spread, views_disagree
from worker.clinical.proportions import Proportion, proportion
from worker.evaluation.lesions import JudgedLesion, Scorer


@dataclass(frozen=True, slots=True)
class Views:
    """What one version says of the images of lesions on several.

    Attributes:
        disagree: lesions with images on both sides of the threshold that is used, of the lesions on several images.
        spread: the highest less the lowest probability of a lesion's images, 0 to 1, in the mean over the lesions.
    """

    disagree: Proportion
    spread: float


def views(lesions: Sequence[JudgedLesion], scorer: Scorer, threshold: float) -> Views | None:
    """Hold the images of lesions against each other; ``None`` where none is known to be on several.

    Args:
        lesions: those that the version scored.
        scorer: the version.
        threshold: that is used, 0 to 1.
    """
    several = [(one, found) for one in lesions if len(found := one.image_scores.get(scorer, ())) > 1]
    if not several:
        return None
    disagree = sum(views_disagree(found, one.threshold(scorer, threshold)) for one, found in several)
    return Views(proportion(disagree, len(several)), fmean(spread(found) for _, found in several))
