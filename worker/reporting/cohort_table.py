"""Table S1 of any cohort: what benign and malignant lesions are like, and whether they differ (pure functions)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, stdev
from types import MappingProxyType

from worker.clinical.descriptors import LEVELS, MEASURES
from worker.reporting.significance import Difference, chi_squared_test, t_test

AGE = "age_years"
"""Table S1's name of the patient's age."""

CONTINUOUS = (AGE, *MEASURES)
"""Table S1's continuous features: years, two in millimetres, and a ratio."""

FEATURES = (*CONTINUOUS, *LEVELS)
"""Table S1's features, in its order."""

MEAN_AND_SD = "mean±sd"
"""The level of a continuous feature's row."""


class Column(StrEnum):
    """A column of Table S1."""

    TOTAL = "total"
    BENIGN = "benign"
    MALIGNANT = "malignant"


CLASSES = (Column.BENIGN, Column.MALIGNANT)
"""The columns that are held against each other."""


@dataclass(frozen=True, slots=True)
class CohortLesion:
    """One lesion of a cohort.

    Attributes:
        malignant: what pathology said.
        cluster: a key that lesions of one patient, or of one study, share; nobody's name or number.
        features: by Table S1's names, a level or a number; what is not known is left out.
    """

    malignant: bool
    cluster: str
    features: Mapping[str, str | float]


@dataclass(frozen=True, slots=True)
class Share:
    """Lesions of a level, of those of the column whose level is known."""

    count: int
    known: int

    @property
    def percent(self) -> float | None:
        """Share in percent; ``None`` of nothing."""
        return 100 * self.count / self.known if self.known else None


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of the lesions of a column whose value is known."""

    known: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True, slots=True)
class Level:
    """A row of the table: a level of a categorical feature, or the one row of a continuous one."""

    name: str
    cells: Mapping[Column, Share | Spread]


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature: its rows, the lesions whose value is missing (the test leaves them out), and the test."""

    name: str
    levels: tuple[Level, ...]
    missing: Mapping[Column, int]
    difference: Difference


@dataclass(frozen=True, slots=True)
class CohortTable:
    """Table S1 of a cohort. ``clusters`` counts the keys that lesions share; the tests take all for independent."""

    lesions: Mapping[Column, int]
    clusters: int
    features: tuple[Feature, ...]


def cohort_table(lesions: Sequence[CohortLesion]) -> CohortTable:
    """Sum a cohort up as the study's Table S1 does; the order of the lesions does not matter.

    Args:
        lesions: with features by Table S1's names, the values such as ``descriptor_faults`` finds no fault in.
    """
    columns = {
        Column.TOTAL: lesions,
        Column.BENIGN: [lesion for lesion in lesions if not lesion.malignant],
        Column.MALIGNANT: [lesion for lesion in lesions if lesion.malignant],
    }
    return CohortTable(
        lesions=MappingProxyType({column: len(part) for column, part in columns.items()}),
        clusters=len({lesion.cluster for lesion in lesions}),
        features=tuple(_feature(name, columns) for name in FEATURES),
    )


def _feature(name: str, columns: Mapping[Column, Sequence[CohortLesion]]) -> Feature:
    known = {
        column: [lesion.features[name] for lesion in part if name in lesion.features]
        for column, part in columns.items()
    }
    levels, difference = _continuous(known) if name in CONTINUOUS else _categorical(name, known)
    missing = {column: len(part) - len(known[column]) for column, part in columns.items()}
    return Feature(name, levels, MappingProxyType(missing), difference)


_Known = Mapping[Column, Sequence[str | float]]


def _continuous(known: _Known) -> tuple[tuple[Level, ...], Difference]:
    numbers = {column: [float(value) for value in values] for column, values in known.items()}
    spreads = {column: _spread(values) for column, values in numbers.items()}
    difference = t_test(numbers[Column.BENIGN], numbers[Column.MALIGNANT])
    return (Level(MEAN_AND_SD, MappingProxyType(spreads)),), difference


def _spread(numbers: Sequence[float]) -> Spread:
    mean = fmean(numbers) if numbers else None
    return Spread(len(numbers), mean, stdev(numbers) if len(numbers) > 1 else None)


def _categorical(name: str, known: _Known) -> tuple[tuple[Level, ...], Difference]:
    counts = {column: Counter(values) for column, values in known.items()}
    levels = tuple(Level(level, _shares(level, counts)) for level in LEVELS[name])
    benign, malignant = ([counts[column][level] for level in LEVELS[name]] for column in CLASSES)
    return levels, chi_squared_test(benign, malignant)


def _shares(level: str, counts: Mapping[Column, Counter[str | float]]) -> Mapping[Column, Share]:
    return MappingProxyType({column: Share(count[level], count.total()) for column, count in counts.items()})
