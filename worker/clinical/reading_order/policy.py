"""A policy of reading order: tiers, the rules that say what is in them, and the TOML file that holds both."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from importlib.resources import files
from math import inf, isfinite
from typing import Final, get_args

from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.document import Table
from worker.clinical.reading_order.facts import CATEGORIES, UNKNOWN, LesionState, Seen, StudyState, every_lesion, said

DEFAULT: Final = "suspicion/2"
BUILT_IN: Final = (DEFAULT, "outcome/1")
"""The policies that come with the software."""

LARGEST_FILE: Final = 64 * 1024
MOST_TIERS: Final = 32
MOST_RULES: Final = 256
MOST_BOUNDS: Final = 4
"""Different numbers that the rules of a policy may compare a model's probability with."""

ORDER: Final = ("priority", "category", "probability")
"""What a tier may be sorted by; arrival always comes last."""

WAITING: Final = "waiting"
OWN_MARKS: Final = (WAITING, "corrected", "requeued")
"""Marks that a study gets under every policy; others are those of its rules."""

_MOST_HOLES_SAID = 5
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_CATEGORY_WORDS = tuple(sorted(UNKNOWN if category is None else category for category in CATEGORIES))


class StepPriority(StrEnum):
    """Scheduled Procedure Step Priority (0074,1200); PS3.3, C.30.1: HIGH is as STAT, LOW is as ROUTINE."""

    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class PolicyRefused(ValueError):
    """A text is no policy.

    Attributes:
        problems: everything that is wrong with it, one sentence each, beginning with the path of the key.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a lesion, or its study, has to be to stand in a tier; all conditions hold, and ``None`` is no condition.

    Attributes:
        reason: why it stands there, as the rest of a sentence that names the lesion.
        category: the radiologist's category is one of these; ``None`` among them: it is not known.
        outcome: the outcome is one of these.
        state: the lesion's state is one of these.
        study: the study's state is one of these.
        high_risk: whether DLR_LH reached its threshold.
        malignant: whether DLR_BM reached its threshold.
        high_risk_probability: lowest and highest probability of DLR_LH, both included; infinite for no bound.
        malignant_probability: the same of DLR_BM.
        mark: a word that a study gets if one of its lesions matches, whatever tier the study stands in.
    """

    reason: str
    category: tuple[str | None, ...] | None = None
    outcome: tuple[str, ...] | None = None
    state: tuple[str, ...] | None = None
    study: tuple[str, ...] | None = None
    high_risk: bool | None = None
    malignant: bool | None = None
    high_risk_probability: tuple[float, float] | None = None
    malignant_probability: tuple[float, float] | None = None
    mark: str | None = None

    @property
    def is_of_study(self) -> bool:
        """Whether it asks nothing of a lesion."""
        bounds = self.high_risk_probability, self.malignant_probability
        return all(
            condition is None
            for condition in (self.category, self.outcome, self.state, self.high_risk, self.malignant, *bounds)
        )

    def matches(self, seen: Seen) -> bool:
        """Say whether a lesion of a study is what the rule asks for."""
        study, lesion = seen
        return (
            (self.study is None or study in self.study)
            and (self.state is None or lesion.state in self.state)
            and (self.category is None or lesion.category in self.category)
            and (self.outcome is None or lesion.outcome in self.outcome)
            and (self.high_risk is None or lesion.high_risk is self.high_risk)
            and (self.malignant is None or lesion.malignant is self.malignant)
            and _within(lesion.high_risk_probability, self.high_risk_probability)
            and _within(lesion.malignant_probability, self.malignant_probability)
        )


@dataclass(frozen=True, slots=True)
class Tier:
    """A part of the list.

    Attributes:
        name: its word in SQL and on the command line, unique in the policy.
        title: its heading for people.
        step_priority: of the routine studies in it, for a worklist manager.
        order: what sorts it, of `ORDER`; then arrival.
        rules: one or more; a study is in the tier if any matches, and the first that does gives the reason.
    """

    name: str
    title: str
    step_priority: StepPriority
    order: tuple[str, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, eq=False)
class Policy:
    """A reading order. Compared by identity: `parse_policy` returns the same object for the same text.

    Attributes:
        name: a word.
        version: from 1.
        title: for people.
        description: for people, a sentence.
        before_all: the sender's priorities whose studies stand before all tiers, the first one first.
        tiers: read from the first on.
    """

    name: str
    version: int
    title: str
    description: str
    before_all: tuple[Priority, ...]
    tiers: tuple[Tier, ...]

    @property
    def label(self) -> str:
        """``name/version``."""
        return f"{self.name}/{self.version}"

    @cached_property
    def numbered(self) -> tuple[tuple[int, Tier, Rule], ...]:
        """Each rule with its tier and the tier's number, from 1; `Place.rule` is a place among them, from 1."""
        return tuple((number, tier, rule) for number, tier in enumerate(self.tiers, start=1) for rule in tier.rules)

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """All rules in their order; `Place.rule` counts them from 1."""
        return tuple(rule for _, _, rule in self.numbered)

    @cached_property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What the rules compare the probabilities of DLR_LH and of DLR_BM with, in ascending order."""
        return (
            _sorted(rule.high_risk_probability for rule in self.rules),
            _sorted(rule.malignant_probability for rule in self.rules),
        )


@lru_cache(maxsize=16)
def parse_policy(text: str) -> Policy:
    """Read a policy from a TOML document, whose language is in docs/reading-order.md.

    Raises:
        PolicyRefused: it is none. Unknown keys are refused, and so is a policy that leaves out a lesion.
    """
    if len(text.encode()) > LARGEST_FILE:
        raise PolicyRefused([f"the file is larger than {LARGEST_FILE // 1024} KiB"])
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyRefused([f"the file is no TOML: {error}"]) from None
    problems: list[str] = []
    policy = _policy(Table(content, problems))
    problems += [] if problems else holes(policy)
    if problems:
        raise PolicyRefused(problems)
    return policy


def built_in(label: str) -> Policy:
    """Return a policy that comes with the software.

    Raises:
        KeyError: there is none of that label.
    """
    return parse_policy(built_in_document(label))


def built_in_document(label: str) -> str:
    """Return the TOML document of a policy that comes with the software.

    Raises:
        KeyError: there is none of that label.
    """
    if label not in BUILT_IN:
        raise KeyError(label)
    return files(__package__).joinpath(f"{label.replace('/', '-')}.toml").read_text("utf-8")


def everything(policy: Policy) -> Iterator[Seen]:
    """Yield every lesion of a study that the policy could tell apart."""
    return every_lesion(*policy.bounds)


def holes(policy: Policy) -> list[str]:
    """Say which lesions no rule of a policy matches, an example for each category and state."""
    rules = policy.rules
    left_out: dict[tuple[object, ...], str] = {}
    for seen in everything(policy):
        if not any(rule.matches(seen) for rule in rules):
            left_out.setdefault((seen.lesion.category, seen.study, seen.lesion.state), said(seen, policy.bounds))
    found = [f"tier: no rule holds {one}; a last rule without conditions holds all" for one in left_out.values()]
    more = len(found) - _MOST_HOLES_SAID
    return found if more <= 0 else [*found[:_MOST_HOLES_SAID], f"tier: no rule holds {more} more kinds of lesion"]


def _policy(table: Table) -> Policy:
    name, version = _name(table, "name"), table.number("version", 1, 10**6)
    title, description = table.sentence("title"), table.sentence("description")
    before_all = table.words("before_all", tuple(Priority), may_be_empty=True)
    tiers = [_tier(one) for one in table.tables("tier", MOST_TIERS)]
    table.close()
    names = [tier.name for tier in tiers]
    for twice in sorted({one for one in names if names.count(one) > 1}):
        table.problem("tier", f"two tiers are called {twice}")
    policy = Policy(name, version, title, description, tuple(map(Priority, before_all)), tuple(tiers))
    if len(policy.rules) > MOST_RULES:
        table.problem("tier", f"there are {len(policy.rules)} rules, and at most {MOST_RULES} are allowed")
    if max(map(len, policy.bounds)) > MOST_BOUNDS:
        table.problem("tier", f"a probability is compared with more than {MOST_BOUNDS} different numbers")
    return policy


def _tier(table: Table) -> Tier:
    name, title = _name(table, "name"), table.sentence("title")
    step_priority = table.word("step_priority", tuple(StepPriority)) or StepPriority.MEDIUM
    order = table.words("order", (*ORDER, "arrival"), may_be_empty=True)
    if "arrival" in order[:-1]:
        table.problem("order", "nothing can come after arrival")
    rules = tuple(_rule(one) for one in table.tables("rule", MOST_RULES))
    table.close()
    return Tier(name, title, StepPriority(step_priority), tuple(key for key in order if key != "arrival"), rules)


def _rule(table: Table) -> Rule:
    categories = _words(table, "category", _CATEGORY_WORDS)
    rule = Rule(
        table.sentence("reason"),
        None if categories is None else tuple(None if word == UNKNOWN else word for word in categories),
        _words(table, "outcome", tuple(Outcome)),
        _words(table, "state", get_args(LesionState)),
        _words(table, "study", get_args(StudyState)),
        table.boolean("high_risk"),
        table.boolean("malignant"),
        _range(table, "high_risk_probability"),
        _range(table, "malignant_probability"),
        _name(table, "mark") if table.has("mark") else None,
    )
    table.optional("mark")
    if rule.mark in OWN_MARKS:
        table.problem("mark", f"{', '.join(OWN_MARKS)} are given to studies by the software itself")
    table.close()
    return rule


def _name(table: Table, key: str) -> str:
    name = table.sentence(key)
    if name != "?" and not _NAME.fullmatch(name):
        table.problem(key, "is no word of lower-case letters, digits, _ and -, of at most 40 characters")
    return name


def _words(table: Table, key: str, allowed: tuple[str, ...]) -> tuple[str, ...] | None:
    table.optional(key)
    return table.words(key, allowed) if table.has(key) else None


def _range(table: Table, key: str) -> tuple[float, float] | None:
    lowest, highest = table.probability(f"min_{key}"), table.probability(f"max_{key}")
    if lowest is None and highest is None:
        return None
    if lowest is not None and highest is not None and lowest > highest:
        table.problem(f"min_{key}", f"is above max_{key}")
    return -inf if lowest is None else lowest, inf if highest is None else highest


def _within(probability: float | None, bounds: tuple[float, float] | None) -> bool:
    return bounds is None or (probability is not None and bounds[0] <= probability <= bounds[1])


def _sorted(ranges: Iterator[tuple[float, float] | None]) -> tuple[float, ...]:
    return tuple(sorted({bound for one in ranges if one is not None for bound in one if isfinite(bound)}))
