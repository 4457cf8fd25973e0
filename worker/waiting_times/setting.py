"""How days of reading are simulated."""

from dataclasses import dataclass
from enum import StrEnum

DAYS, RESAMPLES, UTILIZATION = 100, 200, 0.8
"""Unless others are asked for."""


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
class Setting:
    """How days are simulated.

    Attributes:
        work: of a day.
        days: how many for each resample; the figures themselves are of ten times as many.
        cancer_share: of the studies that come; ``None``: the cohort's.
        resamples: for the intervals; 0 for none.
        seed: of all that is drawn.
    """

    work: Workload
    days: int
    cancer_share: float | None
    resamples: int
    seed: int
