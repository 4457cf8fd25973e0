"""Re-stratification of BI-RADS 4A lesions (Fig. S5 of the study)."""

from dataclasses import dataclass

from worker.clinical.categories import Birads, Outcome, Recommendation

RULE_VERSION = "fig-s5/1"
"""Stored with each outcome; changes whenever the rule below changes."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The recommendation for one lesion. Never a diagnosis."""

    outcome: Outcome
    original: Birads
    recommended: Recommendation
    rule_version: str = RULE_VERSION


def restratify(original: Birads, *, high_risk: bool, malignant: bool) -> Assessment:
    """Recommend a category for one lesion from what the two models said.

    Args:
        original: the radiologist's category.
        high_risk: DLR_LH reached its card's threshold for "high risk".
        malignant: DLR_BM reached its card's threshold for "malignant".

    Returns:
        For 4A, Fig. S5: both low, downgrade to 3; both high, upgrade above 4A; in disagreement, keep 4A. The
        study defines the rule for 4A alone: any other category is kept and the outcome is ``not_applicable``.
    """
    if original is not Birads.LOW_SUSPICION:
        return Assessment(Outcome.NOT_APPLICABLE, original, Recommendation(original.value))
    if high_risk and malignant:
        return Assessment(Outcome.UPGRADED, original, Recommendation.ABOVE_LOW_SUSPICION)
    if not high_risk and not malignant:
        return Assessment(Outcome.DOWNGRADED, original, Recommendation.PROBABLY_BENIGN)
    return Assessment(Outcome.MAINTAINED, original, Recommendation.LOW_SUSPICION)
