"""The simulator against queueing theory: mean waits within 2 % of the closed forms."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.waiting_times import closed_form
from worker.waiting_times.simulator import Minutes, Ranks, preemptive_waits, waits

STUDIES = 1_500_000
WITHIN = 0.02


class Case(NamedTuple):
    """Arrivals an hour of each class, and the mean reading time of each in minutes."""

    readers: int
    an_hour: tuple[float, ...]
    minutes: tuple[float, ...]


ONE_READER = {
    "two classes, half busy": Case(1, (0.9, 2.1), (10, 10)),
    "three classes": Case(1, (1.2, 1.2, 1.2), (10, 10, 10)),
    "classes that take differently long": Case(1, (2.0, 1.0, 1.0), (5, 12, 12)),
}
SEVERAL_READERS = {
    "two readers": Case(2, (2.4, 4.8), (10, 10)),
    "three readers, three classes": Case(3, (6.0, 4.0, 3.0), (10, 10, 10)),
    "five readers": Case(5, (7.0, 14.0), (10, 10)),
}
FIXED, LOGNORMAL = "fixed", "lognormal"


def rates(case: Case) -> NDArray[np.float64]:
    return np.array(case.an_hour) / 60


def mean_waits(
    case: Case,
    simulated: Callable[[Minutes, Minutes, Ranks, int], Minutes],
    drawn: Callable[[np.random.Generator, Minutes], Minutes] = lambda rng, means: rng.exponential(means),
) -> NDArray[np.float64]:
    """Return the mean wait of each class in a long run."""
    rng, rate = np.random.default_rng(20261123), rates(case)
    arrived = rng.exponential(1 / rate.sum(), STUDIES).cumsum()
    classes = rng.choice(len(rate), STUDIES, p=rate / rate.sum())
    waited = simulated(arrived, drawn(rng, np.array(case.minutes, float)[classes]), classes, case.readers)
    return np.bincount(classes, waited) / np.bincount(classes)


def squares(case: Case, variation: float = 1.0) -> NDArray[np.float64]:
    """Return the mean square of each class's reading time; the variation of an exponential one is 1."""
    return np.array(case.minutes) ** 2 * (1 + variation**2)


@pytest.mark.parametrize("case", ONE_READER)
def test_one_reader_as_cobham_has_it(case: str) -> None:
    one = ONE_READER[case]
    expected = closed_form.one_reader(rates(one), one.minutes, squares(one))
    assert mean_waits(one, waits) == pytest.approx(expected, rel=WITHIN)


@pytest.mark.parametrize("case", SEVERAL_READERS)
def test_several_readers_as_cobham_has_it(case: str) -> None:
    one = SEVERAL_READERS[case]
    expected = closed_form.several_readers(rates(one), one.minutes[0], one.readers)
    assert mean_waits(one, waits) == pytest.approx(expected, rel=WITHIN)


@pytest.mark.parametrize("variation", [0.0, 0.5])
def test_one_reader_whose_reading_times_are_not_exponential(variation: float) -> None:
    one = ONE_READER["three classes"]
    spread = np.sqrt(np.log1p(variation**2))
    expected = closed_form.one_reader(rates(one), one.minutes, squares(one, variation))
    found = mean_waits(one, waits, lambda rng, means: means * rng.lognormal(-(spread**2) / 2, spread, len(means)))
    assert found == pytest.approx(expected, rel=WITHIN)


@pytest.mark.slow
@pytest.mark.parametrize("case", ONE_READER)
def test_one_reader_who_is_interrupted(case: str) -> None:
    one = ONE_READER[case]
    expected = closed_form.one_reader_interrupted(rates(one), one.minutes, squares(one))
    assert mean_waits(one, preemptive_waits) == pytest.approx(expected, rel=WITHIN)


@pytest.mark.slow
@pytest.mark.parametrize("case", SEVERAL_READERS)
def test_several_readers_who_are_interrupted(case: str) -> None:
    one = SEVERAL_READERS[case]
    expected = closed_form.several_readers_interrupted(rates(one), one.minutes[0], one.readers)
    assert mean_waits(one, preemptive_waits) == pytest.approx(expected, rel=WITHIN)


# --- the forms themselves


@pytest.mark.parametrize("case", ONE_READER.values())
def test_what_the_first_class_gains_the_others_lose(case: Case) -> None:
    """L. Kleinrock's conservation law: the classes' loads times their waits sum up to the same under every order."""
    load = rates(case) * case.minutes
    in_turn = float(rates(case) @ squares(case)) / 2 / (1 - load.sum())
    found = closed_form.one_reader(rates(case), case.minutes, squares(case))
    assert load @ found == pytest.approx(load.sum() * in_turn)
    assert found[0] < in_turn < found[-1]


def test_without_classes_they_are_the_textbook_s() -> None:
    # M/M/1 at 80 %: 0.8 / (1 - 0.8) reading times. M/M/2 at 80 %: 0.64 / (1 - 0.64).
    assert closed_form.one_reader([0.08], [10], [200]) == pytest.approx([40])
    assert closed_form.several_readers([0.16], 10, 2) == pytest.approx([10 * 0.64 / 0.36])
    assert closed_form.one_reader_interrupted([0.08], [10], [200]) == pytest.approx([40])
    assert closed_form.several_readers_interrupted([0.16], 10, 2) == pytest.approx([10 * 0.64 / 0.36])
    # M/D/1 waits half as long as M/M/1.
    assert closed_form.one_reader([0.08], [10], [100]) == pytest.approx([20])


def test_several_readers_of_whom_there_is_one_are_one_reader() -> None:
    an_minute, minutes = [0.02, 0.03], [10, 10]
    assert closed_form.several_readers(an_minute, 10, 1) == pytest.approx(
        closed_form.one_reader(an_minute, minutes, [200, 200])
    )
    assert closed_form.several_readers_interrupted(an_minute, 10, 1) == pytest.approx(
        closed_form.one_reader_interrupted(an_minute, minutes, [200, 200])
    )


def test_a_list_that_grows_for_ever_has_no_mean_wait() -> None:
    with pytest.raises(ValueError, match="grows for ever"):
        closed_form.several_readers([0.1, 0.2], 10, 3)
