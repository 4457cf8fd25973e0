"""Lesions of a site with a threshold of its own are judged at that, wherever classes are counted."""

from dataclasses import replace

import pytest

from tests.worker.evaluation.samples import BM, LH, lesion, many, material
from worker.evaluation.evaluation import evaluate
from worker.evaluation.evaluation_options import Options
from worker.evaluation.lesions import JudgedLesion
from worker.evaluation.subgroups import By

NORTH = 0.2


def with_thresholds(lesions: tuple[JudgedLesion, ...]) -> tuple[JudgedLesion, ...]:
    return tuple(replace(one, thresholds={BM: NORTH}) if one.site == "A" else one for one in lesions)


def test_sensitivity_subgroups_and_intervals_are_at_each_lesions_own_threshold() -> None:
    lesions = with_thresholds(many())
    found = evaluate(material(lesions), Options(resamples=50))
    [judged] = [one for one in found.questions[0].judged if one.model == BM.model]
    cancers = [one for one in lesions if one.malignant]
    hits = sum(one.scores[BM] >= (NORTH if one.site == "A" else 0.5) for one in cancers)
    assert judged.operating_points[0].sensitivity.count == hits
    assert judged.operating_points[0].threshold == 0.5
    [of_a] = [one for one in judged.subgroups if (one.by, one.value) == (By.SITE, "A")]
    at_a = [one for one in cancers if one.site == "A"]
    assert of_a.sensitivity is not None
    assert of_a.sensitivity.count == sum(one.scores[BM] >= NORTH for one in at_a)
    assert judged.bootstrap is not None
    assert judged.bootstrap.sensitivity.low <= hits / len(cancers) <= judged.bootstrap.sensitivity.high


@pytest.mark.parametrize(("own", "missed"), [({}, ["L1"]), ({BM: 0.25}, []), ({LH: 0.25}, [])])
def test_the_advice_is_that_of_the_sites_threshold(own: dict[object, float], missed: list[str]) -> None:
    cancer = lesion("L1", lh=0.3, bm=0.3, malignant=True, thresholds=own)
    others = [lesion(f"O{place}", lh=0.9, bm=0.9, malignant=place % 2 == 0) for place in range(4)]
    found = evaluate(material((cancer, *others)), Options(resamples=0))
    assert [one.lesion_id for one in found.restratifications[0].missed_cancers] == missed


def test_a_threshold_that_is_given_is_everybodys() -> None:
    lesions = with_thresholds(many())
    found, plain = (evaluate(material(some), Options(bm_threshold=0.4, resamples=0)) for some in (lesions, many()))
    assert found.questions == plain.questions
    assert found.restratifications == plain.restratifications
