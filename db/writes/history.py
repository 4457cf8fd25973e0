"""The append-only history of each study."""

from collections.abc import Iterable, Mapping
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, insert
from sqlalchemy.orm import Session

from db.schema.tables import StudyEventRow
from db.schema.vocabulary import Event
from db.storable import storable_json

_EVENTS = cast("Table", StudyEventRow.__table__)
_INSERT_EVENT = insert(_EVENTS)

Entry = tuple[UUID, Event, Mapping[str, Any]]
"""A study, what happened to it, and the detail: JSON without identifiers."""


def note(session: Session, study_id: UUID, event: Event, detail: Mapping[str, Any] | None = None) -> None:
    """Add one line to a study's history. ``detail`` is JSON and holds no identifiers."""
    note_all(session, [(study_id, event, detail or {})])


def note_all(session: Session, entries: Iterable[Entry]) -> None:
    """Add a line to the history of each of several studies."""
    rows = [
        {
            "study_id": study_id,
            "event": event.value,
            "detail": {name: storable_json(part) for name, part in detail.items() if part is not None},
        }
        for study_id, event, detail in entries
    ]
    if rows:
        session.execute(_INSERT_EVENT, rows)
