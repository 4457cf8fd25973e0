"""Lesions whose pictures a reader of an evaluation wants to see, and the pictures, which others make."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, zip_longest
from typing import TypeVar

from db.schema.vocabulary import BM_MODEL
from worker.evaluation.document import Evaluation
from worker.evaluation.lesions import JudgedLesion, Scorer

T = TypeVar("T")

RIGHT = 4
"""Lesions of which DLR_BM was right at most: a few, to hold the others against."""


class Why(StrEnum):
    """Why a lesion is shown."""

    MISSED_CANCER = "missed_cancer"
    FALSE_NEGATIVE = "false_negative"
    FALSE_POSITIVE = "false_positive"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Threshold:
    """The threshold, 0 to 1, that a version was judged at."""

    scorer: Scorer
    value: float


@dataclass(frozen=True, slots=True)
class Example:
    """A lesion to show, why, and the thresholds that its scores were held against."""

    lesion: JudgedLesion
    why: Why
    thresholds: tuple[Threshold, ...]


@dataclass(frozen=True, slots=True)
class HeatPicture:
    """Where one version of a model looked in one image of a lesion: PNG, and what to write below."""

    png: bytes
    caption: str


@dataclass(frozen=True, slots=True)
class Shown:
    """An example with its pictures.

    Attributes:
        example: the lesion.
        pictures: by image, and of each by model.
        notes: what a reader has to know of them, such as images that are not among them.
    """

    example: Example
    pictures: tuple[HeatPicture, ...]
    notes: tuple[str, ...]


def examples_of(lesions: Sequence[JudgedLesion], evaluation: Evaluation, count: int) -> tuple[Example, ...]:
    """Choose lesions to show: the missed cancers first, then those of which DLR_BM was most surely wrong.

    Of the others by turns: malignant ones under its threshold, the lowest score first; benign ones that reach it, the
    highest first; and a few of which it was right, malignant and benign by turns, the surest first.

    Args:
        lesions: that were measured on.
        evaluation: of them, with one version of DLR_BM.
        count: lesions at most.
    """
    thresholds = tuple(_thresholds(lesions, evaluation))
    found = _in_order(lesions, evaluation, next(one for one in thresholds if one.scorer.model == BM_MODEL))
    whys: dict[str, tuple[JudgedLesion, Why]] = {}
    for lesion, why in found:
        whys.setdefault(lesion.lesion_id, (lesion, why))
    return tuple(Example(lesion, why, thresholds) for lesion, why in islice(whys.values(), count))


def _thresholds(lesions: Sequence[JudgedLesion], evaluation: Evaluation) -> Iterator[Threshold]:
    scorers = dict.fromkeys(scorer for lesion in lesions for scorer in lesion.scores)
    used = {(one.model, one.version): one.operating_points[0].threshold for one in evaluation.questions[0].judged}
    return (Threshold(one, used[one.model, one.version]) for one in scorers if (one.model, one.version) in used)


def _in_order(
    lesions: Sequence[JudgedLesion], evaluation: Evaluation, at: Threshold
) -> Iterator[tuple[JudgedLesion, Why]]:
    by_id = {lesion.lesion_id: lesion for lesion in lesions}
    for restratification in evaluation.restratifications:
        yield from ((by_id[one.lesion_id], Why.MISSED_CANCER) for one in restratification.missed_cancers)

    def score(lesion: JudgedLesion) -> float:
        return lesion.scores[at.scorer]

    rising = sorted((one for one in lesions if at.scorer in one.scores), key=lambda one: (score(one), one.lesion_id))
    low, high = (
        [one for one in rising if (score(one) >= one.threshold(at.scorer, at.value)) is reached]
        for reached in (False, True)
    )
    missed, spared = [one for one in low if one.malignant], [one for one in low if not one.malignant]
    found, alarms = [one for one in high[::-1] if one.malignant], [one for one in high[::-1] if not one.malignant]
    yield from _by_turns(
        [(one, Why.FALSE_NEGATIVE) for one in missed],
        [(one, Why.FALSE_POSITIVE) for one in alarms],
        [(one, Why.RIGHT) for one in islice(_by_turns(found, spared), RIGHT)],
    )


def _by_turns(*lists: Sequence[T]) -> Iterator[T]:
    return (one for turn in zip_longest(*lists) for one in turn if one is not None)
