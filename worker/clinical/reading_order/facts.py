"""What a policy of reading order may look at: a study, its lesions, and what the models said of each."""

from collections.abc import Iterator
from itertools import pairwise, product
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from worker.clinical.categories import Outcome, Priority

LesionState = Literal["waiting", "scored", "failed"]
StudyState = Literal["waiting", "done", "partial", "failed"]

UNKNOWN: Final = "unknown"
"""The word of a policy's file for a lesion that has no category."""

CATEGORIES: Final = (None, "0", "5", "4C", "4B", "4", "4A", "3", "6", "2", "1")
"""The radiologist's categories where a tier is sorted by them, first to be read first; ``None``: there is none.

What is not known stands first, and 4 without a letter between 4A and 4B. 6 was proven by a biopsy before.
"""

CATEGORY_RANK: Final = MappingProxyType({word: max(rank, 1) for rank, word in enumerate(CATEGORIES)})
"""None and 0 are both not known, and share the first rank."""


PRIORITY_RANK: Final = MappingProxyType({priority: rank for rank, priority in enumerate(Priority)})
"""The sender's priorities, first to be read first."""


class LesionFacts(NamedTuple):
    """A lesion, as the policy sees it.

    Attributes:
        category: a word of `Birads`, or ``4``, 4 without a letter; ``None``: not known.
        state: whether it has scores.
        outcome: of the re-stratification; ``None``, as all that follows, unless it was scored.
        high_risk: DLR_LH reached its threshold.
        malignant: DLR_BM reached its threshold.
        high_risk_probability: of DLR_LH, 0 to 1.
        malignant_probability: of DLR_BM, 0 to 1.
    """

    category: str | None
    state: LesionState
    outcome: Outcome | None = None
    high_risk: bool | None = None
    malignant: bool | None = None
    high_risk_probability: float | None = None
    malignant_probability: float | None = None


class StudyFacts(NamedTuple):
    """A study, as the policy sees it.

    Attributes:
        priority: the sender's.
        state: ``waiting`` for its result, or how it ended.
        lesions: in their order in the study.
    """

    priority: Priority
    state: StudyState
    lesions: tuple[LesionFacts, ...]


class Seen(NamedTuple):
    """A lesion of a study in a given state: what the conditions of a rule are held against."""

    study: StudyState
    lesion: LesionFacts


def as_seen(study: StudyState, lesion: LesionFacts) -> Seen:
    """Return a lesion with what may be known of it: all if it was scored, else its category.

    A study that waits is seen by its categories alone, even if lesions have scores of an earlier attempt. A lesion
    that should be scored and lacks its outcome or a class is as one that failed.
    """
    if study == "waiting":
        return Seen(study, LesionFacts(lesion.category, "waiting"))
    if lesion.state != "scored" or None in (lesion.outcome, lesion.high_risk, lesion.malignant):
        return Seen(study, LesionFacts(lesion.category, "failed"))
    return Seen(study, lesion)


def every_lesion(high_risk_bounds: tuple[float, ...], malignant_bounds: tuple[float, ...]) -> Iterator[Seen]:
    """Yield every lesion that rules which compare the two probabilities with these bounds can tell apart.

    Only what can be: a 4A lesion is upgraded if both models are high, downgraded if neither is, and can always be kept
    (a model may be uncertain); other categories get no advice.
    """
    for category in CATEGORIES:
        yield Seen("waiting", LesionFacts(category, "waiting"))
        yield Seen("partial", LesionFacts(category, "failed"))
        yield Seen("failed", LesionFacts(category, "failed"))
        for high_risk, malignant in product((False, True), repeat=2):
            for outcome in _outcomes(category, high_risk, malignant):
                for probabilities in product(points(high_risk_bounds), points(malignant_bounds)):
                    lesion = LesionFacts(category, "scored", outcome, high_risk, malignant, *probabilities)
                    yield Seen("done", lesion)
                    yield Seen("partial", lesion)


def points(bounds: tuple[float, ...]) -> tuple[float, ...]:
    """Return the bounds, and a probability below, between and above them."""
    edges = (0.0, *bounds, 1.0)
    return tuple(sorted({*bounds, *((low + high) / 2 for low, high in pairwise(edges))}))


def said(seen: Seen, bounds: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    """Say a lesion in words: ``a BI-RADS 4B lesion on which both models are high``.

    Args:
        seen: the lesion.
        bounds: what rules compare the probabilities of DLR_LH and DLR_BM with; one that has none is left out.
    """
    lesion = seen.lesion
    name = _name(lesion)
    if lesion.state == "waiting":
        return f"{name} that waits for its scores"
    of_study = {"partial": " (in a study that was scored in part)", "failed": " (in a failed study)"}
    if lesion.state == "failed":
        return f"{name} that could not be scored{of_study.get(seen.study, '')}"
    models = {
        (True, True): "both models are high",
        (False, False): "both models are low",
        (True, False): "DLR_LH alone is high",
        (False, True): "DLR_BM alone is high",
    }[bool(lesion.high_risk), bool(lesion.malignant)]
    probabilities = lesion.high_risk_probability, lesion.malignant_probability
    compared = zip(("DLR_LH", "DLR_BM"), probabilities, bounds, strict=True)
    numbers = ", ".join(f"{model} {probability:g}" for model, probability, its_bounds in compared if its_bounds)
    return f"{name} on which {models}{numbers and f' ({numbers})'}{of_study.get(seen.study, '')}"


def _name(lesion: LesionFacts) -> str:
    """Name a lesion with its article: ``a kept BI-RADS 4A lesion``."""
    if lesion.category is None:
        return "a lesion without a category"
    advice = {Outcome.UPGRADED: "an upgraded", Outcome.MAINTAINED: "a kept", Outcome.DOWNGRADED: "a downgraded"}
    article = "a" if lesion.outcome is None else advice.get(lesion.outcome, "a")
    return f"{article} BI-RADS {lesion.category} lesion"


def _outcomes(category: str | None, high_risk: bool, malignant: bool) -> tuple[Outcome, ...]:
    if category != "4A":
        return (Outcome.NOT_APPLICABLE,)
    if high_risk is not malignant:
        return (Outcome.MAINTAINED,)
    return (Outcome.UPGRADED if high_risk else Outcome.DOWNGRADED, Outcome.MAINTAINED)
