"""Orders compared on the same days: what is paired is exact, and what is uncertain says so."""

from dataclasses import astuple

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.errors import SetupRefused
from worker.waiting_times import closed_form
from worker.waiting_times.comparison import Comparison, Pool, compare, first_tenth
from worker.waiting_times.setting import Workload
from worker.waiting_times.simulator import Ranks

STUDIES = 200
ALIKE = np.zeros(STUDIES, np.int64)


def pool(cancers: int = 50, per_patient: int = 1, cancer_share: float | None = None) -> Pool:
    """Studies of which the first are cancers."""
    return Pool(np.arange(STUDIES) < cancers, np.arange(STUDIES) // per_patient, cancer_share)


def compared(of: Pool, days: int = 40, resamples: int = 60, seed: int = 1, **orders: Ranks) -> Comparison:
    return compare(of, orders, Workload(), days=days, resamples=resamples, seed=seed)


def perfect(of: Pool) -> Ranks:
    """An order that knows which studies are cancers."""
    return np.where(of.cancers, 0, 1)


def test_an_order_that_knows_the_cancers_shortens_their_wait_and_lengthens_the_others() -> None:
    of = pool()
    found = compared(of, arrival=ALIKE, policy=perfect(of))
    [difference] = found.differences
    assert (difference.first, difference.second) == ("policy", "arrival")
    assert difference.figures.cancers_mean.high is not None
    assert difference.figures.cancers_mean.high < 0
    assert difference.figures.others_mean.low is not None
    assert difference.figures.others_mean.low > 0
    for figure in ("cancers_mean", "cancers_p90", "others_mean", "others_p90", "first_tenth"):
        policy, arrival = (getattr(found.orders[name], figure).value for name in ("policy", "arrival"))
        assert getattr(difference.figures, figure).value == pytest.approx(policy - arrival)


def test_two_orders_that_are_the_same_differ_by_nothing_in_every_draw() -> None:
    [difference] = compared(pool(), arrival=ALIKE, priority=ALIKE.copy()).differences
    assert {value for one in astuple(difference.figures) for value in one} == {0.0}


def test_each_order_is_held_against_each_one_before_it() -> None:
    differences = compared(pool(), resamples=0, arrival=ALIKE, priority=ALIKE, policy=ALIKE).differences
    pairs = [(one.first, one.second) for one in differences]
    assert pairs == [("priority", "arrival"), ("policy", "arrival"), ("policy", "priority")]


def test_a_difference_is_known_better_than_what_it_is_of_since_both_orders_see_the_same_days() -> None:
    of = pool()
    better = np.where(of.cancers & (np.arange(STUDIES) % 5 == 0), 0, 1)
    found = compared(of, arrival=ALIKE, policy=better)
    paired = found.differences[0].figures.cancers_mean
    alone = found.orders["arrival"].cancers_mean
    assert None not in (paired.low, paired.high, alone.low, alone.high)
    assert paired.high - paired.low < 0.7 * (alone.high - alone.low)  # type: ignore[operator]


def test_the_same_seed_gives_the_same_figures_and_another_seed_others() -> None:
    of = pool()
    first, again, other = (compared(of, resamples=5, seed=seed, arrival=ALIKE) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_intervals_get_wider_where_a_patient_has_many_studies() -> None:
    width = {}
    for per_patient in (1, 10):
        of = pool(cancers=100, per_patient=per_patient)
        half = np.where(np.arange(STUDIES) % 20 < 10, 0, 1)  # whole patients stand in front
        share = compared(of, days=2, resamples=300, policy=half).orders["policy"].first_tenth
        assert share.low is not None
        assert share.high is not None
        width[per_patient] = share.high - share.low
    assert width[10] > 2 * width[1]


def test_with_few_patients_of_a_kind_there_are_no_intervals() -> None:
    nine, ten = (compared(pool(cancers), arrival=ALIKE).orders["arrival"].cancers_mean for cancers in (9, 10))
    assert (nine.low, nine.high) == (None, None)
    assert ten.low is not None


@pytest.mark.parametrize(
    ("cancers", "days", "said"),
    [(0, 40, "no study with a cancer"), (STUDIES, 40, "no study without a cancer"), (1, 1, "so few days")],
)
def test_what_says_nothing_is_refused(cancers: int, days: int, said: str) -> None:
    with pytest.raises(SetupRefused) as refused:
        compared(pool(cancers), days=days, arrival=ALIKE)
    assert said in refused.value.reason


def test_long_work_says_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    compare(
        pool(), {"arrival": ALIKE}, Workload(), days=2, resamples=3, seed=1, on_progress=lambda *at: told.append(at)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_studies_come_with_the_share_of_cancers_that_is_asked_for() -> None:
    # The fewer cancers share the first class, the shorter they wait in it: Cobham's one reader, in a long day.
    work = Workload(readers=1, per_day=60_000, hours=60_000 / 4, reading_minutes=10)
    for share in (0.1, 0.5):
        of = pool(cancer_share=share)
        found = compare(of, {"policy": perfect(of)}, work, days=1, resamples=0, seed=3).orders["policy"]
        rates = np.array([share, 1 - share]) * work.per_day / (work.hours * 60)
        expected = closed_form.one_reader(rates, [10, 10], [200, 200])
        assert found.cancers_mean.value == pytest.approx(expected[0], rel=0.03)


FIRST_TENTH: dict[str, tuple[list[int], list[bool], float]] = {
    "the only cancer stands first": ([0, *[1] * 9], [True, *[False] * 9], 1.0),
    "the only cancer stands second": ([1, 0, *[2] * 8], [True, *[False] * 9], 0.0),
    "all stand alike": ([0] * 10, [True, True, *[False] * 8], 0.1),
    "half of the first tenth's ties are cancers": ([0] * 2 + [1] * 8, [True, False, True, *[False] * 7], 0.25),
}


@pytest.mark.parametrize("case", FIRST_TENTH)
def test_the_share_of_the_cancers_in_the_first_tenth(case: str) -> None:
    ranks, cancers, expected = FIRST_TENTH[case]
    weights: NDArray[np.float64] = np.full(len(ranks), 1 / len(ranks))
    assert first_tenth(np.array(ranks), np.array(cancers), weights) == pytest.approx(expected)


def test_a_study_that_comes_twice_as_often_counts_twice() -> None:
    found = first_tenth(np.array([0, 1, 2]), np.array([True, True, False]), np.array([0.05, 0.1, 0.85]))
    assert found == pytest.approx((0.05 + 0.05) / 0.15)
