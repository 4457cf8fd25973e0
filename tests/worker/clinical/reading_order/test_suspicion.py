"""The default order, read off its table: every category, outcome, state and priority."""

from itertools import product

import pytest

from tests.worker.clinical.reading_order.studies import scored, study
from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.facts import CATEGORIES, LesionFacts
from worker.clinical.reading_order.place import place, step_priority
from worker.clinical.reading_order.policy import built_in

POLICY = built_in("suspicion/2")
TIERS = ["suspicious", "to_be_looked_at", "undecided", "low", "negative"]

DONE = [
    # category, both models high, one of them, neither
    ("5", "suspicious", "suspicious", "suspicious"),
    ("4C", "suspicious", "suspicious", "suspicious"),
    ("4B", "suspicious", "undecided", "undecided"),
    ("4", "suspicious", "undecided", "undecided"),
    ("4A", "suspicious", "undecided", "low"),
    ("0", "suspicious", "undecided", "undecided"),
    (None, "suspicious", "undecided", "undecided"),
    ("3", "undecided", "low", "low"),
    ("6", "low", "low", "low"),
    ("2", "undecided", "negative", "negative"),
    ("1", "undecided", "negative", "negative"),
]

WAITING = {
    "5": "suspicious",
    "4C": "suspicious",
    "4B": "undecided",
    "4": "undecided",
    "4A": "undecided",
    "0": "undecided",
    None: "undecided",
    "3": "low",
    "6": "low",
    "2": "negative",
    "1": "negative",
}


def test_the_tables_hold_every_category() -> None:
    assert {category for category, *_ in DONE} == set(WAITING) == set(CATEGORIES)
    assert [tier.name for tier in POLICY.tiers] == TIERS


@pytest.mark.parametrize("priority", Priority)
@pytest.mark.parametrize(("category", "both", "one", "neither"), DONE)
def test_a_scored_lesion(category: str | None, both: str, one: str, neither: str, priority: Priority) -> None:
    expected = {(True, True): both, (True, False): one, (False, True): one, (False, False): neither}
    for (high_risk, malignant), tier in expected.items():
        lesion = scored(category, high_risk=high_risk, malignant=malignant)
        at = place(POLICY, study("done", lesion, priority=priority))
        assert at.tier_name == tier
        assert TIERS[at.tier - 1] == tier
        discordant = category in ("1", "2", "3") and high_risk and malignant
        assert at.marks == (("discordant",) if discordant else ())
        assert (at.category, at.probability, at.lesion) == (category, 0.5, 1)


@pytest.mark.parametrize(("high_risk", "malignant"), list(product((True, False), repeat=2)))
def test_a_4a_lesion_on_which_a_model_is_uncertain_is_undecided(high_risk: bool, malignant: bool) -> None:
    lesion = scored("4A", high_risk=high_risk, malignant=malignant, certain=False)
    assert lesion.outcome is Outcome.MAINTAINED
    assert place(POLICY, study("done", lesion)).tier_name == "undecided"


@pytest.mark.parametrize("priority", Priority)
@pytest.mark.parametrize(("category", "tier"), WAITING.items())
def test_a_lesion_that_waits_stands_by_its_category_alone(category: str | None, tier: str, priority: Priority) -> None:
    at = place(POLICY, study("waiting", LesionFacts(category, "waiting"), priority=priority))
    assert (at.tier_name, at.marks, at.probability) == (tier, ("waiting",), None)
    # Scores of an earlier attempt do not count.
    earlier = scored(category, high_risk=True, malignant=True, probability=0.9)
    assert place(POLICY, study("waiting", earlier, priority=priority)) == at


@pytest.mark.parametrize("category", CATEGORIES)
def test_what_was_not_scored_is_looked_at_and_never_sinks(category: str | None) -> None:
    failed = LesionFacts(category, "failed")
    expected = "suspicious" if category in ("4C", "5") else "to_be_looked_at"
    assert place(POLICY, study("failed", failed)).tier_name == expected
    for high_risk, malignant in product((True, False), repeat=2):
        beside = scored("1", high_risk=high_risk, malignant=malignant)
        assert place(POLICY, study("partial", beside, failed)).tier_name == expected


@pytest.mark.parametrize(("category", "both"), [(row[0], row[1]) for row in DONE])
def test_a_suspicious_lesion_is_suspicious_beside_one_that_failed(category: str | None, both: str) -> None:
    partial = study(
        "partial", LesionFacts("2", "failed"), scored(category, high_risk=True, malignant=True, probability=0.8)
    )
    at = place(POLICY, partial)
    assert at.tier_name == ("suspicious" if both == "suspicious" else "to_be_looked_at")
    assert at.probability == 0.8


def test_a_study_without_lesions_is_not_known() -> None:
    assert place(POLICY, study("failed"))[1:6] == ("to_be_looked_at", 5, None, None, None)
    assert place(POLICY, study("waiting"))[1:6] == ("undecided", 9, None, None, None)


def test_stat_stands_before_all_tiers_in_their_order() -> None:
    def order(category: str, priority: Priority, probability: float) -> int:
        lesion = scored(category, high_risk=False, malignant=False, probability=probability)
        return place(POLICY, study("done", lesion, priority=priority)).order

    stat = [order(category, Priority.STAT, 0.0) for category in ("5", "4B", "3", "1")]
    urgent = [order(category, Priority.URGENT, 1.0) for category in ("5", "4B", "3", "1")]
    assert sorted(stat) == stat
    assert sorted(urgent) == urgent
    assert max(stat) < min(urgent)


def test_what_is_to_be_looked_at_is_sorted_by_urgency_category_and_probability() -> None:
    def order(priority: Priority, category: str | None, probability: float | None) -> int:
        failed = LesionFacts(category, "failed")
        if probability is None:
            return place(POLICY, study("failed", failed, priority=priority)).order
        known = scored("1", high_risk=False, malignant=False, probability=probability)
        return place(POLICY, study("partial", failed, known, priority=priority)).order

    in_order = [
        order(priority, category, probability)
        for priority in (Priority.URGENT, Priority.ROUTINE)
        for category in ("0", "4B", "4", "4A", "3", "6", "2", "1")
        for probability in (None, 1.0, 0.9, 0.1)
    ]
    assert sorted(set(in_order)) == in_order
    assert order(Priority.URGENT, None, 0.5) == order(Priority.URGENT, "0", 0.5)


def test_inside_a_tier_urgent_comes_first_then_what_is_not_known_then_the_higher_probability() -> None:
    def order(priority: Priority, probability: float | None) -> int:
        if probability is None:
            return place(POLICY, study("waiting", LesionFacts("4B", "waiting"), priority=priority)).order
        lesion = scored("4A", high_risk=True, malignant=False, probability=probability)
        return place(POLICY, study("done", lesion, priority=priority)).order

    in_order = [order(priority, p) for priority in (Priority.URGENT, Priority.ROUTINE) for p in (None, 1.0, 0.9, 0.1)]
    assert sorted(set(in_order)) == in_order


@pytest.mark.parametrize("priority", Priority)
@pytest.mark.parametrize(
    ("category", "expected"), [("5", "HIGH"), ("4B", "MEDIUM"), ("3", "LOW"), ("6", "LOW"), ("1", "LOW")]
)
def test_a_work_item_is_as_urgent_as_its_tier_or_its_sender(category: str, expected: str, priority: Priority) -> None:
    at = place(POLICY, study("done", scored(category, high_risk=False, malignant=False), priority=priority))
    assert step_priority(POLICY.tiers[at.tier - 1].step_priority, priority) == (
        "HIGH" if priority != "routine" else expected
    )
