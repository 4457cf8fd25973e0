"""What the models say of a lesion, from what they say of its images: the one place where a card is read for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from worker.clinical.aggregation import aggregate, at_temperature
from worker.clinical.conformal import conformal_set
from worker.errors import Code, ImagesRefused, LesionRefused
from worker.inference.model_card import ModelCard
from worker.inference.model_pair import probabilities
from worker.study import ImageScore, Score, Scores

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ImageProbabilities:
    """What one model gives images, float64 (N, classes), in the card's order; each row sums to 1.

    Attributes:
        plain: before any temperature: the AI scores, which are aggregated.
        alone: at the card's temperature: what the model says of each image by itself.
    """

    plain: Probabilities
    alone: Probabilities

    @classmethod
    def of(cls, card: ModelCard, logits: NDArray[np.float32]) -> Self:
        """Read logits, float32 (N, classes)."""
        plain = probabilities(logits)
        return cls(plain, plain if card.temperature == 1 else probabilities(logits, np.array([card.temperature])))

    def at(self, places: slice | list[int]) -> Self:
        """Return some of the images."""
        return type(self)(self.plain[places], self.alone[places])


@dataclass(frozen=True, slots=True)
class ImageAnswers:
    """What both models said of images.

    Attributes:
        lh: DLR_LH's probabilities.
        bm: DLR_BM's.
        refused: why an image has none, by its place; its row is then of no meaning.
    """

    lh: ImageProbabilities
    bm: ImageProbabilities
    refused: Mapping[int, LesionRefused]

    def at(self, first: int, end: int) -> Self:
        """Return those of the images from one place to before another, counted from the first of them."""
        of_these = slice(first, end)
        refused = {place - first: self.refused[place] for place in range(first, end) if place in self.refused}
        return type(self)(self.lh.at(of_these), self.bm.at(of_these), refused)


def answers_of(
    cards: tuple[ModelCard, ModelCard], logits: NDArray[np.float32], refused: Mapping[int, LesionRefused]
) -> ImageAnswers:
    """Read logits, float32 (N, 2, classes), DLR_LH first.

    An image whose probabilities are not finite is refused too, ``scores_not_finite``.
    """
    lh, bm = (ImageProbabilities.of(card, logits[:, place]) for place, card in enumerate(cards))
    finite = np.isfinite(lh.plain).all(axis=1) & np.isfinite(bm.plain).all(axis=1)
    others = [place for place in np.flatnonzero(~finite).tolist() if place not in refused]
    return ImageAnswers(lh, bm, {**refused, **{place: LesionRefused(Code.SCORES_NOT_FINITE) for place in others}})


def joined(parts: Sequence[ImageAnswers]) -> ImageAnswers:
    """Put a lesion's images together again, in the order of the parts."""
    refused: dict[int, LesionRefused] = {}
    first = 0
    for part in parts:
        refused |= {first + place: why for place, why in part.refused.items()}
        first += len(part.lh.plain)
    return ImageAnswers(_concatenated([one.lh for one in parts]), _concatenated([one.bm for one in parts]), refused)


def _concatenated(parts: Sequence[ImageProbabilities]) -> ImageProbabilities:
    return ImageProbabilities(
        np.concatenate([one.plain for one in parts]), np.concatenate([one.alone for one in parts])
    )


def lesion_scores(cards: tuple[ModelCard, ModelCard], images: ImageAnswers, min_images: int) -> Scores:
    """Return both models' scores of a lesion.

    Args:
        cards: of DLR_LH and DLR_BM.
        images: of the lesion, one at least.
        min_images: so many of them have to have scores.

    Raises:
        ImagesRefused: fewer have: with the first image's code where none has, ``images_too_few`` else.
    """
    count, refused = len(images.lh.plain), images.refused
    if not refused and count >= min_images:
        lh, bm = images.lh, images.bm
    else:
        scored = [place for place in range(count) if place not in refused]
        if len(scored) < max(min_images, 1):
            raise ImagesRefused(Code.IMAGES_TOO_FEW if scored else refused[0].code, refused)
        lh, bm = images.lh.at(scored), images.bm.at(scored)
    of_lh, of_bm = cards
    alone = zip(
        images.lh.alone[:, of_lh.positive_index].tolist(),
        images.bm.alone[:, of_bm.positive_index].tolist(),
        strict=True,
    )
    return Scores(
        lesion_score(of_lh, lh),
        lesion_score(of_bm, bm),
        tuple(refused.get(place) or ImageScore(*one) for place, one in enumerate(alone)),
    )


def lesion_score(card: ModelCard, images: ImageProbabilities) -> Score:
    """Put a lesion's images together as the card says: aggregation, then temperature, threshold and conformal set.

    Of one image it is what the model says of that image.

    Args:
        card: the model's.
        images: of the lesion, at least one, finite; in any order.
    """
    if len(images.plain) == 1:
        return score_of(card, images.alone[0])
    place = card.positive_index
    score = aggregate(card.aggregation, images.plain[:, place].tolist())
    values = np.empty(2)
    values[place] = at_temperature(score, card.temperature)
    values[1 - place] = 1 - values[place]
    return score_of(card, values)


def score_of(card: ModelCard, probabilities: Probabilities) -> Score:
    """Read one lesion's probabilities, float64 (classes,), as the card says."""
    values = [float(value) for value in probabilities]
    probability = values[card.positive_index]
    positive = probability >= card.threshold
    by_class = tuple(zip(card.classes, values, strict=True))
    return Score(
        model=card.name,
        version=card.version,
        probabilities=by_class,
        positive_probability=probability,
        positive=positive,
        predicted_class=card.positive_class if positive else card.negative_class,
        threshold=card.threshold,
        conformal_set=None if card.conformal is None else conformal_set(by_class, card.conformal.quantile),
    )
