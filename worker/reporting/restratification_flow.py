"""The flow of the study's Fig. S5: what became of the 4A lesions, by what the two models said of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from uuid import UUID

from db.reads.monitoring import ScoredLesion
from worker.clinical.categories import Birads, Outcome
from worker.clinical.proportions import ARMS, Proportion, proportion
from worker.clinical.restratify import restratify


@dataclass(frozen=True, slots=True)
class MissedCancer:
    """A lesion that was advised down and that is malignant, by its study's opaque id and its name in the job."""

    study_id: UUID
    lesion_id: str


@dataclass(frozen=True, slots=True)
class Branch:
    """The 4A lesions of which the two models said the same.

    Attributes:
        high_risk: what DLR_LH said.
        positive: what DLR_BM said: malignant.
        outcome: what Fig. S5 makes of it.
        lesions: of all 4A lesions.
        malignant: by pathology, of those that it reported on.
    """

    high_risk: bool
    positive: bool
    outcome: Outcome
    lesions: Proportion
    malignant: Proportion


@dataclass(frozen=True, slots=True)
class Flow:
    """Fig. S5 of the 4A lesions under one notice: never a demo model's with a real one's.

    Attributes:
        notice: the models'; ``None`` where they need none.
        models: the pairs of versions, and the rule, that advised these lesions.
        missed: the malignant lesions among the downgraded.
        branches: low risk before high risk, benign before malignant; of lesions that are not ``uncertain``.
        uncertain: of all 4A lesions, those kept because a model is not certain, whatever the models said.
        uncertain_malignant: the malignant ones of those, by pathology.
        arms: of all 4A lesions, those downgraded, kept and upgraded.
        malignant: of each arm, the malignant ones of those that pathology reported on.
    """

    notice: str | None
    models: tuple[str, ...]
    missed: tuple[MissedCancer, ...]
    branches: tuple[Branch, ...]
    uncertain: Proportion
    uncertain_malignant: Proportion
    arms: Mapping[Outcome, Proportion]
    malignant: Mapping[Outcome, Proportion]

    @property
    def lesions(self) -> int:
        """Number of 4A lesions."""
        return self.arms[Outcome.DOWNGRADED].total


_Said = tuple[bool, bool]
_SAID: tuple[_Said, ...] = ((False, False), (False, True), (True, False), (True, True))
_UNCERTAIN = None
"""In the place of what the models said, where one of them is not certain of it."""


def flows(lesions: Iterable[ScoredLesion]) -> tuple[Flow, ...]:
    """Count 4A lesions through Fig. S5, one flow for each notice; those without a notice first."""
    counted: defaultdict[str | None, _Counts] = defaultdict(_Counts)
    for lesion in lesions:
        counted[lesion.notice].add(lesion)
    return tuple(_flow(notice, counted[notice]) for notice in sorted(counted, key=lambda one: one or ""))


class _Counts:
    """Running counts of one notice, by what the models said and by pathology."""

    def __init__(self) -> None:
        self.lesions: Counter[_Said | None] = Counter()
        self.known: Counter[_Said | None] = Counter()
        self.malignant: Counter[_Said | None] = Counter()
        self.models: set[str] = set()
        self.missed: list[MissedCancer] = []

    def add(self, lesion: ScoredLesion) -> None:
        high_risk = lesion.high_risk_probability >= lesion.lh_threshold
        malignant = lesion.malignant_probability >= lesion.bm_threshold
        advice = restratify(
            Birads.LOW_SUSPICION, high_risk=high_risk, malignant=malignant, lh_set=lesion.lh_set, bm_set=lesion.bm_set
        )
        said = _UNCERTAIN if advice.uncertain else (high_risk, malignant)
        self.lesions[said] += 1
        self.known[said] += lesion.malignant is not None
        self.malignant[said] += lesion.malignant is True
        self.models.add(f"LH {lesion.lh_version}, BM {lesion.bm_version}, {lesion.rule_version}")
        if lesion.malignant and advice.outcome is Outcome.DOWNGRADED:
            self.missed.append(MissedCancer(lesion.study_id, lesion.lesion_id))


def _outcome(said: _Said | None) -> Outcome:
    if said is _UNCERTAIN:
        return Outcome.MAINTAINED
    return restratify(Birads.LOW_SUSPICION, high_risk=said[0], malignant=said[1]).outcome


def _flow(notice: str | None, counts: _Counts) -> Flow:
    total = counts.lesions.total()

    def part(*said: _Said | None) -> tuple[Proportion, Proportion]:
        """The lesions of which the models said one of these: of all, and the malignant ones of those known."""
        lesions, known, malignant = (
            sum(counter[one] for one in said) for counter in (counts.lesions, counts.known, counts.malignant)
        )
        return proportion(lesions, total), proportion(malignant, known)

    uncertain, uncertain_malignant = part(_UNCERTAIN)
    parts = {arm: part(*(said for said in (*_SAID, _UNCERTAIN) if _outcome(said) is arm)) for arm in ARMS}
    return Flow(
        notice=notice,
        models=tuple(sorted(counts.models)),
        missed=tuple(counts.missed),
        branches=tuple(Branch(*said, _outcome(said), *part(said)) for said in _SAID),
        uncertain=uncertain,
        uncertain_malignant=uncertain_malignant,
        arms=MappingProxyType({arm: lesions for arm, (lesions, _) in parts.items()}),
        malignant=MappingProxyType({arm: malignant for arm, (_, malignant) in parts.items()}),
    )
