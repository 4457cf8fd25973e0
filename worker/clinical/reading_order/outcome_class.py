"""The first order of the worklist, by what became of its lesions, and the classes that it reads in."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum

from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.policy import StepPriority

_PRIORITY_RANK = {Priority.STAT: 0, Priority.URGENT: 1, Priority.ROUTINE: 2}
_PROBABILITY_STEPS = 10**9
_RANKS = 10**10


class WorklistClass(IntEnum):
    """The classes of the worklist, read from the lowest number on."""

    UPGRADED = 1
    NEEDS_ATTENTION = 2
    MAINTAINED = 3
    NOT_APPLICABLE = 4
    DOWNGRADED = 5


@dataclass(frozen=True, slots=True)
class WorklistPlace:
    """Where an ended study stands: its class, and one integer that sorts all studies (lowest first)."""

    worklist_class: WorklistClass
    order: int


def worklist_class(outcomes: Collection[Outcome], *, complete: bool) -> WorklistClass:
    """Class a study by its lesions' outcomes.

    Args:
        outcomes: one outcome for each lesion that was scored.
        complete: every lesion of the study was scored. A study that is not (failed or partial) needs a person's
            eyes, so it stands right behind the upgraded ones and never sinks.
    """
    if Outcome.UPGRADED in outcomes:
        return WorklistClass.UPGRADED
    if not complete or not outcomes:
        return WorklistClass.NEEDS_ATTENTION
    if Outcome.MAINTAINED in outcomes:
        return WorklistClass.MAINTAINED
    if Outcome.NOT_APPLICABLE in outcomes:
        return WorklistClass.NOT_APPLICABLE
    return WorklistClass.DOWNGRADED


def place(
    outcomes: Collection[Outcome], *, complete: bool, priority: Priority, malignant_probability: float | None
) -> WorklistPlace:
    """Place an ended study: by class, then priority, then the higher malignant probability.

    Args:
        outcomes: one outcome for each lesion that was scored.
        complete: every lesion of the study was scored.
        priority: the sender's.
        malignant_probability: the highest DLR_BM probability among the study's lesions, 0 to 1; ``None`` when none
            was scored. What is not known is not small: it stands first in its class and priority.

    Returns:
        The place. Studies with an equal ``order`` are read in the order of their arrival.

    Raises:
        ValueError: the probability is not within 0 to 1.
    """
    if malignant_probability is not None and not 0.0 <= malignant_probability <= 1.0:
        raise ValueError("a probability lies within 0 and 1")
    kind = worklist_class(outcomes, complete=complete)
    rest = 0
    if malignant_probability is not None:
        rest = 1 + round((1.0 - malignant_probability) * _PROBABILITY_STEPS)
    return WorklistPlace(kind, (kind * 10 + _PRIORITY_RANK[priority]) * _RANKS + rest)


def step_priority(kind: WorklistClass, priority: Priority) -> StepPriority:
    """Say how urgent it is to read a study, in the three levels that DICOM has for a work item.

    HIGH: the sender wants it soon (stat or urgent), or a lesion was upgraded. LOW: every lesion was downgraded, and
    nobody is in a hurry. MEDIUM: all others, and so what was not scored: it is not known to be small.
    """
    if priority is not Priority.ROUTINE or kind is WorklistClass.UPGRADED:
        return StepPriority.HIGH
    return StepPriority.LOW if kind is WorklistClass.DOWNGRADED else StepPriority.MEDIUM
