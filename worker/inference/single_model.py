"""One version of one model, scoring by itself in float32: what a shadow and a backfill score with."""

import logging

import numpy as np
import torch
from numpy.typing import NDArray

from worker.errors import Code, LesionRefused, ModelRefused, Unavailable
from worker.inference.engine import score_of
from worker.inference.model_card import ModelCard
from worker.inference.model_pair import Pixels, ScoringNetwork, probabilities, temperatures_of
from worker.inference.preprocess import pixels_for_each
from worker.inference.registry import Entry
from worker.inference.weights import load_network
from worker.study import LesionImage, Score

logger = logging.getLogger(__name__)


class SingleModel:
    """Scores lesions one at a time, for one thread. Its scores are those of `worker.inference.engine.Engine`, to 1e-4.

    Args:
        entry: the version.
        device: where its network goes.

    Raises:
        ModelRefused: its card and weights do not fit each other, or its scores are not finite.
        Unavailable: ``device_unavailable``: the device does not score.
    """

    def __init__(self, entry: Entry, device: torch.device) -> None:
        self.card: ModelCard = entry.card
        self._device = device
        network = load_network(entry.card, entry.weights_path, torch.device("cpu"))
        self._network = ScoringNetwork(entry.card, network).eval().requires_grad_(False).to(device)
        if self._probability_of_blank() is None:
            reason = f"{self.card.name} {self.card.version}: the scores of a blank image are not finite"
            raise ModelRefused(Code.WEIGHTS_SHAPE_MISMATCH, reason)

    def score(self, image: LesionImage) -> Score:
        """Score a lesion.

        Raises:
            LesionRefused: ``scores_not_finite``, or ``inference_failed``: the device refuses this lesion alone.
            Unavailable: ``device_unavailable``: it refuses a blank image too.
        """
        (pixels,) = pixels_for_each(image.frame, image.region, [self.card.preprocessing])
        try:
            scores = self._scores(pixels, image.age.years)
        except (RuntimeError, MemoryError) as error:
            # The device's own message is not repeated: it may be of any length and hold anything.
            logger.error("the device failed on a lesion: %s", type(error).__qualname__)
            self._probability_of_blank()
            raise LesionRefused(Code.INFERENCE_FAILED) from None
        if not np.isfinite(scores).all() or not np.isfinite(image.age.years):
            raise LesionRefused(Code.SCORES_NOT_FINITE)
        return score_of(self.card, scores)

    def _scores(self, pixels: Pixels, years: float) -> NDArray[np.float64]:
        age = np.float32((years - self.card.age_mean) / self.card.age_sd)
        # A GPU's convolutions would be of TF32, whose 10 bits are not float32.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            images = torch.from_numpy(np.stack([pixels])).to(self._device)
            logits = self._network(images, torch.tensor([age], device=self._device)).cpu().numpy()
        scores: NDArray[np.float64] = probabilities(logits, temperatures_of([self.card]))[0]
        return scores

    def _probability_of_blank(self) -> float | None:
        side = self.card.input_size
        blank = np.zeros((1 if self.card.channels == "gray" else 3, side, side), np.uint8)
        try:
            scores = self._scores(blank, self.card.age_mean)
        except (RuntimeError, MemoryError):
            raise Unavailable(Code.DEVICE_UNAVAILABLE, "the device fails on a blank image too") from None
        return float(scores[0]) if np.isfinite(scores).all() else None
