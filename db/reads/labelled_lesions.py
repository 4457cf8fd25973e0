"""Stored lesions of which it is known what they are: by pathology, or by a radiologist's verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, column, or_, select, table
from sqlalchemy.orm import Session

from db.reads.scored_images import IS_SCORED_IMAGE, SCORED_IMAGE, ScoredImage, scored_image
from db.schema.images import MarkedImageRow
from db.schema.tables import LesionRow, PathologyRow, StudyRow
from db.schema.vocabulary import LesionState


@dataclass(frozen=True, slots=True)
class LabelledLesion:
    """A lesion as it was scored, with what is known of it.

    Attributes:
        key: the ledger's.
        ordinal: its place in the job, from 1.
        images: those that were scored, in their order; one at least.
        age_years: that was used, 0 to 120.
        birads: the radiologist's first category.
        malignant: what pathology said; ``None`` where it said nothing.
        final_birads: the category of the verdict that counts; ``None`` where there is none.
    """

    key: int
    ordinal: int
    images: tuple[ScoredImage, ...]
    age_years: float
    birads: str
    descriptors: Mapping[str, str | float]
    site: str | None
    malignant: bool | None
    final_birads: str | None


@dataclass(frozen=True, slots=True)
class LabelledStudy:
    """A current study with its labelled lesions. ``job`` and ``content_digest`` are as it arrived."""

    study_id: UUID
    study_instance_uid: str
    content_digest: str
    job: Any
    lesions: tuple[LabelledLesion, ...]


_verdict = table("lesion_verdict", *map(column, ("study_id", "ordinal", "final_birads"))).alias("verdict")
_of_lesion = and_(_verdict.c.study_id == LesionRow.study_id, _verdict.c.ordinal == LesionRow.ordinal)
_labelled: ColumnElement[bool] = and_(
    StudyRow.is_current,
    StudyRow.purged_at.is_(None),
    LesionRow.state == LesionState.SCORED,
    or_(PathologyRow.id.is_not(None), _verdict.c.final_birads.is_not(None)),
)


def labelled_ids(session: Session, since: datetime | None = None) -> list[UUID]:
    """Return the studies with a labelled lesion, the earliest first.

    Args:
        session: of ``dlr_writer``.
        since: only studies that arrived then or later.
    """
    query = (
        select(StudyRow.id)
        .join(LesionRow, LesionRow.study_id == StudyRow.id)
        .outerjoin(PathologyRow, and_(PathologyRow.lesion_id == LesionRow.id, PathologyRow.is_current))
        .outerjoin(_verdict, _of_lesion)
        .where(_labelled)
        .group_by(StudyRow.id)
        .order_by(StudyRow.received_at, StudyRow.id)
    )
    return list(session.scalars(query if since is None else query.where(StudyRow.received_at >= since)))


def labelled_study(session: Session, study_id: UUID) -> LabelledStudy | None:
    """Return a study with its labelled lesions, in the sender's order; ``None`` where it has none any more."""
    rows = session.execute(
        select(StudyRow, LesionRow, PathologyRow.result, _verdict.c.final_birads, *SCORED_IMAGE)
        .join(LesionRow, LesionRow.study_id == StudyRow.id)
        .join(MarkedImageRow, IS_SCORED_IMAGE)
        .outerjoin(PathologyRow, and_(PathologyRow.lesion_id == LesionRow.id, PathologyRow.is_current))
        .outerjoin(_verdict, _of_lesion)
        .where(_labelled, StudyRow.id == study_id)
        .order_by(LesionRow.ordinal, MarkedImageRow.ordinal)
    ).all()
    if not rows:
        return None
    study: StudyRow = rows[0][0]
    lesions = tuple(_lesion(list(found)) for _, found in groupby(rows, key=lambda row: row.LesionRow.id))
    return LabelledStudy(study.id, study.study_instance_uid or "", study.content_digest, study.job, lesions)


def _lesion(rows: Sequence[Any]) -> LabelledLesion:
    lesion, result = rows[0].LesionRow, rows[0].result
    assert lesion.age_years is not None  # noqa: S101  a scored lesion has an age
    return LabelledLesion(
        key=lesion.id,
        ordinal=lesion.ordinal,
        images=tuple(scored_image(row) for row in rows),
        age_years=lesion.age_years,
        birads=lesion.birads.value,
        descriptors=lesion.descriptors,
        site=lesion.site,
        malignant=None if result is None else result.value == "malignant",
        final_birads=rows[0].final_birads,
    )
