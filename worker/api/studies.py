"""``GET /v1/studies/{study_id}``: how far a study is and what came of it, from the views of ``dlr_web``."""

from collections import defaultdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session

from db.reads import worklist_page
from db.reads.study_records import FailedRow
from db.reads.worklist_page_records import ImageResultRow, LesionResultRow, ListedRow
from worker.api.accesses import note_access
from worker.api.answers import Advice, Image, LesionAnswer, Place, Score, StudyAnswer
from worker.api.openapi import problems
from worker.api.problems import ProblemError
from worker.api.service import ServiceDep, may
from worker.api.tokens import Scope, Token
from worker.errors import Code

router = APIRouter(tags=["studies"])


@router.get("/v1/studies/{study_id}", summary="Ask for a study", responses=problems(404))
def study(
    request: Request, service: ServiceDep, caller: Annotated[Token, may(Scope.STUDIES_READ)], study_id: UUID
) -> StudyAnswer:
    """Say how far a study is and, once it has ended, its lesions with scores and advice, and its place.

    An id is of one revision: that of a revision which a later one has replaced is not found.
    """
    with service.reading() as session:
        answer = study_answer(session, study_id)
    if answer.finished_at is not None:  # a program asks for one that waits again and again
        note_access(service, request, caller, study_id)
    return answer


def study_answer(session: Session, study_id: UUID) -> StudyAnswer:
    """Read a study.

    Args:
        session: of ``dlr_web``.
        study_id: the ledger's.

    Raises:
        ProblemError: ``study_not_found``.
    """
    listed = worklist_page.listed(session, study_id)
    if listed is not None:
        return _listed(session, listed)
    waiting = worklist_page.waiting(session, study_id)
    if waiting is not None:
        return StudyAnswer(
            study_id=study_id,
            state=waiting.state,
            revision=None,
            priority=waiting.priority,
            study_instance_uid=None,
            accession_number=waiting.accession_number,
            received_at=waiting.received_at,
            finished_at=None,
            error_code=None,
            error_reason=None,
            notice=None,
            place=None,
            read_at=None,
            read_by=None,
            lesions=_lesions(session, study_id),
        )
    failed = worklist_page.failed(session, study_id)
    if failed is None:
        raise ProblemError(Code.STUDY_NOT_FOUND, "no current revision of a study has this id")
    return _failed(failed)


def _listed(session: Session, row: ListedRow) -> StudyAnswer:
    return StudyAnswer(
        study_id=row.study_id,
        state=row.state,
        revision=row.revision,
        priority=row.priority,
        study_instance_uid=row.study_instance_uid,
        accession_number=row.accession_number,
        received_at=row.received_at,
        finished_at=row.finished_at,
        error_code=row.error_code,
        error_reason=row.error_reason,
        notice=row.notice,
        place=Place(
            position=row.position,
            tier=row.tier,
            tier_title=row.tier_title,
            reason=row.place_reason,
            worklist_class=row.worklist_class,
            marks=row.marks,
            policy=row.policy,
        ),
        read_at=row.read_at,
        read_by=row.read_by,
        lesions=_lesions(session, row.study_id),
    )


def _failed(row: FailedRow) -> StudyAnswer:
    """Say of a message why it is no study."""
    return StudyAnswer(
        study_id=row.study_id,
        state=row.state,
        revision=None,
        priority=row.priority,
        study_instance_uid=row.study_instance_uid,
        accession_number=row.accession_number,
        received_at=row.received_at,
        finished_at=row.finished_at,
        error_code=row.error_code,
        error_reason=row.error_reason,
        notice=None,
        place=None,
        read_at=None,
        read_by=None,
        lesions=[],
    )


def _lesions(session: Session, study_id: UUID) -> list[LesionAnswer]:
    images = defaultdict(list)
    for image in worklist_page.images(session, study_id):
        images[image.ordinal].append(_image(image))
    return [_lesion(row, images[row.ordinal]) for row in worklist_page.lesions(session, study_id)]


def _lesion(row: LesionResultRow, images: list[Image]) -> LesionAnswer:
    return LesionAnswer(
        lesion_id=row.lesion_id,
        state=row.state,
        birads=row.original,
        dlr_lh=_score(row.high_risk_probability, row.lh_class, row.lh_threshold, row.lh_version),
        dlr_bm=_score(row.malignant_probability, row.bm_class, row.bm_threshold, row.bm_version),
        advice=_advice(row),
        age_years=row.age_years,
        age_source=row.age_source,
        region_source=row.region_source,
        quality=row.gate,
        width_mm=row.width_mm,
        height_mm=row.height_mm,
        views_disagree=row.views_disagree,
        error_code=row.error_code,
        error_reason=row.error_reason,
        images=images,
    )


def _score(probability: float | None, word: str | None, threshold: float | None, version: str | None) -> Score | None:
    if probability is None:
        return None
    return Score(probability=probability, predicted_class=word, threshold=threshold, version=version)


def _advice(row: LesionResultRow) -> Advice | None:
    if row.outcome is None:
        return None
    return Advice(
        outcome=row.outcome, recommended=row.recommended, rule_version=row.rule_version, uncertain=row.uncertain
    )


def _image(row: ImageResultRow) -> Image:
    return Image(
        number=row.image,
        frame=row.frame,
        plane=row.plane,
        state=row.state,
        error_code=row.error_code,
        quality=row.gate,
        dlr_lh=row.high_risk_probability,
        dlr_bm=row.malignant_probability,
    )
