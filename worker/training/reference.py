"""What a model's drift is measured against: the ages and scores of lesions that it did not learn from."""

import numpy as np
from numpy.typing import NDArray

from worker.inference.card_parts import Histogram, Reference

BINS = 10
"""As many bins, each with as many lesions, as far as the values can be told apart."""


def reference_of(ages: NDArray[np.float64], probabilities: NDArray[np.float64]) -> Reference:
    """Sum up what a model met, and said, when it was tested.

    Args:
        ages: years, 0 to 120, float64 (N,).
        probabilities: of the positive class, 0 to 1, float64 (N,).
    """
    return Reference(
        lesions=len(ages),
        age_years=_histogram(ages, 0.0, 120.0, digits=1),
        positive_probability=_histogram(probabilities, 0.0, 1.0, digits=4),
    )


def _histogram(values: NDArray[np.float64], lowest: float, highest: float, digits: int) -> Histogram:
    inner = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]).round(digits))
    inner = inner[(inner > lowest) & (inner < highest)]
    # As PostgreSQL's width_bucket: a value on an edge is in the bin above it.
    counts = np.bincount(np.searchsorted(inner, values, side="right"), minlength=len(inner) + 1)
    shares = counts / len(values)
    return Histogram(
        edges=(lowest, *(float(edge) for edge in inner), highest),
        shares=tuple(round(float(share), 6) for share in shares),
    )
