"""The lesions that pathology reported on, with what a job said of them; this module writes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from db.reads.model_notices import notice_of
from db.schema.tables import LesionRow, ModelRow, PathologyRow, PredictionRow, RestratificationRow, StudyRow
from db.schema.vocabulary import PathologyFinding


@dataclass(frozen=True, slots=True)
class DescribedLesion:
    """A lesion of a current study that pathology reported on.

    Attributes:
        malignant: what pathology said, in its latest correction.
        age_years: the age that the scores rest on; ``None`` where there was none.
        descriptors: as the job had them, by Table S1's names; a job may leave any of them out.
        scored: it has scores. Without, nothing says whether a demo model was meant to read it.
        purged: its study's identifiers are gone, and with them its descriptors and the exact age.
        notice: the models'; ``None`` where they need none, or without scores.
    """

    study_id: UUID
    malignant: bool
    age_years: float | None
    descriptors: Mapping[str, str | float]
    scored: bool
    purged: bool
    notice: str | None


def described_lesions(session: Session) -> list[DescribedLesion]:
    """Return the lesions of current studies that pathology reported on.

    Args:
        session: of ``dlr_writer``; no view has the descriptors.
    """
    lh, bm, lh_model, bm_model = aliased(PredictionRow), aliased(PredictionRow), aliased(ModelRow), aliased(ModelRow)
    rows = session.execute(
        select(
            StudyRow.id,
            PathologyRow.result == PathologyFinding.MALIGNANT,
            LesionRow.age_years,
            LesionRow.descriptors,
            RestratificationRow.id.is_not(None),
            StudyRow.purged_at.is_not(None),
            notice_of(lh_model, bm_model),
        )
        .select_from(PathologyRow)
        .join(LesionRow, LesionRow.id == PathologyRow.lesion_id)
        .join(StudyRow, StudyRow.id == LesionRow.study_id)
        .outerjoin(
            RestratificationRow, (RestratificationRow.lesion_id == LesionRow.id) & RestratificationRow.is_current
        )
        .outerjoin(lh, lh.id == RestratificationRow.lh_prediction_id)
        .outerjoin(bm, bm.id == RestratificationRow.bm_prediction_id)
        .outerjoin(lh_model, lh_model.id == lh.model_id)
        .outerjoin(bm_model, bm_model.id == bm.model_id)
        .where(PathologyRow.is_current, StudyRow.is_current)
        .order_by(LesionRow.id)
    )
    return [DescribedLesion(*row) for row in rows]
