"""The rule of the worklist (`worker.clinical.priority`) in the ledger's words."""

from db.schema.records import Place, Standing
from worker.clinical.categories import Outcome, Priority
from worker.clinical.priority import place


def place_of(standing: Standing) -> Place:
    """Return the worklist class and order of a study that has ended."""
    at = place(
        [Outcome(outcome) for outcome in standing.outcomes],
        complete=standing.complete,
        priority=Priority(standing.priority),
        malignant_probability=standing.malignant_probability,
    )
    return at.worklist_class.name.lower(), at.order


def place_of_failed(priority: str) -> Place:
    """Return the worklist class and order of a study of which nothing was scored."""
    return place_of(Standing((), complete=False, priority=priority, malignant_probability=None))
