"""How far radiologists follow the advice on 4A lesions: agreement by group, and the overrides, the dangerous first."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from db.reads.verdicts import LesionVerdictRow, SaidCount, said_counts, verdicts_like
from worker.clinical.agreement import Kappa, Override, kappa, outcome_of, override_of
from worker.clinical.categories import Outcome
from worker.clinical.proportions import ARMS, Proportion, proportion
from worker.monitoring.monitor import UNKNOWN, By

_CATEGORIES = ("0", "1", "2", "3", "4", "4A", "4B", "4C", "5", "6")


@dataclass(frozen=True, slots=True)
class Agreement:
    """The verdicts on the 4A lesions of one group under one notice: never a demo model's with a real one's.

    Attributes:
        group: what is counted apart; ``None``: all lesions under this notice.
        notice: the models'; ``None`` where they need none.
        models: the pairs of versions, and the rule, whose advice was shown.
        verdicts: how many lesions have one.
        agreed: of the lesions of each outcome on which it was said, those whose advice the radiologist agreed with.
        kappa: Cohen's, of the advice and of what the final category makes of the lesion: each is downgraded, maintained
            or upgraded (`worker.clinical.agreement.outcome_of`); ``None`` where it is not defined.
        placed: the lesions behind it: final categories 0 and 4 without a letter are left out.
        overrides: how many verdicts overrode the advice in each way.
    """

    group: str | None
    notice: str | None
    models: tuple[str, ...]
    verdicts: int
    agreed: Mapping[Outcome, Proportion]
    kappa: Kappa | None
    placed: int
    overrides: Mapping[Override, int]


@dataclass(frozen=True, slots=True)
class Overridden:
    """A verdict that overrides the advice, and how."""

    override: Override
    verdict: LesionVerdictRow


@dataclass(frozen=True, slots=True)
class Heard:
    """What radiologists said: of all lesions under each notice, of each group, and each override."""

    totals: tuple[Agreement, ...]
    groups: tuple[Agreement, ...]
    overridden: tuple[Overridden, ...]


def hear(session: Session, by: By | None = None, since: datetime | None = None) -> Heard:
    """Hold the verdicts on the 4A lesions of current studies against the advice that was shown.

    Args:
        session: of ``dlr_writer``.
        by: show agreement apart; ``None``: the totals alone.
        since: only verdicts that were given then or later.

    Returns:
        Overrides in the order of `worker.clinical.agreement.Override`, in it the most suspicious final category first,
        and then the latest.
    """
    match by:
        case By.SCANNER:
            counts = said_counts(session, "scanner_model", since)
        case By.SITE:
            counts = said_counts(session, "site", since)
        case _:
            counts = said_counts(session, None, since)
    said = {(one.outcome, one.final_birads, one.agrees) for one in counts}
    overriding = {key: how for key in said if (how := _override(*key)) is not None}
    overridden = [
        Overridden(overriding[row.outcome or "", row.final_birads, row.agrees], row)
        for row in verdicts_like(session, overriding, since)
    ]
    order = list(Override)
    overridden.sort(key=lambda one: (order.index(one.override), -_CATEGORIES.index(one.verdict.final_birads)))
    return Heard(agreement(counts), agreement(counts, by) if by else (), tuple(overridden))


def agreement(counts: Iterable[SaidCount], by: By | None = None) -> tuple[Agreement, ...]:
    """Sum counted verdicts up: for each notice, or for each group of each notice; those without a notice first."""
    together: defaultdict[tuple[str | None, str | None], list[SaidCount]] = defaultdict(list)
    for row in counts:
        group = None if by is None else _models(row) if by is By.MODEL else row.group or UNKNOWN
        together[row.notice, group].append(row)
    order = sorted(together, key=lambda key: (key[0] or "", key[1] or ""))
    return tuple(_agreement(group, notice, together[notice, group]) for notice, group in order)


def _agreement(group: str | None, notice: str | None, rows: Sequence[SaidCount]) -> Agreement:
    answered, agreed, overrides = Counter[Outcome](), Counter[Outcome](), Counter[Override]()
    pairs: Counter[tuple[str, str]] = Counter()
    for row in rows:
        advised, made = Outcome(row.outcome), outcome_of(row.final_birads)
        if row.agrees is not None:
            answered[advised] += row.lesions
            agreed[advised] += row.lesions * row.agrees
        if made is not None:
            pairs[advised, made] += row.lesions
        override = _override(row.outcome, row.final_birads, row.agrees)
        if override is not None:
            overrides[override] += row.lesions
    return Agreement(
        group=group,
        notice=notice,
        models=tuple(sorted({_models(row) for row in rows})),
        verdicts=sum(row.lesions for row in rows),
        agreed={arm: proportion(agreed[arm], answered[arm]) for arm in ARMS},
        kappa=kappa(pairs),
        placed=pairs.total(),
        overrides={way: overrides[way] for way in Override},
    )


def _override(outcome: str, final: str, agrees: bool | None) -> Override | None:
    return override_of(Outcome(outcome), final, agrees=agrees)


def _models(row: SaidCount) -> str:
    return f"LH {row.lh_version}, BM {row.bm_version}, {row.rule_version}"
