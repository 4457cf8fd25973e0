"""Reads of the lesions that pathology reported on, with what each version of each model scored; nothing is written."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Double, ScalarSelect, Select, and_, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased

from db.schema.images import ImagePredictionRow, MarkedImageRow
from db.schema.tables import LesionRow, ModelRow, PathologyRow, PredictionRow, RestratificationRow, StudyRow
from db.schema.vocabulary import Birads, LesionState, PathologyFinding

STREAM_ROWS = 10_000
"""Rows that a streamed read holds at a time."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What one version of a model said of a lesion: the positive probability, its threshold, and its notice.

    Attributes:
        conformal_set: the classes that it cannot rule out; ``None`` where its card did not ask.
        image_probabilities: of each image by itself, in their order; empty where they are not known.
    """

    model: str
    version: str
    notice: str | None
    probability: float
    threshold: float
    conformal_set: tuple[str, ...] | None
    image_probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """A lesion of a current study that pathology reported on, with all its scores, if it has any.

    Attributes:
        size_mm: its largest extent in any of its images; ``None`` where it is not known.
        images: that were scored.
    """

    study_id: UUID
    lesion_id: str
    birads: str
    age_years: float | None
    size_mm: float | None
    site: str | None
    malignant: bool
    images: int
    scores: tuple[ScoreRow, ...]


def judged_lesions(session: Session, since: datetime | None = None) -> Iterator[JudgedRow]:
    """Read the lesions that pathology reported on, a few thousand at a time.

    Args:
        session: of ``dlr_writer``; it reads this one statement until the last lesion was taken.
        since: only lesions whose current advice was given then or later.
    """
    query = _with_pathology(
        select(
            LesionRow.id,
            StudyRow.id,
            LesionRow.lesion_id,
            LesionRow.birads,
            LesionRow.age_years,
            _of_images(func.max(func.greatest(MarkedImageRow.width_mm, MarkedImageRow.height_mm))),
            LesionRow.site,
            PathologyRow.result == PathologyFinding.MALIGNANT,
            _of_images(func.count().filter(_IS_SCORED)),
            ModelRow.name,
            ModelRow.version,
            func.nullif(ModelRow.notice, ""),
            PredictionRow.positive_probability,
            PredictionRow.threshold,
            PredictionRow.conformal_set,
            _IMAGE_PROBABILITIES,
        ),
        since,
    )
    query = query.outerjoin(PredictionRow, PredictionRow.lesion_id == LesionRow.id)
    query = query.outerjoin(ModelRow, ModelRow.id == PredictionRow.model_id).order_by(LesionRow.id, ModelRow.id)
    found = session.execute(query, execution_options={"yield_per": STREAM_ROWS})
    for _, of_lesion in groupby(found, key=lambda row: row[0]):
        rows = list(of_lesion)
        scores = tuple(ScoreRow(*row[9:]) for row in rows if row[9] is not None)
        _, study_id, lesion_id, birads, *rest = rows[0]
        age_years, size_mm, site, malignant, images = rest[:5]
        yield JudgedRow(study_id, lesion_id, birads.value, age_years, size_mm, site, malignant, images, scores)


def judged_studies(session: Session, since: datetime | None = None) -> dict[UUID, bool]:
    """Say of each current study that pathology reported on whether it is a cancer.

    A malignant lesion of category 6 makes it none: that cancer was known before it was read.

    Args:
        session: of ``dlr_writer``.
        since: only studies of which a lesion's current advice was given then or later.
    """
    malignant = and_(PathologyRow.result == PathologyFinding.MALIGNANT, LesionRow.birads != Birads.KNOWN_MALIGNANCY)
    query = _with_pathology(select(StudyRow.id, func.bool_or(malignant)), since)
    return {row[0]: row[1] for row in session.execute(query.group_by(StudyRow.id))}


def advising_notices(session: Session, since: datetime | None = None) -> list[tuple[str, str, str]]:
    """Return name, version and notice of the models that advise on those lesions now, if they have one."""
    query = _with_pathology(select(ModelRow.name, ModelRow.version, ModelRow.notice).distinct(), since)
    if since is None:
        query = query.join(RestratificationRow, _IS_ITS_ADVICE)
    advising = or_(
        PredictionRow.id == RestratificationRow.lh_prediction_id,
        PredictionRow.id == RestratificationRow.bm_prediction_id,
    )
    query = query.join(PredictionRow, advising).join(ModelRow, ModelRow.id == PredictionRow.model_id)
    query = query.where(ModelRow.notice != "").order_by(ModelRow.name, ModelRow.version)
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def advising_pairs(session: Session, since: datetime | None = None) -> list[tuple[str, str]]:
    """Return the (DLR_LH, DLR_BM) versions that advise on those lesions now, those of the most lesions first."""
    lh, bm = aliased(PredictionRow), aliased(PredictionRow)
    lh_model, bm_model = aliased(ModelRow), aliased(ModelRow)
    query = _with_pathology(select(lh_model.version, bm_model.version), since)
    if since is None:
        query = query.join(RestratificationRow, _IS_ITS_ADVICE)
    query = (
        query.join(lh, lh.id == RestratificationRow.lh_prediction_id)
        .join(bm, bm.id == RestratificationRow.bm_prediction_id)
        .join(lh_model, lh_model.id == lh.model_id)
        .join(bm_model, bm_model.id == bm.model_id)
        .group_by(lh_model.version, bm_model.version)
        .order_by(func.count().desc(), lh_model.version, bm_model.version)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


_IS_SCORED = MarkedImageRow.state == LesionState.SCORED


def _of_images(summed: ColumnElement[Any]) -> ScalarSelect[Any]:
    """Sum up the images of a lesion of the query around it."""
    return select(summed).where(MarkedImageRow.lesion_id == LesionRow.id).correlate(LesionRow).scalar_subquery()


_IMAGE_PROBABILITIES = func.array(
    select(ImagePredictionRow.positive_probability)
    .join(MarkedImageRow, MarkedImageRow.id == ImagePredictionRow.image_id)
    .where(MarkedImageRow.lesion_id == PredictionRow.lesion_id, ImagePredictionRow.model_id == PredictionRow.model_id)
    .where(_IS_SCORED)
    .order_by(MarkedImageRow.ordinal)
    .correlate(PredictionRow)
    .scalar_subquery(),
    type_=ARRAY(Double, as_tuple=True),
)

_IS_ITS_ADVICE = and_(RestratificationRow.lesion_id == LesionRow.id, RestratificationRow.is_current)


def _with_pathology(query: "Select[*tuple[Any, ...]]", since: datetime | None) -> "Select[*tuple[Any, ...]]":
    """From pathology's current results to their lesions and current studies; with ``since``, to their advice too."""
    query = (
        query.select_from(PathologyRow)
        .join(LesionRow, LesionRow.id == PathologyRow.lesion_id)
        .join(StudyRow, StudyRow.id == LesionRow.study_id)
        .where(PathologyRow.is_current, StudyRow.is_current)
    )
    if since is None:
        return query
    return query.join(RestratificationRow, _IS_ITS_ADVICE).where(RestratificationRow.created_at >= since)
