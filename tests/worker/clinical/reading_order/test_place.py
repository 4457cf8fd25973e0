"""Where a study stands: what holds under every policy, and under the default alone."""

from functools import cmp_to_key
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.clinical.reading_order.policies import first_rule
from tests.worker.clinical.reading_order.studies import RAISED, scored, studies, study
from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.facts import LesionFacts, StudyFacts
from worker.clinical.reading_order.place import order_of, place, place_ranges, place_reason
from worker.clinical.reading_order.policy import BUILT_IN, Policy, built_in, built_in_document, parse_policy

POLICIES = [built_in(label) for label in BUILT_IN]
SUSPICION = built_in("suspicion/2")
by_policy = pytest.mark.parametrize("policy", POLICIES, ids=BUILT_IN)

Listed = tuple[StudyFacts, int]
"""A study, and its place in the order of arrival."""


def compare(policy: Policy, a: Listed, b: Listed) -> int:
    a_key, b_key = (place(policy, a[0]).order, a[1]), (place(policy, b[0]).order, b[1])
    return (a_key > b_key) - (a_key < b_key)


@by_policy
@given(st.lists(studies(), max_size=8), st.randoms())
def test_the_order_is_total_and_does_not_depend_on_where_it_starts(
    policy: Policy, these: list[StudyFacts], random: object
) -> None:
    listed = list(zip(these, range(len(these)), strict=True))
    key = cmp_to_key(lambda a, b: compare(policy, a, b))
    in_order = sorted(listed, key=key)
    shuffled = list(listed)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sorted(shuffled, key=key) == in_order
    for a in listed:
        for b in listed:
            assert compare(policy, a, b) == -compare(policy, b, a)
            assert (compare(policy, a, b) == 0) is (a is b)
    for first, second in pairwise(in_order):
        assert compare(policy, first, second) < 0


@by_policy
@given(studies())
def test_a_place_says_what_decided(policy: Policy, one: StudyFacts) -> None:
    at = place(policy, one)
    rule = policy.rules[at.rule - 1]
    assert rule in policy.tiers[at.tier - 1].rules
    assert at.tier_name == policy.tiers[at.tier - 1].name
    assert (at.lesion is None) is (rule.is_of_study or not one.lesions)
    assert 0 < at.order < 2**63
    assert at.order == order_of(policy, at.tier, one.priority, category=at.category, probability=at.probability)
    assert ("waiting" in at.marks) == (one.state == "waiting")


@by_policy
@given(studies())
def test_the_order_of_lesions_does_not_matter(policy: Policy, one: StudyFacts) -> None:
    turned = one._replace(lesions=one.lesions[::-1])
    at, other = place(policy, one), place(policy, turned)
    assert at._replace(lesion=None, marks=()) == other._replace(lesion=None, marks=())
    assert set(at.marks) == set(other.marks)


BY_PROBABILITY = parse_policy(first_rule('category = ["5"]', order='["probability", "priority"]'))
"""Its tiers are not sorted by priority first."""


@pytest.mark.parametrize("policy", [*POLICIES, BY_PROBABILITY], ids=[*BUILT_IN, "by probability"])
@given(studies())
def test_a_study_stands_within_the_range_of_its_tier_and_its_priority(policy: Policy, one: StudyFacts) -> None:
    at, ranges = place(policy, one), place_ranges(policy)
    [own] = [a for a in ranges if (a.tier, a.priority) == (at.tier, one.priority)]
    assert own.first <= at.order < own.behind
    others = [a for a in ranges if a.first <= at.order < a.behind and a != own]
    assert {other.tier for other in others} <= {at.tier}
    if policy is not BY_PROBABILITY:
        assert not others


def test_a_range_is_that_of_several_priorities_where_a_tier_is_sorted_by_something_else_first() -> None:
    ranges = {(one.tier, one.priority): (one.first, one.behind) for one in place_ranges(BY_PROBABILITY)}
    assert len(ranges) == 2 * len(Priority)
    for tier in (1, 2):
        assert ranges[tier, Priority.URGENT] == ranges[tier, Priority.ROUTINE]
        assert ranges[tier, Priority.STAT][1] <= ranges[1, Priority.URGENT][0], "stat goes before all tiers"


# --- the default is monotone


@pytest.mark.parametrize("what", RAISED)
@given(st.data())
def test_what_speaks_for_cancer_or_for_haste_never_moves_a_study_down(what: str, data: st.DataObject) -> None:
    one, more = data.draw(RAISED[what])
    assert place(SUSPICION, more).order <= place(SUSPICION, one).order


# --- what is said


def test_the_reason_names_the_lesion_that_decided() -> None:
    kept = scored("4A", high_risk=False, malignant=True)
    upgraded = scored("4A", high_risk=True, malignant=True)
    one = study("done", kept, upgraded)
    assert place_reason(SUSPICION, place(SUSPICION, one), one) == (
        "Lesion 2, BI-RADS 4A: both models are high, so a category above 4A is advised"
    )


def test_a_study_that_decides_is_told_without_a_lesion() -> None:
    one = study("failed", LesionFacts("4A", "failed"), priority=Priority.STAT)
    at = place(SUSPICION, one)
    assert place_reason(SUSPICION, at, one) == "No lesion was scored (marked STAT: before all tiers)"
    assert place_reason(built_in("outcome/1"), at._replace(rule=3), one) == "No lesion was scored"
    nothing = study("waiting")
    assert place_reason(SUSPICION, place(SUSPICION, nothing), nothing) == "It has no scores yet"


def test_a_lesion_without_a_category_is_told_as_such() -> None:
    one = study("waiting", LesionFacts(None, "waiting"))
    assert place_reason(SUSPICION, place(SUSPICION, one), one) == (
        "Lesion 1, no BI-RADS category: it has no scores yet"
    )


def test_of_lesions_that_match_one_rule_the_most_suspicious_is_named() -> None:
    lesions = [scored("4C", high_risk=False, malignant=False, probability=p) for p in (0.2, 0.6, 0.4)]
    assert place(SUSPICION, study("done", *lesions)).lesion == 2
    assert place(SUSPICION, study("done", *lesions, scored("5", high_risk=False, malignant=False))).lesion == 4


def test_a_discordant_lesion_is_marked_wherever_its_study_stands() -> None:
    discordant = scored("2", high_risk=True, malignant=True)
    one = study("done", discordant, scored("5", high_risk=True, malignant=True))
    at = place(SUSPICION, one)
    assert (at.tier_name, at.lesion, at.marks) == ("suspicious", 2, ("discordant",))


def test_facts_that_contradict_each_other_are_looked_at() -> None:
    kept_4a = LesionFacts("4A", "scored", Outcome.NOT_APPLICABLE, False, False, 0.1, 0.1)
    for lesion in (kept_4a, kept_4a._replace(outcome=None), LesionFacts("4A", "waiting"), LesionFacts("4A", "failed")):
        assert place(SUSPICION, study("done", lesion)).tier_name == "to_be_looked_at"


@by_policy
@pytest.mark.parametrize("probability", [-0.01, 1.01, float("nan"), float("inf")])
def test_what_is_not_a_probability_is_refused(policy: Policy, probability: float) -> None:
    lesion = scored("5", high_risk=True, malignant=True, probability=probability)
    with pytest.raises(ValueError, match="probability"):
        place(policy, study("done", lesion))


@by_policy
def test_what_is_no_category_is_refused(policy: Policy) -> None:
    with pytest.raises(ValueError, match="category"):
        place(policy, study("waiting", LesionFacts("4D", "waiting")))


def test_what_was_placed_before_does_not_matter() -> None:
    """Matches are kept by what the rules can tell apart."""
    text = first_rule("min_malignant_probability = 0.5")
    whole = scored("4A", high_risk=False, malignant=False, probability=0.5)
    unknown = whole._replace(malignant_probability=None, high_risk_probability=None)
    for lesions in ((whole, unknown), (unknown, whole)):
        # Another text, and so another policy.
        text += "\n"
        policy, suspicion = parse_policy(text), parse_policy(built_in_document("suspicion/2") + text.count("\n") * "\n")
        tiers = {lesion: place(policy, study("done", lesion)).tier for lesion in lesions}
        assert tiers == {whole: 1, unknown: 2}
        assert {place(suspicion, study("done", lesion)).tier_name for lesion in lesions} == {"low"}
    with pytest.raises(ValueError, match="probability"):
        place(parse_policy(text + "\n"), study("done", whole._replace(malignant_probability=float("nan"))))
    assert place(parse_policy(text + "\n"), study("done", whole)).tier == 1
