"""Phantoms: made-up breast lesions on ultrasound, for training the demo models and for the demo's studies."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.clinical.categories import Birads
from worker.phantom.case import draw_case
from worker.phantom.render import render
from worker.study import Roi

SMALLEST_SIDE = 48


@dataclass(frozen=True, slots=True)
class Phantom:
    """A made-up lesion and its patient. No pixel of it comes from a person.

    Attributes:
        image: B-mode, uint8 (rows, columns), white is bright.
        roi: the lesion's bounding rectangle.
        age_years: whole years, 16 to 95.
        descriptors: Table S1's, by name.
        birads: 2, 3, 4A, 4B, 4C or 5, by the phantoms' own rule.
        malignant: what pathology would say.
    """

    image: NDArray[np.uint8]
    roi: Roi
    age_years: float
    descriptors: Mapping[str, str | float]
    birads: Birads
    malignant: bool


def phantom(seed: int, *, malignant: bool, rows: int = 128, columns: int = 128) -> Phantom:
    """Draw a phantom; the same arguments give the same one.

    Args:
        seed: not negative.
        malignant: whose frequencies of Table S1 it follows.
        rows: at least 48.
        columns: at least 48.

    Raises:
        ValueError: an image too small to hold a lesion.
    """
    if min(rows, columns) < SMALLEST_SIDE:
        raise ValueError(f"a phantom has {SMALLEST_SIDE} rows and columns at least")
    rng = np.random.default_rng(seed)
    case = draw_case(rng, malignant=malignant)
    image, roi = render(case, rng, rows, columns)
    return Phantom(image, roi, case.age_years, case.descriptors, case.birads, malignant)
