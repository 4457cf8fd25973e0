"""Ages that the classifier with age can learn from: true ones, and not a few values that were filled in."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.training.cohort import CohortRow
from worker.training.config import TrainingConfig
from worker.training.labels import LabelRule

FEWEST = 10
"""Patients; of fewer, two or three true ages may well be those of most."""

MOST_AGES = 3

_LEARNS_ON = {
    "validation": (Split.VALIDATION,),
    "train": (Split.TRAIN,),
    "both": (Split.TRAIN, Split.VALIDATION),
}


def learns_on(config: TrainingConfig) -> tuple[Split, ...]:
    """Return the splits that the classifier with age learns from; with joint stages those of the image network."""
    return (Split.TRAIN,) if config.stages == "joint" else _LEARNS_ON[config.age.learns_on]


def crowded(ages: Iterable[float]) -> tuple[list[int], int]:
    """Find the few ages that most patients have.

    Of 10 to 19 patients one age is few, of 20 to 29 two are, and from 30 on three; of fewer than 10 it is one that all
    have. True ages are spread wider: the three commonest of BrEaST's 211 are those of 14 %. Of cohorts drawn from its
    ages, from the study's (44.23 +- 12.67) and from a screening's (evenly from 50 to 69), this finds 1 of 1,500 or
    fewer from 10 patients on.

    Args:
        ages: of each patient, in years; what is behind the point does not count, 52.00 and 52.06 are one age.

    Returns:
        The fewest of such ages in whole years, increasing, and how many patients have one of them; none and 0 where
        there are none.
    """
    found = Counter(int(age) for age in ages)
    patients = found.total()
    few = min(max(patients // FEWEST, 1), MOST_AGES)
    commonest = sorted(found.items(), key=lambda one: (-one[1], one[0]))[:few]
    for number, having in enumerate(accumulate(count for _, count in commonest), start=1):
        if having == patients or (having * 2 > patients >= FEWEST):
            return sorted(age for age, _ in commonest[:number]), having
    return [], 0


def require_telling_ages(rows: Sequence[CohortRow], rule: LabelRule, learned_from: tuple[Split, ...]) -> None:
    """Make sure that the classifier with age can learn from the ages: they are not a few that were filled in.

    That is asked of all patients, of those that it learns from, and of each class of these: an age that was filled in
    for one class alone is as good as its label.

    Args:
        rows: of all splits; those without an age do not count.
        rule: that labels them; those of neither class do not count.
        learned_from: the splits that the classifier with age learns from.

    Raises:
        SetupRefused: ``age_uninformative``.
    """
    aged = [(row, label) for row in rows if (label := rule(row.birads, malignant=row.malignant)) is not None]
    there = "+".join(learned_from)
    learned = [(row, label) for row, label in aged if row.split in learned_from]
    _require([row for row, _ in aged], "patients")
    _require([row for row, _ in learned], f"patients of {there}, from whom the classifier with age learns,")
    for positive, name in ((True, "positive"), (False, "negative")):
        of_class = [row for row, label in learned if label is positive]
        if len({row.patient_key for row in of_class}) >= FEWEST:
            _require(of_class, f"patients of the {name} class in {there}")


def filled_in(ages: Iterable[tuple[str, float]], whose: str) -> str | None:
    """Say which few ages most patients have; ``None`` where ages are spread as true ones are.

    Args:
        ages: a patient's key and age in years, of each image: many images of a patient say no more than one.
        whose: such as ``patients``.
    """
    of_patients = {(patient, int(age)) for patient, age in ages}
    few, having = crowded(age for _, age in of_patients)
    if not few:
        return None
    said = f"the age {few[0]}" if len(few) == 1 else f"the ages {', '.join(map(str, few[:-1]))} or {few[-1]}"
    return f"{having} of {len(of_patients)} {whose} have {said}"


def _require(rows: Iterable[CohortRow], whose: str) -> None:
    found = filled_in(((row.patient_key, row.age_years) for row in rows if row.age_years is not None), whose)
    if found is not None:
        reason = (
            f"{found}: give the true ages in whole years, leave out rows without one (--missing-age exclude), or train "
            "the image network alone (--stages image)"
        )
        raise SetupRefused(Code.AGE_UNINFORMATIVE, reason)
