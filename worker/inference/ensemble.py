"""What a version of several passes says: the mean of their AI scores. This is the one place where they become one.

Passes are the members of an ensemble, and with test-time flips an image and its mirror image.
"""

from collections.abc import Sequence

import numpy as np

from worker.inference.model_card import ModelCard
from worker.inference.runner import Logits


def by_model(cards: Sequence[ModelCard], logits: Logits) -> Logits:
    """Return what each model says, of what each pass says.

    Args:
        cards: of the models.
        logits: float32 (N, passes, classes): those of the first card's passes, then of the next one's.

    Returns:
        Logits, float32 (N, models, classes); those of a model of one pass are its own, to the bit.
    """
    if logits.shape[1] == len(cards):
        return logits
    ends = np.cumsum([card.passes for card in cards])[:-1]
    return np.stack([mean_score(part) for part in np.split(logits, ends, axis=1)], axis=1)


def mean_score(logits: Logits) -> Logits:
    """Return logits whose softmax is the mean of the passes' softmaxes: the AI score, before a temperature.

    They are its logarithm, so a temperature divides them as it does those of a lesion on several images, and a score
    near 0 keeps its digits. Not finite where those of any pass are not.

    Args:
        logits: float32 (..., passes, classes), one pass at least.

    Returns:
        float32 (..., classes).
    """
    passes = logits.shape[-2]
    if passes == 1:
        return logits[..., 0, :]
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # what is not finite is refused by whoever asked
        scores = wide - np.logaddexp.reduce(wide, axis=-1, keepdims=True)
        mean: Logits = (np.logaddexp.reduce(scores, axis=-2) - np.log(passes)).astype(np.float32)
    return mean
