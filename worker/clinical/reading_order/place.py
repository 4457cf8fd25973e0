"""Where a study stands under a policy of reading order."""

from bisect import bisect_left, bisect_right
from functools import lru_cache
from math import prod
from typing import NamedTuple

from worker.clinical.categories import Priority
from worker.clinical.reading_order.facts import (
    CATEGORIES,
    CATEGORY_RANK,
    PRIORITY_RANK,
    LesionFacts,
    Seen,
    StudyFacts,
    as_seen,
)
from worker.clinical.reading_order.policy import WAITING, Policy, StepPriority

__all__ = [
    "LesionFacts",
    "Place",
    "PlaceRange",
    "StudyFacts",
    "order_of",
    "place",
    "place_ranges",
    "place_reason",
    "step_priority",
]

_PROBABILITY_STEPS = 10**9
_SIZES = {"priority": len(Priority), "category": len(CATEGORIES), "probability": _PROBABILITY_STEPS + 2}
_TIER_SIZE = prod(_SIZES.values())
_NO_LESION = LesionFacts(None, "waiting")


class Place(NamedTuple):
    """Where a study stands, and why.

    Attributes:
        tier: its number in the policy, from 1.
        tier_name: its name there.
        rule: the number of the rule that decided, from 1, counted over the whole policy.
        lesion: the number of the lesion that decided, from 1; ``None``: the study itself did.
        category: the highest among the lesions, by the order of `CATEGORIES`; ``None``: one of them is not known.
        probability: the highest malignant probability among the lesions, 0 to 1; ``None``: none is known.
        order: sorts all studies under this policy, lowest first; fits a bigint. Equal ones are read as they arrived.
        marks: what else a reader should know: ``waiting``, and the marks of the policy's rules that one
            of the lesions matches, such as ``discordant``.
    """

    tier: int
    tier_name: str
    rule: int
    lesion: int | None
    category: str | None
    probability: float | None
    order: int
    marks: tuple[str, ...]


class PlaceRange(NamedTuple):
    """The `Place.order` of the studies of a tier and a sender's priority: from ``first`` to right before ``behind``.

    Ranges of different tiers have nothing in common. Where a tier is not sorted by priority first, one range is that of
    several of its priorities.
    """

    tier: int
    priority: Priority
    first: int
    behind: int


class _Match(NamedTuple):
    """What a policy says of one lesion; the first three are compared to find the lesion that decides."""

    rule: int
    category_rank: int
    marks: tuple[str, ...]


class _Compiled:
    """A policy with what is worked out once: rules by number, the weights of each tier's order, matches by facts."""

    def __init__(self, policy: Policy) -> None:
        self.rules = policy.rules
        self.tier_of = [0, *(tier for tier, _, _ in policy.numbered)]
        self.names = ["", *(tier.name for tier in policy.tiers)]
        self.is_of_study = [False, *(rule.is_of_study for rule in self.rules)]
        self.weights = [_weights(tier.order) for tier in policy.tiers]
        self.tiers = len(policy.tiers)
        first = {priority: group for group, priority in enumerate(policy.before_all)}
        self.group = {priority: first.get(priority, len(first)) for priority in Priority}
        self.high_risk_bounds, self.malignant_bounds = policy.bounds
        self.has_bounds = bool(self.high_risk_bounds or self.malignant_bounds)
        self.matches: dict[tuple[object, ...], _Match] = {}

    def match(self, study: StudyFacts, lesion: LesionFacts) -> _Match:
        key: tuple[object, ...] = (study.state, lesion[:5])
        if self.has_bounds:
            high_risk, malignant = lesion[5:]
            key = (*key, _region(self.high_risk_bounds, high_risk), _region(self.malignant_bounds, malignant))
        found = self.matches.get(key)
        if found is None:
            found = self.matches[key] = self._first_match(study, lesion)
        return found

    def _first_match(self, study: StudyFacts, lesion: LesionFacts) -> _Match:
        if lesion.category not in CATEGORY_RANK:
            raise ValueError("a category is one of BI-RADS, 4 without a letter, or not known")
        # Facts that contradict each other, which no policy has to foresee, are as those of a study that was not scored.
        for seen in (as_seen(study.state, lesion), Seen("partial", LesionFacts(lesion.category, "failed"))):
            matched = [number for number, rule in enumerate(self.rules, start=1) if rule.matches(seen)]
            if matched:
                marks = [self.rules[number - 1].mark for number in matched]
                said = tuple(dict.fromkeys(mark for mark in marks if mark is not None))
                return _Match(matched[0], CATEGORY_RANK[lesion.category], said)
        raise ValueError("the policy has a hole")


_compiled = lru_cache(maxsize=16)(_Compiled)


def place(policy: Policy, study: StudyFacts) -> Place:
    """Place a study.

    Its tier is the first that has a rule which one of its lesions matches, or the study itself. A study without
    lesions is as one with a lesion of which nothing is known. Where several lesions match the rule that decides, the
    one of the highest category is named, then the one of the higher malignant probability.

    Raises:
        ValueError: a probability is not within 0 to 1, or a category is none.
    """
    compiled = _compiled(policy)
    lesions = study.lesions or (_NO_LESION,)
    if len(lesions) == 1:
        rule, rank, marks = compiled.match(study, lesions[0])
        number, category = 1, lesions[0].category
        probability = _known(study, lesions[0])
    else:
        matches = [compiled.match(study, lesion) for lesion in lesions]
        decides = min(range(len(lesions)), key=lambda index: (*matches[index][:2], _rest(study, lesions[index])))
        highest = min(range(len(lesions)), key=lambda index: CATEGORIES.index(lesions[index].category))
        rule, rank, number = matches[decides].rule, matches[highest].category_rank, decides + 1
        category = lesions[highest].category
        marks = tuple(dict.fromkeys(mark for match in matches for mark in match.marks))
        known = [one for lesion in lesions if (one := _known(study, lesion)) is not None]
        probability = max(known, default=None)
    if study.state == WAITING:
        marks = (WAITING, *marks)
    tier = compiled.tier_of[rule]
    return Place(
        tier,
        compiled.names[tier],
        rule,
        None if compiled.is_of_study[rule] or not study.lesions else number,
        category,
        probability,
        _order(compiled, tier, study.priority, rank, probability),
        marks,
    )


def order_of(policy: Policy, tier: int, priority: Priority, *, category: str | None, probability: float | None) -> int:
    """Return the integer that sorts all studies under a policy, lowest first; it fits a bigint.

    Args:
        policy: the policy.
        tier: from 1.
        priority: the sender's.
        category: the study's highest; ``None``: not known.
        probability: the study's highest malignant probability, 0 to 1; ``None``: not known.

    Raises:
        ValueError: the probability is not within 0 to 1.
    """
    return _order(_compiled(policy), tier, priority, CATEGORY_RANK[category], probability)


def place_ranges(policy: Policy) -> list[PlaceRange]:
    """Return the ranges of a policy, one for each of its tiers and each priority."""
    compiled, ranges = _compiled(policy), []
    for tier, (of_tier, of_priority, _, _) in enumerate(compiled.weights, start=1):
        is_first = policy.tiers[tier - 1].order[:1] == ("priority",)
        for priority in Priority:
            first = (compiled.group[priority] * compiled.tiers + tier) * of_tier
            size = of_tier
            if is_first:
                first, size = first + PRIORITY_RANK[priority] * of_priority, of_priority
            ranges.append(PlaceRange(tier, priority, first, first + size))
    return ranges


def step_priority(of_tier: StepPriority, priority: Priority) -> StepPriority:
    """Say how urgent it is to read a study, in the three levels that DICOM has for a work item.

    HIGH if the sender wants it soon (stat or urgent), else what the policy says of the study's tier.
    """
    return StepPriority.HIGH if priority is not Priority.ROUTINE else of_tier


def place_reason(policy: Policy, place: Place, study: StudyFacts) -> str:
    """Say in a sentence, without a full stop, why a study stands where it stands.

    Such as ``Lesion 2, BI-RADS 4A: both models are high, so a higher category is advised``, or ``Not every lesion was
    scored (marked STAT: before all tiers)``.
    """
    reason = _compiled(policy).rules[place.rule - 1].reason
    if place.lesion is None:
        said = reason[0].upper() + reason[1:]
    else:
        category = study.lesions[place.lesion - 1].category
        of = "no BI-RADS category" if category is None else f"BI-RADS {category}"
        said = f"Lesion {place.lesion}, {of}: {reason}"
    if study.priority in policy.before_all:
        said += f" (marked {study.priority.value.upper()}: before all tiers)"
    return said


def _order(compiled: _Compiled, tier: int, priority: Priority, category_rank: int, probability: float | None) -> int:
    of_group, of_priority, of_category, of_probability = compiled.weights[tier - 1]
    rest = 0
    if probability is not None:
        _require(probability)
        rest = 1 + round((1.0 - probability) * _PROBABILITY_STEPS)
    return (
        (compiled.group[priority] * compiled.tiers + tier) * of_group
        + PRIORITY_RANK[priority] * of_priority
        + category_rank * of_category
        + rest * of_probability
    )


def _weights(order: tuple[str, ...]) -> tuple[int, int, int, int]:
    """Return what a step of the tier, the priority, the category and the probability weighs; 0: it does not count."""
    weight, weights = 1, dict.fromkeys(_SIZES, 0)
    for key in reversed(order):
        weights[key] = weight
        weight *= _SIZES[key]
    return _TIER_SIZE, weights["priority"], weights["category"], weights["probability"]


def _region(bounds: tuple[float, ...], probability: float | None) -> int:
    """Number the bounds and what lies between them, so that equal numbers match the same rules."""
    if probability is None:
        return -1
    _require(probability)
    return bisect_left(bounds, probability) + bisect_right(bounds, probability)


def _require(probability: float) -> None:
    if not 0.0 <= probability <= 1.0:
        raise ValueError("a probability lies within 0 and 1")


def _known(study: StudyFacts, lesion: LesionFacts) -> float | None:
    return lesion.malignant_probability if study.state != WAITING and lesion.state == "scored" else None


def _rest(study: StudyFacts, lesion: LesionFacts) -> float:
    known = _known(study, lesion)
    return -1.0 if known is None else 1.0 - known
