"""Re-stratification of BI-RADS 4A lesions (Fig. S5 of the study)."""

from collections.abc import Collection
from dataclasses import dataclass

from worker.clinical.categories import Birads, Outcome, Recommendation

RULE_VERSION = "fig-s5/1"
"""Stored with each outcome; changes whenever the rule below changes."""

CONFORMAL_RULE_VERSION = f"{RULE_VERSION}+conformal/1"
"""Stored in its place where a model said which classes it cannot rule out."""

UNCERTAIN = "The models are not certain: the lesion stays in 4A."
"""Said to people with each outcome that is ``uncertain``."""

_LH_CLASS = {False: "low_risk", True: "high_risk"}
_BM_CLASS = {False: "benign", True: "malignant"}


@dataclass(frozen=True, slots=True)
class Assessment:
    """The recommendation for one lesion. Never a diagnosis.

    Attributes:
        uncertain: it is kept in 4A because a model's conformal set is not the class alone that the model predicted.
    """

    outcome: Outcome
    original: Birads
    recommended: Recommendation
    rule_version: str = RULE_VERSION
    uncertain: bool = False


def restratify(
    original: Birads,
    *,
    high_risk: bool,
    malignant: bool,
    lh_set: Collection[str] | None = None,
    bm_set: Collection[str] | None = None,
) -> Assessment:
    """Recommend a category for one lesion from what the two models said.

    Args:
        original: the radiologist's category.
        high_risk: DLR_LH reached its card's threshold for "high risk".
        malignant: DLR_BM reached its card's threshold for "malignant".
        lh_set: the classes that DLR_LH cannot rule out, ``low_risk`` and ``high_risk``; ``None``: it was not asked.
        bm_set: likewise for DLR_BM, ``benign`` and ``malignant``.

    Returns:
        For 4A, Fig. S5: both low, downgrade to 3; both high, upgrade above 4A; in disagreement, keep 4A. The
        study defines the rule for 4A alone: any other category is kept and the outcome is ``not_applicable``.

        Where a set was given, a 4A lesion is kept, and ``uncertain``, unless each set that was given holds the class
        that its model predicted and no other. None, both, and the other class alone are three ways of not being
        certain: the last one means that threshold and set contradict each other, and then nothing speaks for leaving
        4A.
    """
    rule = RULE_VERSION if lh_set is None and bm_set is None else CONFORMAL_RULE_VERSION
    if original is not Birads.LOW_SUSPICION:
        return Assessment(Outcome.NOT_APPLICABLE, original, Recommendation(original.value), rule)
    if not _is_certain(lh_set, _LH_CLASS[high_risk]) or not _is_certain(bm_set, _BM_CLASS[malignant]):
        return Assessment(Outcome.MAINTAINED, original, Recommendation.LOW_SUSPICION, rule, uncertain=True)
    if high_risk and malignant:
        return Assessment(Outcome.UPGRADED, original, Recommendation.ABOVE_LOW_SUSPICION, rule)
    if not high_risk and not malignant:
        return Assessment(Outcome.DOWNGRADED, original, Recommendation.PROBABLY_BENIGN, rule)
    return Assessment(Outcome.MAINTAINED, original, Recommendation.LOW_SUSPICION, rule)


def _is_certain(classes: Collection[str] | None, predicted: str) -> bool:
    return classes is None or set(classes) == {predicted}
