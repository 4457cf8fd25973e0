"""What became of a study's 4A lesions, in one word: the column ``worklist_class``.

The tiers of ``outcome/1`` are the same in a policy's language; a test holds both against all that a study can hold.
"""

from collections.abc import Collection
from enum import IntEnum

from worker.clinical.categories import Outcome


class WorklistClass(IntEnum):
    """The classes, in the order in which ``outcome/1`` reads them."""

    UPGRADED = 1
    NEEDS_ATTENTION = 2
    MAINTAINED = 3
    NOT_APPLICABLE = 4
    DOWNGRADED = 5


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
