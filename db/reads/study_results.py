"""The result of a study as documents need it: whole, with the models that it rests on and the results before it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased, selectinload

from db.reads.result_records import Ending, ImageResult, LesionResult, ModelScore, StudyResult
from db.reads.study_queries import aspect_of, box_of, named_by, study_place, word_of
from db.schema.images import ImagePredictionRow, MarkedImageRow
from db.schema.tables import LesionRow, ModelRow, PredictionRow, RestratificationRow, StudyEventRow, StudyRow
from db.schema.vocabulary import ENDED_STATES, Event, LesionState

_ENDINGS = tuple(Event(state.value) for state in ENDED_STATES)


@dataclass(frozen=True, slots=True)
class RecordedContent:
    """What a study was when it came: its job, and the SHA-256 of that and of its files' bytes, without the priority."""

    job: Mapping[str, Any]
    digest: str


def recorded_content(session: Session, study_id: UUID) -> RecordedContent:
    """Return what a study on record was when it came; the job is empty once it was purged."""
    row = session.execute(select(StudyRow.job, StudyRow.content_digest).where(StudyRow.id == study_id)).one()
    return RecordedContent(row.job, row.content_digest)


def current_content(session: Session, study_instance_uid: str) -> RecordedContent | None:
    """Return the current revision of a study and what it was when it came; ``None`` where there is none."""
    row = session.execute(
        select(StudyRow.job, StudyRow.content_digest).where(
            StudyRow.study_instance_uid == study_instance_uid, StudyRow.is_current
        )
    ).one_or_none()
    return None if row is None else RecordedContent(row.job, row.content_digest)


def study_results(session: Session, key: UUID | str) -> list[StudyResult]:
    """Return the results of the studies that a key names, as `db.reads.study_queries.study_details` takes it.

    Returns:
        The studies, the latest received first; empty when there is none. One that has not ended has no result yet.
    """
    rows = session.scalars(
        select(StudyRow)
        .where(named_by(key))
        .order_by(StudyRow.received_at.desc(), StudyRow.id)
        .options(
            selectinload(StudyRow.lesions)
            .selectinload(LesionRow.images)
            .selectinload(MarkedImageRow.predictions)
            .joinedload(ImagePredictionRow.model)
        )
        .execution_options(populate_existing=True)
    )
    return [_study(session, row) for row in rows]


def _study(session: Session, row: StudyRow) -> StudyResult:
    advice = _advice(session, row.id)
    paths, server = _images(row.job)
    return StudyResult(
        study_id=row.id,
        study_instance_uid=row.study_instance_uid,
        accession_number=row.accession_number,
        revision=row.revision,
        is_current=row.is_current,
        priority=row.priority.value,
        state=row.state.value,
        worklist_class=word_of(row.worklist_class),
        place=study_place(session, row.id),
        error_code=row.error_code,
        error_reason=row.error_reason,
        finished_at=row.finished_at,
        paths=paths,
        dicomweb_server=server,
        lesions=tuple(_lesion(lesion, advice.get(lesion.id)) for lesion in row.lesions),
        endings=_endings(session, row),
        is_on_pacs=server is not None and row.job["images"].get("kind") == "pacs",
        site=row.site,
        scanner_model=row.scanner_model,
    )


def _images(job: Any) -> tuple[tuple[str, ...], str | None]:
    """Return a job's files and its server; a refused message, which may be any JSON, and a purged study have none."""
    images = job.get("images") if isinstance(job, dict) else None
    if not isinstance(images, dict):
        return (), None
    paths, server = images.get("paths"), images.get("server")
    of_storage = tuple(path for path in paths if isinstance(path, str)) if isinstance(paths, list) else ()
    return of_storage, server if isinstance(server, str) else None


def _endings(session: Session, row: StudyRow) -> tuple[Ending, ...]:
    if row.study_instance_uid is None:
        return ()
    found = session.execute(
        select(StudyEventRow.id, StudyRow.id, StudyRow.revision, StudyEventRow.at)
        .join(StudyRow, StudyRow.id == StudyEventRow.study_id)
        .where(
            StudyRow.study_instance_uid == row.study_instance_uid,
            StudyRow.revision <= row.revision,
            StudyEventRow.event.in_([event.value for event in _ENDINGS]),
        )
        .order_by(StudyRow.revision, StudyEventRow.id)
    )
    return tuple(Ending(*ending) for ending in found)


_Advice = tuple[RestratificationRow, ModelScore, ModelScore]


def _advice(session: Session, study_id: UUID) -> Mapping[int, _Advice]:
    """Return the current advice on each lesion that has some, with the two scores that it rests on."""
    lh, bm = aliased(PredictionRow), aliased(PredictionRow)
    lh_model, bm_model = aliased(ModelRow), aliased(ModelRow)
    rows = session.execute(
        select(RestratificationRow, lh, lh_model, bm, bm_model)
        .join(LesionRow, LesionRow.id == RestratificationRow.lesion_id)
        .join(lh, lh.id == RestratificationRow.lh_prediction_id)
        .join(bm, bm.id == RestratificationRow.bm_prediction_id)
        .join(lh_model, lh_model.id == lh.model_id)
        .join(bm_model, bm_model.id == bm.model_id)
        .where(LesionRow.study_id == study_id, RestratificationRow.is_current)
        .execution_options(populate_existing=True)
    )
    return {row[0].lesion_id: (row[0], _score(row[1], row[2]), _score(row[3], row[4])) for row in rows}


def _score(row: PredictionRow, model: ModelRow) -> ModelScore:
    other = next(name for name in row.probabilities if name != row.predicted_class)
    negative, positive = (other, row.predicted_class) if row.positive else (row.predicted_class, other)
    card = json.dumps(model.card, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return ModelScore(
        model=model.name,
        version=model.version,
        weights_sha256=model.weights_sha256,
        card_sha256=hashlib.sha256(card.encode()).hexdigest(),
        notice=model.notice or None,
        negative_class=negative,
        negative_probability=row.probabilities[negative],
        positive_class=positive,
        positive_probability=row.positive_probability,
        threshold=row.threshold,
        predicted_class=row.predicted_class,
        conformal_set=row.conformal_set,
    )


def _lesion(row: LesionRow, found: _Advice | None) -> LesionResult:
    """Put a lesion together. A failed one has no scores here, though an earlier run of it may have had some."""
    advice, lh, bm = found if found is not None and row.state is LesionState.SCORED else (None, None, None)
    images = tuple(_image(image, lh, bm) for image in row.images)
    shown = next((image for image in images if image.error_code is None), images[0])
    return LesionResult(
        ordinal=row.ordinal,
        lesion_id=row.lesion_id,
        sop_instance_uid=shown.sop_instance_uid,
        frame=shown.frame,
        birads=row.birads.value,
        roi=shown.roi,
        region=shown.region,
        region_source=shown.region_source,
        gate=tuple(dict.fromkeys(finding for image in images for finding in image.gate)),
        width_mm=shown.width_mm,
        height_mm=shown.height_mm,
        aspect_ratio=aspect_of(shown.width_mm, shown.height_mm),
        age_years=row.age_years,
        age_source=word_of(row.age_source),
        outcome=None if advice is None else advice.outcome.value,
        recommended=None if advice is None else advice.recommended.value,
        rule_version=None if advice is None else advice.rule_version,
        lh=lh,
        bm=bm,
        restratification_id=None if advice is None else advice.id,
        error_code=row.error_code,
        error_reason=row.error_reason,
        uncertain=advice is not None and advice.uncertain,
        images=images,
        laterality=word_of(row.laterality),
        clock_position=row.clock_position,
        distance_to_nipple_mm=row.distance_to_nipple_mm,
        depth_mm=row.depth_mm,
    )


def _image(row: MarkedImageRow, lh: ModelScore | None, bm: ModelScore | None) -> ImageResult:
    said = {(one.model.name, one.model.version): one.positive_probability for one in row.predictions}
    of_lh, of_bm = (
        said.get((score.model, score.version)) if score is not None and row.state is LesionState.SCORED else None
        for score in (lh, bm)
    )
    return ImageResult(
        ordinal=row.ordinal,
        sop_instance_uid=row.sop_instance_uid,
        frame=row.frame,
        plane=word_of(row.plane),
        roi=box_of(row.roi_x, row.roi_y, row.roi_width, row.roi_height),
        region=box_of(row.region_x, row.region_y, row.region_width, row.region_height),
        region_source=word_of(row.region_source),
        gate=tuple(row.gate),
        width_mm=row.width_mm,
        height_mm=row.height_mm,
        laterality=word_of(row.laterality),
        high_risk_probability=of_lh,
        malignant_probability=of_bm,
        error_code=row.error_code,
        error_reason=row.error_reason,
    )
