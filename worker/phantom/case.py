"""A made-up patient: an age, a lesion's descriptors drawn from Table S1, and a BI-RADS category."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from worker.clinical.categories import Birads
from worker.clinical.descriptors import LEVELS
from worker.phantom.table_s1 import Spread, class_table

AGE_RANGE = (16.0, 95.0)
ASPECT_RANGE = (0.25, 1.6)

SUSPICIOUS: Mapping[str, tuple[str, ...]] = {
    "shape": ("irregular",),
    "orientation": ("not_parallel",),
    "margin_circumscribed": ("no",),
    "margin_indistinct": ("yes",),
    "margin_angular": ("yes",),
    "margin_microlobulated": ("yes",),
    "margin_spiculated": ("yes",),
    "posterior_features": ("shadowing", "combined"),
    "microcalcifications": ("yes",),
    "architectural_distortion": ("yes",),
}
"""The levels that count as suspicious."""

_BIRADS_BY_COUNT = (
    Birads.BENIGN,
    Birads.PROBABLY_BENIGN,
    Birads.LOW_SUSPICION,
    Birads.MODERATE_SUSPICION,
    Birads.HIGH_SUSPICION,
)


@dataclass(frozen=True, slots=True)
class PhantomCase:
    """A lesion to draw, and its patient.

    Attributes:
        malignant: what pathology would say.
        age_years: whole years.
        descriptors: every feature of Table S1 but the age, by its name.
        birads: the category that a radiologist would give.
    """

    malignant: bool
    age_years: float
    descriptors: Mapping[str, str | float]
    birads: Birads

    def has(self, descriptor: str, *levels: str) -> bool:
        """Return whether a categorical descriptor has one of the levels (``yes``, when none is named)."""
        return self.descriptors[descriptor] in (levels or ("yes",))

    def measure(self, descriptor: str) -> float:
        """Return a continuous descriptor."""
        return float(self.descriptors[descriptor])

    @property
    def high_risk(self) -> bool:
        """DLR_LH's label: 4A and above is high risk, 3 and below is low."""
        return self.birads not in (Birads.BENIGN, Birads.PROBABLY_BENIGN)


def draw_case(rng: np.random.Generator, *, malignant: bool) -> PhantomCase:
    """Draw a patient with the frequencies of Table S1 in the class.

    The table publishes no joint frequencies, so each descriptor is drawn for itself. A continuous one is drawn from the
    normal distribution with the class's mean and standard deviation, again when it falls outside what can be; the two
    distances, whose standard deviations exceed what a normal one allows, from the gamma distribution.
    """
    table = class_table(malignant=malignant)
    descriptors: dict[str, str | float] = {}
    for feature in LEVELS:
        levels = table.levels[feature]
        descriptors[feature] = levels.names[rng.choice(len(levels.names), p=levels.shares)]
    for feature in ("distance_lesion_to_nipple_mm", "distance_lesion_to_surface_mm"):
        spread = table.spreads[feature]
        shape = (spread.mean / spread.sd) ** 2
        descriptors[feature] = round(float(rng.gamma(shape, spread.mean / shape)), 2)
    descriptors["aspect_ratio"] = round(_normal_within(rng, table.spreads["aspect_ratio"], *ASPECT_RANGE), 2)
    age_years = float(round(_normal_within(rng, table.spreads["age_years"], *AGE_RANGE)))
    return PhantomCase(malignant, age_years, descriptors, birads_of(descriptors))


def birads_of(descriptors: Mapping[str, str | float]) -> Birads:
    """Return the category by a rule of the phantoms' own: the number of suspicious descriptors.

    None is 2, one is 3, two is 4A, three is 4B, four is 4C, five and more is 5. It is no clinical rule.
    """
    count = sum(descriptors[name] in levels for name, levels in SUSPICIOUS.items())
    return _BIRADS_BY_COUNT[count] if count < len(_BIRADS_BY_COUNT) else Birads.HIGHLY_SUGGESTIVE


def _normal_within(rng: np.random.Generator, spread: Spread, low: float, high: float) -> float:
    while True:
        value = float(rng.normal(spread.mean, spread.sd))
        if low <= value <= high:
            return value
