"""The append-only history of each study."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.orm import Session

from db.models import StudyEventRow
from db.storable import storable_json
from db.vocabulary import Event


def note(session: Session, study_id: UUID, event: Event, detail: Mapping[str, Any] | None = None) -> None:
    """Add one line to a study's history. ``detail`` is JSON and holds no identifiers."""
    parts = {name: storable_json(part) for name, part in (detail or {}).items() if part is not None}
    session.execute(insert(StudyEventRow).values(study_id=study_id, event=event.value, detail=parts))
