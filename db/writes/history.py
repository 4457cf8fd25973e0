"""The append-only history of each study."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from db.schema.vocabulary import Event
from db.storable import storable_json
from db.writes.rows import Write, as_json, write_all

_INSERT_EVENTS = """
    INSERT INTO study_event (study_id, event, detail)
    SELECT study_id, event, detail FROM json_populate_recordset(NULL::study_event, CAST(:events AS json))
"""

Entry = tuple[UUID, Event, Mapping[str, Any]]
"""A study, what happened to it, and the detail: JSON without identifiers."""


def note(session: Session, study_id: UUID, event: Event, detail: Mapping[str, Any] | None = None) -> None:
    """Add one line to a study's history. ``detail`` is JSON and holds no identifiers."""
    note_all(session, [(study_id, event, detail or {})])


def note_all(session: Session, entries: Iterable[Entry]) -> None:
    """Add a line to the history of each of several studies."""
    rows = [entry_values(*entry) for entry in entries]
    if rows:
        write_all(session, [lines_of(rows)])


def lines_of(rows: Sequence[Mapping[str, Any]]) -> Write:
    """Return what adds lines to histories, as `entry_values` has them."""
    return _INSERT_EVENTS, {"events": as_json(rows)}


def entry_values(study_id: UUID, event: Event, detail: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of a study's history as a row of its table."""
    stored = {name: storable_json(part) for name, part in detail.items() if part is not None}
    return {"study_id": study_id, "event": event.value, "detail": stored}
