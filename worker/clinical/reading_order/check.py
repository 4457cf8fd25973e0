"""What to know of a policy before it is applied: rules that never decide, and studies that would sink."""

from collections import defaultdict
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.facts import LesionFacts, Seen, StudyFacts, points, said
from worker.clinical.reading_order.place import Place, place
from worker.clinical.reading_order.policy import Policy, everything, holes

ASCENDING: Final = ("2", "3", "4A", "4", "4B", "4C", "5")
"""Categories in order of the likelihood of cancer. 0 and 1 say nothing of it, and 6 is known."""

_RISING = (Outcome.DOWNGRADED, Outcome.MAINTAINED, Outcome.UPGRADED)
_EXAMPLE = Priority.ROUTINE


class FindingCode(StrEnum):
    """What is wrong with a policy."""

    HOLE = "hole"
    UNREACHABLE_RULE = "unreachable_rule"
    SINKS_BY_PRIORITY = "sinks_by_priority"
    SINKS_BY_CATEGORY = "sinks_by_category"
    SINKS_BY_PROBABILITY = "sinks_by_probability"


class Finding(NamedTuple):
    """One thing that is wrong, said once with an example.

    Attributes:
        code: what kind of thing.
        where: the path of the rule in the file, such as ``tier[2].rule[1]``, counted from 1.
        sentence: an example, in words.
    """

    code: FindingCode
    where: str
    sentence: str


class _Sinking(NamedTuple):
    """A lesion whose study would stand below that of another, which has less that speaks for cancer."""

    code: FindingCode
    lesion: Seen
    below: Seen
    jump: int


def findings(policy: Policy) -> tuple[Finding, ...]:
    """Find rules that never decide, and where the policy is not monotone.

    It is monotone if a study never moves down when its priority rises, a lesion's category rises within 2 to 5, or a
    lesion's probability of either model rises, with the model's class and the outcome that follow from it. Every
    combination that the rules can tell apart is tried, for a study of one lesion: a further lesion cannot hide or make
    such a case, since a study stands where its first lesion does.

    Returns:
        One finding for each rule that never decides, and one for each two tiers between which studies sink, with the
        widest example.
    """
    left_out = tuple(Finding(FindingCode.HOLE, "tier", hole.removeprefix("tier: ")) for hole in holes(policy))
    return left_out or (*_unreachable(policy), *_by_priority(policy), *_by_lesion(policy))


def _unreachable(policy: Policy) -> Iterator[Finding]:
    paths, rules = _paths(policy), policy.rules
    decides: set[int] = set()
    first: dict[int, int] = {}
    for seen in everything(policy):
        matched = [number for number, rule in enumerate(rules, start=1) if rule.matches(seen)]
        # A rule that gives a mark gives it to every lesion that matches, even where an earlier rule decides.
        decides |= {matched[0], *(number for number in matched if rules[number - 1].mark is not None)}
        for number in matched:
            first.setdefault(number, matched[0])
    for number, path in enumerate(paths, start=1):
        if number in decides:
            continue
        if number in first:
            why = f"every lesion that it holds stands earlier, such as by {paths[first[number] - 1]}"
        else:
            why = "no lesion can meet all its conditions"
        yield Finding(FindingCode.UNREACHABLE_RULE, path, f"the rule never decides: {why}")


def _by_priority(policy: Policy) -> Iterator[Finding]:
    first = next(everything(policy))
    for higher, lower in pairwise(Priority):
        if _place(policy, first, higher).order > _place(policy, first, lower).order:
            sentence = f"a study marked {higher} stands below the same study marked {lower}"
            yield Finding(FindingCode.SINKS_BY_PRIORITY, "before_all", sentence)


def _by_lesion(policy: Policy) -> Iterator[Finding]:
    alike: dict[tuple[object, ...], list[Seen]] = defaultdict(list)
    places: dict[Seen, Place] = {}
    for seen in everything(policy):
        alike[_but_outcome(seen)].append(seen)
        places[seen] = _place(policy, seen, _EXAMPLE)
    widest: dict[tuple[FindingCode, int, int], _Sinking] = {}
    for seen, before in places.items():
        for code, jump, key in _raised(seen, policy):
            for other in alike[key]:
                after = places[other]
                if after.order > before.order and _may_become(seen, other):
                    between = code, before.tier, after.tier
                    if between not in widest or widest[between].jump < jump:
                        widest[between] = _Sinking(code, other, seen, jump)
    paths, bounds = _paths(policy), policy.bounds
    for one in widest.values():
        sentence = f"{said(one.lesion, bounds)} stands below {said(one.below, bounds)}"
        yield Finding(one.code, paths[places[one.lesion].rule - 1], sentence)


def _raised(seen: Seen, policy: Policy) -> Iterator[tuple[FindingCode, int, tuple[object, ...]]]:
    """Yield what a lesion may become, as `_but_outcome` has it: of a higher category, or of a higher probability."""
    lesion = seen.lesion
    if lesion.category in ASCENDING:
        at = ASCENDING.index(lesion.category)
        for jump, category in enumerate(ASCENDING[at + 1 :], start=1):
            raised = seen._replace(lesion=lesion._replace(category=category))
            yield FindingCode.SINKS_BY_CATEGORY, jump, _but_outcome(raised)
    if lesion.state != "scored":
        return
    for model, bounds in zip(("high_risk", "malignant"), policy.bounds, strict=True):
        for changed in _steps(lesion, model, bounds):
            yield FindingCode.SINKS_BY_PROBABILITY, 0, _but_outcome(seen._replace(lesion=changed))


def _steps(lesion: LesionFacts, model: str, bounds: tuple[float, ...]) -> Iterator[LesionFacts]:
    """Raise a probability to its next region, over the threshold, or both; what is farther is a sum of these."""
    probability = lesion.high_risk_probability if model == "high_risk" else lesion.malignant_probability
    positive = lesion.high_risk if model == "high_risk" else lesion.malignant
    here = 0.0 if probability is None else probability
    further = min((point for point in points(bounds) if point > here), default=here)
    for to, is_positive in ((here, True), (further, positive), (further, True)):
        if model == "high_risk":
            yield lesion._replace(high_risk=is_positive, high_risk_probability=to)
        else:
            yield lesion._replace(malignant=is_positive, malignant_probability=to)


def _may_become(seen: Seen, other: Seen) -> bool:
    """Whether the outcomes go together: of a 4A lesion it never falls when a probability rises."""
    before, after = seen.lesion.outcome, other.lesion.outcome
    if before not in _RISING or after not in _RISING:
        return True
    return _RISING.index(after) >= _RISING.index(before)


def _but_outcome(seen: Seen) -> tuple[object, ...]:
    return (seen.study, *seen.lesion._replace(outcome=None))


def _place(policy: Policy, seen: Seen, priority: Priority) -> Place:
    return place(policy, StudyFacts(priority, seen.study, (seen.lesion,)))


def _paths(policy: Policy) -> list[str]:
    return [
        f"tier[{number}].rule[{of_tier}]"
        for number, tier in enumerate(policy.tiers, start=1)
        for of_tier in range(1, len(tier.rules) + 1)
    ]
