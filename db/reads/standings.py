"""What the places of studies are computed from."""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    Table,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    exists,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.orm import Session

from db.schema.tables import LesionRow, PredictionRow, RestratificationRow, StudyEventRow, StudyRow
from db.schema.vocabulary import OPEN_STATES, Event, StudyState
from db.schema.worklist import WorklistEntryRow
from db.schema.worklist_records import LesionStanding, ListedStanding, StudyStanding

_STUDIES, _LESIONS, _ADVICE, _EVENTS, _ENTRIES = (
    cast("Table", row.__table__) for row in (StudyRow, LesionRow, RestratificationRow, StudyEventRow, WorklistEntryRow)
)
_PREDICTIONS = cast("Table", PredictionRow.__table__)
_LH, _BM = _PREDICTIONS.alias("lh"), _PREDICTIONS.alias("bm")

WAITING = "waiting"
"""The state of a listed study that has no result yet, or not the one that it waits for."""

_NOT_PUT_ASIDE = or_(_STUDIES.c.discarded_at.is_(None), _STUDIES.c.state != StudyState.FAILED)
LISTED = and_(_STUDIES.c.is_current, _STUDIES.c.study_instance_uid.is_not(None), _NOT_PUT_ASIDE)
"""A study belongs on the worklist: it is one, it is current, and nobody has put its failure aside."""

STATE = case((_STUDIES.c.state.in_(OPEN_STATES), WAITING), else_=_STUDIES.c.state.cast(Text))
"""A study's state, as the worklist is filtered by it."""

COPIED: dict[str, ColumnElement[Any]] = {
    "state": STATE,
    **{name: _STUDIES.c[name].cast(Text) for name in ("priority", "worklist_class", "laterality")},
    **{name: _STUDIES.c[name] for name in ("site", "scanner_model", "received_at")},
}
"""What a place repeats of its study, by its own columns: the worklist is filtered by places alone."""

# The scores of a lesion that waits again are not its result.
_ENDED = _STUDIES.c.state.not_in(OPEN_STATES)
_ASKED = any_(bindparam("ids", type_=ARRAY(Uuid())))
_OTHERS = _STUDIES.alias("other")


def _lesions_of(studies: FromClause, study_id: ColumnElement[UUID], counts: ColumnElement[bool]) -> FromClause:
    """Join studies with their lesions, and with the current advice of those for which it counts."""
    advice = and_(_ADVICE.c.lesion_id == _LESIONS.c.id, _ADVICE.c.is_current, counts)
    return (
        studies.outerjoin(_LESIONS, _LESIONS.c.study_id == study_id)
        .outerjoin(_ADVICE, advice)
        .outerjoin(_LH, _LH.c.id == _ADVICE.c.lh_prediction_id)
        .outerjoin(_BM, _BM.c.id == _ADVICE.c.bm_prediction_id)
    )


_OF_LESION: tuple[ColumnElement[Any], ...] = (
    _LESIONS.c.lesion_id,
    _LESIONS.c.birads.cast(Text),
    _LESIONS.c.state.cast(Text).label("lesion_state"),
    _ADVICE.c.outcome.cast(Text),
    _LH.c.positive.label("high_risk"),
    _BM.c.positive.label("malignant"),
    _LH.c.positive_probability.label("high_risk_probability"),
    _BM.c.positive_probability.label("malignant_probability"),
)
_OF_STUDY = (
    _STUDIES.c.id,
    _STUDIES.c.priority.cast(Text),
    _STUDIES.c.state.cast(Text),
    _STUDIES.c.revision,
    LISTED.label("listed"),
    _STUDIES.c.received_at,
    _STUDIES.c.read_tier,
)
_FACTS = (
    select(*_OF_STUDY, *_OF_LESION)
    .select_from(_lesions_of(_STUDIES, _STUDIES.c.id, _ENDED))
    .where(_STUDIES.c.id == _ASKED)
    .order_by(_STUDIES.c.id, _LESIONS.c.ordinal)
)

_QUEUED_AGAIN = _EVENTS.c.study_id == _STUDIES.c.id, _EVENTS.c.event == Event.REQUEUED
_WAS_QUEUED_AGAIN = exists().where(*_QUEUED_AGAIN)
MAY_KEEP_ITS_PLACE = and_(LISTED, _STUDIES.c.state.in_(OPEN_STATES), or_(_STUDIES.c.revision > 1, _WAS_QUEUED_AGAIN))
"""A study waits for its next result, and may have the place of its last one."""

_ENDED_AS = (
    select(_EVENTS.c.detail["from"].astext)
    .where(*_QUEUED_AGAIN)
    .order_by(_EVENTS.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_LAST = (
    select(_STUDIES.c.id, case((_ENDED, _STUDIES.c.state.cast(Text)), else_=_ENDED_AS).label("ended_as"))
    .where(
        _STUDIES.c.study_instance_uid == _OTHERS.c.study_instance_uid,
        _STUDIES.c.revision <= _OTHERS.c.revision,
        _NOT_PUT_ASIDE,
        or_(_ENDED, _WAS_QUEUED_AGAIN),
    )
    .order_by(_STUDIES.c.revision.desc())
    .limit(1)
    .correlate(_OTHERS)
    .lateral("last")
)
_FORMER = (
    select(_OTHERS.c.id.label("asked"), _LAST.c.ended_as, *_OF_STUDY, *_OF_LESION)
    .select_from(
        _lesions_of(_OTHERS.join(_LAST, true()).join(_STUDIES, _STUDIES.c.id == _LAST.c.id), _STUDIES.c.id, true())
    )
    .where(_OTHERS.c.id == _ASKED)
    .order_by(_OTHERS.c.id, _LESIONS.c.ordinal)
)

_REPLACED = (
    select(_ENTRIES.c.study_id)
    .distinct()
    .join(_STUDIES, _STUDIES.c.id == _ENTRIES.c.study_id)
    .join(_OTHERS, _OTHERS.c.study_instance_uid == _STUDIES.c.study_instance_uid)
    .where(_OTHERS.c.id == _ASKED, _STUDIES.c.revision < _OTHERS.c.revision)
)

_PAGE: Select[Any] = (
    select(
        _STUDIES.c.id,
        _STUDIES.c.received_at,
        _STUDIES.c.id.cast(Text).label("study_id"),
        _STUDIES.c.read_at.is_not(None).label("is_read"),
        *(column.cast(Text).label(f"own_{name}") for name, column in COPIED.items()),
    )
    .where(LISTED)
    .order_by(_STUDIES.c.received_at, _STUDIES.c.id)
    .limit(bindparam("size"))
)
_BEHIND = tuple_(_STUDIES.c.received_at, _STUDIES.c.id) > tuple_(
    bindparam("received_at", type_=Text()).cast(DateTime(timezone=True)),
    bindparam("id", type_=Text()).cast(Uuid()),
)


def _page(page: Select[Any]) -> Select[Any]:
    studies = page.cte("page").prefix_with("MATERIALIZED")
    own = (column for column in studies.c if column.key not in ("id", "received_at"))
    return (
        select(*own, *_OF_LESION)
        .select_from(_lesions_of(studies, studies.c.id, studies.c.own_state != WAITING))
        .order_by(studies.c.received_at, studies.c.id, _LESIONS.c.ordinal)
    )


_FIRST_PAGE, _NEXT_PAGE = _page(_PAGE), _page(_PAGE.where(_BEHIND))
_OWN = 2 + len(COPIED)
_PLANS = ["enable_hashjoin", "enable_mergejoin"]


def standings(session: Session, study_ids: Collection[UUID]) -> list[StudyStanding]:
    """Return what studies are placed by, those that are on record, by id.

    Args:
        session: of ``dlr_writer``.
        study_ids: the ledger's.
    """
    rows = session.execute(_FACTS, {"ids": list(study_ids)}).all()
    return [_standing(list(of_study)) for _, of_study in groupby(rows, key=lambda row: row.id)]


def former_standings(session: Session, study_ids: Collection[UUID]) -> dict[UUID, StudyStanding]:
    """Return what the last results of studies that wait for their next one are placed by.

    That is the last result of the study itself, which is scored again, or of the latest revision that has one; a
    study without either is left out.
    """
    rows = session.execute(_FORMER, {"ids": list(study_ids)}).all()
    return {
        asked: _as_ended(_standing([row[2:] for row in of_study]), ended_as)
        for (asked, ended_as), of_study in groupby(rows, key=lambda row: row[:2])
    }


def replaced_on_list(session: Session, study_ids: Collection[UUID]) -> set[UUID]:
    """Return the earlier revisions of studies that still have a place."""
    return set(session.scalars(_REPLACED, {"ids": list(study_ids)}))


def listed_standings(session: Session, size: int) -> Iterator[list[ListedStanding]]:
    """Yield what every listed study is placed by, in the order of arrival, ``size`` studies at a time.

    Each page is as the studies are when it is read. A study that arrives meanwhile may be missing.
    """
    # Of a page's few rows, each is looked up; a plan that reads all lesions for each page is far slower.
    session.execute(text("SELECT set_config(name, 'off', true) FROM unnest(:names) AS name"), {"names": _PLANS})
    query, last = _FIRST_PAGE, dict[str, object]()
    while True:
        rows = session.execute(query, {"size": size, **last}).all()
        page = [_listed(*of_study) for _, of_study in groupby(rows, key=itemgetter(0))]
        if not page:
            return
        yield page
        query, last = _NEXT_PAGE, {"received_at": page[-1].received_at, "id": page[-1].study_id}


def _listed(first: Any, *more: Any) -> ListedStanding:
    lesions = () if first[_OWN] is None else tuple([LesionStanding._make(row[_OWN:]) for row in (first, *more)])
    return ListedStanding._make((*first[:_OWN], lesions))


def _standing(rows: Sequence[Any]) -> StudyStanding:
    of_study = len(_OF_STUDY)
    lesions = tuple(LesionStanding._make(row[of_study:]) for row in rows if row[of_study] is not None)
    return StudyStanding._make((*rows[0][:of_study], lesions))


def _as_ended(study: StudyStanding, state: str) -> StudyStanding:
    """Return a study as it was when it ended, where it waits to be scored again."""
    if study.state not in OPEN_STATES:
        return study
    lesions = tuple(lesion if lesion.state == "scored" else lesion._replace(state="failed") for lesion in study.lesions)
    return study._replace(state=state, lesions=lesions)
