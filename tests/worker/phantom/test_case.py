"""Made-up patients follow Table S1, class by class."""

import math
from collections import Counter

import numpy as np
import pytest

from worker.clinical.categories import Birads
from worker.clinical.descriptors import LEVELS, MEASURES, descriptor_faults
from worker.phantom.case import AGE_RANGE, SUSPICIOUS, PhantomCase, birads_of, draw_case
from worker.phantom.table_s1 import class_table

DRAWN = 3000


def _cases(*, malignant: bool) -> list[PhantomCase]:
    rng = np.random.default_rng(5)
    return [draw_case(rng, malignant=malignant) for _ in range(DRAWN)]


@pytest.mark.parametrize("malignant", [False, True])
def test_frequencies_and_means_are_those_of_the_class(malignant: bool) -> None:
    cases, table = _cases(malignant=malignant), class_table(malignant=malignant)
    for feature, levels in table.levels.items():
        counts = Counter(case.descriptors[feature] for case in cases)
        for level, share in zip(levels.names, levels.shares, strict=True):
            error = math.sqrt(share * (1 - share) / DRAWN)
            assert abs(counts[level] / DRAWN - share) <= 4.5 * error, (feature, level)
    for feature in MEASURES:
        values = np.array([case.measure(feature) for case in cases])
        assert values.mean() == pytest.approx(table.spreads[feature].mean, rel=0.08), feature
        assert values.std() == pytest.approx(table.spreads[feature].sd, rel=0.15), feature
    ages = np.array([case.age_years for case in cases])
    assert ages.mean() == pytest.approx(table.spreads["age_years"].mean, abs=1.0)
    assert ages.std() == pytest.approx(table.spreads["age_years"].sd, abs=1.0)


@pytest.mark.parametrize("malignant", [False, True])
def test_each_case_could_be_sent_in_a_job(malignant: bool) -> None:
    for case in _cases(malignant=malignant)[:300]:
        assert descriptor_faults(case.descriptors) == []
        assert set(case.descriptors) == {*LEVELS, *MEASURES}
        assert AGE_RANGE[0] <= case.age_years <= AGE_RANGE[1]
        assert case.age_years == round(case.age_years)


def test_every_category_from_2_to_5_is_drawn() -> None:
    drawn = Counter(case.birads.value for malignant in (False, True) for case in _cases(malignant=malignant))
    assert set(drawn) == {"2", "3", "4A", "4B", "4C", "5"}
    assert min(drawn.values()) > 50


@pytest.mark.parametrize(
    ("suspicious", "birads", "high_risk"),
    [
        (0, Birads.BENIGN, False),
        (1, Birads.PROBABLY_BENIGN, False),
        (2, Birads.LOW_SUSPICION, True),
        (3, Birads.MODERATE_SUSPICION, True),
        (4, Birads.HIGH_SUSPICION, True),
        (5, Birads.HIGHLY_SUGGESTIVE, True),
        (10, Birads.HIGHLY_SUGGESTIVE, True),
    ],
)
def test_the_category_counts_suspicious_descriptors(suspicious: int, birads: Birads, high_risk: bool) -> None:
    harmless = {name: next(level for level in LEVELS[name] if level not in bad) for name, bad in SUSPICIOUS.items()}
    worrying = {name: bad[0] for name, bad in list(SUSPICIOUS.items())[:suspicious]}
    descriptors = harmless | worrying
    assert birads_of(descriptors) is birads
    assert PhantomCase(False, 40.0, descriptors, birads).high_risk is high_risk
