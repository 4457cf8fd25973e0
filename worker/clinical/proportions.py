"""Rates of a clinic's 4A lesions, each with its interval, held against the study's.

Nothing here is a diagnosis of a model: a rate that differs asks for a person's look, and says no more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import exp, sqrt
from statistics import NormalDist
from types import MappingProxyType

from worker.clinical.categories import Outcome

CONFIDENCE = 0.95
"""Of each interval, two-sided."""

ARMS = (Outcome.DOWNGRADED, Outcome.MAINTAINED, Outcome.UPGRADED)
"""What can become of a 4A lesion; the order in which rates are shown."""

STUDY: Mapping[Outcome, int] = MappingProxyType({Outcome.DOWNGRADED: 41, Outcome.MAINTAINED: 80, Outcome.UPGRADED: 27})
"""The study's 148 lesions of BI-RADS 4A: 27.7 % downgraded, 54.1 % kept, 18.2 % upgraded."""

STUDY_UPGRADED_MALIGNANT = 22
"""Of the study's 27 upgraded lesions; its positive predictive value is 81.5 %."""

FEWEST_LESIONS = 28
"""Below so many lesions no rates are compared: the study would expect less than 5 upgraded among them (Cochran's rule),
and the chi-squared distribution does not describe the statistic."""

SIGNIFICANCE = 0.01
"""Rates differ when the study's would give ones as far off, or farther, less often than this."""

_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Proportion:
    """A count of a total, as a rate with its 95 % interval.

    Attributes:
        count: of the total, from 0 to it.
        total: from 0.
        rate: 0 to 1; ``None`` where the total is 0.
        low: lower end of the Wilson score interval, 0 to 1.
        high: upper end of it.
    """

    count: int
    total: int
    rate: float | None
    low: float
    high: float

    def holds(self, rate: float) -> bool:
        """Say whether a rate lies within the interval."""
        return self.low <= rate <= self.high


class Verdict(StrEnum):
    """What came of holding rates against the study's."""

    AS_STUDIED = "as_studied"
    DIFFERS_LITTLE = "differs_little"
    DIFFERS = "differs"
    TOO_FEW = "too_few"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rates of a group of 4A lesions, held against the study's.

    Attributes:
        rates: one for each arm.
        outside: the arms whose interval does not hold the study's rate.
        chi_squared: Pearson's statistic of goodness of fit, 2 degrees of freedom; ``None`` for too few lesions.
        p_value: how often the study's rates would give one as large or larger; ``None`` likewise.
        verdict: ``too_few`` below ``FEWEST_LESIONS``; ``differs`` when ``p_value`` is below ``SIGNIFICANCE`` and a rate
            lies outside of the interval that the study's own 148 lesions leave; ``differs_little`` when none does;
            else ``as_studied``.
    """

    rates: Mapping[Outcome, Proportion]
    outside: tuple[Outcome, ...]
    chi_squared: float | None
    p_value: float | None
    verdict: Verdict

    @property
    def lesions(self) -> int:
        """Number of 4A lesions."""
        return self.rates[Outcome.UPGRADED].total


def proportion(count: int, total: int) -> Proportion:
    """Return a rate with its 95 % interval, by Wilson's score method without continuity correction.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209; method 3 of R. G. Newcombe, Stat. Med. 17 (1998) 857.

    Args:
        count: 0 to ``total``.
        total: from 0; of nothing at all the interval is 0 to 1.

    Raises:
        ValueError: the count is not within 0 and the total.
    """
    if not 0 <= count <= total:
        raise ValueError("a count lies within 0 and its total")
    if total == 0:
        return Proportion(count, total, None, 0.0, 1.0)
    rate, square = count / total, _Z * _Z
    middle = rate + square / (2 * total)
    reach = _Z * sqrt(rate * (1 - rate) / total + square / (4 * total * total))
    scale = 1 + square / total
    low = 0.0 if count == 0 else (middle - reach) / scale
    high = 1.0 if count == total else (middle + reach) / scale
    return Proportion(count, total, rate, low, high)


def study_rate(arm: Outcome) -> Proportion:
    """Return the study's rate of an arm, with the interval that its 148 lesions leave."""
    return proportion(STUDY[arm], sum(STUDY.values()))


def compare(counts: Mapping[Outcome, int]) -> Comparison:
    """Hold the rates of 4A lesions against the study's, by Pearson's chi-squared test of goodness of fit.

    The test takes the study's rates for exact. They are of 148 lesions, so with thousands of lesions it finds
    differences that those cannot tell; ``differs`` therefore also asks for a rate outside of the study's own interval.

    Args:
        counts: lesions of each arm, from 0; other outcomes are left out, and an arm that is missing has none.
    """
    total = sum(counts.get(arm, 0) for arm in ARMS)
    rates = MappingProxyType({arm: proportion(counts.get(arm, 0), total) for arm in ARMS})
    outside = tuple(arm for arm in ARMS if not rates[arm].holds(_expected(arm)))
    if total < FEWEST_LESIONS:
        return Comparison(rates, outside, None, None, Verdict.TOO_FEW)
    statistic = sum((rates[arm].count - total * _expected(arm)) ** 2 / (total * _expected(arm)) for arm in ARMS)
    p_value = exp(-statistic / 2)  # the chi-squared distribution's tail, for 2 degrees of freedom
    return Comparison(rates, outside, statistic, p_value, _verdict(rates, p_value))


def _expected(arm: Outcome) -> float:
    return STUDY[arm] / sum(STUDY.values())


def _verdict(rates: Mapping[Outcome, Proportion], p_value: float) -> Verdict:
    if p_value >= SIGNIFICANCE:
        return Verdict.AS_STUDIED
    beyond = any(not study_rate(arm).holds(rate.count / rate.total) for arm, rate in rates.items())
    return Verdict.DIFFERS if beyond else Verdict.DIFFERS_LITTLE
