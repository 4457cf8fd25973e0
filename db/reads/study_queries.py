"""What commands read of studies. The worklist and its companions come from the views that SQL users see.

Others read for one purpose each: `db.reads.worklist_page` for the worklist page, `db.reads.study_results` for
documents, `db.reads.monitoring`, `db.reads.evaluated_lesions` and `db.reads.version_comparison` for rates and models.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, column, func, or_, select, table
from sqlalchemy.orm import Session, selectinload

from db.reads.study_records import (
    FailedRow,
    ImageDetail,
    LesionDetail,
    ScoredUnread,
    StoredPrediction,
    StudyDetail,
    StudyEvent,
    SummaryRow,
    WorklistRow,
)
from db.reads.view_rows import rows_of
from db.schema.images import ImagePredictionRow, MarkedImageRow
from db.schema.records import Box, Ended, ImagePrediction
from db.schema.tables import LesionRow, PredictionRow, RestratificationRow, StudyRow
from db.schema.vocabulary import OPEN_STATES, Event, LesionState, PolicyState, StudyState
from db.schema.worklist import ReadingOrderPolicyRow
from db.schema.worklist_records import StudyPlace
from db.storable import looked_for, storable_text

IS_STUDY: Final = StudyRow.is_current & StudyRow.study_instance_uid.is_not(None)
"""A row is a study as it is now, and no message that was refused."""

_IN_READING_ORDER: Final = ("place_order", "arrived_at", "study_id")
_ANY_ID: Final = str(UUID(int=0))
# Eight digits or more, or four characters with a letter: a shorter number may be an accession number that was mistyped,
# and would find somebody else's study among some thousand.
_BEGINNING: Final = re.compile(r"(?=[0-9-]*[a-f])[0-9a-f-]{4,35}|[0-9]{8}[0-9a-f-]{0,27}")


def worklist(session: Session, limit: int | None = None, *, read: bool = True) -> list[WorklistRow]:
    """Return the first ``limit`` studies of the worklist, in reading order; with ``read`` those that were read too."""
    query = rows_of("worklist", WorklistRow).order_by(column("position"))
    if not read:
        query = query.where(column("read_at").is_(None))
    if limit is not None:
        # Not LIMIT, under which PostgreSQL sums up every study before it sorts them.
        query = query.where(column("position") <= limit)
    return [WorklistRow(*row) for row in session.execute(query)]


def scored_unread(session: Session) -> list[ScoredUnread]:
    """Return the studies that are to be read and have scores, in reading order."""
    listed = table("listed_study", column("is_read", Boolean), *map(column, ("finished_at", *_IN_READING_ORDER)))
    rows = session.execute(
        select(listed.c.study_id, listed.c.finished_at, LesionRow.ordinal, MarkedImageRow.ordinal.label("image"))
        .join(LesionRow, LesionRow.study_id == listed.c.study_id)
        .join(MarkedImageRow, MarkedImageRow.lesion_id == LesionRow.id)
        .where(~listed.c.is_read, listed.c.finished_at.is_not(None))
        .where(LesionRow.state == LesionState.SCORED, MarkedImageRow.state == LesionState.SCORED)
        .order_by(*(listed.c[name] for name in _IN_READING_ORDER), LesionRow.ordinal, MarkedImageRow.ordinal)
    )
    return [
        ScoredUnread(study_id, finished_at, _numbers(images))
        for (study_id, finished_at), images in groupby(rows, lambda row: (row.study_id, row.finished_at))
    ]


def _numbers(rows: Iterable[Any]) -> dict[int, tuple[int, ...]]:
    """Return the numbers of images by their lesions, of rows that stand lesion by lesion."""
    return {ordinal: tuple(row.image for row in images) for ordinal, images in groupby(rows, lambda row: row.ordinal)}


def active_policy(session: Session) -> str:
    """Return the document of the policy that orders the worklist."""
    active = ReadingOrderPolicyRow.state == PolicyState.ACTIVE
    return session.scalars(select(ReadingOrderPolicyRow.document).where(active)).one()


def policy_documents(session: Session, label: str) -> set[str]:
    """Return the documents that were applied under a label."""
    return set(session.scalars(select(ReadingOrderPolicyRow.document).where(ReadingOrderPolicyRow.label == label)))


def failed(
    session: Session, code: str | None = None, since: datetime | None = None, until: datetime | None = None
) -> list[FailedRow]:
    """Return the studies without a full result and the refused messages, in reading order.

    Args:
        session: of any role.
        code: only those with this code, the study's own or one lesion's.
        since: only those that ended then or later.
        until: only those that ended then or earlier.
    """
    query = rows_of("failed_study", FailedRow)
    if code is not None:
        of_a_lesion = func.concat(column("lesion_errors"), ";").contains(f": {code};", autoescape=True)
        query = query.where(or_(column("error_code") == code, of_a_lesion))
    if since is not None:
        query = query.where(column("finished_at") >= since)
    if until is not None:
        query = query.where(column("finished_at") <= until)
    return [FailedRow(*row) for row in session.execute(query)]


def summary(session: Session) -> list[SummaryRow]:
    """Return what became of the 4A lesions, one row an outcome for each pair of models, rule and notice."""
    return [SummaryRow(*row) for row in session.execute(rows_of("restratification_summary", SummaryRow))]


def counts_by_state(session: Session) -> dict[str, int]:
    """Return the number of current studies and refused messages in each state, 0 included."""
    rows = session.execute(select(StudyRow.state, func.count()).where(StudyRow.is_current).group_by(StudyRow.state))
    counted = {state.value: count for state, count in rows}
    return {state.value: counted.get(state.value, 0) for state in StudyState}


def oldest_open(session: Session) -> datetime | None:
    """Return when the oldest current study came that is queued or running."""
    return session.scalar(
        select(func.min(StudyRow.received_at)).where(StudyRow.is_current, StudyRow.state.in_(OPEN_STATES))
    )


def states(session: Session, study_ids: Iterable[UUID]) -> dict[UUID, str]:
    """Return the state of each of these studies that the ledger has."""
    rows = session.execute(select(StudyRow.id, StudyRow.state).where(StudyRow.id.in_(list(study_ids))))
    return {study_id: state.value for study_id, state in rows}


def ended(session: Session, study_id: UUID) -> Ended | None:
    """Return how a study ended, or that another revision took its place before; ``None`` while it is open."""
    row = session.execute(
        select(StudyRow.state, StudyRow.error_code, StudyRow.attempts, StudyRow.is_current).where(
            StudyRow.id == study_id
        )
    ).one_or_none()
    if row is None or (row.is_current and row.state in OPEN_STATES):
        return None
    state = Event.SUPERSEDED if row.state in OPEN_STATES else row.state
    return Ended(state.value, row.error_code, row.attempts)


def study_place(session: Session, study_id: UUID) -> StudyPlace | None:
    """Return where a study stands on the worklist; ``None`` for one that is not on it."""
    query = rows_of("listed_study", StudyPlace).where(column("study_id") == study_id)
    row = session.execute(query).one_or_none()
    return None if row is None else StudyPlace(*row)


def study_details(session: Session, key: UUID | str) -> list[StudyDetail]:
    """Return all that is on record of the studies that a key names, the job itself left out.

    Args:
        session: of a role that reads the tables.
        key: the ledger's id, which finds that revision; or an exact Study Instance UID or accession number, which finds
            current revisions, and refused messages that name it and were not put aside. Several studies may share an
            accession number.

    Returns:
        The studies, the latest received first; empty when there is none.
    """
    rows = session.scalars(
        select(StudyRow)
        .where(or_(named_by(key), _refused_by(key)))
        .order_by(StudyRow.received_at.desc(), StudyRow.id)
        .options(
            selectinload(StudyRow.lesions).options(
                selectinload(LesionRow.predictions).joinedload(PredictionRow.model),
                selectinload(LesionRow.restratifications),
                selectinload(LesionRow.images)
                .selectinload(MarkedImageRow.predictions)
                .joinedload(ImagePredictionRow.model),
            ),
            selectinload(StudyRow.events),
        )
        .execution_options(populate_existing=True)
    )
    return [_study(row, study_place(session, row.id)) for row in rows]


def named_by(key: UUID | str) -> ColumnElement[bool]:
    """Return the condition under which a row of ``study`` is one that a key names, as `study_details` takes it.

    A refused message is named by its id alone.
    """
    study_id = _as_uuid(key)
    if study_id is not None:
        return StudyRow.id == study_id
    return IS_STUDY & or_(StudyRow.study_instance_uid.in_(_spelt(key)), StudyRow.accession_number.in_(_spelt(key)))


def ids_beginning(session: Session, key: str, limit: int) -> list[UUID]:
    """Return the ids, ``limit`` at most, that begin as a key does; none where it may be a number that was mistyped.

    Args:
        session: of a role that reads the tables.
        key: the beginning of an id as it is printed.
        limit: of ids.
    """
    if not _BEGINNING.fullmatch(key) or not _ANY_ID.startswith(re.sub("[0-9a-f]", "0", key)):
        return []
    first, last = (UUID(key + rest[len(key) :]) for rest in (_ANY_ID, _ANY_ID.replace("0", "f")))
    return list(session.scalars(select(StudyRow.id).where(StudyRow.id.between(first, last)).limit(limit)))


def _refused_by(key: UUID | str) -> ColumnElement[bool]:
    """Return the condition under which a row is a refused message that a key names, and that nobody put aside."""
    names = _spelt(key)
    named = or_(StudyRow.named_study_uid.in_(names), StudyRow.accession_number.in_(names))
    return StudyRow.study_instance_uid.is_(None) & StudyRow.discarded_at.is_(None) & named


def _spelt(key: UUID | str) -> set[str]:
    return {storable_text(str(key)), looked_for(str(key))}  # earlier versions stored what was typed


def _as_uuid(key: UUID | str) -> UUID | None:
    if isinstance(key, UUID):
        return key
    try:
        study_id = UUID(key)
    except ValueError:
        return None
    return study_id if str(study_id) == key.lower() else None  # UUID() also takes 32 digits for one


def _study(row: StudyRow, place: StudyPlace | None) -> StudyDetail:
    return StudyDetail(
        study_id=row.id,
        study_instance_uid=row.study_instance_uid or row.named_study_uid,
        accession_number=row.accession_number,
        refused=row.study_instance_uid is None and row.purged_at is None,
        revision=row.revision,
        is_current=row.is_current,
        priority=row.priority.value,
        state=row.state.value,
        source=row.source,
        attempts=row.attempts,
        error_code=row.error_code,
        error_reason=row.error_reason,
        worklist_class=word_of(row.worklist_class),
        place=place,
        malignant_probability=row.malignant_probability,
        received_at=row.received_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        lesions=tuple(_lesion(lesion) for lesion in row.lesions),
        events=tuple(StudyEvent(event.at, event.actor, event.event, event.detail) for event in row.events),
    )


def _lesion(row: LesionRow) -> LesionDetail:
    advice = next((advice for advice in row.restratifications if advice.is_current), None)
    return LesionDetail(
        lesion_id=row.lesion_id,
        state=row.state.value,
        birads=row.birads.value,
        laterality=word_of(row.laterality),
        clock_position=row.clock_position,
        distance_to_nipple_mm=row.distance_to_nipple_mm,
        depth_mm=row.depth_mm,
        images=tuple(_image(image) for image in row.images),
        error_code=row.error_code,
        error_reason=row.error_reason,
        age_years=row.age_years,
        age_source=word_of(row.age_source),
        scanner_model=row.scanner_model,
        site=row.site,
        outcome=None if advice is None else advice.outcome.value,
        recommended=None if advice is None else advice.recommended.value,
        rule_version=None if advice is None else advice.rule_version,
        uncertain=None if advice is None else advice.uncertain,
        predictions=tuple(_prediction(prediction, advice) for prediction in row.predictions),
    )


def _image(row: MarkedImageRow) -> ImageDetail:
    return ImageDetail(
        ordinal=row.ordinal,
        frame=row.frame,
        roi=box_of(row.roi_x, row.roi_y, row.roi_width, row.roi_height),
        plane=word_of(row.plane),
        state=row.state.value,
        error_code=row.error_code,
        error_reason=row.error_reason,
        region=box_of(row.region_x, row.region_y, row.region_width, row.region_height),
        region_source=word_of(row.region_source),
        gate=tuple(row.gate),
        width_mm=row.width_mm,
        height_mm=row.height_mm,
        aspect_ratio=aspect_of(row.width_mm, row.height_mm),
        laterality=word_of(row.laterality),
        predictions=tuple(
            ImagePrediction(said.model.name, said.model.version, said.positive_probability) for said in row.predictions
        ),
    )


def _prediction(row: PredictionRow, advice: RestratificationRow | None) -> StoredPrediction:
    return StoredPrediction(
        model_name=row.model.name,
        model_version=row.model.version,
        weights_sha256=row.model.weights_sha256,
        notice=row.model.notice,
        probabilities=row.probabilities,
        positive_probability=row.positive_probability,
        predicted_class=row.predicted_class,
        positive=row.positive,
        threshold=row.threshold,
        conformal_set=row.conformal_set,
        created_at=row.created_at,
        in_service=advice is not None and row.id in (advice.lh_prediction_id, advice.bm_prediction_id),
    )


def box_of(x: int | None, y: int | None, width: int | None, height: int | None) -> Box | None:
    """Return a rectangle, or ``None`` where there is none."""
    if x is None or y is None or width is None or height is None:
        return None
    return x, y, width, height


def aspect_of(width_mm: float | None, height_mm: float | None) -> float | None:
    """Return height to width; ``None`` where the size is not known."""
    return None if width_mm is None or height_mm is None else height_mm / width_mm


def word_of(word: Any) -> str | None:
    """Return an enumeration's word, or ``None`` where there is none."""
    return None if word is None else str(word.value)
