"""Whether a probability means what it says.

Sources: G. W. Brier, Monthly Weather Review 78 (1950) 1; expected calibration error and temperature scaling,
C. Guo et al., ICML 2017 (arXiv 1706.04599).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss, log_loss

from worker.clinical.proportions import Proportion, proportion
from worker.evaluation.discrimination import Labels, Scores

BINS = 10
"""Of equal width; one holds its lower edge, and the last its upper edge too."""

TEMPERATURES = (0.05, 20.0)
"""The lowest and the highest temperature that is looked for."""

_AT_AN_END = 1e-3

_CLOSEST = 1e-9
"""A probability is taken to be so far from 0 and 1 at least, so that its logit is finite."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The lesions whose probability is between two edges.

    Attributes:
        low: lower edge, within the bin.
        high: upper edge, in the next bin, unless it is 1.
        mean_probability: of these lesions; ``None`` without any.
        observed: the positives among them, with Wilson's interval.
    """

    low: float
    high: float
    mean_probability: float | None
    observed: Proportion


@dataclass(frozen=True, slots=True)
class Reliability:
    """How probabilities and what was found agree.

    Attributes:
        brier: mean squared difference, 0 (best) to 1.
        log_loss: mean negative log-likelihood, natural logarithm, from 0 (best).
        expected_calibration_error: the mean of the bins' distances between mean probability and observed rate, each by
            its share of the lesions, 0 (best) to 1.
        bins: ``BINS`` of them.
    """

    brier: float
    log_loss: float
    expected_calibration_error: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Reliability as scored, and after temperature scaling.

    Attributes:
        as_scored: of the probabilities as they are.
        temperature: the logit is divided by it; above 1, the model was too sure of itself.
        fitted_on: the lesions that the temperature was found on.
        scaled: of the probabilities after it.
    """

    as_scored: Reliability
    temperature: float
    fitted_on: Literal["validation", "same_lesions"]
    scaled: Reliability


def reliability(probabilities: Scores, labels: Labels) -> Reliability:
    """Measure how probabilities and what was found agree.

    Args:
        probabilities: float (N,), 0 to 1; at least one.
        labels: bool (N,).
    """
    places = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    bins = tuple(_bin(place, probabilities[places == place], labels[places == place]) for place in range(BINS))
    error = sum(one.observed.total * abs((one.mean_probability or 0) - (one.observed.rate or 0)) for one in bins) / len(
        labels
    )
    return Reliability(
        brier=float(brier_score_loss(labels, probabilities)),
        log_loss=float(log_loss(labels, np.clip(probabilities, _CLOSEST, 1 - _CLOSEST), labels=[False, True])),
        expected_calibration_error=float(error),
        bins=bins,
    )


def _bin(place: int, probabilities: Scores, labels: Labels) -> ReliabilityBin:
    mean = float(probabilities.mean()) if len(probabilities) else None
    return ReliabilityBin(place / BINS, (place + 1) / BINS, mean, proportion(int(labels.sum()), len(labels)))


def temperature(probabilities: Scores, labels: Labels) -> float:
    """Return the temperature with the least negative log-likelihood, within ``TEMPERATURES``.

    Where scores part the classes wholly there is no least one, and the lowest temperature is returned.

    Args:
        probabilities: float (N,), 0 to 1; at least one.
        labels: bool (N,).
    """
    logits, signs = _logits(probabilities), np.where(labels, 1.0, -1.0)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signs * logits / np.exp(log_temperature)).mean())

    lowest, highest = np.log(TEMPERATURES)
    found = minimize_scalar(loss, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-8})
    best = min((float(found.x), float(lowest), float(highest)), key=loss)
    return float(np.exp(best))


def fits(by: float) -> bool:
    """Whether a temperature is the best there is, and not just an end of ``TEMPERATURES``.

    None fits scores that part the classes wholly (the lower it is, the better) or hardly at all (the higher).

    Args:
        by: what `temperature` found.
    """
    return bool(min(abs(np.log(by / end)) for end in TEMPERATURES) >= _AT_AN_END)


def scaled(probabilities: Scores, by: float) -> Scores:
    """Return probabilities after temperature scaling: order is kept, and 0.5 stays 0.5.

    Args:
        probabilities: float (N,), 0 to 1.
        by: the temperature, above 0.
    """
    changed: Scores = expit(_logits(probabilities) / by)
    return changed


def _logits(probabilities: Scores) -> Scores:
    values: Scores = logit(np.clip(probabilities, _CLOSEST, 1 - _CLOSEST))
    return values
