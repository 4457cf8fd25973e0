"""What a lesion is to a model: positive, negative, or neither."""

from dataclasses import dataclass
from typing import Final, Literal

from worker.clinical.categories import Birads
from worker.dataset.manifest import Category
from worker.errors import Code, ModelRefused, SetupRefused
from worker.inference.model_card import ModelCard, ModelName
from worker.training.config import TrainingConfig

_LETTERED: Final[list[Birads]] = [category for category in Birads if category is not Birads.SUSPICIOUS]
_FOURS = (Birads.LOW_SUSPICION, Birads.MODERATE_SUSPICION, Birads.HIGH_SUSPICION)


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Says which class a lesion is of.

    Attributes:
        model: whose classes.
        by: what decides.
        low_risk_up_to: with ``birads``: this category and those before it are low risk, those behind it high.
    """

    model: ModelName
    by: Literal["birads", "pathology"]
    low_risk_up_to: Birads

    def __call__(self, birads: Category | None, *, malignant: bool) -> bool | None:
        """Return whether a lesion is of the positive class; ``None`` where its category does not say.

        0 is no assessment. 4 without its letter is any of 4A to 4C: it says something where these are of one class.
        """
        if self.by == "pathology":
            return malignant
        if birads is None or birads == Birads.INCOMPLETE:
            return None
        categories = _FOURS if birads == Birads.SUSPICIOUS else (Birads(birads),)
        high = {_LETTERED.index(one) > _LETTERED.index(self.low_risk_up_to) for one in categories}
        return high.pop() if len(high) == 1 else None

    def __str__(self) -> str:
        """Return the rule as a card has it."""
        if self.by == "pathology":
            return "pathology" if self.model == "DLR_BM" else "malignant by pathology is high risk, benign is low risk"
        above = _LETTERED[_LETTERED.index(self.low_risk_up_to) + 1]
        return f"BI-RADS up to {self.low_risk_up_to} is low risk, {above} and above is high risk"


def rule_of(model: ModelName, config: TrainingConfig) -> LabelRule:
    """Return a model's rule: the study's, unless the configuration has another.

    Raises:
        SetupRefused: ``config_invalid``; DLR_BM by another rule than pathology.
    """
    if model == "DLR_BM" and config.label_rule == "birads":
        raise SetupRefused(Code.CONFIG_INVALID, "label_rule: DLR_BM always uses pathology")
    return LabelRule(model, config.label_rule or _studys(model).by, config.low_risk_up_to)


def rule_on(card: ModelCard) -> LabelRule:
    """Return the rule that a card names; the study's where it names none.

    Raises:
        ModelRefused: ``card_invalid``: it names one that `dlr train` does not know.
    """
    told = card.training.get("label_rule")
    if told is None:
        return _studys(card.name)
    bounds = [one for one in _LETTERED if one not in (Birads.INCOMPLETE, Birads.KNOWN_MALIGNANCY)]
    ways: tuple[Literal["birads", "pathology"], ...] = ("birads", "pathology")
    rules = [LabelRule(card.name, by, up_to) for by in ways for up_to in bounds]
    known = {str(rule): rule for rule in rules}
    if told not in known:
        raise ModelRefused(Code.CARD_INVALID, "training.label_rule: not a rule that `dlr train` has")
    return known[str(told)]


def other_rule(card: ModelCard) -> str | None:
    """Return a card's rule where it is not the study's; ``None`` where it is, or the card has none."""
    told = card.training.get("label_rule")
    return None if told in (None, str(_studys(card.name))) else str(told)


def _studys(model: ModelName) -> LabelRule:
    return LabelRule(model, "birads" if model == "DLR_LH" else "pathology", Birads.PROBABLY_BENIGN)
