"""Fig. S5 with pathology: what is advised, how much of it is malignant, and which cancers are advised down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.evaluation.samples import BM, LH, lesion
from worker.clinical.categories import Outcome
from worker.clinical.proportions import Verdict, proportion
from worker.evaluation.lesions import Pair
from worker.evaluation.restratification import MissedCancer, restratification

PAIR = Pair(LH, BM)


def test_the_studys_own_table_comes_out() -> None:
    down = [lesion(f"D{n}") for n in range(41)]
    kept = [lesion(f"K{n}", lh=0.9) for n in range(80)]
    up = [lesion(f"U{n}", 0.9, 0.9, malignant=n < 22) for n in range(27)]
    found = restratification([*down, *kept, *up], PAIR, 0.5, 0.5)
    assert found is not None
    shares = {arm.outcome: (arm.share.count, round(100 * (arm.share.rate or 0), 1)) for arm in found.arms}
    assert shares == {Outcome.DOWNGRADED: (41, 27.7), Outcome.MAINTAINED: (80, 54.1), Outcome.UPGRADED: (27, 18.2)}
    assert found.arms[2].malignant == proportion(22, 27)
    assert (found.against_study, found.missed_cancers, found.missed) == (Verdict.AS_STUDIED, (), proportion(0, 22))
    assert found.spared == proportion(41, 126)


def test_missed_cancers_are_named_the_least_suspicious_first() -> None:
    found = restratification(
        [lesion(name, *at, malignant=True) for name, at in {"b": (0.2, 0.4), "a": (0.3, 0.1), "c": (0.9, 0.9)}.items()],
        PAIR, 0.5, 0.5,
    )  # fmt: skip
    assert found is not None
    assert found.missed_cancers == (MissedCancer("a", 0.3, 0.1), MissedCancer("b", 0.2, 0.4))
    assert found.missed == proportion(2, 3)


def test_a_lesion_whose_sets_are_not_the_predicted_class_is_kept_and_counted() -> None:
    lesions = [
        lesion("a", malignant=True, sets={BM: ("benign", "malignant")}),
        lesion("b", 0.9, 0.9, sets={LH: (), BM: ("malignant",)}),
        lesion("c", sets={LH: ("low_risk",), BM: ("benign",)}),
        lesion("d", 0.9, 0.9),
    ]
    found = restratification(lesions, PAIR, 0.5, 0.5)
    assert found is not None
    assert [arm.share.count for arm in found.arms] == [1, 2, 1]
    assert (found.uncertain, found.missed_cancers) == (proportion(2, 4), ())
    assert found.rule_version == "fig-s5/1, fig-s5/1+conformal/1"


@pytest.mark.parametrize("birads", ["2", "3", "4", "4B", "5", None])
def test_the_rule_is_for_4a_alone(birads: str | None) -> None:
    assert restratification([lesion(birads=birads, malignant=True)], PAIR, 0.5, 0.5) is None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_every_lesion_is_in_one_arm_and_every_missed_cancer_in_the_downgraded(
    scored: list[tuple[int, int, bool]],
) -> None:
    lesions = [lesion(f"L{n}", lh / 4, bm / 4, malignant=bad) for n, (lh, bm, bad) in enumerate(scored)]
    found = restratification(lesions, PAIR, 0.5, 0.5)
    assert found is not None
    assert sum(arm.share.count for arm in found.arms) == len(lesions)
    assert sum(arm.malignant.count for arm in found.arms) == sum(one.malignant for one in lesions)
    below = [one.lesion_id for one in lesions if one.malignant and one.scores[LH] < 0.5 and one.scores[BM] < 0.5]
    assert {one.lesion_id for one in found.missed_cancers} == set(below)
    assert found.arms[0].malignant.count == len(below)
