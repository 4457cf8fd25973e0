"""Two versions of a model on the same lesions: how far apart their scores are, and whom another advice would reach."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import fsum
from statistics import StatisticsError, correlation

from db.reads.version_comparison import ComparedLesion
from db.schema.vocabulary import LH_MODEL
from worker.clinical.categories import Birads, Outcome
from worker.clinical.proportions import ARMS, Comparison, Proportion, compare, proportion
from worker.clinical.restratify import Assessment, restratify

MOST_SITES = 20
"""Sites with the most lesions that are also held against each other by themselves."""

UNKNOWN = "unknown"
"""The site of the lesions that name none."""


@dataclass(frozen=True, slots=True)
class Readvised:
    """A 4A lesion under both versions, the other model's score being the one that serves."""

    lesion: ComparedLesion
    under_a: Outcome
    under_b: Outcome

    @property
    def is_newly_downgraded(self) -> bool:
        """Whether the second version advises it down and the first does not."""
        return self.under_b is Outcome.DOWNGRADED and self.under_a is not Outcome.DOWNGRADED


@dataclass(frozen=True, slots=True)
class Missed:
    """The cancers that a version advises down, and the 4A lesions with pathology that it advises down."""

    cancers: tuple[Readvised, ...]
    downgraded: int


@dataclass(frozen=True, slots=True)
class Side:
    """One version.

    Attributes:
        arms: the 4A lesions, held against the study's.
        uncertain: those that it keeps because one of the two models is not certain.
        missed: cancers that are advised down.
        sensitivity: of its class for pathology's malignant lesions, at its thresholds; of all categories.
        specificity: for the benign ones.
    """

    arms: Comparison
    uncertain: int
    missed: Missed
    sensitivity: Proportion
    specificity: Proportion


@dataclass(frozen=True, slots=True)
class Differences:
    """How far the scores are apart.

    Attributes:
        correlation: Pearson's; ``None`` for fewer than two lesions, or scores that are all alike.
        mean: of the second version's probability less the first's, -1 to 1.
        mean_absolute: of its size.
        largest: its largest size.
        other_class: lesions that change class.
    """

    correlation: float | None
    mean: float
    mean_absolute: float
    largest: float
    other_class: int


@dataclass(frozen=True, slots=True)
class Versions:
    """What came of holding two versions against each other.

    Attributes:
        lesions: that both scored.
        newly_downgraded: the 4A lesions that the second version alone advises down, known cancers first.
        moves: 4A lesions by their advice under the first and under the second version.
        with_pathology: lesions that pathology reported on.
        judged: of these, whether malignant, and both probabilities.
        rated: of DLR_LH, which learnt to tell categories apart: the radiologist's, where it is known, and both
            probabilities.
        sites: the same of each site's lesions, the site with the most first; empty where none is known, and of a site.
    """

    lesions: int
    differences: Differences
    newly_downgraded: tuple[Readvised, ...]
    moves: Mapping[tuple[Outcome, Outcome], int]
    a: Side
    b: Side
    with_pathology: int
    judged: tuple[tuple[bool, float, float], ...]
    rated: tuple[tuple[str, float, float], ...]
    sites: "Mapping[str, Versions]" = field(default_factory=dict)


def hold_against(model: str, lesions: Iterable[ComparedLesion]) -> Versions:
    """Hold two versions of a model against each other.

    Args:
        model: ``DLR_LH`` or ``DLR_BM``, whose versions they are.
        lesions: that both scored; at least one.

    Raises:
        ValueError: there is none.
    """
    together, apart = _Tally(model), dict[str, _Tally]()
    for lesion in lesions:
        together.add(lesion)
        apart.setdefault(lesion.site or UNKNOWN, _Tally(model)).add(lesion)
    if apart.keys() <= {UNKNOWN}:
        return together.versions()
    largest = sorted(apart, key=lambda site: (-len(apart[site].scores), site))[:MOST_SITES]
    return replace(together.versions(), sites={site: apart[site].versions() for site in largest})


class _Tally:
    """What is kept of lesions, one after the other, until two versions can be held against each other."""

    def __init__(self, model: str) -> None:
        self.scores: list[tuple[float, float]] = []
        self._model = model
        self._judged: list[tuple[bool, float, float]] = []
        self._rated: list[tuple[str, float, float]] = []
        self._positives: Counter[tuple[bool, bool, bool]] = Counter()
        self._moves: Counter[tuple[Outcome, Outcome]] = Counter()
        self._told: list[Readvised] = []
        self._known_4a: Counter[tuple[Outcome, Outcome]] = Counter()
        self._uncertain: Counter[tuple[bool, bool]] = Counter()
        self._other_class = 0

    def add(self, lesion: ComparedLesion) -> None:
        """Count a lesion."""
        a, b = _positive(lesion, of_b=False), _positive(lesion, of_b=True)
        self.scores.append((lesion.a_probability, lesion.b_probability))
        self._other_class += a is not b
        if lesion.malignant is not None:
            self._judged.append((lesion.malignant, lesion.a_probability, lesion.b_probability))
            self._positives[lesion.malignant, a, b] += 1
        if self._model == LH_MODEL and lesion.birads is not None:
            self._rated.append((lesion.birads, lesion.a_probability, lesion.b_probability))
        if lesion.birads == Birads.LOW_SUSPICION and lesion.other_positive is not None:
            self._add_advice(lesion)

    def _add_advice(self, lesion: ComparedLesion) -> None:
        under_a, under_b = _advice(self._model, lesion, of_b=False), _advice(self._model, lesion, of_b=True)
        one = Readvised(lesion, under_a.outcome, under_b.outcome)
        self._moves[one.under_a, one.under_b] += 1
        self._uncertain[under_a.uncertain, under_b.uncertain] += 1
        self._known_4a[one.under_a, one.under_b] += lesion.malignant is not None
        is_missed = lesion.malignant is True and Outcome.DOWNGRADED in (one.under_a, one.under_b)
        if is_missed or one.is_newly_downgraded:
            self._told.append(one)

    def versions(self) -> Versions:
        """Hold the versions against each other on the lesions that were counted."""
        newly = (one for one in self._told if one.is_newly_downgraded)
        return Versions(
            lesions=len(self.scores),
            differences=_differences(self.scores, self._other_class),
            newly_downgraded=tuple(sorted(newly, key=lambda one: one.lesion.malignant is not True)),
            moves={(before, after): self._moves[before, after] for before in ARMS for after in ARMS},
            a=self._side(0),
            b=self._side(1),
            with_pathology=len(self._judged),
            judged=tuple(self._judged),
            rated=tuple(self._rated),
        )

    def _side(self, side: int) -> Side:
        """Sum up the first version (side 0) or the second (1)."""
        arms = {arm: sum(count for move, count in self._moves.items() if move[side] is arm) for arm in ARMS}
        down = sum(count for move, count in self._known_4a.items() if move[side] is Outcome.DOWNGRADED)
        missed = [
            one
            for one in self._told
            if one.lesion.malignant is True and (one.under_a, one.under_b)[side] is Outcome.DOWNGRADED
        ]
        malignant, benign = (
            [self._said(side, malignant=truth, positive=positive) for positive in (True, False)]
            for truth in (True, False)
        )
        return Side(
            arms=compare(arms),
            uncertain=sum(count for unsure, count in self._uncertain.items() if unsure[side]),
            missed=Missed(tuple(missed), down),
            sensitivity=proportion(malignant[0], sum(malignant)),
            specificity=proportion(benign[1], sum(benign)),
        )

    def _said(self, side: int, *, malignant: bool, positive: bool) -> int:
        return sum(
            count for (truth, *of), count in self._positives.items() if truth is malignant and of[side] is positive
        )


def _advice(model: str, lesion: ComparedLesion, *, of_b: bool) -> Assessment:
    """The rule for a 4A lesion, with one version's class and set and those of the other model that serves."""
    own = (_positive(lesion, of_b=of_b), lesion.b_set if of_b else lesion.a_set)
    other = (lesion.other_positive is True, lesion.other_set)
    (lh, lh_set), (bm, bm_set) = (own, other) if model == LH_MODEL else (other, own)
    return restratify(Birads.LOW_SUSPICION, high_risk=lh, malignant=bm, lh_set=lh_set, bm_set=bm_set)


def _positive(lesion: ComparedLesion, *, of_b: bool) -> bool:
    if of_b:
        return lesion.b_probability >= lesion.b_threshold
    return lesion.a_probability >= lesion.a_threshold


def _differences(scores: list[tuple[float, float]], other_class: int) -> Differences:
    if not scores:
        raise ValueError("there is no lesion that both versions scored")
    apart = [b - a for a, b in scores]
    sizes = [abs(one) for one in apart]
    try:
        together = correlation(*zip(*scores, strict=True))
    except StatisticsError:
        together = None
    return Differences(together, fsum(apart) / len(apart), fsum(sizes) / len(sizes), max(sizes), other_class)
