"""What the models say of a lesion, from what they say of its images: the one place where a card is read for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from worker.clinical.aggregation import aggregate, at_temperature
from worker.clinical.conformal import conformal_set
from worker.errors import Code, ImagesRefused, LesionRefused
from worker.inference.model_card import ModelCard
from worker.inference.runner import Logits, probabilities
from worker.study import ImageScore, Score, Scores

Probabilities = Sequence[float]
"""Of each class, in the card's order; they sum to 1."""


@dataclass(frozen=True, slots=True)
class ImageProbabilities:
    """What one model gives each of some images.

    Attributes:
        plain: before any temperature: the AI scores, which are aggregated.
        alone: at the card's temperature: what the model says of each image by itself.
    """

    plain: Sequence[Probabilities]
    alone: Sequence[Probabilities]

    @classmethod
    def of(cls, card: ModelCard, logits: Logits) -> Self:
        """Read logits, float32 (N, classes)."""
        # Lists, since a lesion's few numbers are read one by one, and that by the thousand a second.
        plain = probabilities(logits).tolist()
        if card.temperature == 1:
            return cls(plain, plain)
        return cls(plain, probabilities(logits, np.array([card.temperature])).tolist())

    def on_scale_of(self, card: ModelCard) -> Self:
        """Return them at the temperature of another card of the same model, such as a site's."""
        at = card.positive_index
        positive = [at_temperature(row[at], card.temperature) for row in self.plain]
        return type(self)(self.plain, [(1 - one, one) if at else (one, 1 - one) for one in positive])


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
        lh = ImageProbabilities(self.lh.plain[first:end], self.lh.alone[first:end])
        bm = ImageProbabilities(self.bm.plain[first:end], self.bm.alone[first:end])
        if not self.refused:
            return type(self)(lh, bm, self.refused)
        return type(self)(lh, bm, {at - first: self.refused[at] for at in range(first, end) if at in self.refused})

    def with_scores(self) -> Self:
        """Return the images that are not refused."""
        places = [place for place in range(len(self.lh.plain)) if place not in self.refused]
        lh, bm = (
            ImageProbabilities([one.plain[place] for place in places], [one.alone[place] for place in places])
            for one in (self.lh, self.bm)
        )
        return type(self)(lh, bm, {})


def answers_of(
    cards: tuple[ModelCard, ModelCard], logits: Logits, refused: Mapping[int, LesionRefused]
) -> ImageAnswers:
    """Read logits, float32 (N, 2, classes), DLR_LH first.

    An image whose probabilities are not finite is refused too, ``scores_not_finite``.
    """
    lh, bm = (ImageProbabilities.of(card, logits[:, place]) for place, card in enumerate(cards))
    finite = np.isfinite(probabilities(logits)).all(axis=(1, 2))
    others = [place for place in np.flatnonzero(~finite).tolist() if place not in refused]
    return ImageAnswers(lh, bm, {**refused, **{place: LesionRefused(Code.SCORES_NOT_FINITE) for place in others}})


def joined(parts: Sequence[ImageAnswers]) -> ImageAnswers:
    """Put a lesion's images together again, in the order of the parts."""
    refused: dict[int, LesionRefused] = {}
    first = 0
    for part in parts:
        refused |= {first + place: why for place, why in part.refused.items()}
        first += len(part.lh.plain)
    lh, bm = (
        ImageProbabilities([row for one in of for row in one.plain], [row for one in of for row in one.alone])
        for of in ([part.lh for part in parts], [part.bm for part in parts])
    )
    return ImageAnswers(lh, bm, refused)


def lesion_scores(
    cards: tuple[ModelCard, ModelCard], images: ImageAnswers, min_images: int, site: str | None = None
) -> Scores:
    """Return both models' scores of a lesion.

    Args:
        cards: of DLR_LH and DLR_BM.
        images: of the lesion, one at least.
        min_images: so many of them have to have scores.
        site: where it was examined, as far as it is known.

    Raises:
        ImagesRefused: fewer have: with the first image's code where none has, ``images_too_few`` else.
    """
    (lh_card, lh_images), (bm_card, bm_images) = (
        at_site(card, of, site) for card, of in zip(cards, (images.lh, images.bm), strict=True)
    )
    cards, images = (lh_card, bm_card), ImageAnswers(lh_images, bm_images, images.refused)
    refused = images.refused
    scored = images.with_scores() if refused else images
    count = len(scored.lh.plain)
    if count < max(min_images, 1):
        raise ImagesRefused(Code.IMAGES_TOO_FEW if count else refused[0].code, refused)
    lh, bm = lesion_score(cards[0], scored.lh), lesion_score(cards[1], scored.bm)
    if count == 1 and not refused:
        return Scores(lh, bm, (ImageScore(lh.positive_probability, bm.positive_probability),))
    at_lh, at_bm = (card.positive_index for card in cards)
    pairs = enumerate(zip(images.lh.alone, images.bm.alone, strict=True))
    alone = [refused.get(place) or ImageScore(by_lh[at_lh], by_bm[at_bm]) for place, (by_lh, by_bm) in pairs]
    return Scores(lh, bm, tuple(alone))


def at_site(card: ModelCard, images: ImageProbabilities, site: str | None) -> tuple[ModelCard, ImageProbabilities]:
    """Return the card for a lesion of a site, and the images' probabilities on its scale.

    Args:
        card: the model's.
        images: of the lesion.
        site: where it was examined, as far as it is known.
    """
    own = card.at_site(site)
    return (card, images) if own is card else (own, images.on_scale_of(own))


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
    positive = at_temperature(aggregate(card.aggregation, [row[place] for row in images.plain]), card.temperature)
    return score_of(card, (1 - positive, positive) if place else (positive, 1 - positive))


def score_of(card: ModelCard, probabilities: Probabilities) -> Score:
    """Read one lesion's probabilities as the card says."""
    probability = probabilities[card.positive_index]
    positive = probability >= card.threshold
    by_class = tuple(zip(card.classes, probabilities, strict=True))
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
