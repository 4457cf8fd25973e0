"""What every device takes and gives: a batch's pixels and ages, and logits. No torch here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from worker.inference.model_card import ModelCard
from worker.inference.preprocess import same_crop

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]

Batch = tuple[Sequence[Pixels], Sequence[Pixels], Sequence[float]]
"""What `Runner.run` takes."""


class Runner(Protocol):
    """Both models on a device.

    Attributes:
        tolerance: by how much a probability may differ from that of `worker.inference.model_pair.ModelPair` in float32.
        threads: how many batches may be at work at once.
        batch_max: the most images in a batch, where a site says nothing.
        studies: so many at hand keep it busy, where a site says nothing.
        gather_s: how long one study's result may wait for others', to be written with them, in seconds: about as long
            as a batch takes.
    """

    tolerance: float
    threads: int
    batch_max: int
    studies: int
    gather_s: float

    def run(self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]) -> Logits:
        """Score a batch.

        Args:
            lh: for each lesion, DLR_LH's pixels, uint8 (1 or 3, S, S).
            bm: the same for DLR_BM; not looked at where both models take the same crop.
            ages: for each lesion, years.

        Returns:
            Logits, float32 (N, passes, classes), DLR_LH's passes first: of each network, in the cards' order, and with
            `ModelCard.test_time_flip` those of the mirror images behind them. Classes are in the cards' order.
        """


@dataclass(frozen=True, slots=True)
class Inputs:
    """Makes a batch's arrays.

    Attributes:
        age_mean: of DLR_LH and DLR_BM, float64 (2,), years.
        age_sd: likewise.
        shapes: of a lesion's pixels, for DLR_LH and DLR_BM.
        one_crop: both models take the same pixels.
    """

    age_mean: NDArray[np.float64]
    age_sd: NDArray[np.float64]
    shapes: tuple[tuple[int, int, int], ...]
    one_crop: bool

    @classmethod
    def of(cls, cards: Sequence[ModelCard]) -> Self:
        """Make those of two models.

        Args:
            cards: of DLR_LH and DLR_BM.
        """
        return cls(
            np.array([card.age_mean for card in cards]),
            np.array([card.age_sd for card in cards]),
            tuple((1 if card.channels == "gray" else 3, card.input_size, card.input_size) for card in cards),
            same_crop(*(card.preprocessing for card in cards)),
        )

    @property
    def crops(self) -> tuple[tuple[int, int, int], ...]:
        """The shapes of the pixels that a lesion goes to the device with."""
        return self.shapes[:1] if self.one_crop else self.shapes

    def normalized(self, ages: Sequence[float]) -> NDArray[np.float32]:
        """Return the ages as each model takes them, float32 (N, 2)."""
        years = np.asarray(ages, np.float64).reshape(-1, 1)
        return ((years - self.age_mean) / self.age_sd).astype(np.float32)

    def __call__(
        self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]
    ) -> list[NDArray[np.float32] | Pixels]:
        """Return what `worker.inference.model_pair.ModelPair` takes, in its order."""
        return [self.normalized(ages), np.stack(lh), *([] if self.one_crop else [np.stack(bm)])]

    def noise(self, count: int) -> Batch:
        """Return a batch of noise, the same at each call: what devices are compared on."""
        rng = np.random.default_rng(0)
        lh, bm = ([rng.integers(0, 256, shape, np.uint8) for _ in range(count)] for shape in self.shapes)
        return lh, lh if self.one_crop else bm, rng.uniform(20, 90, count).tolist()


def probabilities(logits: Logits, temperatures: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return the softmax over the last axis, in float64; each row sums to 1.

    Args:
        logits: float32 (..., models, classes).
        temperatures: of `temperatures_of`; ``None``: they stay as they are.
    """
    below = (logits - logits.max(axis=-1, keepdims=True)).astype(np.float64)
    powers = np.exp(below if temperatures is None else below / temperatures)
    scores: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def temperatures_of(cards: Sequence[ModelCard]) -> NDArray[np.float64] | None:
    """Return by what each model's logits are divided, float64 (models, 1); ``None`` where nothing is to be done."""
    temperatures = [card.temperature for card in cards]
    return None if all(one == 1 for one in temperatures) else np.array(temperatures).reshape(-1, 1)
