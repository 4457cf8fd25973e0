"""What is found in a policy before it is applied."""

import re
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.places import ROOT
from tests.worker.clinical.reading_order.policies import HEAD, REST, SITE, first_rule
from tests.worker.clinical.reading_order.studies import RAISED
from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.check import Finding, FindingCode, findings
from worker.clinical.reading_order.facts import CATEGORIES
from worker.clinical.reading_order.place import place
from worker.clinical.reading_order.policy import (
    ORDER,
    Policy,
    PolicyRefused,
    Rule,
    StepPriority,
    Tier,
    built_in,
    parse_policy,
)


def said(policy: Policy) -> list[tuple[str, str, str]]:
    return [(finding.code.value, finding.where, finding.sentence) for finding in findings(policy)]


def test_the_default_has_none() -> None:
    assert findings(built_in("suspicion/2")) == ()


def test_of_the_first_order_what_was_wrong_with_it_is_found() -> None:
    assert set(said(built_in("outcome/1"))) == {
        (
            "sinks_by_category",
            "tier[4].rule[1]",
            (
                "a BI-RADS 5 lesion on which both models are low stands below a kept BI-RADS 4A lesion on which both "
                "models are low"
            ),
        ),
        (
            "sinks_by_category",
            "tier[4].rule[1]",
            (
                "a BI-RADS 5 lesion on which both models are high stands below an upgraded BI-RADS 4A lesion on which "
                "both models are high"
            ),
        ),
        (
            "sinks_by_category",
            "tier[2].rule[1]",
            (
                "a BI-RADS 5 lesion on which both models are high (in a study that was scored in part) stands below an "
                "upgraded BI-RADS 4A lesion on which both models are high (in a study that was scored in part)"
            ),
        ),
        (
            "sinks_by_category",
            "tier[5].rule[1]",
            (
                "a downgraded BI-RADS 4A lesion on which both models are low stands below a BI-RADS 2 lesion on which "
                "both models are low"
            ),
        ),
    }


FOUND = [
    (
        SITE.replace('["stat"]', '["urgent"]'),
        ("sinks_by_priority", "before_all", "a study marked stat stands below the same study marked urgent"),
    ),
    (
        SITE.replace('["stat"]', '["urgent", "stat"]'),
        ("sinks_by_priority", "before_all", "a study marked stat stands below the same study marked urgent"),
    ),
    (
        first_rule('category = ["4A"]'),
        (
            "sinks_by_category",
            "tier[2].rule[1]",
            "a BI-RADS 5 lesion that waits for its scores stands below a BI-RADS 4A lesion that waits for its scores",
        ),
    ),
    (
        first_rule("max_malignant_probability = 0.5\nmalignant = false\nhigh_risk = false"),
        (
            "sinks_by_probability",
            "tier[2].rule[1]",
            (
                "a lesion without a category on which DLR_LH alone is high (DLR_BM 0.25) stands below a lesion without "
                "a category on which both models are low (DLR_BM 0.25)"
            ),
        ),
    ),
    (
        first_rule("max_high_risk_probability = 0.5"),
        (
            "sinks_by_probability",
            "tier[2].rule[1]",
            (
                "a lesion without a category on which both models are low (DLR_LH 0.75) stands below a lesion without "
                "a category on which both models are low (DLR_LH 0.5)"
            ),
        ),
    ),
    (
        first_rule('outcome = ["maintained"]'),
        (
            "sinks_by_probability",
            "tier[2].rule[1]",
            (
                "an upgraded BI-RADS 4A lesion on which both models are high stands below a kept BI-RADS 4A lesion on "
                "which DLR_BM alone is high"
            ),
        ),
    ),
    (
        first_rule('category = ["3"]\noutcome = ["upgraded"]'),
        ("unreachable_rule", "tier[1].rule[1]", "the rule never decides: no lesion can meet all its conditions"),
    ),
    (
        HEAD + REST + '[[tier.rule]]\ncategory = ["5"]\nreason = "too late"',
        (
            "unreachable_rule",
            "tier[1].rule[2]",
            "the rule never decides: every lesion that it holds stands earlier, such as by tier[1].rule[1]",
        ),
    ),
]


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_it_is_found_with_its_place_and_an_example(text: str, expected: tuple[str, str, str]) -> None:
    assert expected in said(parse_policy(text))


def test_a_site_may_have_none() -> None:
    assert findings(parse_policy(SITE)) == ()
    assert findings(parse_policy(first_rule("min_malignant_probability = 0.9\nmalignant = true"))) == ()


def test_a_rule_that_marks_is_no_idle_one() -> None:
    text = HEAD + REST + '[[tier.rule]]\ncategory = ["5"]\nreason = "too late"\nmark = "five"'
    assert findings(parse_policy(text)) == ()


def test_holes_are_found_in_a_policy_that_was_not_read_from_a_file() -> None:
    tier = Tier("first", "First", StepPriority.HIGH, (), (Rule("its category", category=("5",)),))
    found = findings(Policy("site", 1, "t", "d", (Priority.STAT,), (tier,)))
    assert {(finding.code.value, finding.where) for finding in found} == {("hole", "tier")}
    assert isinstance(found[0], Finding)
    assert found[0].sentence.startswith("no rule holds a lesion without a category that waits")


# --- what is found is what there is: policies of any kind, and studies of several lesions

conditions = st.fixed_dictionaries(
    {},
    optional={
        "category": st.lists(st.sampled_from(CATEGORIES), min_size=1, max_size=4).map(tuple),
        "outcome": st.sampled_from(Outcome).map(lambda outcome: (outcome,)),
        "study": st.sampled_from(["waiting", "partial", "done"]).map(lambda state: (state,)),
        "high_risk": st.booleans(),
        "malignant": st.booleans(),
        "malignant_probability": st.sampled_from([(0.5, inf), (-inf, 0.5)]),
    },
)
orders = st.lists(st.sampled_from(ORDER), unique=True).map(tuple)
rules = st.lists(conditions.map(lambda one: Rule("r", **one)), min_size=1, max_size=2).map(tuple)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    tiers = [
        Tier(f"t{number}", "T", StepPriority.LOW, draw(orders), draw(rules))
        for number in range(draw(st.integers(1, 3)))
    ]
    last = Tier("last", "Last", StepPriority.LOW, draw(orders), (Rule("r"),))
    before_all = draw(st.lists(st.sampled_from(Priority), unique=True, max_size=2))
    return Policy("any", 1, "t", "d", tuple(before_all), (*tiers, last))


@given(policies(), st.data())
def test_where_nothing_is_found_no_study_sinks(policy: Policy, data: st.DataObject) -> None:
    found = {finding.code for finding in findings(policy)}
    for what, pairs in RAISED.items():
        if f"sinks_by_{what}" not in found:
            one, more = data.draw(pairs)
            assert place(policy, more).order <= place(policy, one).order


PAGE = (ROOT / "docs" / "reading-order.md").read_text("utf-8")


def test_the_example_of_the_page_is_a_policy_without_findings() -> None:
    [example] = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert findings(parse_policy(example)) == ()


def test_the_page_names_each_condition_each_word_and_each_finding() -> None:
    with pytest.raises(PolicyRefused) as refused:
        parse_policy(first_rule('category = ["?"]\noutcome = ["?"]\nstate = ["?"]\nstudy = ["?"]\nno_such_key = 1'))
    listed = re.findall(r"allowed: (.*?)(?=; tier|$)", str(refused.value))
    allowed = {word for words in listed for word in words.split(", ")}
    assert {"min_malignant_probability", "mark", "unknown", "upgraded", "partial"} <= allowed
    in_backticks = set(re.findall(r"`([^`\n]+)`", PAGE))
    assert allowed - in_backticks == set()
    assert set(FindingCode) - {FindingCode.HOLE} <= in_backticks
