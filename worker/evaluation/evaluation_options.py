"""What is asked of an evaluation."""

from dataclasses import dataclass
from enum import StrEnum

from worker.dataset.manifest import Split

RESAMPLES = 1000
"""Of the bootstrap, unless it is asked for more or fewer."""

SENSITIVITY = 0.95
"""That a threshold has to reach when it is chosen by its sensitivity, unless another is asked for."""

SEED = 20261123
"""Of the bootstrap, unless another is asked for."""


class ChosenBy(StrEnum):
    """Where a threshold comes from."""

    GIVEN = "given"
    CARD = "card"
    YOUDEN = "youden"
    SENSITIVITY = "sensitivity"


class Choice(StrEnum):
    """How a threshold is chosen for a model that has none."""

    YOUDEN = "youden"
    SENSITIVITY = "sensitivity"


@dataclass(frozen=True, slots=True)
class Options:
    """How lesions are evaluated.

    Attributes:
        lh_threshold: of every version of DLR_LH, 0 to 1, in place of its card's; ``None``: its card's.
        bm_threshold: the same for DLR_BM.
        choose: how a threshold is chosen where neither is known.
        sensitivity: that such a threshold reaches, above 0 and up to 1.
        split: the lesions that are measured on, where lesions are of splits at all.
        resamples: of the bootstrap; 0 leaves it out.
        seed: of the bootstrap.
    """

    lh_threshold: float | None = None
    bm_threshold: float | None = None
    choose: Choice = Choice.YOUDEN
    sensitivity: float = SENSITIVITY
    split: Split = Split.TEST
    resamples: int = RESAMPLES
    seed: int = SEED
