"""How numbers of an evaluation are said to people, in the report and on a terminal."""

from worker.clinical.categories import Outcome
from worker.clinical.probability import said as said
from worker.clinical.proportions import STUDY, STUDY_UPGRADED_MALIGNANT, Proportion, proportion, study_rate
from worker.evaluation.discrimination import Auc, AucDifference, Interval
from worker.evaluation.evaluation_options import ChosenBy
from worker.evaluation.examples import Why
from worker.evaluation.lesions import Source

NOTHING = "–"
TOO_FEW = "too few"
NO_CANCERS = "they cannot be assessed, since no 4A lesion with scores is malignant"

ADVICE = {
    Outcome.DOWNGRADED: "downgraded to 3",
    Outcome.MAINTAINED: "kept in 4A",
    Outcome.UPGRADED: "upgraded above 4A",
}
"""The arms of Fig. S5."""

CHOSEN = {
    ChosenBy.GIVEN: "as given",
    ChosenBy.CARD: "of the card",
    ChosenBy.YOUDEN: "by Youden's index",
    ChosenBy.SENSITIVITY: "by sensitivity",
}
"""Where a threshold comes from."""


WHYS = {
    Why.MISSED_CANCER: "missed cancer: advised down to BI-RADS 3",
    Why.FALSE_NEGATIVE: "malignant, but benign according to DLR_BM",
    Why.FALSE_POSITIVE: "benign, but malignant according to DLR_BM",
    Why.RIGHT: "DLR_BM was right",
}
"""Why a lesion is shown."""

SOURCES = {
    Source.SCORES: "a table of scores",
    Source.MANIFEST: "a manifest, scored by the active models",
    Source.DATABASE: "the database",
}
"""Where the scores come from."""


def percent(one: Proportion | None) -> str:
    """Say a proportion: ``22 of 27: 81.5 % (63.3–91.8)``."""
    if one is None:
        return TOO_FEW
    return f"{one.count} of {one.total}" + (
        "" if one.rate is None else f": {100 * one.rate:.1f} % ({100 * one.low:.1f}–{100 * one.high:.1f})"
    )


def interval(one: Interval | None, digits: int = 3) -> str:
    """Say an interval: ``0.748–0.899``."""
    return NOTHING if one is None else f"{one.low:.{digits}f}–{one.high:.{digits}f}"


def area(one: Auc | None) -> str:
    """Say an AUC with DeLong's interval: ``0.824 (0.749–0.899)``."""
    if one is None:
        return TOO_FEW
    return f"{one.value:.3f}" + ("" if one.interval is None else f" ({interval(one.interval)})")


def p_value(value: float | None) -> str:
    """Say a p value."""
    if value is None:
        return NOTHING
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def difference(one: AucDifference) -> str:
    """Say a difference of AUCs: ``+0.092 (0.010–0.174)``."""
    return f"{one.value:+.3f}" + ("" if one.interval is None else f" ({interval(one.interval)})")


def study_share(outcome: Outcome) -> str:
    """Say the study's rate of an arm."""
    return percent(study_rate(outcome))


def study_malignant(outcome: Outcome) -> str:
    """Say how many of an arm were malignant in the study, where it published that."""
    if outcome is not Outcome.UPGRADED:
        return NOTHING
    return percent(proportion(STUDY_UPGRADED_MALIGNANT, STUDY[outcome]))
