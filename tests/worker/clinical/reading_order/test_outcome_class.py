"""Who is read first."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.outcome_class import WorklistClass, place, worklist_class

UP, KEPT, NA, DOWN = Outcome.UPGRADED, Outcome.MAINTAINED, Outcome.NOT_APPLICABLE, Outcome.DOWNGRADED

CLASSES = [
    # outcomes, complete, class
    ([UP], True, "UPGRADED"),
    ([UP, DOWN, NA, KEPT], True, "UPGRADED"),
    ([UP, DOWN], False, "UPGRADED"),
    ([], False, "NEEDS_ATTENTION"),
    ([DOWN], False, "NEEDS_ATTENTION"),
    ([KEPT, NA], False, "NEEDS_ATTENTION"),
    ([KEPT], True, "MAINTAINED"),
    ([KEPT, DOWN, NA], True, "MAINTAINED"),
    ([NA], True, "NOT_APPLICABLE"),
    ([NA, DOWN], True, "NOT_APPLICABLE"),
    ([DOWN], True, "DOWNGRADED"),
    ([DOWN, DOWN], True, "DOWNGRADED"),
]

outcomes = st.lists(st.sampled_from(Outcome), max_size=4)
priorities = st.sampled_from(Priority)
probabilities = st.none() | st.floats(0, 1)


@pytest.mark.parametrize(("lesions", "complete", "expected"), CLASSES)
def test_a_study_is_classed_by_its_lesions(lesions: list[Outcome], complete: bool, expected: str) -> None:
    assert worklist_class(lesions, complete=complete) is WorklistClass[expected]


def test_the_classes_are_read_in_the_order_of_the_design() -> None:
    assert [kind.name for kind in sorted(WorklistClass)] == [
        "UPGRADED",
        "NEEDS_ATTENTION",
        "MAINTAINED",
        "NOT_APPLICABLE",
        "DOWNGRADED",
    ]


@given(outcomes, st.booleans(), priorities, probabilities, outcomes, st.booleans(), priorities, probabilities)
def test_the_order_is_class_then_priority_then_the_higher_probability(
    a_lesions: list[Outcome],
    a_complete: bool,
    a_priority: Priority,
    a_probability: float | None,
    b_lesions: list[Outcome],
    b_complete: bool,
    b_priority: Priority,
    b_probability: float | None,
) -> None:
    a = place(a_lesions, complete=a_complete, priority=a_priority, malignant_probability=a_probability)
    b = place(b_lesions, complete=b_complete, priority=b_priority, malignant_probability=b_probability)
    ranks = list(Priority)

    def key(kind: WorklistClass, priority: Priority, probability: float | None) -> tuple[int, int, float]:
        return (kind, ranks.index(priority), -2.0 if probability is None else -probability)

    a_key, b_key = key(a.worklist_class, a_priority, a_probability), key(b.worklist_class, b_priority, b_probability)
    if a.order < b.order:
        assert a_key < b_key
    elif a_key[:2] != b_key[:2]:
        assert a_key > b_key


def test_a_failure_never_sinks_below_a_study_that_was_kept_or_downgraded() -> None:
    failed = place([], complete=False, priority=Priority.ROUTINE, malignant_probability=None)
    for lesions, priority in product([[KEPT], [NA], [DOWN]], Priority):
        assert failed.order < place(lesions, complete=True, priority=priority, malignant_probability=1.0).order


@pytest.mark.parametrize("probability", [-0.01, 1.01, float("nan"), float("inf")])
def test_what_is_not_a_probability_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        place([UP], complete=True, priority=Priority.STAT, malignant_probability=probability)


@given(outcomes, st.booleans(), priorities, probabilities)
def test_every_order_fits_a_bigint(
    lesions: list[Outcome], complete: bool, priority: Priority, probability: float | None
) -> None:
    order = place(lesions, complete=complete, priority=priority, malignant_probability=probability).order
    assert 0 < order < 2**63
