"""What a lesion is to a model, category by category."""

import pytest

from tests.worker.training.small import config
from worker.clinical.categories import Birads
from worker.dataset.manifest import Category
from worker.errors import Code, SetupRefused
from worker.training.labels import rule_of

CATEGORIES: tuple[Category | None, ...] = (None, "0", "1", "2", "3", "4", "4A", "4B", "4C", "5", "6")  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("low_risk_up_to", "expected"),
    # None and 0: neither. L low, H high, - neither; 4 without its letter says something where 4A to 4C agree.
    [("3", "--LLLHHHHHH"), ("4A", "--LLL-LHHHH"), ("4B", "--LLL-LLHHH"), ("4C", "--LLLLLLLHH"), ("2", "--LLHHHHHHH")],
)
def test_dlr_lh_learns_the_category(low_risk_up_to: str, expected: str) -> None:
    rule = rule_of("DLR_LH", config(low_risk_up_to=low_risk_up_to))
    said = {True: "H", False: "L", None: "-"}
    for malignant in (False, True):
        assert "".join(said[rule(category, malignant=malignant)] for category in CATEGORIES) == expected


def test_the_default_is_the_studys_rule_and_says_so() -> None:
    rule = rule_of("DLR_LH", config())
    assert str(rule) == "BI-RADS up to 3 is low risk, 4A and above is high risk"
    assert (
        str(rule_of("DLR_LH", config(low_risk_up_to="4A"))) == "BI-RADS up to 4A is low risk, 4B and above is high risk"
    )


@pytest.mark.parametrize("category", [None, Birads.INCOMPLETE, "4", Birads.BENIGN])
@pytest.mark.parametrize("malignant", [False, True])
def test_pathology_decides_whatever_the_category(category: Category | None, malignant: bool) -> None:
    by_pathology = rule_of("DLR_LH", config(label_rule="pathology"))
    for rule in (rule_of("DLR_BM", config()), by_pathology):
        assert rule(category, malignant=malignant) is malignant
    assert str(by_pathology) == "malignant by pathology is high risk, benign is low risk"


def test_dlr_bm_learns_no_category() -> None:
    with pytest.raises(SetupRefused) as refused:
        rule_of("DLR_BM", config(label_rule="birads"))
    assert refused.value.code is Code.CONFIG_INVALID
