"""The lesions of a study that end or begin anew together, and their images with them."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.schema.images import MarkedImageRow
from db.schema.tables import LesionRow
from db.schema.vocabulary import LesionState


def move_lesions(
    session: Session, study_id: UUID, before: LesionState, after: LesionState, *, code: str | None, reason: str | None
) -> None:
    """Move those lesions of a study, and those images of them, that are in one state to another.

    An image that could not be scored, of a lesion that was, stays as it is.

    Args:
        session: the caller commits.
        study_id: the ledger's.
        before: the state of those that move.
        after: their state then.
        code: why they failed.
        reason: the same, as a sentence.
    """
    of_study = select(LesionRow.id).where(LesionRow.study_id == study_id, LesionRow.state == before)
    said = {"state": after, "error_code": code, "error_reason": reason}
    for row, where in (
        (MarkedImageRow, MarkedImageRow.lesion_id.in_(of_study)),
        (LesionRow, LesionRow.study_id == study_id),
    ):
        moved = update(row).where(where, row.state == before).values(said)
        session.execute(moved.execution_options(synchronize_session=False))
