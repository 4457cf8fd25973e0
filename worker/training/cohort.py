"""A cohort of phantoms, preprocessed as the models are served."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.inference.card import Preprocessing
from worker.inference.preprocess import preprocess
from worker.training.phantom import phantom
from worker.training.table_s1 import class_table


@dataclass(frozen=True, slots=True)
class Cohort:
    """Lesions to learn from or to be judged on.

    Attributes:
        images: float32 (N, 3, S, S).
        ages: float64 (N,), years.
        malignant: bool (N,), DLR_BM's labels.
        high_risk: bool (N,), DLR_LH's labels: BI-RADS 4A and above.
    """

    images: NDArray[np.float32]
    ages: NDArray[np.float64]
    malignant: NDArray[np.bool_]
    high_risk: NDArray[np.bool_]

    def split(self, *sizes: int) -> tuple["Cohort", ...]:
        """Cut the cohort into consecutive parts."""
        ends = np.cumsum(sizes)
        return tuple(self._part(slice(int(end - size), int(end))) for end, size in zip(ends, sizes, strict=True))

    def _part(self, part: slice) -> "Cohort":
        return Cohort(self.images[part], self.ages[part], self.malignant[part], self.high_risk[part])


def make_cohort(
    seed: int, count: int, preprocessing: Preprocessing, on_progress: Callable[[float], None] | None = None
) -> Cohort:
    """Draw a cohort with Table S1's share of malignant lesions; the same arguments give the same one.

    Args:
        seed: not negative.
        count: how many lesions.
        preprocessing: the models'.
        on_progress: told the share that is done.
    """
    rng = np.random.default_rng(seed)
    benign, malignant = (class_table(malignant=malignant).lesions for malignant in (False, True))
    labels = rng.random(count) < malignant / (benign + malignant)
    seeds = rng.integers(2**63, size=count)
    images = np.empty((count, 3, preprocessing.size, preprocessing.size), np.float32)
    ages, high_risk = np.empty(count), np.empty(count, np.bool_)
    for place in range(count):
        drawn = phantom(int(seeds[place]), malignant=bool(labels[place]))
        images[place] = preprocess(drawn.image, drawn.roi, preprocessing)
        ages[place], high_risk[place] = drawn.age_years, drawn.high_risk
        if on_progress is not None:
            on_progress((place + 1) / count)
    return Cohort(images, ages, labels, high_risk)
