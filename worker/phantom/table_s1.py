"""The frequencies of the study's Table S1, benign and malignant apart, as the phantoms are drawn from them."""

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation of a continuous feature in one class."""

    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class Levels:
    """A categorical feature in one class: its levels, and the share of each; shares sum to 1."""

    names: tuple[str, ...]
    shares: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassTable:
    """One column of Table S1: the lesions that pathology called benign, or malignant.

    Attributes:
        lesions: how many there were.
        spreads: continuous features by name, the age (``age_years``) among them.
        levels: categorical features by name.
    """

    lesions: int
    spreads: dict[str, Spread]
    levels: dict[str, Levels]


@lru_cache(maxsize=2)
def class_table(*, malignant: bool) -> ClassTable:
    """Return the column of Table S1 for a class."""
    column = "malignant" if malignant else "benign"
    lesions = 0
    spreads: dict[str, Spread] = {}
    counts: dict[str, dict[str, int]] = {}
    with files("worker.phantom").joinpath("table_s1.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            feature, level, value = row["feature"], row["level"], row[column]
            if feature == "n":
                lesions = int(value)
            elif level == "mean±sd":
                mean, sd = value.split("±")
                spreads[feature] = Spread(float(mean), float(sd))
            else:
                counts.setdefault(feature, {})[level] = int(value)
    levels = {
        feature: Levels(tuple(count), np.array(list(count.values())) / sum(count.values()))
        for feature, count in counts.items()
    }
    return ClassTable(lesions, spreads, levels)
