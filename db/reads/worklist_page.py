"""Every read of the worklist page, from views alone: as the role ``dlr_web``."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Text,
    column,
    func,
    literal,
    select,
    table,
    true,
    tuple_,
)
from sqlalchemy.orm import Session

from db.reads.study_records import FailedRow
from db.reads.view_rows import rows_of
from db.reads.worklist_filter import (
    ORDER,
    PLACES,
    RANGES,
    STUDY_ID,
    has_part,
    is_long,
    merged_ranges,
    places,
)
from db.reads.worklist_page_records import (
    HistoryRow,
    ImageResultRow,
    LesionImageRow,
    LesionResultRow,
    ListedRow,
    ListedState,
    TierCount,
    WaitingRow,
    WorklistChoices,
    WorklistFilter,
    WorklistPart,
    WorklistState,
)
from db.storable import looked_for

COUNTED = 10_000
"""Places and studies that are counted exactly: no question counts the whole list."""

_STANDS = tuple_(*ORDER[1:])
"""A place among the studies that are, or that are not, read."""


def excerpt(session: Session, wanted: WorklistFilter, size: int, behind: UUID | None = None) -> WorklistPart:
    """Return up to ``size`` wanted rows of the worklist, in reading order.

    Args:
        session: of the role ``dlr_web``.
        wanted: which rows.
        size: rows at most.
        behind: only those that stand behind this study; ``None``, or one that is not on the list: from the beginning.
    """
    last = None if behind is None else _place(session, behind)
    ends_only = wanted.accession_number is not None and is_long(session)
    found = session.scalars(places(session, wanted, size + 1, STUDY_ID, is_long=ends_only, last=last)).all()
    begins_anew = behind is not None and last is None
    is_beginning = last is None and wanted == WorklistFilter()
    rows = _rows(session, found[:size], dict(zip(found, count(1))) if is_beginning else None)
    return WorklistPart(tuple(rows), len(found) > size, begins_anew, ends_only=ends_only)


_NAMES = ("accession_number", "study_instance_uid")

SORTED_BY = {
    "received": "received_at",
    "accession": "accession_number",
    "priority": "priority",
    "scanner": "scanner_model",
}
"""What the worklist can be sorted by beside its own order, and the column for it."""


def sorted_excerpt(session: Session, wanted: WorklistFilter, by: str, size: int, skip: int) -> WorklistPart:
    """Return wanted rows in another order than that of reading, of those that stand first in it.

    Args:
        session: of the role ``dlr_web``.
        wanted: which rows; of these the first 10,000 in reading order are sorted.
        by: one of `SORTED_BY`; the latest is first, of everything else the lowest.
        size: rows at most.
        skip: rows before them.
    """
    key: ColumnElement[Any] = column(SORTED_BY[by])
    ends_only = wanted.accession_number is not None and is_long(session)
    first = places(session, wanted, COUNTED, key, *ORDER, is_long=ends_only).subquery()
    value = first.c[SORTED_BY[by]]
    order = [
        (value.desc() if by == "received" else value.asc()).nulls_last(),
        *(first.c[str(one.key)] for one in ORDER),
    ]
    query = select(first.c.study_id).order_by(*order).offset(skip).limit(size + 1)
    found: Sequence[UUID] = session.scalars(query).all()
    return WorklistPart(tuple(_rows(session, found[:size])), len(found) > size, ends_only=ends_only)


def choices(session: Session) -> WorklistChoices:
    """Return the sites and scanners of the studies that stand first."""
    site, scanner = (column(name, Text()) for name in ("site", "scanner_model"))
    first = select(site, scanner).select_from(PLACES).limit(COUNTED // 10).subquery()
    found = session.execute(select(first.c.site, first.c.scanner_model).distinct()).all()
    return WorklistChoices(*(tuple(sorted({row[place] for row in found if row[place]})) for place in (0, 1)))


def at_place(session: Session, place: int) -> UUID | None:
    """Return the study at a place of the list; ``None`` for a place beyond those that are counted."""
    query = select(STUDY_ID).select_from(table("worklist_position")).where(column("position") == place)
    return session.scalar(query)


def listed(session: Session, study_id: UUID) -> ListedRow | None:
    """Return a study's row of the worklist; ``None`` for one that is not on it."""
    return next(iter(_rows(session, [study_id])), None)


def listed_state(session: Session, study_id: UUID) -> ListedState | None:
    """Return how far a study of the worklist is; ``None`` for one that is not on it. No lesion and no place is read."""
    row = session.execute(rows_of("listed_study", ListedState).where(column("study_id") == study_id)).one_or_none()
    return None if row is None else ListedState(*row)


def beside(session: Session, study_id: UUID) -> tuple[UUID | None, UUID | None]:
    """Return the studies that stand right before and right behind one among those that are, or are not, read."""
    place = _place(session, study_id)
    if place is None:
        return None, None
    before = _first_of(session, "worklist_backwards", place[1:] > _STANDS, is_read=place[0])
    return before, _first_of(session, "worklist_place", place[1:] < _STANDS, is_read=place[0])


def next_to_read(session: Session, study_id: UUID) -> UUID | None:
    """Return the first unread study behind one, which may be read itself; ``None`` where there is none."""
    place = _place(session, study_id)
    return None if place is None else _first_of(session, "worklist_place", place[1:] < _STANDS, is_read=False)


def tier_counts(session: Session) -> list[TierCount]:
    """Return the tiers of the active policy in their order, and how many studies in each are to be read."""
    spans = merged_ranges(RANGES.c.tier_number).group_by(RANGES.c.tier_number).subquery("spans")
    places = table("worklist_place", *map(column, ("is_read", "place_order"))).alias("places")
    is_within = (places.c.place_order >= func.lower(spans.c.span), places.c.place_order < func.upper(spans.c.span))
    # Beside each range, so that its ends reach the index through the barrier.
    to_read = select(literal(1)).where(~places.c.is_read, *is_within).limit(COUNTED + 1).correlate(spans).lateral()
    counted = (
        select(spans.c.tier_number, func.least(func.count(), COUNTED + 1).label("studies"))
        .select_from(spans.join(to_read, true()))
        .group_by(spans.c.tier_number)
        .subquery("counted")
    )
    tiers = table("reading_order_tier", *map(column, ("tier_number", "tier", "tier_title")))
    rows = session.execute(
        select(tiers, func.coalesce(counted.c.studies, 0))
        .outerjoin(counted, counted.c.tier_number == tiers.c.tier_number)
        .order_by(tiers.c.tier_number)
    )
    return [TierCount(*row) for row in rows]


def waiting(session: Session, study_id: UUID) -> WaitingRow | None:
    """Return a study that has not ended; ``None`` for any other."""
    row = session.execute(rows_of("waiting_study", WaitingRow).where(column("study_id") == study_id)).one_or_none()
    return None if row is None else WaitingRow(*row)


def named(session: Session, name: str) -> list[UUID]:
    """Return the listed studies of an accession number or a Study Instance UID."""
    places = select(STUDY_ID).select_from(PLACES).limit(COUNTED)
    found = [session.scalars(places.where(column(one) == looked_for(name))).all() for one in _NAMES]
    return list(dict.fromkeys(one for studies in found for one in studies))


def searched(session: Session, text: str, size: int) -> WorklistPart:
    """Return up to ``size`` listed studies, read or not, in reading order.

    Those whose accession number or Study Instance UID is this text; where there is none, those with a lesion of this
    id; and where there is none either, those whose accession number has it as a part.
    """
    of_lesion = select(STUDY_ID).select_from(table("lesion_result")).where(column("lesion_id") == looked_for(text))
    ids = named(session, text) or session.scalars(of_lesion.limit(COUNTED)).all()
    places = select(STUDY_ID).select_from(PLACES).where(STUDY_ID.in_(ids)).order_by(*ORDER).limit(size + 1)
    found = session.scalars(places).all() if ids else []
    if not found:
        return excerpt(session, WorklistFilter(accession_number=text, read=None), size)
    return WorklistPart(tuple(_rows(session, found[:size])), len(found) > size)


def refused(session: Session, limit: int, accession_number: str | None = None) -> list[FailedRow]:
    """Return messages that could not be a study, the latest first, ``limit`` at most.

    Args:
        session: of a role that reads the view ``failed_study``.
        limit: of messages.
        accession_number: only those whose number has this part.
    """
    query = rows_of("failed_study", FailedRow).where(column("refused"))
    if accession_number is not None:
        query = query.where(has_part(accession_number))
    query = query.order_by(column("received_at").desc(), column("study_id")).limit(limit)
    return [FailedRow(*row) for row in session.execute(query)]


def failed(session: Session, study_id: UUID) -> FailedRow | None:
    """Return a study that failed, or a message that could not be one, by its id; ``None`` for any other."""
    row = session.execute(rows_of("failed_study", FailedRow).where(column("study_id") == study_id)).one_or_none()
    return None if row is None else FailedRow(*row)


def worklist_state(session: Session) -> WorklistState:
    """Return how many studies are listed and wait, and when the list last changed."""
    return WorklistState(*session.execute(rows_of("worklist_state", WorklistState)).one())


def lesions(session: Session, study_id: UUID) -> list[LesionResultRow]:
    """Return the lesions of a current study, in the sender's order."""
    query = rows_of("lesion_result", LesionResultRow).where(column("study_id") == study_id)
    return [LesionResultRow(*row) for row in session.execute(query.order_by(column("ordinal")))]


def images(session: Session, study_id: UUID) -> list[ImageResultRow]:
    """Return the images of the lesions of a current study, in the sender's order."""
    query = rows_of("image_result", ImageResultRow).where(column("study_id") == study_id)
    return [ImageResultRow(*row) for row in session.execute(query.order_by(column("ordinal"), column("image")))]


def lesion_image(session: Session, study_id: UUID, ordinal: int, image: int) -> LesionImageRow | None:
    """Return where an image of a lesion is; ``None``: its region is not known, or there is no such image."""
    places = {"study_id": study_id, "ordinal": ordinal, "image": image}
    query = rows_of("lesion_image", LesionImageRow).where(*(column(name) == value for name, value in places.items()))
    row = session.execute(query).one_or_none()
    return None if row is None else LesionImageRow(*row)


def pictured(session: Session, study_id: UUID) -> set[tuple[int, int]]:
    """Return which images of a study's lesions are in the storage, by lesion and image."""
    ordinal: ColumnElement[int] = column("ordinal")
    image: ColumnElement[int] = column("image")
    query = select(ordinal, image).select_from(table("lesion_image")).where(column("study_id") == study_id)
    return {(one.ordinal, one.image) for one in session.execute(query)}


def history(session: Session, study_id: UUID) -> list[HistoryRow]:
    """Return all that happened to a study, oldest first."""
    query = rows_of("study_history", HistoryRow).where(column("study_id") == study_id).order_by(column("line"))
    return [HistoryRow(*row) for row in session.execute(query)]


def _place(session: Session, study_id: UUID) -> tuple[Any, ...] | None:
    row = session.execute(select(*ORDER).select_from(PLACES).where(column("study_id") == study_id)).one_or_none()
    return None if row is None else tuple(row)


def _first_of(session: Session, view: str, where: ColumnElement[bool], *, is_read: bool) -> UUID | None:
    """Return the first study of a view of places that stands so, among those that are, or are not, read."""
    query = select(STUDY_ID).select_from(table(view)).where(column("is_read") == is_read, where)
    return session.scalar(query.limit(1))


def _rows(session: Session, study_ids: Sequence[UUID], positions: Mapping[UUID, int] | None = None) -> list[ListedRow]:
    """Return the rows of studies in the order given, those that are on the list; known positions are not counted."""
    names = [field.name for field in fields(ListedRow)][1:]
    columns: list[ColumnElement[Any]] = [column(name) for name in names]
    query = select(*columns).select_from(table("listed_study")).where(STUDY_ID.in_(study_ids))
    rows: dict[UUID, Any] = {row.study_id: row for row in session.execute(query)}
    if positions is None:
        place: ColumnElement[int] = column("position")
        counted = select(STUDY_ID, place).select_from(table("worklist_position")).where(STUDY_ID.in_(study_ids))
        positions = {row.study_id: row.position for row in session.execute(counted)}
    return [ListedRow(positions.get(one), *rows[one]) for one in study_ids if one in rows]
