"""The safety monitor: missed cancers first, then the rates of each group of 4A lesions, held against the study's."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from db.reads.monitoring import ArmRow, CancerRow, Grouping, TakenBackRow, arms, downgraded_cancers, taken_back
from db.writes.pathology import DetachedResult, detached
from worker.clinical.categories import Outcome
from worker.clinical.proportions import ARMS, Comparison, Proportion, Verdict, compare, proportion

UNKNOWN = "unknown"
"""The group of the lesions whose scanner or site is not known."""


class By(StrEnum):
    """By what the rates are shown apart."""

    SCANNER = "scanner"
    SITE = "site"
    MODEL = "model"


class Alarm(StrEnum):
    """Why a person has to look."""

    DOWNGRADED_CANCER = "downgraded_cancer"
    CANCER_TAKEN_BACK = "cancer_taken_back"
    PATHOLOGY_LEFT_BEHIND = "pathology_left_behind"
    RATES_DIFFER = "rates_differ"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that a person has to look at, as a sentence without an identifier but the opaque id and the lesion."""

    alarm: Alarm
    sentence: str


@dataclass(frozen=True, slots=True)
class Rates:
    """The 4A lesions of one group under one notice: never a demo model's with a real one's.

    Attributes:
        group: what is counted apart; ``None``: all lesions under this notice.
        notice: the models'; ``None`` where they need none.
        models: the pairs of versions, and the rule, that advised these lesions; rates of several are of all together.
        comparison: the rates, held against the study's.
        malignant: of each arm, the malignant lesions among those that pathology reported on; for the upgraded this is
            the positive predictive value.
    """

    group: str | None
    notice: str | None
    models: tuple[str, ...]
    comparison: Comparison
    malignant: Mapping[Outcome, Proportion]


@dataclass(frozen=True, slots=True)
class Watched:
    """What the monitor saw."""

    alerts: tuple[Alert, ...]
    cancers: tuple[CancerRow, ...]
    taken_back: tuple[TakenBackRow, ...]
    left_behind: tuple[DetachedResult, ...]
    totals: tuple[Rates, ...]
    groups: tuple[Rates, ...]


def watch(session: Session, by: By | None = None, since: datetime | None = None) -> Watched:
    """Look at the advice on the 4A lesions of current studies.

    Args:
        session: of ``dlr_writer``.
        by: show rates apart; ``None``: the totals alone.
        since: only lesions that were scored then or later; and cancers that became known then or later.
    """
    rows = arms(session, Grouping(by.value) if by in (By.SCANNER, By.SITE) else None, since)
    totals = rates(rows)
    groups = rates(rows, by) if by else ()
    cancers, once, left_behind = downgraded_cancers(session, since), taken_back(session, since), detached(session)
    return Watched(
        alerts=(
            *_cancer_alerts(cancers),
            *_taken_back_alerts(once),
            *_left_behind_alerts(left_behind),
            *_rate_alerts((*totals, *groups)),
        ),
        cancers=tuple(cancers),
        taken_back=tuple(once),
        left_behind=tuple(left_behind),
        totals=totals,
        groups=groups,
    )


def rates(rows: Iterable[ArmRow], by: By | None = None) -> tuple[Rates, ...]:
    """Sum counted lesions up: one for each notice, or for each group of each notice; those without a notice first."""
    together: defaultdict[tuple[str | None, str | None], list[ArmRow]] = defaultdict(list)
    for row in rows:
        together[row.notice, _group(row, by)].append(row)
    order = sorted(together, key=lambda key: (key[0] or "", key[1] or ""))
    return tuple(_rates(group, notice, together[notice, group]) for notice, group in order)


def _group(row: ArmRow, by: By | None) -> str | None:
    if by is None:
        return None
    return _models(row) if by is By.MODEL else row.group or UNKNOWN


def _models(row: ArmRow) -> str:
    return f"LH {row.lh_version}, BM {row.bm_version}, {row.rule_version}"


def _rates(group: str | None, notice: str | None, rows: Sequence[ArmRow]) -> Rates:
    lesions, known, malignant = Counter[Outcome](), Counter[Outcome](), Counter[Outcome]()
    for row in rows:
        arm = Outcome(row.outcome)
        lesions[arm] += row.lesions
        known[arm] += row.with_pathology
        malignant[arm] += row.malignant
    return Rates(
        group=group,
        notice=notice,
        models=tuple(sorted({_models(row) for row in rows})),
        comparison=compare(lesions),
        malignant={arm: proportion(malignant[arm], known[arm]) for arm in ARMS},
    )


def _cancer_alerts(cancers: Collection[CancerRow]) -> list[Alert]:
    return [
        Alert(
            Alarm.DOWNGRADED_CANCER,
            f"study {cancer.study_id}, lesion {cancer.lesion_id}: malignant, and advised down to BI-RADS 3",
        )
        for cancer in cancers
    ]


def _taken_back_alerts(once: Collection[TakenBackRow]) -> list[Alert]:
    return [
        Alert(
            Alarm.CANCER_TAKEN_BACK,
            f"study {one.study_id}, lesion {one.lesion_id}: malignant once, benign now, and advised down to BI-RADS 3",
        )
        for one in once
    ]


def _left_behind_alerts(left_behind: Collection[DetachedResult]) -> list[Alert]:
    if not left_behind:
        return []
    sentence = (
        f"{len(left_behind)} results of pathology are of a revision that another replaced, and count nowhere: "
        "import them again"
    )
    return [Alert(Alarm.PATHOLOGY_LEFT_BEHIND, sentence)]


def _rate_alerts(found: Iterable[Rates]) -> list[Alert]:
    return [
        Alert(Alarm.RATES_DIFFER, f"{_whose(one)}: {_difference(one.comparison)}")
        for one in found
        if one.comparison.verdict is Verdict.DIFFERS
    ]


def _whose(one: Rates) -> str:
    together = f"of {len(one.models)} pairs of models together" if len(one.models) > 1 else None
    notice = f"({one.notice})" if one.notice else None
    return " ".join(filter(None, [one.group or "all 4A lesions", together, notice]))


def _difference(comparison: Comparison) -> str:
    said = ", ".join(f"{100 * (rate.rate or 0):.1f} % {arm.value}" for arm, rate in comparison.rates.items())
    return f"{said} of {comparison.lesions}; differs from the study's rates (p = {comparison.p_value:.2g})"
