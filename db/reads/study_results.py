"""The result of a study as documents need it: whole, with the models that it rests on and the results before it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased, selectinload

from db.reads.study_queries import box_of, named_by, study_place, word_of
from db.schema.records import Box
from db.schema.tables import LesionRow, ModelRow, PredictionRow, RestratificationRow, StudyEventRow, StudyRow
from db.schema.vocabulary import ENDED_STATES, Event, LesionState
from db.schema.worklist_records import StudyPlace

_ENDINGS = tuple(Event(state.value) for state in ENDED_STATES)


@dataclass(frozen=True, slots=True)
class Ending:
    """One time that a study ended: a result, told from all others by its line in the history.

    Attributes:
        event_id: of that line; never used again.
        study_id: of the revision that ended.
        at: when.
    """

    event_id: int
    study_id: UUID
    revision: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ModelScore:
    """What one version of a model said about one lesion, and which version that was.

    Attributes:
        card_sha256: of the card as canonical JSON (sorted keys, no spaces, UTF-8), lower-case hexadecimal.
        notice: what the model is not for; ``None`` where its card says nothing.
        negative_class: such as ``low_risk`` or ``benign``; its probability is 0 to 1, and so is the positive one's.
        predicted_class: the positive class where its probability reached the threshold, else the negative one.
        conformal_set: the classes that it cannot rule out; ``None`` where its card does not ask.
    """

    model: str
    version: str
    weights_sha256: str
    card_sha256: str
    notice: str | None
    negative_class: str
    negative_probability: float
    positive_class: str
    positive_probability: float
    threshold: float
    predicted_class: str
    conformal_set: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class LesionResult:
    """One lesion: what the radiologist said, and the scores and advice on it, or why there are none.

    Attributes:
        ordinal: its place in the job, from 1.
        frame: from 1; ``None``: the file's only frame.
        birads: the radiologist's category.
        roi: the sender's rectangle.
        gate: what speaks against the region, and was let pass as a warning: words of ``lesion.gate``.
        width_mm: of the region, with ``height_mm`` and their ratio; ``None`` where the file does not say how large its
            pixels are.
        region: the rectangle that was scored; its source is ``job``, ``ultrasound_region`` or ``whole_image``.
        age_years: that the models were given, 0 to 120 years; its source is ``job``, ``patient_age`` or ``birth_date``.
        outcome: ``upgraded``, ``maintained``, ``downgraded`` or ``not_applicable``; ``None`` without scores.
        recommended: the category that is recommended, or ``>4A``; ``None`` without scores.
        restratification_id: of the row that the outcome is from.
        error_code: why there are no scores; ``None`` where there are.
        uncertain: it is kept in 4A because a model is not certain.
    """

    ordinal: int
    lesion_id: str
    sop_instance_uid: str
    frame: int | None
    birads: str
    roi: Box | None
    region: Box | None
    region_source: str | None
    gate: tuple[str, ...]
    width_mm: float | None
    height_mm: float | None
    aspect_ratio: float | None
    age_years: float | None
    age_source: str | None
    outcome: str | None
    recommended: str | None
    rule_version: str | None
    lh: ModelScore | None
    bm: ModelScore | None
    restratification_id: int | None
    error_code: str | None
    error_reason: str | None
    uncertain: bool = False

    @property
    def scores(self) -> tuple[ModelScore, ...]:
        """DLR_LH's and DLR_BM's; none where the lesion failed."""
        return tuple(score for score in (self.lh, self.bm) if score is not None)


@dataclass(frozen=True, slots=True)
class StudyResult:
    """One revision of a study and what came of it.

    Attributes:
        study_id: the opaque one.
        study_instance_uid: ``None`` for a refused message and for a study whose identifiers were purged.
        state: ``done``, ``partial`` or ``failed`` once it has ended.
        worklist_class: what became of its 4A lesions; ``None`` until it has ended.
        place: where it stands on the worklist; ``None`` where it is not on it.
        paths: of its files, relative to the storage root; none where a server has them.
        dicomweb_server: the name of that server.
        lesions: in the job's order.
        endings: of this revision and those before it, oldest first; the last one is this result.
    """

    study_id: UUID
    study_instance_uid: str | None
    accession_number: str | None
    revision: int
    is_current: bool
    priority: str
    state: str
    worklist_class: str | None
    place: StudyPlace | None
    error_code: str | None
    error_reason: str | None
    finished_at: datetime | None
    paths: tuple[str, ...]
    dicomweb_server: str | None
    lesions: tuple[LesionResult, ...]
    endings: tuple[Ending, ...]

    @property
    def notices(self) -> tuple[str, ...]:
        """What the models of its scores say that they are not for, each once."""
        said = {score.notice for lesion in self.lesions for score in lesion.scores if score.notice}
        return tuple(sorted(said))


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
        .options(selectinload(StudyRow.lesions))
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
    return LesionResult(
        ordinal=row.ordinal,
        lesion_id=row.lesion_id,
        sop_instance_uid=row.sop_instance_uid,
        frame=row.frame,
        birads=row.birads.value,
        roi=box_of(row.roi_x, row.roi_y, row.roi_width, row.roi_height),
        region=box_of(row.region_x, row.region_y, row.region_width, row.region_height),
        region_source=word_of(row.region_source),
        gate=tuple(row.gate),
        width_mm=row.width_mm,
        height_mm=row.height_mm,
        aspect_ratio=row.aspect_ratio,
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
    )
