"""A policy's file: what is read of it, and what is refused."""

import re

import pytest

from tests.worker.clinical.reading_order.policies import FIRST, HEAD, REST, SITE, first_rule
from tests.worker.clinical.reading_order.studies import scored, study
from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.facts import LesionFacts, Seen
from worker.clinical.reading_order.place import place
from worker.clinical.reading_order.policy import (
    BUILT_IN,
    DEFAULT,
    LARGEST_FILE,
    PolicyRefused,
    Rule,
    StepPriority,
    built_in,
    built_in_document,
    parse_policy,
)


def test_a_policy_is_read_as_it_is_written() -> None:
    policy = parse_policy(SITE)
    assert (policy.name, policy.version, policy.label) == ("site", 3, "site/3")
    assert (policy.title, policy.description, policy.before_all) == ("Of our site", "Ours.", (Priority.STAT,))
    first, rest = policy.tiers
    assert (first.name, first.title, first.step_priority) == ("first", "First", StepPriority.HIGH)
    assert first.order == ("priority", "probability")
    assert first.rules == (Rule("its category", category=("5",)),)
    assert (rest.order, rest.rules) == ((), (Rule("it is none of the others"),))
    assert policy.rules == first.rules + rest.rules


def test_all_conditions_are_read() -> None:
    conditions = """\
category = ["unknown", "4A"]
outcome = ["upgraded"]
state = ["scored"]
study = ["done", "partial"]
high_risk = true
malignant = false
min_high_risk_probability = 0.25
max_malignant_probability = 1
mark = "seen"
"""
    [rule] = parse_policy(first_rule(conditions)).tiers[0].rules
    assert rule.category == (None, "4A")
    assert (rule.outcome, rule.state, rule.study) == (("upgraded",), ("scored",), ("done", "partial"))
    assert (rule.high_risk, rule.malignant, rule.mark) == (True, False, "seen")
    assert rule.high_risk_probability == (0.25, float("inf"))
    assert rule.malignant_probability == (float("-inf"), 1.0)


def test_the_same_text_is_the_same_policy() -> None:
    assert parse_policy(SITE) is parse_policy(SITE)
    assert [built_in(label).label for label in BUILT_IN] == list(BUILT_IN)
    assert BUILT_IN[0] == DEFAULT
    with pytest.raises(KeyError):
        built_in_document("suspicion/99")


FACTS = Seen("done", LesionFacts("4A", "scored", Outcome.UPGRADED, True, True, 0.7, 0.8))


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        (Rule("r"), True),
        (Rule("r", category=("4A", None)), True),
        (Rule("r", category=("4B", None)), False),
        (Rule("r", outcome=("upgraded",)), True),
        (Rule("r", outcome=("maintained",)), False),
        (Rule("r", state=("scored",)), True),
        (Rule("r", state=("failed", "waiting")), False),
        (Rule("r", study=("done",)), True),
        (Rule("r", study=("partial",)), False),
        (Rule("r", high_risk=True), True),
        (Rule("r", high_risk=False), False),
        (Rule("r", malignant=True), True),
        (Rule("r", malignant=False), False),
        (Rule("r", high_risk_probability=(0.7, 0.7)), True),
        (Rule("r", high_risk_probability=(0.71, 1.0)), False),
        (Rule("r", malignant_probability=(0.8, 0.8)), True),
        (Rule("r", malignant_probability=(0.0, 0.79)), False),
        (Rule("r", category=("4A",), malignant=False), False),
    ],
)
def test_a_rule_matches_if_all_its_conditions_hold(rule: Rule, matches: bool) -> None:
    assert rule.matches(FACTS) is matches


@pytest.mark.parametrize("condition", [{"high_risk": False}, {"malignant": False}, {"malignant_probability": (0, 1)}])
def test_what_is_not_known_meets_no_condition(condition: dict[str, object]) -> None:
    assert not Rule("r", **condition).matches(Seen("failed", LesionFacts("4A", "failed")))  # type: ignore[arg-type]


def test_a_bound_counts_from_the_number_itself() -> None:
    policy = parse_policy(first_rule("min_malignant_probability = 0.9"))
    tiers = [
        place(policy, study("done", scored("3", high_risk=True, malignant=True, probability=probability))).tier
        for probability in (0.9, 0.95, 0.9 - 1e-12, 0.5)
    ]
    assert tiers == [1, 1, 2, 2]


REFUSED = [
    # the file, what is said of it
    (SITE.replace('name = "site"', ""), "name: is missing"),
    (SITE.replace('"site"', '"Our site"'), "name: is no word of lower-case letters"),
    (SITE.replace("version = 3", "version = 0"), "version: is no whole number from 1"),
    (SITE.replace("version = 3", "version = true"), "version: is no whole number from 1"),
    (SITE.replace('"Ours."', '""'), "description: is no text of one line"),
    (SITE.replace('"Ours."', f'"{"x" * 201}"'), "description: is no text of one line, of 1 to 200 characters"),
    (SITE.replace('"Ours."', '"a\\nb"'), "description: is no text of one line"),
    (SITE.replace('["stat"]', '["stat", "now"]'), "before_all: 'now' is unknown; allowed: stat, urgent, routine"),
    (SITE.replace('["stat"]', '["stat", "stat"]'), "before_all: has a word twice"),
    (SITE.replace('["stat"]', '"stat"'), 'before_all: is no list, such as ["stat"]'),
    (SITE.replace("before_all", "before_al"), "before_al: is unknown here; allowed: name, version, title"),
    (SITE.replace('"HIGH"', '"high"'), "tier[1].step_priority: 'high' is unknown; allowed: HIGH, MEDIUM, LOW"),
    (SITE.replace('"rest"', '"first"'), "tier: two tiers are called first"),
    (HEAD, "tier: is missing"),
    (HEAD + "tier = []", "tier: is no array of tables; each begins with [[tier]]"),
    (HEAD + FIRST.split("[[tier.rule]]")[0] + REST, "tier[1].rule: is missing"),
    (
        HEAD + FIRST.replace("[[tier.rule]]", "[tier.rule]") + REST,
        "tier[1].rule: is no array of tables; each begins with [[tier.rule]]",
    ),
    (HEAD + FIRST.replace("reason", "because") + REST, "tier[1].rule[1].reason: is missing"),
    (HEAD + FIRST.replace("reason", "because") + REST, "tier[1].rule[1].because: is unknown here"),
    (first_rule("", order='["arrival", "priority"]'), "tier[1].order: nothing can come after arrival"),
    (first_rule("", order='["age"]'), "tier[1].order: 'age' is unknown; allowed: priority, category, probability"),
    (first_rule('category = ["4D"]'), "tier[1].rule[1].category: '4D' is unknown; allowed: 0, 1, 2, 3, 4, 4A"),
    (first_rule("category = [5]"), "tier[1].rule[1].category: 5 is unknown"),
    (first_rule("category = []"), "tier[1].rule[1].category: is an empty list"),
    (first_rule('outcome = ["upgrade"]'), "tier[1].rule[1].outcome: 'upgrade' is unknown; allowed: upgraded"),
    (first_rule('state = ["done"]'), "tier[1].rule[1].state: 'done' is unknown; allowed: waiting, scored, failed"),
    (first_rule('study = ["scored"]'), "tier[1].rule[1].study: 'scored' is unknown; allowed: waiting, done"),
    (first_rule("malignant = 1"), "tier[1].rule[1].malignant: is neither true nor false"),
    (first_rule("min_malignant_probability = 90"), "tier[1].rule[1].min_malignant_probability: is no number from 0"),
    (first_rule("min_malignant_probability = nan"), "tier[1].rule[1].min_malignant_probability: is no number"),
    (
        first_rule("min_malignant_probability = 0.9\nmax_malignant_probability = 0.1"),
        "tier[1].rule[1].min_malignant_probability: is above max_malignant_probability",
    ),
    (
        first_rule('mark = "waiting"'),
        "tier[1].rule[1].mark: waiting, corrected, requeued are given to studies by the software",
    ),
    (first_rule('mark = "To do"'), "tier[1].rule[1].mark: is no word"),
    (HEAD + FIRST, "tier: no rule holds a lesion without a category that waits for its scores; a last rule without"),
    (HEAD + FIRST, "tier: no rule holds a lesion without a category that could not be scored (in a failed study)"),
    (HEAD + FIRST * 33, "tier: there are 33, and at most 32 are allowed"),
    (SITE + "\n[[tier.rule]]\nreason = 'x'" * 255, "tier: there are 257 rules, and at most 256 are allowed"),
    (
        SITE + "".join(f"\n[[tier.rule]]\nreason = 'x'\nmin_malignant_probability = 0.{n}" for n in range(1, 6)),
        "tier: a probability is compared with more than 4 different numbers",
    ),
    ("name = ", "the file is no TOML: "),
    ("x = " + "[" * 5000, "the file is no TOML: "),
    ("#" * (LARGEST_FILE + 1), "the file is larger than 64 KiB"),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_what_is_wrong_is_refused_with_its_place_and_what_is_allowed(text: str, problem: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        parse_policy(text)
    assert any(one.startswith(problem) for one in refused.value.problems), refused.value.problems
    assert str(refused.value) == "; ".join(refused.value.problems)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    text = SITE.replace("version = 3", "version = 0").replace('"HIGH"', '"high"').replace('["5"]', '["five"]')
    with pytest.raises(PolicyRefused) as refused:
        parse_policy(text)
    assert [one.split(":")[0] for one in refused.value.problems] == [
        "version",
        "tier[1].step_priority",
        "tier[1].rule[1].category",
    ]


def test_holes_are_said_in_a_few_examples() -> None:
    with pytest.raises(PolicyRefused) as refused:
        parse_policy(HEAD + FIRST)
    assert len(refused.value.problems) == 6
    assert re.fullmatch(r"tier: no rule holds \d+ more kinds of lesion", refused.value.problems[-1])


def test_one_category_that_is_forgotten_is_a_hole() -> None:
    text = built_in_document(DEFAULT).replace('"4B", "4", "0"', '"4B", "0"')
    with pytest.raises(PolicyRefused, match="a BI-RADS 4 lesion on which both models are low"):
        parse_policy(text)


def test_what_is_quoted_of_a_file_is_short_and_printable() -> None:
    long, control = "x" * 300, "\\u0007"
    with pytest.raises(PolicyRefused) as refused:
        parse_policy(f'{SITE}\n[[tier.rule]]\nreason = "r"\ncategory = ["{long}", "{control}"]\n"{control}" = 1')
    assert all(len(problem) < 250 and problem.isprintable() for problem in refused.value.problems)
    assert len(refused.value.problems) == 3
