"""The rule of the worklist (`worker.clinical.reading_order.outcome_class`) in the ledger's words."""

from db.schema.records import Place, WorklistKey
from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.outcome_class import place


def place_of(key: WorklistKey) -> Place:
    """Return the worklist class and order of a study that has ended."""
    at = place(
        [Outcome(outcome) for outcome in key.outcomes],
        complete=key.complete,
        priority=Priority(key.priority),
        malignant_probability=key.malignant_probability,
    )
    return at.worklist_class.name.lower(), at.order


def place_of_failed(priority: str) -> Place:
    """Return the worklist class and order of a study of which nothing was scored."""
    return place_of(WorklistKey((), complete=False, priority=priority, malignant_probability=None))
