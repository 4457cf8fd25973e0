"""What became of a study's 4A lesions, in one word."""

import pytest

from worker.clinical.categories import Outcome
from worker.clinical.reading_order.outcome_class import WorklistClass, worklist_class

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
