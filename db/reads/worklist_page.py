"""Every read of the worklist page, from views alone: as the role ``dlr_web``."""

from dataclasses import fields
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, column, func, select, table
from sqlalchemy.orm import Session

from db.reads.study_records import FailedRow, WorklistRow
from db.reads.worklist_page_records import (
    HistoryRow,
    LesionImageRow,
    LesionResultRow,
    WaitingRow,
    WorklistFilter,
    WorklistPart,
    WorklistState,
)
from db.storable import looked_for


def excerpt(session: Session, wanted: WorklistFilter, size: int, behind: int = 0) -> WorklistPart:
    """Return up to ``size`` wanted rows of the worklist that stand behind a position, in the view's order.

    Args:
        session: of a role that reads the view ``worklist``.
        wanted: which rows.
        size: rows at most.
        behind: a position, 0 for the beginning.
    """
    place: ColumnElement[int] = column("position")
    wanted_places = select(place).select_from(table("worklist_place")).where(place > behind, *_conditions(wanted))
    places = session.scalars(wanted_places.order_by(place).limit(size + 1)).all()
    # By their places and not by LIMIT, under which PostgreSQL sums up every study before it sorts them.
    rows = session.execute(_rows_of("worklist", WorklistRow).where(place.in_(places[:size])).order_by(place))
    return WorklistPart(tuple(WorklistRow(*row) for row in rows), len(places) > size)


def listed(session: Session, study_id: UUID) -> WorklistRow | None:
    """Return a study's row of the worklist; ``None`` for one that is not on it."""
    row = session.execute(_rows_of("worklist", WorklistRow).where(column("study_id") == study_id)).one_or_none()
    return None if row is None else WorklistRow(*row)


def waiting(session: Session, study_id: UUID) -> WaitingRow | None:
    """Return a study that has not ended; ``None`` for any other."""
    row = session.execute(_rows_of("waiting_study", WaitingRow).where(column("study_id") == study_id)).one_or_none()
    return None if row is None else WaitingRow(*row)


def waiting_like(session: Session, accession_number: str, limit: int) -> list[WaitingRow]:
    """Return studies that have not ended and whose accession number has this part, ``limit`` at most."""
    query = _rows_of("waiting_study", WaitingRow).where(_has_part(accession_number)).limit(limit)
    return [WaitingRow(*row) for row in session.execute(query)]


def named(session: Session, accession_number: str, study_instance_uid: str) -> list[UUID]:
    """Return the current studies of an accession number or, where it is empty, of a Study Instance UID; two at most."""
    name = "accession_number" if accession_number else "study_instance_uid"
    value = accession_number or study_instance_uid
    study_id: ColumnElement[UUID] = column("study_id")
    views = ["worklist", "waiting_study"] if accession_number else ["worklist"]
    found = [
        session.scalars(select(study_id).select_from(table(view)).where(column(name) == looked_for(value)).limit(2))
        for view in views
    ]
    return list(dict.fromkeys(one for studies in found for one in studies))[:2]


def refused(session: Session, limit: int, accession_number: str | None = None) -> list[FailedRow]:
    """Return messages that could not be a study, the latest first, ``limit`` at most.

    Args:
        session: of a role that reads the view ``failed_study``.
        limit: of messages.
        accession_number: only those whose number has this part.
    """
    query = _rows_of("failed_study", FailedRow).where(column("refused"))
    if accession_number is not None:
        query = query.where(_has_part(accession_number))
    query = query.order_by(column("received_at").desc(), column("study_id")).limit(limit)
    return [FailedRow(*row) for row in session.execute(query)]


def worklist_state(session: Session) -> WorklistState:
    """Return how many studies are listed and wait, and when the list last changed."""
    return WorklistState(*session.execute(_rows_of("worklist_state", WorklistState)).one())


def lesions(session: Session, study_id: UUID) -> list[LesionResultRow]:
    """Return the lesions of a current study, in the sender's order."""
    query = _rows_of("lesion_result", LesionResultRow).where(column("study_id") == study_id)
    return [LesionResultRow(*row) for row in session.execute(query.order_by(column("ordinal")))]


def lesion_image(session: Session, study_id: UUID, ordinal: int) -> LesionImageRow | None:
    """Return where the image of a lesion is; ``None`` where its region is not known, or it is not there."""
    query = _rows_of("lesion_image", LesionImageRow).where(column("study_id") == study_id, column("ordinal") == ordinal)
    row = session.execute(query).one_or_none()
    return None if row is None else LesionImageRow(*row)


def pictured(session: Session, study_id: UUID) -> set[int]:
    """Return the ordinals of a study's lesions whose image is in the storage."""
    ordinal: ColumnElement[int] = column("ordinal")
    return set(
        session.scalars(select(ordinal).select_from(table("lesion_image")).where(column("study_id") == study_id))
    )


def history(session: Session, study_id: UUID) -> list[HistoryRow]:
    """Return all that happened to a study, oldest first."""
    query = _rows_of("study_history", HistoryRow).where(column("study_id") == study_id).order_by(column("line"))
    return [HistoryRow(*row) for row in session.execute(query)]


def _conditions(wanted: WorklistFilter) -> list[ColumnElement[bool]]:
    words = {"worklist_class": wanted.worklist_class, "state": wanted.state, "priority": wanted.priority}
    conditions: list[ColumnElement[bool]] = [column(name) == word for name, word in words.items() if word is not None]
    if wanted.accession_number is not None:
        conditions.append(_has_part(wanted.accession_number))
    return conditions


def _has_part(accession_number: str) -> ColumnElement[bool]:
    part = func.lower(looked_for(accession_number))
    return func.strpos(func.lower(column("accession_number")), part) > 0


def _rows_of(view: str, record: type[Any]) -> "Select[*tuple[Any, ...]]":
    columns: list[ColumnElement[Any]] = [column(field.name) for field in fields(record)]
    return select(*columns).select_from(table(view))
