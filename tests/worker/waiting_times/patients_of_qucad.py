"""The patients that QuCAD draws, drawn again: it takes the same numbers from NumPy's legacy stream, which is frozen."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.worker.waiting_times.run_qucad import CLASSES
from worker.waiting_times.simulator import Minutes, Ranks

PATIENTS_AFTER = 1
"""QuCAD adds one to the number that it aims at, and leaves the last one out of its figures."""


@dataclass(frozen=True, slots=True)
class Patients:
    """When each comes, how long it is read, and its class: 0 interrupting, 1 positive, 2 negative."""

    arrived: Minutes
    reading: Minutes
    classes: Ranks

    def means(self, waits: Minutes) -> dict[str, float]:
        """Return the mean wait of each class that there is, as `run_qucad.means` does."""
        counted, classes = waits[:-PATIENTS_AFTER], self.classes[:-PATIENTS_AFTER]
        found = {name: counted[classes == place] for place, name in enumerate(CLASSES)}
        return {name: float(minutes.mean()) for name, minutes in found.items() if len(minutes)}


def rates_of(setting: dict[str, Any]) -> tuple[NDArray[np.float64], float]:
    """Return the share of each class, and how many patients come a minute."""
    apart, sick = setting["interrupting"], setting["prevalence"]
    positive = sick * setting["sensitivity"] + (1 - sick) * (1 - setting["specificity"])
    mean = sick * setting["diseased_minutes"] + (1 - sick) * setting["other_minutes"]
    busy = apart * setting["interrupting_minutes"] + (1 - apart) * mean
    shares = np.array([apart, (1 - apart) * positive, (1 - apart) * (1 - positive)])
    return shares, setting["traffic"] * setting["readers"] / busy


def patients_of(setting: dict[str, Any]) -> Patients:
    """Draw the patients of one trial."""
    stream, (_, rate) = np.random.RandomState(setting["seed"]), rates_of(setting)
    ends = 24 * 60 * ceil((setting["patients"] + PATIENTS_AFTER) / rate / (24 * 60))
    now, drawn = 0.0, []
    while now < ends:
        interrupting = bool(stream.binomial(1, setting["interrupting"]))
        diseased = not interrupting and bool(stream.binomial(1, setting["prevalence"]))
        now += stream.exponential(1 / rate)
        of_class, minutes = 0, setting["interrupting_minutes"]
        if not interrupting:
            score = stream.uniform()
            positive = score <= setting["sensitivity"] if diseased else score > setting["specificity"]
            of_class = 1 if positive else 2
            minutes = setting["diseased_minutes" if diseased else "other_minutes"]
        drawn.append((now, stream.exponential(minutes), of_class))
    arrived, reading, classes = map(np.array, zip(*drawn, strict=True))
    return Patients(arrived, reading, classes)
