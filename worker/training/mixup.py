"""MixUp: pairs of training images are mixed, and so are their losses (Zhang et al., ICLR 2018, arXiv 1710.09412).

Of all that the network is fed: with joint stages the age is mixed by the same share as the image.
"""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from worker.training.config import TrainingConfig

_DRAW = 1
"""Tells this draw of a seed and an epoch from the order of the lesions."""


def share_kept(config: TrainingConfig, epoch: int, step: int) -> float:
    """Draw how much of each lesion stays in a step's batch, 0 to 1: from Beta(alpha, alpha), or 1 without MixUp.

    Of seed, epoch and step alone, so that neither an interruption nor the number of processes changes it.
    """
    if not config.mixup:
        return 1.0
    return float(np.random.default_rng([config.seed, epoch, step, _DRAW]).beta(config.mixup, config.mixup))


def mixed(values: Tensor, share: float) -> Tensor:
    """Mix each value with the one before it in the batch, whose order is random.

    Args:
        values: of the lesions, float32 (N, ...).
        share: that stays; 1 leaves them as they are.
    """
    return values if share == 1 else share * values + (1 - share) * values.roll(1, 0)


def mixed_loss(loss: Callable[[Tensor], Tensor], labels: Tensor, share: float) -> Tensor:
    """Return the loss of what was `mixed`: that of each lesion's own label and of the other's, by their shares.

    Args:
        loss: of labels.
        labels: int64 (N,).
        share: of each lesion's own.
    """
    own = loss(labels)
    return own if share == 1 else share * own + (1 - share) * loss(labels.roll(1, 0))
