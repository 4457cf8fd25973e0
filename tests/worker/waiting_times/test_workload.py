"""Days as they are drawn: how much comes, when, and how long it is read."""

import numpy as np
import pytest

from worker.waiting_times.setting import ReadingTime, Workload
from worker.waiting_times.simulator import waits
from worker.waiting_times.workload import Days, draw_days

MANY = 2000


def drawn(work: Workload, days: int = MANY) -> Days:
    return draw_days(work, days, np.random.default_rng(5), lambda rng, count: rng.integers(3, size=count))


def test_a_day_has_as_many_studies_as_are_asked_for_and_its_utilization_says_what_that_means() -> None:
    work = Workload(readers=3, per_day=60, hours=8, reading_minutes=12)
    assert len(drawn(work).arrived) / MANY == pytest.approx(60, rel=0.01)
    assert work.utilization == pytest.approx(60 * 12 / (3 * 8 * 60))


@pytest.mark.parametrize(
    ("reading_time", "variation"),
    [(ReadingTime.EXPONENTIAL, 1.0), (ReadingTime.FIXED, 0.0), (ReadingTime.LOGNORMAL, 0.3)],
)
def test_reading_times_have_the_mean_and_the_variation_that_they_say(
    reading_time: ReadingTime, variation: float
) -> None:
    minutes = drawn(Workload(reading_minutes=7, reading_time=reading_time, variation=0.3)).reading
    assert minutes.mean() == pytest.approx(7, rel=0.02)
    assert minutes.std() / minutes.mean() == pytest.approx(variation, abs=0.02)


def test_each_day_begins_with_an_empty_list_however_much_is_left_of_the_day_before() -> None:
    work = Workload(readers=1, per_day=100, hours=1, reading_minutes=10)
    days = drawn(work, 20)
    waited = waits(days.arrived, days.reading, np.zeros(len(days.arrived), np.int64), work.readers)
    begins = np.flatnonzero(np.diff(days.arrived, prepend=-np.inf) > 60)
    assert len(begins) == 20
    assert (waited[begins] == 0).all()
    assert (np.diff(days.arrived) >= 0).all()


def test_the_same_seed_draws_the_same_days() -> None:
    one, other = drawn(Workload(), 3), drawn(Workload(), 3)
    for name in ("arrived", "reading", "studies"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
