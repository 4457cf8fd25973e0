"""The first order as a policy: studies that ended stand as they always did, and the others behind them."""

from collections.abc import Sequence
from itertools import chain, combinations, permutations

import pytest
from hypothesis import given

from tests.worker.clinical.reading_order.studies import scored, studies, study
from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.facts import LesionFacts, StudyFacts, StudyState
from worker.clinical.reading_order.outcome_class import WorklistClass, worklist_class
from worker.clinical.reading_order.place import place, step_priority
from worker.clinical.reading_order.policy import StepPriority, built_in

POLICY = built_in("outcome/1")


def frozen_order(outcomes: Sequence[Outcome], complete: bool, priority: Priority, probability: float | None) -> int:
    """The order as it was computed before there were policies."""
    if Outcome.UPGRADED in outcomes:
        kind = 1
    elif not complete or not outcomes:
        kind = 2
    elif Outcome.MAINTAINED in outcomes:
        kind = 3
    elif Outcome.NOT_APPLICABLE in outcomes:
        kind = 4
    else:
        kind = 5
    rest = 0 if probability is None else 1 + round((1.0 - probability) * 10**9)
    return (kind * 10 + ["stat", "urgent", "routine"].index(priority)) * 10**10 + rest


def of(study: StudyFacts) -> tuple[list[Outcome], bool, float | None]:
    outcomes = [lesion.outcome for lesion in study.lesions if lesion.outcome is not None]
    known = [lesion.malignant_probability for lesion in study.lesions if lesion.malignant_probability is not None]
    return outcomes, study.state == "done", max(known, default=None)


ended = studies().filter(lambda study: study.state != "waiting")
waiting = studies().filter(lambda study: study.state == "waiting")


LESIONS = {
    "upgraded": scored("4A", high_risk=True, malignant=True),
    "maintained": scored("4A", high_risk=True, malignant=False),
    "downgraded": scored("4A", high_risk=False, malignant=False),
    "not_applicable": scored("4C", high_risk=True, malignant=True),
    "failed": LesionFacts("4A", "failed"),
}
HELD = [*chain.from_iterable(combinations(LESIONS, size) for size in range(1, len(LESIONS) + 1))]


@pytest.mark.parametrize("kinds", HELD, ids="+".join)
def test_of_all_that_a_study_can_hold_the_tier_is_the_class(kinds: Sequence[str]) -> None:
    state: StudyState = "done" if "failed" not in kinds else "partial" if len(kinds) > 1 else "failed"
    for order in permutations(kinds):
        one = study(state, *(LESIONS[kind] for kind in order))
        outcomes, complete, _ = of(one)
        assert place(POLICY, one).tier == worklist_class(outcomes, complete=complete)


def test_a_study_that_failed_without_a_lesion_stands_where_its_class_says() -> None:
    assert place(POLICY, study("failed")).tier == worklist_class([], complete=False)


@given(ended, ended)
def test_two_studies_that_ended_stand_as_they_always_did(a: StudyFacts, b: StudyFacts) -> None:
    (a_outcomes, a_complete, a_known), (b_outcomes, b_complete, b_known) = of(a), of(b)
    a_frozen = frozen_order(a_outcomes, a_complete, a.priority, a_known)
    b_frozen = frozen_order(b_outcomes, b_complete, b.priority, b_known)
    a_order, b_order = place(POLICY, a).order, place(POLICY, b).order
    assert (a_order < b_order, a_order == b_order) == (a_frozen < b_frozen, a_frozen == b_frozen)


@given(ended)
def test_the_tiers_are_the_classes_of_the_worklist(study: StudyFacts) -> None:
    outcomes, complete, known = of(study)
    kind = worklist_class(outcomes, complete=complete)
    at = place(POLICY, study)
    assert (at.tier_name, at.tier) == (kind.name.lower(), kind.value)
    assert at.probability == known
    soon = study.priority is not Priority.ROUTINE or kind is WorklistClass.UPGRADED
    low = StepPriority.LOW if kind is WorklistClass.DOWNGRADED else StepPriority.MEDIUM
    assert step_priority(POLICY.tiers[at.tier - 1].step_priority, study.priority) is (
        StepPriority.HIGH if soon else low
    )


@given(ended, waiting, waiting)
def test_studies_that_wait_stand_last_by_priority(done: StudyFacts, a: StudyFacts, b: StudyFacts) -> None:
    at, other = place(POLICY, a), place(POLICY, b)
    assert at.tier_name == "waiting"
    assert "waiting" in at.marks
    assert place(POLICY, done).order < at.order
    ranks = list(Priority)
    assert (at.order < other.order) == (ranks.index(a.priority) < ranks.index(b.priority))
