"""What other thresholds would have advised, from the stored scores and by the very rule; nothing is written."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from db.reads.monitoring import ScoredLesion
from worker.clinical.categories import Birads, Outcome
from worker.clinical.proportions import ARMS, Comparison, Proportion, compare, proportion
from worker.clinical.restratify import restratify
from worker.monitoring.threshold_policy import Policy


@dataclass(frozen=True, slots=True)
class Replayed:
    """A lesion under a policy.

    Attributes:
        lesion: as it is on record; its thresholds are those of then.
        before: the advice on record.
        after: what the rule says under the policy.
        lh_threshold: DLR_LH's under the policy, 0 to 1.
        bm_threshold: DLR_BM's under the policy, 0 to 1.
        uncertain: the rule keeps it under the policy because a model is not certain.
    """

    lesion: ScoredLesion
    before: Outcome
    after: Outcome
    lh_threshold: float
    bm_threshold: float
    uncertain: bool

    @property
    def moved(self) -> bool:
        """Whether the policy advises something else."""
        return self.before is not self.after

    @property
    def is_missed_cancer(self) -> bool:
        """Whether pathology found it malignant and the policy advises it down."""
        return self.lesion.malignant is True and self.after is Outcome.DOWNGRADED


@dataclass(frozen=True, slots=True)
class ReplayedRates:
    """The 4A lesions under one notice, before and after: never a demo model's with a real one's.

    Attributes:
        notice: the models'; ``None`` where they need none.
        models: the pairs of versions whose scores these are.
        moves: lesions by their advice before and after, the nine pairs of the three arms.
        before: the rates on record.
        after: the rates under the policy.
        malignant_before: of each arm, the malignant lesions among those that pathology reported on.
        malignant_after: the same under the policy.
    """

    notice: str | None
    models: tuple[str, ...]
    moves: Mapping[tuple[Outcome, Outcome], int]
    before: Comparison
    after: Comparison
    malignant_before: Mapping[Outcome, Proportion]
    malignant_after: Mapping[Outcome, Proportion]


@dataclass(frozen=True, slots=True)
class Replay:
    """What a policy would have changed.

    Attributes:
        missed: the cancers among the lesions that the policy advises down, those that were not advised down first.
        moved: the first of the lesions that move, as many as were asked for.
        rates: one for each notice.
    """

    missed: tuple[Replayed, ...]
    moved: tuple[Replayed, ...]
    rates: tuple[ReplayedRates, ...]


def under(policy: Policy, lesions: Iterable[ScoredLesion]) -> Iterator[Replayed]:
    """Apply the rule to each lesion with a policy's thresholds, and with the conformal sets that are on record."""
    for lesion in lesions:
        lh = policy.high_risk_threshold(lesion.lh_version, lesion.lh_threshold)
        bm = policy.malignant_threshold(lesion.bm_version, lesion.bm_threshold)
        said = restratify(
            Birads(lesion.birads),
            high_risk=lesion.high_risk_probability >= lh,
            malignant=lesion.malignant_probability >= bm,
            lh_set=lesion.lh_set,
            bm_set=lesion.bm_set,
        )
        yield Replayed(lesion, Outcome(lesion.outcome), said.outcome, lh, bm, said.uncertain)


def sum_up(lesions: Iterable[Replayed], keep: int = 0) -> Replay:
    """Count what became of lesions. Of all of them the missed cancers are kept, and the first ``keep`` that move."""
    counts: defaultdict[str | None, Counter[_Move]] = defaultdict(Counter)
    models: defaultdict[str | None, set[str]] = defaultdict(set)
    missed: list[Replayed] = []
    moved: list[Replayed] = []
    for one in lesions:
        lesion = one.lesion
        counts[lesion.notice][one.before, one.after, lesion.malignant] += 1
        models[lesion.notice].add(f"LH {lesion.lh_version}, BM {lesion.bm_version}")
        if one.is_missed_cancer:
            missed.append(one)
        if one.moved and len(moved) < keep:
            moved.append(one)
    return Replay(
        missed=tuple(sorted(missed, key=lambda one: not one.moved)),
        moved=tuple(moved),
        rates=tuple(
            _rates(notice, sorted(models[notice]), counts[notice]) for notice in sorted(counts, key=_by_notice)
        ),
    )


_Move = tuple[Outcome, Outcome, bool | None]
"""The advice before, the advice after, and what pathology said."""


def _by_notice(notice: str | None) -> str:
    return notice or ""


def _rates(notice: str | None, models: Iterable[str], counts: Mapping[_Move, int]) -> ReplayedRates:
    moves = Counter[tuple[Outcome, Outcome]]()
    for (before, after, _), count in counts.items():
        moves[before, after] += count
    return ReplayedRates(
        notice=notice,
        models=tuple(models),
        moves={(before, after): moves[before, after] for before in ARMS for after in ARMS},
        before=compare({arm: sum(moves[arm, after] for after in ARMS) for arm in ARMS}),
        after=compare({arm: sum(moves[before, arm] for before in ARMS) for arm in ARMS}),
        malignant_before={arm: _malignant(counts, 0, arm) for arm in ARMS},
        malignant_after={arm: _malignant(counts, 1, arm) for arm in ARMS},
    )


def _malignant(counts: Mapping[_Move, int], side: int, arm: Outcome) -> Proportion:
    """Of the lesions with this advice, before (side 0) or after (1), and with pathology: the malignant ones."""
    known = sum(count for move, count in counts.items() if move[side] is arm and move[2] is not None)
    malignant = sum(count for move, count in counts.items() if move[side] is arm and move[2] is True)
    return proportion(malignant, known)
