"""How good a model is on parts of the lesions: by age, category, size, site and number of images."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from worker.clinical.proportions import Proportion
from worker.evaluation.discrimination import Auc, Scores, auc
from worker.evaluation.evaluation_options import ChosenBy
from worker.evaluation.ground_truth import Answers
from worker.evaluation.lesions import CATEGORIES, JudgedLesion
from worker.evaluation.thresholds import operating_point

FEWEST = 10
"""A sensitivity needs so many positives, a specificity so many negatives, and an AUC both; below it is too few."""

MOST_SITES = 20
"""Sites with the most lesions that have a row of their own."""

UNKNOWN = "unknown"
OTHER_SITES = "other sites"

AGE_BANDS = ((40, "under 40"), (50, "40-49"), (60, "50-59"), (70, "60-69"), (float("inf"), "70 and over"))
"""Years; each band ends below its number."""

SIZE_BANDS = ((10, "up to 10 mm"), (20, "over 10 to 20 mm"), (50, "over 20 to 50 mm"), (float("inf"), "over 50 mm"))
"""Of the largest extent; each band ends at its number. 20 and 50 mm part T1, T2 and T3 (UICC TNM, 8th edition)."""


IMAGE_BANDS = ((1, "1 image"), (2, "2 images"), (float("inf"), "3 images or more"))
"""A lesion's; each band ends at its number. Two are the two planes in which a lesion is examined at least."""


class By(StrEnum):
    """By what lesions are taken apart."""

    AGE = "age"
    BIRADS = "birads"
    SIZE = "size"
    SITE = "site"
    IMAGES = "images"


@dataclass(frozen=True, slots=True)
class Subgroup:
    """A part of the lesions.

    Attributes:
        by: what they have in common.
        value: and which.
        lesions: how many.
        positives: of them.
        auc: ``None``: too few (see ``FEWEST``).
        sensitivity: at the threshold that is used; ``None``: too few positives.
        specificity: likewise; ``None``: too few negatives.
        too_few: one of the three is missing.
    """

    by: By
    value: str
    lesions: int
    positives: int
    auc: Auc | None
    sensitivity: Proportion | None
    specificity: Proportion | None
    too_few: bool


def subgroups(answers: Answers, thresholds: Scores) -> tuple[Subgroup, ...]:
    """Take lesions apart by each of ``By``; what is known of none of them is left out.

    Args:
        answers: scores and labels.
        thresholds: that are used, of each lesion, 0 to 1, float (N,).
    """
    found: list[Subgroup] = []
    for by, (order, value_of) in _groupings(answers.lesions).items():
        values = [value_of(lesion) for lesion in answers.lesions]
        if set(values) != {UNKNOWN}:
            found += [_subgroup(by, value, answers, values, thresholds) for value in order if value in values]
    return tuple(found)


def _subgroup(by: By, value: str, answers: Answers, values: Sequence[str], thresholds: Scores) -> Subgroup:
    chosen = np.array([one == value for one in values])
    scores, labels = answers.scores[chosen], answers.labels[chosen]
    positives, negatives = int(labels.sum()), int((~labels).sum())
    own = thresholds[chosen]
    at = operating_point(scores, labels, float(own[0]), ChosenBy.GIVEN, used=True, own=own)
    enough = positives >= FEWEST, negatives >= FEWEST
    return Subgroup(
        by=by,
        value=value,
        lesions=len(labels),
        positives=positives,
        auc=auc(scores, labels) if all(enough) else None,
        sensitivity=at.sensitivity if enough[0] else None,
        specificity=at.specificity if enough[1] else None,
        too_few=not all(enough),
    )


_Grouping = tuple[Sequence[str], Callable[[JudgedLesion], str]]


def _groupings(lesions: Sequence[JudgedLesion]) -> dict[By, _Grouping]:
    """Of each way to take lesions apart: its values in order, and how a lesion has one."""
    sites = _site_order(lesions)
    return {
        By.AGE: ([*(name for _, name in AGE_BANDS), UNKNOWN], age_band),
        By.BIRADS: ([*CATEGORIES, UNKNOWN], lambda one: one.birads or UNKNOWN),
        By.SIZE: ([*(name for _, name in SIZE_BANDS), UNKNOWN], size_band),
        By.SITE: (
            [*sites, OTHER_SITES, UNKNOWN],
            lambda one: UNKNOWN if one.site is None else one.site if one.site in sites else OTHER_SITES,
        ),
        By.IMAGES: ([*(name for _, name in IMAGE_BANDS), UNKNOWN], image_band),
    }


def age_band(lesion: JudgedLesion) -> str:
    """Return the band of a lesion's age."""
    age = lesion.age_years
    return UNKNOWN if age is None else next(name for end, name in AGE_BANDS if age < end)


def size_band(lesion: JudgedLesion) -> str:
    """Return the band of a lesion's largest extent."""
    size = lesion.size_mm
    return UNKNOWN if size is None else next(name for end, name in SIZE_BANDS if size <= end)


def image_band(lesion: JudgedLesion) -> str:
    """Return the band of the number of images that a lesion was scored on."""
    images = lesion.images
    return UNKNOWN if images is None else next(name for end, name in IMAGE_BANDS if images <= end)


def _site_order(lesions: Sequence[JudgedLesion]) -> list[str]:
    counts = Counter(lesion.site for lesion in lesions if lesion.site is not None)
    return sorted(counts, key=lambda name: (-counts[name], name))[:MOST_SITES]
