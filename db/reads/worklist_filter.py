"""Which places of the worklist a filter wants, in the order of reading: for `db.reads.worklist_page`."""

from collections.abc import Sequence
from datetime import datetime
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    CompoundSelect,
    DateTime,
    Select,
    Text,
    Uuid,
    and_,
    column,
    func,
    literal,
    or_,
    select,
    table,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from db.reads.worklist_page_records import WorklistFilter
from db.schema.vocabulary import OPEN_STATES
from db.storable import looked_for

SEARCHED = 100_000
"""Studies among which a part of an accession number is searched for; in a longer list its beginning or end is."""

PLACES = table("worklist_place")
RANGES = table("worklist_range", *map(column, ("tier_number", "priority_word", "places")))
STUDY_ID: ColumnElement[UUID] = column("study_id", Uuid())
PLACE_ORDER: ColumnElement[int] = column("place_order", BigInteger())
ORDER: tuple[ColumnElement[Any], ...] = (
    column("is_read", Boolean()),
    PLACE_ORDER,
    column("arrived_at", DateTime(timezone=True)),
    STUDY_ID,
)
_ALL = (-1, -1)
_LAST = "\U0010ffff"


def places(
    session: Session,
    wanted: WorklistFilter,
    limit: int,
    *columns: ColumnElement[Any],
    is_long: bool,
    last: tuple[Any, ...] | None = None,
) -> Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]:
    """Query the first ``limit`` places that are wanted, or those behind a last one, in the order of reading.

    First those that are to be read, then the others, and of each the ranges of the tier and the priority: within one,
    every filter has an index in this order. The view is in it too; PostgreSQL, asked for an order of what comes through
    a barrier, would sort all of it.
    """
    parts = []
    for read, span in product((False, True) if wanted.read is None else (wanted.read,), _ranges(session, wanted)):
        part = select(*columns).select_from(PLACES).where(*_conditions(wanted, read=read, is_long=is_long))
        if span != _ALL:
            part = part.where(span[0] <= PLACE_ORDER, span[1] > PLACE_ORDER)
        if last is not None:
            part = part.where(tuple_(*ORDER[1:]) > last[1:] if read == last[0] else literal(read > last[0]))
        parts.append(part.limit(limit))
    return parts[0] if len(parts) == 1 else union_all(*parts).limit(limit)


def _ranges(session: Session, wanted: WorklistFilter) -> Sequence[tuple[int, int]]:
    """Return the places that a tier and a priority have, in their order: the first and the one behind the last."""
    words = {"tier_number": wanted.tier, "priority_word": wanted.priority}
    conditions = [RANGES.c[name] == word for name, word in words.items() if word is not None]
    if not conditions:
        return [_ALL]
    spans = merged_ranges().where(*conditions).subquery()
    query = select(func.lower(spans.c.span), func.upper(spans.c.span)).order_by(func.lower(spans.c.span))
    return [(row[0], row[1]) for row in session.execute(query)] or [(0, 0)]


def merged_ranges(*columns: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    """Query columns of `RANGES`, and as ``span`` the ranges of places of their rows, joined where they meet."""
    return select(*columns, func.unnest(func.range_agg(RANGES.c.places)).label("span"))


def _conditions(wanted: WorklistFilter, *, read: bool, is_long: bool) -> list[ColumnElement[bool]]:
    waits = wanted.state in OPEN_STATES
    words = {
        "class_word": wanted.worklist_class,
        "state_word": "waiting" if waits else wanted.state,
        "state": wanted.state if waits else None,
        "priority_word": wanted.priority,
        "site": wanted.site,
        "scanner_model": wanted.scanner_model,
        "is_read": read,
    }
    conditions: list[ColumnElement[bool]] = [column(name) == word for name, word in words.items() if word is not None]
    received: ColumnElement[datetime] = column("received_at")
    if wanted.received_from is not None:
        conditions.append(received >= wanted.received_from)
    if wanted.received_before is not None:
        conditions.append(received < wanted.received_before)
    if wanted.laterality is not None:
        conditions.append(column("laterality_word").in_((wanted.laterality, "both")))
    if wanted.accession_number is not None:
        number = wanted.accession_number
        conditions.append(_begins_or_ends(number) if is_long else has_part(number))
    return conditions


def is_long(session: Session) -> bool:
    """Say whether the list is longer than what is searched for a part of a number."""
    return session.scalar(select(literal(1)).select_from(PLACES).offset(SEARCHED).limit(1)) is not None


def _begins_or_ends(number: str) -> ColumnElement[bool]:
    part = func.lower(looked_for(number), type_=Text())
    forwards: ColumnElement[str] = column("number_forwards")
    backwards: ColumnElement[str] = column("number_backwards")
    sides = ((forwards, part), (backwards, func.reverse(part, type_=Text())))
    # By bytes, whatever the database's collation is.
    return or_(*(and_(side.op("~>=~")(begins), side.op("~<~")(func.concat(begins, _LAST))) for side, begins in sides))


def has_part(accession_number: str) -> ColumnElement[bool]:
    """Return the condition that an accession number has this part, whatever its letters' case."""
    part = func.lower(looked_for(accession_number))
    return func.strpos(func.lower(column("accession_number")), part) > 0
