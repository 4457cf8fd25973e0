"""Reads of lesions that were scored in service, with what two versions of a model said of them; nothing is written."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, case, func, select
from sqlalchemy.orm import Session, aliased

from db.schema.tables import LesionRow, ModelRow, PathologyRow, PredictionRow, RestratificationRow, StudyRow
from db.schema.vocabulary import LH_MODEL, PathologyFinding

STREAM_ROWS = 10_000
"""Rows that a streamed read holds at a time."""

_A, _B, _OTHER = aliased(PredictionRow), aliased(PredictionRow), aliased(PredictionRow)


@dataclass(frozen=True, slots=True)
class RecordedVersion:
    """One version of a model that is on record.

    Attributes:
        key: the ledger's.
        notice: what goes with its results; ``None`` where it needs none.
    """

    key: int
    model: str
    version: str
    notice: str | None


@dataclass(frozen=True, slots=True)
class ComparedLesion:
    """A lesion that both versions scored.

    Attributes:
        study_id: the ledger's opaque one; ``None`` for a lesion that is not on record.
        lesion_id: its name; unique in its study, or where there is none.
        birads: the radiologist's category; ``None`` where it is not known, and 4 where its letter is not.
        a_probability: the first version's, of the positive class, 0 to 1; positive from ``a_threshold`` on.
        b_probability: the second version's; likewise.
        a_set: the classes that the first version cannot rule out; ``None`` where its card does not ask.
        b_set: the second version's; likewise.
        other_positive: what the other model says, by the score that advice rests on: of a lesion on record, the current
            advice. ``None``: nothing advises.
        other_set: the classes that it cannot rule out; likewise.
        malignant: what pathology said; ``None`` where it said nothing.
        site: where it was examined; ``None`` where that is not known.
    """

    study_id: UUID | None
    lesion_id: str
    birads: str | None
    a_probability: float
    a_threshold: float
    b_probability: float
    b_threshold: float
    other_positive: bool | None
    malignant: bool | None
    a_set: tuple[str, ...] | None = None
    b_set: tuple[str, ...] | None = None
    other_set: tuple[str, ...] | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many lesions there are, and of these how many that each of two versions scored, and that can be compared."""

    lesions: int
    a: int
    b: int
    both: int


def versions_named(session: Session, version: str, name: str | None = None) -> list[RecordedVersion]:
    """Return the versions on record of this name: of both models, or of one."""
    query = select(ModelRow.id, ModelRow.name, ModelRow.version, func.nullif(ModelRow.notice, "")).where(
        ModelRow.version == version
    )
    if name is not None:
        query = query.where(ModelRow.name == name)
    return [RecordedVersion(*row) for row in session.execute(query.order_by(ModelRow.name.desc()))]


def coverage(session: Session, a: int, b: int, since: datetime | None = None) -> Coverage:
    """Count the lesions with current advice, and those that two versions scored.

    Args:
        session: of ``dlr_writer``.
        a: the first version's key.
        b: the second one's.
        since: only lesions whose current advice was given then or later.
    """
    query = _advised(
        select(
            func.count(),
            func.count(_A.id),
            func.count(_B.id),
            func.count(case((and_(_A.id.is_not(None), _B.id.is_not(None)), 1))),
        ),
        since,
    )
    query = query.outerjoin(_A, and_(_A.lesion_id == LesionRow.id, _A.model_id == a))
    query = query.outerjoin(_B, and_(_B.lesion_id == LesionRow.id, _B.model_id == b))
    return Coverage(*session.execute(query).one())


def compared_lesions(
    session: Session, model: str, a: int, b: int, since: datetime | None = None
) -> Iterator[ComparedLesion]:
    """Read the lesions with current advice that both versions scored, a few thousand at a time.

    Args:
        session: of ``dlr_writer``; it reads this one statement until the last lesion was taken.
        model: ``DLR_LH`` or ``DLR_BM``, whose versions they are.
        a: the first version's key.
        b: the second one's.
        since: only lesions whose current advice was given then or later.
    """
    others = RestratificationRow.bm_prediction_id if model == LH_MODEL else RestratificationRow.lh_prediction_id
    query = _advised(
        select(
            StudyRow.id,
            LesionRow.lesion_id,
            LesionRow.birads,
            _A.positive_probability,
            _A.threshold,
            _B.positive_probability,
            _B.threshold,
            _OTHER.positive,
            PathologyRow.result == PathologyFinding.MALIGNANT,
            _A.conformal_set,
            _B.conformal_set,
            _OTHER.conformal_set,
            LesionRow.site,
        ),
        since,
    )
    query = (
        query.join(_A, and_(_A.lesion_id == LesionRow.id, _A.model_id == a))
        .join(_B, and_(_B.lesion_id == LesionRow.id, _B.model_id == b))
        .join(_OTHER, _OTHER.id == others)
        .outerjoin(PathologyRow, and_(PathologyRow.lesion_id == LesionRow.id, PathologyRow.is_current))
        .order_by(LesionRow.id)
    )
    for row in session.execute(query, execution_options={"yield_per": STREAM_ROWS}):
        yield ComparedLesion(row[0], row[1], row[2].value, *row[3:])


def _advised(query: "Select[*tuple[Any, ...]]", since: datetime | None) -> "Select[*tuple[Any, ...]]":
    query = (
        query.select_from(RestratificationRow)
        .join(LesionRow, LesionRow.id == RestratificationRow.lesion_id)
        .join(StudyRow, StudyRow.id == LesionRow.study_id)
        .where(RestratificationRow.is_current, StudyRow.is_current)
    )
    return query if since is None else query.where(RestratificationRow.created_at >= since)
