"""Which lesions a report shows: missed cancers first, then what DLR_BM was most surely wrong about."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.worker.evaluation.samples import BM, lesion, many, material
from worker.evaluation.evaluation import evaluate
from worker.evaluation.evaluation_options import Options
from worker.evaluation.examples import RIGHT, Example, Why, examples_of
from worker.evaluation.lesions import JudgedLesion

OPTIONS = Options(resamples=0)

LESIONS = (
    lesion("missed-b", 0.1, 0.2, malignant=True),
    lesion("missed-a", 0.2, 0.1, malignant=True),
    lesion("cancer-under", 0.9, 0.05, malignant=True, birads="5"),
    lesion("cancer-just-under", 0.9, 0.49, malignant=True, birads="5"),
    lesion("alarm", 0.9, 0.9, birads="3"),
    lesion("alarm-on-it", 0.1, 0.5),
    *(lesion(f"found-{place}", 0.9, 0.8 + place / 100, malignant=True) for place in range(4)),
    *(lesion(f"calm-{place}", 0.1, 0.2 + place / 100) for place in range(4)),
)


def chosen(count: int, lesions: Sequence[JudgedLesion] = LESIONS) -> tuple[Example, ...]:
    return examples_of(lesions, evaluate(material(tuple(lesions)), OPTIONS), count)


def test_missed_cancers_come_first_and_the_others_by_turns_the_surest_first() -> None:
    assert [(one.lesion.lesion_id, one.why) for one in chosen(100)] == [
        ("missed-a", Why.MISSED_CANCER),
        ("missed-b", Why.MISSED_CANCER),
        ("cancer-under", Why.FALSE_NEGATIVE),
        ("alarm", Why.FALSE_POSITIVE),
        ("found-3", Why.RIGHT),
        ("alarm-on-it", Why.FALSE_POSITIVE),
        ("calm-0", Why.RIGHT),
        ("found-2", Why.RIGHT),
        ("cancer-just-under", Why.FALSE_NEGATIVE),
        ("calm-1", Why.RIGHT),
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_there_are_as_many_as_were_asked_for_and_each_once(count: int) -> None:
    assert chosen(count) == chosen(100)[:count]
    names = [one.lesion.lesion_id for one in chosen(100, many())]
    assert len(set(names)) == len(names)


def test_only_a_few_that_were_right_are_among_them() -> None:
    found = chosen(300, many())
    assert sum(one.why is Why.RIGHT for one in found) == RIGHT
    assert all((one.lesion.scores[BM] >= 0.5) is one.lesion.malignant for one in found if one.why is Why.RIGHT)
    assert any(one.why is Why.FALSE_NEGATIVE for one in found)


def test_each_has_the_thresholds_that_it_was_judged_at() -> None:
    found = examples_of(LESIONS, evaluate(material(LESIONS), replace(OPTIONS, bm_threshold=0.85)), 100)
    assert {(at.scorer.model, at.value) for one in found for at in one.thresholds} == {
        ("DLR_LH", 0.5),
        ("DLR_BM", 0.85),
    }
    assert "found-3" in {one.lesion.lesion_id for one in found if one.why is Why.FALSE_NEGATIVE}
