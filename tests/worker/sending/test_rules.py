"""Which results a destination takes."""

from dataclasses import replace
from typing import Any

import pytest

from tests.worker.reporting.samples import failed, scored, study
from worker.reporting.result import ModelScore, StudyResult
from worker.sending.rules import Rules, in_words, why_not

UPGRADED = study(scored("1.2.3"), site="Clinic North", scanner_model="GE LOGIQ E10")
NOT_SCORED = study(failed("1.2.3"), state="failed")


def clinical(result: StudyResult) -> StudyResult:
    """The same of models that have no notice."""

    def without(score: ModelScore | None) -> ModelScore | None:
        return score and replace(score, notice=None)

    lesions = [replace(lesion, lh=without(lesion.lh), bm=without(lesion.bm)) for lesion in result.lesions]
    return replace(result, lesions=tuple(lesions))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, None),
        ({"outcomes": ["upgraded"]}, None),
        ({"outcomes": ["downgraded", "upgraded"]}, None),
        ({"outcomes": ["downgraded"]}, "outcome"),
        ({"outcomes": ["not_scored"]}, "outcome"),
        ({"tiers": ["suspicious"]}, None),
        ({"tiers": ["low"]}, "tier"),
        ({"priorities": ["routine"]}, None),
        ({"priorities": ["stat", "urgent"]}, "priority"),
        ({"sites": ["Clinic *"]}, None),
        ({"sites": ["clinic north"]}, "site"),
        ({"scanners": ["GE *", "Philips *"]}, None),
        ({"scanners": ["Philips *"]}, "scanner"),
        ({"models": ["DLR_BM 1.*"]}, None),
        ({"models": ["DLR_BM 2.*"]}, "model"),
        ({"sites": ["Clinic *"], "priorities": ["stat"]}, "priority"),
    ],
)
def test_a_result_is_taken_by_every_rule_that_asks_for_something(rules: dict[str, Any], said: str | None) -> None:
    assert why_not(Rules(**rules), UPGRADED) == said


def test_a_study_that_was_not_scored_has_no_model_and_is_an_outcome_of_its_own() -> None:
    assert why_not(Rules(models=["DLR_BM 9"]), NOT_SCORED) is None
    assert why_not(Rules(outcomes=["not_scored"]), NOT_SCORED) is None
    assert why_not(Rules(outcomes=["upgraded"]), NOT_SCORED) == "outcome"


def test_a_study_without_a_place_or_a_site_is_in_none_that_a_rule_names() -> None:
    nowhere = replace(UPGRADED, place=None, site=None, scanner_model=None)
    assert why_not(Rules(tiers=["*"]), nowhere) is None
    for name in ("tiers", "sites", "scanners"):
        assert why_not(Rules(**{name: ["?*"]}), nowhere) == name.removesuffix("s")


def test_a_result_of_demo_models_is_taken_only_where_it_is_asked_for() -> None:
    assert why_not(Rules(demo=False), UPGRADED) == "demo"
    assert why_not(Rules(demo=True), UPGRADED) is None
    assert why_not(Rules(demo=False), clinical(UPGRADED)) is None
    assert why_not(Rules(demo=False), NOT_SCORED) is None


def test_whoever_has_an_earlier_result_gets_the_later_one_whatever_its_rules_say_but_for_a_demo() -> None:
    only_upgraded = Rules(outcomes=["upgraded"], demo=False)
    assert why_not(only_upgraded, NOT_SCORED, has_earlier=True) is None
    assert why_not(only_upgraded, UPGRADED, has_earlier=True) == "demo"


def test_rules_are_said_in_words() -> None:
    assert in_words(Rules()) == "every result; demo results too"
    said = in_words(Rules(outcomes=["upgraded"], sites=["A*", "B"], demo=False))
    assert said == "outcomes: upgraded; sites: A*, B; no demo results"
