"""Days of reading, drawn at random: when studies come, which ones, and how long each is read."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log1p, sqrt

import numpy as np
from numpy.typing import NDArray

from worker.waiting_times.setting import ReadingTime, Workload
from worker.waiting_times.simulator import Minutes

Studies = NDArray[np.int64]


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
