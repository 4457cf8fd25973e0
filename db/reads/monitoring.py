"""Reads that hold the advice on 4A lesions against pathology and against other thresholds; they write nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Select,
    SQLColumnExpression,
    Text,
    and_,
    cast,
    column,
    func,
    null,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Session, aliased

from db.reads.model_notices import notice_of
from db.reads.view_rows import rows_of
from db.schema.tables import LesionRow, ModelRow, PathologyRow, PredictionRow, RestratificationRow, StudyRow
from db.schema.vocabulary import Outcome, PathologyFinding

STREAM_ROWS = 10_000
"""Rows that a streamed read holds at a time."""

_LH, _BM = aliased(PredictionRow), aliased(PredictionRow)
_LH_MODEL, _BM_MODEL = aliased(ModelRow), aliased(ModelRow)
_MALIGNANT = PathologyRow.result == PathologyFinding.MALIGNANT
_IS_4A = RestratificationRow.outcome != Outcome.NOT_APPLICABLE
_NOTICE = notice_of(_LH_MODEL, _BM_MODEL)


class Grouping(StrEnum):
    """By what lesions are counted apart."""

    SCANNER = "scanner"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class ArmRow:
    """The 4A lesions of one outcome, of one group, under one pair of models and one version of the rule.

    Attributes:
        group: the scanner or the site; ``None`` where it is not known, or nothing is counted apart.
        lesions: how many there are.
        with_pathology: of these, those that pathology reported on.
        malignant: of those, the malignant ones.
    """

    group: str | None
    lh_version: str
    bm_version: str
    rule_version: str
    notice: str | None
    outcome: str
    lesions: int
    with_pathology: int
    malignant: int


@dataclass(frozen=True, slots=True)
class CancerRow:
    """A lesion that was advised down and that pathology found malignant; from the view ``downgraded_cancer``."""

    study_id: UUID
    lesion_id: str
    high_risk_probability: float
    lh_threshold: float
    malignant_probability: float
    bm_threshold: float
    lh_version: str
    bm_version: str
    rule_version: str
    notice: str | None
    scored_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class TakenBackRow:
    """A lesion that was advised down, and that pathology once reported malignant and now benign.

    Attributes:
        recorded_at: when the later of the two became known.
    """

    study_id: UUID
    lesion_id: str
    notice: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class ScoredLesion:
    """A 4A lesion with its scores, the advice that followed, and what pathology said, if it did.

    Attributes:
        high_risk_probability: DLR_LH, 0 to 1; positive from ``lh_threshold`` on.
        malignant_probability: DLR_BM, 0 to 1; positive from ``bm_threshold`` on.
        malignant: what pathology said; ``None`` where it said nothing.
        lh_set: the classes that DLR_LH cannot rule out; ``None`` where its card did not ask.
        bm_set: likewise for DLR_BM.
    """

    study_id: UUID
    lesion_id: str
    birads: str
    outcome: str
    high_risk_probability: float
    lh_threshold: float
    malignant_probability: float
    bm_threshold: float
    lh_version: str
    bm_version: str
    rule_version: str
    notice: str | None
    malignant: bool | None
    lh_set: tuple[str, ...] | None = None
    bm_set: tuple[str, ...] | None = None


def arms(session: Session, by: Grouping | None = None, since: datetime | None = None) -> list[ArmRow]:
    """Count the 4A lesions of current studies, summed up by the database.

    Args:
        session: of ``dlr_writer``.
        by: what is counted apart beside models, rule and notice.
        since: only lesions that were scored then or later.
    """
    places = {None: cast(null(), Text), Grouping.SCANNER: LesionRow.scanner_model, Grouping.SITE: LesionRow.site}
    keys: dict[str, SQLColumnExpression[Any]] = {
        "place": places[by],
        "lh": _LH.model_id,
        "bm": _BM.model_id,
        "rule_version": RestratificationRow.rule_version,
        "outcome": RestratificationRow.outcome,
    }
    counted = (
        _advised(
            *(key.label(name) for name, key in keys.items()),
            func.count().label("lesions"),
            func.count(PathologyRow.id).label("with_pathology"),
            func.count().filter(_MALIGNANT).label("malignant"),
            since=since,
        )
        .group_by(*keys)
        .subquery()
    )
    lh_version, bm_version = _LH_MODEL.version.label("lh_version"), _BM_MODEL.version.label("bm_version")
    rows = session.execute(
        select(counted, lh_version, bm_version, _NOTICE.label("notice"))
        .join(_LH_MODEL, _LH_MODEL.id == counted.c.lh)
        .join(_BM_MODEL, _BM_MODEL.id == counted.c.bm)
    )
    return [
        ArmRow(
            group=row.place,
            lh_version=row.lh_version,
            bm_version=row.bm_version,
            rule_version=row.rule_version,
            notice=row.notice,
            outcome=row.outcome.value,
            lesions=row.lesions,
            with_pathology=row.with_pathology,
            malignant=row.malignant,
        )
        for row in rows
    ]


def downgraded_cancers(session: Session, since: datetime | None = None) -> list[CancerRow]:
    """Return the lesions that were advised down and are malignant, the latest known first.

    Args:
        session: of any role.
        since: only those of which one or the other became known then or later: the advice, or pathology's result.
    """
    query = rows_of("downgraded_cancer", CancerRow)
    if since is not None:
        query = query.where(or_(column("scored_at") >= since, column("recorded_at") >= since))
    query = query.order_by(column("recorded_at").desc(), column("study_id"), column("lesion_id"))
    return [CancerRow(*row) for row in session.execute(query)]


def taken_back(session: Session, since: datetime | None = None) -> list[TakenBackRow]:
    """Return the lesions that were advised down and of which a malignant result counts no more, the latest known first.

    Args:
        session: of ``dlr_writer``.
        since: only those of which one or the other became known then or later: the advice, or a result.
    """
    former = aliased(PathologyRow)
    known_at = func.greatest(PathologyRow.recorded_at, func.max(former.recorded_at)).label("known_at")
    query = (
        _advised(StudyRow.id, LesionRow.lesion_id, _NOTICE, known_at, since=None)
        .join(_LH_MODEL, _LH_MODEL.id == _LH.model_id)
        .join(_BM_MODEL, _BM_MODEL.id == _BM.model_id)
        .join(former, and_(former.lesion_id == LesionRow.id, ~former.is_current))
        .where(
            RestratificationRow.outcome == Outcome.DOWNGRADED,
            PathologyRow.result == PathologyFinding.BENIGN,
            former.result == PathologyFinding.MALIGNANT,
        )
        .group_by(StudyRow.id, LesionRow.id, PathologyRow.id, RestratificationRow.id, _LH_MODEL.id, _BM_MODEL.id)
        .order_by(known_at.desc(), StudyRow.id, LesionRow.ordinal)
    )
    if since is not None:
        query = query.having(or_(RestratificationRow.created_at >= since, known_at >= since))
    return [TakenBackRow(*row) for row in session.execute(query)]


def scored_lesions(session: Session, since: datetime | None = None) -> Iterator[ScoredLesion]:
    """Read the 4A lesions of current studies with their scores, a few thousand at a time.

    Args:
        session: of ``dlr_writer``; it reads this one statement until the last lesion was taken.
        since: only lesions that were scored then or later.
    """
    query = (
        _advised(
            StudyRow.id,
            LesionRow.lesion_id,
            RestratificationRow.original,
            RestratificationRow.outcome,
            _LH.positive_probability,
            _LH.threshold,
            _BM.positive_probability,
            _BM.threshold,
            _LH_MODEL.version,
            _BM_MODEL.version,
            RestratificationRow.rule_version,
            _NOTICE,
            _MALIGNANT,
            _LH.conformal_set,
            _BM.conformal_set,
            since=since,
        )
        .join(_LH_MODEL, _LH_MODEL.id == _LH.model_id)
        .join(_BM_MODEL, _BM_MODEL.id == _BM.model_id)
        .order_by(LesionRow.id)
    )
    # All rows are wanted, so that PostgreSQL does not plan for the first few.
    session.execute(text("SET LOCAL cursor_tuple_fraction = 1"))
    for row in session.execute(query, execution_options={"yield_per": STREAM_ROWS}):
        yield ScoredLesion(row[0], row[1], row[2].value, row[3].value, *row[4:])


def model_versions(session: Session) -> set[tuple[str, str]]:
    """Return the (name, version) of each model on record."""
    return {(row.name, row.version) for row in session.execute(select(ModelRow.name, ModelRow.version))}


def _advised(*columns: Any, since: datetime | None) -> "Select[*tuple[Any, ...]]":
    """The current advice on 4A lesions of current studies, with the scores that it rests on and what pathology said."""
    query = (
        select(*columns)
        .select_from(RestratificationRow)
        .join(LesionRow, LesionRow.id == RestratificationRow.lesion_id)
        .join(StudyRow, StudyRow.id == LesionRow.study_id)
        .join(_LH, _LH.id == RestratificationRow.lh_prediction_id)
        .join(_BM, _BM.id == RestratificationRow.bm_prediction_id)
        .outerjoin(PathologyRow, and_(PathologyRow.lesion_id == LesionRow.id, PathologyRow.is_current))
        .where(RestratificationRow.is_current, StudyRow.is_current, _IS_4A)
    )
    return query if since is None else query.where(RestratificationRow.created_at >= since)
