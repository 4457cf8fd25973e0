"""Days of reading, drawn at random: when studies come, which ones, and how long each is read."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import log1p, sqrt

import numpy as np
from numpy.typing import NDArray

from worker.waiting_times.simulator import Minutes

Studies = NDArray[np.int64]


class ReadingTime(StrEnum):
    """How reading times are spread around their mean."""

    EXPONENTIAL = "exponential"
    FIXED = "fixed"
    LOGNORMAL = "lognormal"


@dataclass(frozen=True, slots=True)
class Workload:
    """A day's work.

    Attributes:
        readers: at least 1; they share one list.
        per_day: studies that come on a day, in the mean, above 0; they come at random (Poisson).
        hours: in which they come, above 0. What is then on the list is read before the day ends.
        reading_minutes: that a study takes, in the mean, above 0; it is the same for every study and reader.
        reading_time: how it is spread.
        variation: of ``lognormal`` the standard deviation over the mean, above 0.
    """

    readers: int = 2
    per_day: float = 76.8
    hours: float = 8.0
    reading_minutes: float = 10.0
    reading_time: ReadingTime = ReadingTime.EXPONENTIAL
    variation: float = 0.5

    @property
    def utilization(self) -> float:
        """The share of the readers' time that the studies of a day take; above 1, more comes than they can read."""
        return self.per_day * self.reading_minutes / (self.readers * self.hours * 60)


@dataclass(frozen=True, slots=True)
class Days:
    """What comes on several days, one after the other; each begins with an empty list.

    Attributes:
        arrived: in minutes, rising; float64 (N,).
        reading: minutes; float64 (N,).
        studies: which one comes; int64 (N,).
    """

    arrived: Minutes
    reading: Minutes
    studies: Studies


def draw_days(
    work: Workload, count: int, rng: np.random.Generator, pick: Callable[[np.random.Generator, int], Studies]
) -> Days:
    """Draw days.

    Args:
        work: of each.
        count: how many.
        rng: whose numbers are taken.
        pick: draws which studies come, so many.
    """
    of_day = np.repeat(np.arange(count), rng.poisson(work.per_day, count))
    minutes = rng.uniform(0, work.hours * 60, len(of_day))
    reading = _reading(work, rng, len(of_day))
    apart = work.hours * 60 + reading.sum()
    return Days(np.sort(of_day * apart + minutes), reading, pick(rng, len(of_day)))


def _reading(work: Workload, rng: np.random.Generator, count: int) -> Minutes:
    match work.reading_time:
        case ReadingTime.EXPONENTIAL:
            return rng.exponential(work.reading_minutes, count)
        case ReadingTime.FIXED:
            return np.full(count, work.reading_minutes)
        case ReadingTime.LOGNORMAL:
            of_log = log1p(work.variation**2)
            return work.reading_minutes * rng.lognormal(-of_log / 2, sqrt(of_log), count)
