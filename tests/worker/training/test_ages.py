"""Ages that were filled in, and true ones."""

from collections.abc import Iterable
from itertools import cycle, islice
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook

from tests.shared import real_set
from tests.worker.training.small import cohort_row, config
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.training.ages import crowded, learns_on, require_telling_ages
from worker.training.cohort import CohortRow
from worker.training.labels import rule_of

BM = rule_of("DLR_BM", config())
SPLITS = (Split.TRAIN, Split.VALIDATION, Split.TEST)


def repeated(ages: Iterable[float], count: int) -> list[float]:
    return list(islice(cycle(ages), count))


SPREAD = [float(age) for age in range(30, 70)]


@pytest.mark.parametrize(
    ("ages", "found"),
    [
        ([50.0] * 2, [50]),
        ([50.0] * 200, [50]),
        ([50.0] * 5 + [40.0, 41.0, 42.0, 43.0], []),
        ([50.0] * 6 + SPREAD[:6], []),
        ([50.0] * 7 + SPREAD[:5], [50]),
        ([52 + at % 7 / 100 for at in range(60)] + SPREAD, [52]),
        ([40.0] * 6 + [60.0] * 5 + SPREAD[:9], [40, 60]),
        ([40.0] * 6 + [60.0] * 4 + SPREAD[11:21], []),
        (repeated([40, 41, 42], 370) + repeated([60, 61, 62], 193), [40, 41, 42]),
        (repeated(range(32, 88, 5), 200), []),
        (SPREAD, []),
        ([], []),
    ],
    ids=[
        "two patients alike", "constant", "most of a handful", "half of twelve", "more than half of twelve",
        "jittered median of 60 %", "two of 20", "two that half of 20 have", "by class, one of three each",
        "groups of five years", "each its own", "none",
    ],
)  # fmt: skip
def test_few_ages_of_most_patients_were_filled_in(ages: list[float], found: list[int]) -> None:
    assert crowded(ages)[0] == found


def test_breasts_true_ages_pass_and_so_do_small_cohorts_of_them() -> None:
    sheet = load_workbook(next(real_set("breast").glob("*.xlsx")), read_only=True).worksheets[0]
    heading, *lines = sheet.iter_rows(values_only=True)
    known = [line[heading.index("Age")] for line in lines]
    ages = np.array([age for age in known if isinstance(age, int | float)], float)
    assert len(ages) > 200
    assert crowded(ages) == ([], 0)
    rng = np.random.default_rng(1)
    for count in (20, 30, 50):
        assert all(crowded(rng.choice(ages, count, replace=False)) == ([], 0) for _ in range(50))
    imputed = np.where(rng.random(len(ages)) < 0.6, np.median(ages), ages)
    assert crowded(imputed)[0]


@given(st.lists(st.floats(0, 120), min_size=1, max_size=60))
def test_order_and_parts_of_a_year_do_not_matter_and_what_is_found_are_most(ages: list[float]) -> None:
    found, having = crowded(ages)
    assert (found, having) == crowded([float(floor(age)) for age in reversed(ages)])
    assert having == sum(floor(age) in found for age in ages)
    assert not found or having > len(ages) / 2


def patients(ages: Iterable[float], split: Split, *, malignant: bool) -> list[CohortRow]:
    """Patients, whose first has many images, which say no more of ages than one."""
    return [
        cohort_row(patient_key=f"{split}-{malignant}-{at}", split=split, malignant=malignant, age_years=age)
        for at, age in enumerate(ages)
        for _ in range(1 if at else 40)
    ]


def of_splits(**malignants: list[float]) -> list[CohortRow]:
    """20 benign lesions of true ages in each split, and malignant ones of the ages that are given, or of 12 others."""
    return [
        row
        for split in SPLITS
        for malignant, ages in ((False, SPREAD[:20]), (True, malignants.get(split, SPREAD[20:32])))
        for row in patients(ages, split, malignant=malignant)
    ]


@pytest.mark.parametrize(
    ("rows", "learned_from", "said"),
    [
        (of_splits(), (Split.TRAIN, Split.VALIDATION), None),
        (
            of_splits(validation=[60.0] * 12),
            (Split.VALIDATION,),
            "12 of 12 patients of the positive class in validation",
        ),
        (of_splits(validation=[60.0] * 12), (Split.TRAIN,), None),
        (of_splits(validation=[60.0] * 30), (Split.VALIDATION,), "30 of 50 patients of validation, from whom"),
        (of_splits(test=[60.0] * 120), (Split.TRAIN,), "122 of 204 patients have the age 60"),
    ],
    ids=["true", "one class of those learned from", "not learned from", "those learned from", "of all"],
)
def test_all_patients_and_those_that_are_learned_from_and_each_class_of_them_have_true_ages(
    rows: list[CohortRow], learned_from: tuple[Split, ...], said: str | None
) -> None:
    if said is None:
        require_telling_ages(rows, BM, learned_from)
        return
    with pytest.raises(SetupRefused) as refused:
        require_telling_ages(rows, BM, learned_from)
    assert refused.value.code is Code.AGE_UNINFORMATIVE
    assert said in refused.value.reason
    assert "--stages image" in refused.value.reason


@pytest.mark.parametrize(
    ("stages", "asked", "expected"),
    [
        ("two", "validation", {Split.VALIDATION}),
        ("two", "both", {Split.TRAIN, Split.VALIDATION}),
        ("joint", "validation", {Split.TRAIN}),
    ],
)
def test_what_the_classifier_learns_from_is_asked_for(stages: str, asked: str, expected: set[Split]) -> None:
    assert set(learns_on(config(stages=stages, age__learns_on=asked))) == expected
