"""The tests of the study's Table S1 between benign and malignant lesions, and its way to print a P value.

Each feature is tested for itself, as the study did: nothing is corrected for testing many of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, stdev

FEWEST_EXPECTED = 5
"""Where the chi-squared test expects fewer lesions in a cell, its P value is rough (Cochran's rule)."""

_SMALLEST_PRINTED = 0.001
_BORDER = 0.045, 0.1
"""Around 0.05, and above it where one asks how near a feature came, the study prints a fourth digit: 0.0598."""


class Statistic(StrEnum):
    """How a feature was tested, in Table S1's words."""

    T_TEST = "t-test"
    CHI_SQUARED = "chi-squared"


@dataclass(frozen=True, slots=True)
class Difference:
    """A feature, held between benign and malignant lesions.

    Attributes:
        statistic: the test.
        value: t, or chi-squared; ``None`` where there is nothing to test.
        degrees: degrees of freedom; ``None`` likewise.
        p_value: two-sided, 0 to 1; ``None`` likewise.
        remark: why there is none, or why it is rough; ``None``: neither.
    """

    statistic: Statistic
    value: float | None = None
    degrees: int | None = None
    p_value: float | None = None
    remark: str | None = None


def t_test(benign: Sequence[float], malignant: Sequence[float]) -> Difference:
    """Compare the means of a continuous feature, by Student's t test with equal variances.

    Args:
        benign: one finite number a lesion, in any order.
        malignant: likewise.
    """
    from scipy import stats

    if min(len(benign), len(malignant)) < 2:
        return Difference(Statistic.T_TEST, remark="not tested: fewer than two lesions of a class have a value")
    deviations = stdev(benign), stdev(malignant)
    if not any(deviation**2 for deviation in deviations):
        return Difference(Statistic.T_TEST, remark="not tested: all lesions of each class have the same value")
    # From means that are summed up exactly: the same lesions in another order give the same last digit.
    found = stats.ttest_ind_from_stats(
        fmean(benign), deviations[0], len(benign), fmean(malignant), deviations[1], len(malignant), equal_var=True
    )
    degrees = len(benign) + len(malignant) - 2
    return Difference(Statistic.T_TEST, float(found.statistic), degrees, float(found.pvalue))


def chi_squared_test(benign: Sequence[int], malignant: Sequence[int]) -> Difference:
    """Compare the levels of a categorical feature, by Pearson's chi-squared test; a 2 x 2 table with Yates' correction.

    Args:
        benign: lesions of each level, from 0.
        malignant: likewise, in the same order. A level that no lesion has is left out.
    """
    from scipy import stats

    filled = [pair for pair in zip(benign, malignant, strict=True) if any(pair)]
    if not sum(benign) or not sum(malignant):
        return Difference(Statistic.CHI_SQUARED, remark="not tested: no lesion of a class has a value")
    if len(filled) < 2:
        return Difference(Statistic.CHI_SQUARED, remark="not tested: all lesions have the same level")
    found = stats.chi2_contingency(filled, correction=True)
    few = int((found.expected_freq < FEWEST_EXPECTED).sum())
    remark = f"rough: {few} of {found.expected_freq.size} cells expect fewer than {FEWEST_EXPECTED} lesions"
    return Difference(
        Statistic.CHI_SQUARED,
        float(found.statistic),
        int(found.dof),
        float(found.pvalue),
        remark if few else None,
    )


def printed(p_value: float) -> str:
    """Return a P value as Table S1 prints it: ``<0.001``, three digits, or four from 0.045 to 0.1 (``0.0598``)."""
    if p_value < _SMALLEST_PRINTED:
        return f"<{_SMALLEST_PRINTED}"
    if _BORDER[0] <= p_value < _BORDER[1]:
        return f"{p_value:.4f}"
    return f"{p_value:.3f}"
