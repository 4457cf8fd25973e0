"""One version of one model, scoring by itself in float32: what a shadow, a backfill and a comparison score with."""

import logging
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from worker.errors import Code, ImagesRefused, LesionRefused, ModelRefused, Unavailable
from worker.inference.ensemble import mean_score
from worker.inference.entry import Entry
from worker.inference.fit_to_serve import require_age_stage
from worker.inference.lesion_score import ImageProbabilities, at_site, lesion_score
from worker.inference.model_card import ModelCard
from worker.inference.model_pair import ScoringNetworks
from worker.inference.preprocess import pixels_for_each
from worker.inference.runner import Logits, Pixels, probabilities
from worker.inference.weights import load_networks
from worker.study import LesionImage, LesionScore, Score, site_of

logger = logging.getLogger(__name__)

_OF_AGE_ALONE: Final[dict[str, Any]] = {"conformal": None, "sites": {}}
"""What a card has of the score with age, and FC2's score does without."""


class SingleModel:
    """Scores lesions one at a time, for one thread. Its scores are those of `worker.inference.engine.Engine`, to 1e-4.

    Args:
        entry: the version.
        device: where its networks go.
        image_only: it scores by the image alone, through FC2 (Fig. S2), and needs no age. Neither service nor shadow
            does. The card's threshold is that of the score with age then, unless the version is of the image stage; its
            conformal set and its sites are left out.

    Raises:
        ModelRefused: ``model_image_only``: it has no classifier with age, and is asked for one; its card and weights do
            not fit each other, or its scores are not finite.
        Unavailable: ``device_unavailable``: the device does not score.
    """

    def __init__(self, entry: Entry, device: torch.device, *, image_only: bool = False) -> None:
        if not image_only:
            require_age_stage(entry.card)
        of_age = image_only and entry.card.stage == "age"
        self.card: ModelCard = entry.card.model_copy(update=_OF_AGE_ALONE) if of_age else entry.card
        self._device = device
        self._image_only = image_only
        networks = load_networks(entry.card, entry.weights_paths, torch.device("cpu"))
        self._networks = (
            ScoringNetworks(entry.card, networks, image_only=image_only).eval().requires_grad_(False).to(device)
        )
        if not self._is_sound():
            reason = f"{self.card.name} {self.card.version}: the scores of a blank image are not finite"
            raise ModelRefused(Code.WEIGHTS_SHAPE_MISMATCH, reason)

    def score(self, images: Sequence[LesionImage]) -> LesionScore:
        """Score a lesion by those of its images that can be scored.

        Args:
            images: of the lesion, one at least.

        Returns:
            The lesion's score, and each image's own.

        Raises:
            ImagesRefused: fewer than the card's ``min_images`` can: with the first image's code where none can,
                ``images_too_few`` else.
            Unavailable: ``device_unavailable``: the device refuses a blank image too.
        """
        scored: list[Logits] = []
        refused: dict[int, LesionRefused] = {}
        for place, image in enumerate(images):
            try:
                scored.append(self.logits(image))
            except LesionRefused as why:
                refused[place] = why
        if len(scored) < self.card.min_images:
            raise ImagesRefused(Code.IMAGES_TOO_FEW if scored else refused[0].code, refused)
        card, of_images = self._at_site(scored, site_of(images))
        alone = (one[card.positive_index] for one in of_images.alone)
        said = tuple(refused.get(place) or next(alone) for place in range(len(images)))
        return LesionScore(lesion_score(card, of_images), said)

    def score_of(self, logits: Sequence[Logits], site: str | None) -> Score:
        """Put the `logits` of a lesion's images together, one at least; its site may have a scale of its own."""
        return lesion_score(*self._at_site(logits, site))

    def _at_site(self, logits: Sequence[Logits], site: str | None) -> tuple[ModelCard, ImageProbabilities]:
        return at_site(self.card, ImageProbabilities.of(self.card, np.stack(logits)), site)

    def logits(self, image: LesionImage) -> Logits:
        """Return what the version says of an image, float32 (classes,), finite.

        Raises:
            LesionRefused: ``scores_not_finite``, or ``inference_failed``: the device refuses this image alone.
            Unavailable: ``device_unavailable``: it refuses a blank image too.
        """
        (pixels,) = pixels_for_each(image.frame, image.region, [self.card.preprocessing])
        try:
            logits = self._logits(pixels, image.age.years)
        except (RuntimeError, MemoryError) as error:
            # The device's own message is not repeated: it may be of any length and hold anything.
            logger.error("the device failed on an image of a lesion: %s", type(error).__qualname__)
            self._is_sound()
            raise LesionRefused(Code.INFERENCE_FAILED) from None
        if not _is_finite(logits) or not (self._image_only or np.isfinite(image.age.years)):
            raise LesionRefused(Code.SCORES_NOT_FINITE)
        return logits

    def _logits(self, pixels: Pixels, years: float) -> Logits:
        age = np.float32((years - self.card.age_mean) / self.card.age_sd)
        # A GPU's convolutions would be of TF32, whose 10 bits are not float32.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            images = torch.from_numpy(np.stack([pixels])).to(self._device)
            logits: Logits = self._networks(images, torch.tensor([age], device=self._device)).cpu().numpy()[0]
        return mean_score(logits)

    def _is_sound(self) -> bool:
        """Whether the scores of a blank image, which no healthy device refuses, are finite."""
        side = self.card.input_size
        blank = np.zeros((1 if self.card.channels == "gray" else 3, side, side), np.uint8)
        try:
            return _is_finite(self._logits(blank, self.card.age_mean))
        except (RuntimeError, MemoryError):
            raise Unavailable(Code.DEVICE_UNAVAILABLE, "the device fails on a blank image too") from None


def _is_finite(logits: Logits) -> bool:
    return bool(np.isfinite(probabilities(logits)).all())
