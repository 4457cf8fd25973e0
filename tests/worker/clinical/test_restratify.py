"""Fig. S5, as a table of every combination."""

from itertools import product

import pytest

from worker.clinical.categories import Birads, Outcome, Recommendation
from worker.clinical.restratify import RULE_VERSION, restratify

FIG_S5 = [
    # high risk, malignant, outcome, recommended
    (False, False, "downgraded", "3"),
    (True, True, "upgraded", ">4A"),
    (False, True, "maintained", "4A"),
    (True, False, "maintained", "4A"),
]


@pytest.mark.parametrize(("high_risk", "malignant", "outcome", "recommended"), FIG_S5)
def test_4a_follows_the_figure(high_risk: bool, malignant: bool, outcome: str, recommended: str) -> None:
    said = restratify(Birads("4A"), high_risk=high_risk, malignant=malignant)
    assert (said.outcome, said.recommended, said.original) == (outcome, recommended, "4A")
    assert said.rule_version == RULE_VERSION


@pytest.mark.parametrize(
    ("category", "high_risk", "malignant"),
    list(product(["0", "1", "2", "3", "4B", "4C", "5", "6"], [False, True], [False, True])),
)
def test_every_other_category_is_kept_whatever_the_models_say(category: str, high_risk: bool, malignant: bool) -> None:
    said = restratify(Birads(category), high_risk=high_risk, malignant=malignant)
    assert said.outcome is Outcome.NOT_APPLICABLE
    assert said.recommended == said.original == category


def test_recommendations_sort_by_suspicion_with_an_upgrade_right_above_4a() -> None:
    assert [item.value for item in Recommendation] == ["0", "1", "2", "3", "4A", ">4A", "4B", "4C", "5", "6"]


def test_every_category_can_be_recommended_as_it_is() -> None:
    assert {item.value for item in Birads} < {item.value for item in Recommendation}
