"""Fig. S5, as a table of every combination."""

from itertools import product

import pytest

from worker.clinical.categories import Birads, Outcome, Recommendation
from worker.clinical.restratify import CONFORMAL_RULE_VERSION, RULE_VERSION, restratify

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
    assert (said.rule_version, said.uncertain) == (RULE_VERSION, False)


LH = {"low": ["low_risk"], "high": ["high_risk"], "both": ["low_risk", "high_risk"], "none": [], "not asked": None}
BM = {"low": ["benign"], "high": ["malignant"], "both": ["malignant", "benign"], "none": [], "not asked": None}

SETS = [
    # high risk, malignant, DLR_LH's set, DLR_BM's set, outcome; all others are not certain, and stay in 4A
    (False, False, "low", "low", "downgraded"),
    (False, False, "low", "not asked", "downgraded"),
    (False, False, "not asked", "low", "downgraded"),
    (True, True, "high", "high", "upgraded"),
    (True, True, "high", "not asked", "upgraded"),
    (True, True, "not asked", "high", "upgraded"),
    (False, True, "low", "high", "maintained"),
    (False, True, "low", "not asked", "maintained"),
    (False, True, "not asked", "high", "maintained"),
    (True, False, "high", "low", "maintained"),
    (True, False, "high", "not asked", "maintained"),
    (True, False, "not asked", "low", "maintained"),
]
CERTAIN = {said[:4]: said[4] for said in SETS}


@pytest.mark.parametrize(
    ("high_risk", "malignant", "lh", "bm"),
    [said for said in product([False, True], [False, True], LH, BM) if said[2:] != ("not asked", "not asked")],
)
def test_4a_follows_the_figure_only_where_each_model_is_certain_of_what_it_predicted(
    high_risk: bool, malignant: bool, lh: str, bm: str
) -> None:
    said = restratify(Birads("4A"), high_risk=high_risk, malignant=malignant, lh_set=LH[lh], bm_set=BM[bm])
    certain = (high_risk, malignant, lh, bm) in CERTAIN
    assert said.outcome == CERTAIN.get((high_risk, malignant, lh, bm), "maintained")
    assert said.recommended == {"downgraded": "3", "upgraded": ">4A", "maintained": "4A"}[said.outcome]
    assert said.uncertain is not certain
    assert said.rule_version == CONFORMAL_RULE_VERSION != RULE_VERSION


@pytest.mark.parametrize(("lh", "bm"), list(product(LH, BM)))
def test_of_other_categories_nothing_is_said_to_be_uncertain(lh: str, bm: str) -> None:
    said = restratify(Birads("4B"), high_risk=True, malignant=False, lh_set=LH[lh], bm_set=BM[bm])
    assert (said.outcome, said.recommended, said.uncertain) == ("not_applicable", "4B", False)


@pytest.mark.parametrize(
    ("category", "high_risk", "malignant"),
    list(product(["0", "1", "2", "3", "4", "4B", "4C", "5", "6"], [False, True], [False, True])),
)
def test_every_other_category_is_kept_whatever_the_models_say(category: str, high_risk: bool, malignant: bool) -> None:
    said = restratify(Birads(category), high_risk=high_risk, malignant=malignant)
    assert said.outcome is Outcome.NOT_APPLICABLE
    assert said.recommended == said.original == category


def test_recommendations_sort_by_suspicion_with_an_upgrade_right_above_4a() -> None:
    assert [item.value for item in Recommendation] == [
        "0", "1", "2", "3", "4", "4A", ">4A", "4B", "4C", "5", "6"
    ]  # fmt: skip


def test_every_category_can_be_recommended_as_it_is() -> None:
    assert {item.value for item in Birads} < {item.value for item in Recommendation}
