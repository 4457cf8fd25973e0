"""What a model is asked, and what counts as the right answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from db.schema.vocabulary import BM_MODEL, LH_MODEL
from worker.clinical.categories import Birads
from worker.evaluation.discrimination import Labels, Scores
from worker.evaluation.lesions import JudgedLesion, Scorer


class Truth(StrEnum):
    """What scores are held against."""

    PATHOLOGY = "pathology"
    BIRADS = "birads"


SENTENCES = {
    Truth.PATHOLOGY: "Malignant, by pathology",
    Truth.BIRADS: "BI-RADS 4A or above, by the radiologist",
}
"""The positive answer of each question."""

OWN = {BM_MODEL: Truth.PATHOLOGY, LH_MODEL: Truth.BIRADS}
"""What each model learnt in the study: DLR_LH to tell BI-RADS 3 and below from 4A and above."""

_SUSPICIOUS: dict[str, bool] = {
    Birads.NEGATIVE: False,
    Birads.BENIGN: False,
    Birads.PROBABLY_BENIGN: False,
    Birads.SUSPICIOUS: True,
    Birads.LOW_SUSPICION: True,
    Birads.MODERATE_SUSPICION: True,
    Birads.HIGH_SUSPICION: True,
    Birads.HIGHLY_SUGGESTIVE: True,
    Birads.KNOWN_MALIGNANCY: True,
}
"""Category 0 is incomplete: it says neither."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Scores of one version beside the right answers, for the lesions that have both.

    Attributes:
        lesions: N of them.
        scores: float64 (N,).
        labels: bool (N,).
    """

    lesions: tuple[JudgedLesion, ...]
    scores: Scores
    labels: Labels

    @property
    def has_both(self) -> bool:
        """Whether there are positives and negatives."""
        return 0 < int(self.labels.sum()) < len(self.labels)


def is_positive(lesion: JudgedLesion, truth: Truth) -> bool | None:
    """Say whether a lesion is positive; ``None`` where nobody can tell."""
    if truth is Truth.PATHOLOGY:
        return lesion.malignant
    return None if lesion.birads is None else is_suspicious(lesion.birads)


def is_suspicious(birads: str) -> bool | None:
    """Say whether a category is 4A or above; ``None`` where it says neither."""
    return _SUSPICIOUS.get(birads)


def answers(lesions: Sequence[JudgedLesion], scorer: Scorer, truth: Truth, *others: Scorer) -> Answers:
    """Collect the lesions that the version, and the others too, scored and of which the right answer is known."""
    known = [
        (lesion, label)
        for lesion in lesions
        if (label := is_positive(lesion, truth)) is not None and all(one in lesion.scores for one in (scorer, *others))
    ]
    return Answers(
        tuple(lesion for lesion, _ in known),
        np.array([lesion.scores[scorer] for lesion, _ in known], np.float64),
        np.array([label for _, label in known], np.bool_),
    )
