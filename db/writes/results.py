"""Writes when an attempt has ended: lesions, predictions and advice, all or nothing."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, bindparam, exists, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session

from db.errors import ModelUnknown, ResultInconsistent
from db.schema.images import MarkedImageRow
from db.schema.records import Held, HeldLesion, LesionResultRecord, ModelRecord, StudyResultRecord
from db.schema.tables import LesionRow, ModelRow, RestratificationRow, StudyRow
from db.schema.vocabulary import BM_MODEL, LH_MODEL, Event, Laterality, LesionState, StudyState
from db.storable import storable_text
from db.writes.claims import AT_WORK
from db.writes.history import entry_values, lines_of
from db.writes.model_versions import put_on_record
from db.writes.rows import Write, as_json, write_all
from db.writes.scores import Version, end_images, put_scores, version_of, versions_of

# Tables and not their classes: a batch of rows passes SQLAlchemy's ORM by.
_STUDIES, _LESIONS, _IMAGES, _ADVICE, _MODELS = (
    cast("Table", row.__table__) for row in (StudyRow, LesionRow, MarkedImageRow, RestratificationRow, ModelRow)
)

_HOLD = (
    select(
        _STUDIES.c.id,
        _STUDIES.c.priority,
        _LESIONS.c.lesion_id,
        _LESIONS.c.id.label("key"),
        _LESIONS.c.birads,
        exists().where(_ADVICE.c.lesion_id == _LESIONS.c.id, _ADVICE.c.is_current).label("advised"),
        select(func.array_agg(aggregate_order_by(_IMAGES.c.id, _IMAGES.c.ordinal)))
        .where(_IMAGES.c.lesion_id == _LESIONS.c.id)
        .scalar_subquery()
        .label("images"),
    )
    .outerjoin(_LESIONS, _LESIONS.c.study_id == _STUDIES.c.id)
    .where(tuple_(_STUDIES.c.id, _STUDIES.c.claims).in_(bindparam("attempts", expanding=True)), *AT_WORK)
    .order_by(_STUDIES.c.id)
    .with_for_update(of=_STUDIES)
)

_END_STUDIES = """
    UPDATE study
    SET state = new.state, error_code = new.error_code, error_reason = new.error_reason,
        worklist_class = new.worklist_class, malignant_probability = new.malignant_probability, site = new.site,
        scanner_model = new.scanner_model, laterality = new.laterality, study_date = new.study_date,
        finished_at = now(), updated_at = now()
    FROM json_populate_recordset(NULL::study, CAST(:studies AS json)) AS new
    WHERE study.id = new.id
"""
_END_LESIONS = """
    UPDATE lesion
    SET state = new.state, error_code = new.error_code, error_reason = new.error_reason, age_years = new.age_years,
        age_source = new.age_source, scanner_model = new.scanner_model, site = new.site,
        laterality = coalesce(new.laterality, lesion.laterality), updated_at = now()
    FROM json_populate_recordset(NULL::lesion, CAST(:lesions AS json)) AS new
    WHERE lesion.id = new.id
"""

_MODELS_OF = select(_MODELS.c.name, _MODELS.c.version, _MODELS.c.id).where(
    tuple_(_MODELS.c.name, _MODELS.c.version).in_(bindparam("versions", expanding=True))
)


def register_model(session: Session, model: ModelRecord) -> None:
    """Put a version of a model on record; its notice and card are brought up to date.

    Raises:
        ModelConflict: the same name and version is on record with other weights, or with a card of another
            aggregation, temperature, threshold, conformal set or scale of a site.
    """
    key = put_on_record(session, model)
    session.execute(update(ModelRow).where(ModelRow.id == key).values(notice=model.notice, card=dict(model.card)))


def hold(session: Session, attempts: Mapping[UUID, int]) -> dict[UUID, Held]:
    """Hold studies still that run under these attempts, until the caller commits.

    Read it in the transaction of ``finish``. A study whose attempt is not the last any more is left out.
    """
    rows = session.execute(_HOLD, {"attempts": list(attempts.items())})
    held: dict[UUID, tuple[str, dict[str, HeldLesion]]] = {}
    for row in rows:
        _, lesions = held.setdefault(row.id, (row.priority.value, {}))
        if row.key is not None:
            lesions[row.lesion_id] = HeldLesion(row.key, row.birads.value, row.advised, tuple(row.images or ()))
    return {study_id: Held(priority, lesions) for study_id, (priority, lesions) in held.items()}


def finish(
    session: Session, results: Collection[StudyResultRecord], held: Mapping[UUID, Held] | None = None
) -> set[UUID]:
    """Write the results of attempts, each of another study, in the caller's transaction: all of them, or nothing.

    A lesion that a result leaves out failed with the study's error. The same model's scores of a lesion are brought
    up to date; another model's stay. The latest advice on a lesion is the current one.

    Args:
        session: the caller commits.
        results: of one study each.
        held: what ``hold`` gave for them in this transaction; ``None``: they are held here.

    Returns:
        The studies whose result was written. Of the others nothing was: the study does not run under this attempt any
        more, since it was claimed anew, has ended, or another revision took its place.

    Raises:
        ResultInconsistent: a lesion is not the study's, was given twice or with another BI-RADS category, lacks a
            model's scores, or the state does not follow from the lesions. Roll back.
        ModelUnknown: a model was not registered. Roll back.
    """
    if held is None:
        held = hold(session, {result.study_id: result.attempt for result in results})
    written = [result for result in results if result.study_id in held]
    if not written:
        return set()
    lesions = [
        (held[result.study_id].lesions[lesion.lesion_id], lesion)
        for result in written
        for lesion in _all_lesions(result, held[result.study_id].lesions)
    ]
    ended = [entry_values(result.study_id, Event(result.state), _history(result)) for result in written]
    write_all(
        session,
        [
            (_END_STUDIES, {"studies": as_json([_study_values(result) for result in written])}),
            *_of_lesions(session, lesions),
            lines_of(ended),
        ],
    )
    return {result.study_id for result in written}


def _study_values(result: StudyResultRecord) -> dict[str, Any]:
    return {
        "id": result.study_id,
        "state": result.state,
        "error_code": result.error_code,
        "error_reason": _storable(result.error_reason),
        "worklist_class": result.worklist_class,
        "malignant_probability": result.malignant_probability,
        "site": _storable(_first(lesion.site for lesion in result.lesions)),
        "scanner_model": _storable(_first(lesion.scanner_model for lesion in result.lesions)),
        "laterality": _sides({side for lesion in result.lesions for side in _sides_of(lesion)}),
        "study_date": result.study_date,
    }


def _first(names: Iterable[str | None]) -> str | None:
    return next((name for name in names if name is not None), None)


def _sides_of(lesion: LesionResultRecord) -> Iterator[str]:
    """Yield the sides that a lesion is said to be on: by itself, else by each of its images."""
    yield from filter(None, (lesion.laterality,) if lesion.laterality else (one.laterality for one in lesion.images))


def _sides(lateralities: Set[str]) -> Laterality | None:
    """Sum a study's sides up; a lesion that does not say its side says nothing of the others."""
    if not lateralities:
        return None
    return Laterality(next(iter(lateralities))) if len(lateralities) == 1 else Laterality.BOTH


def _history(result: StudyResultRecord) -> dict[str, Any]:
    """What the study's history says of its end, and no lesion's name.

    Images that were refused are those of lesions that were scored.
    """
    versions = {version_of(prediction) for lesion in result.lesions for prediction in lesion.predictions}
    scored = [lesion for lesion in result.lesions if lesion.state == LesionState.SCORED]
    refused = sum(image.state != LesionState.SCORED for lesion in scored for image in lesion.images)
    rules = {lesion.assessment.rule_version for lesion in result.lesions if lesion.assessment is not None}
    return {
        "attempt": result.attempt,
        "code": result.error_code,
        "models": dict(sorted(versions)) or None,
        "rule": ", ".join(sorted(rules)) or None,
        "images_refused": refused or None,
        "lesions": dict(result.detail) or None,
    }


def _all_lesions(result: StudyResultRecord, known: Mapping[str, HeldLesion]) -> list[LesionResultRecord]:
    given = {lesion.lesion_id: lesion for lesion in result.lesions}
    if len(given) != len(result.lesions) or not given.keys() <= known.keys():
        raise ResultInconsistent("a lesion is not the study's, or is there twice")
    scored = [lesion for lesion in result.lesions if lesion.state == LesionState.SCORED]
    for lesion in scored:
        models = sorted(prediction.model_name for prediction in lesion.predictions)
        if models != [BM_MODEL, LH_MODEL] or lesion.assessment is None:
            raise ResultInconsistent("a scored lesion has one prediction of each model, and an assessment")
        if lesion.assessment.original != known[lesion.lesion_id].birads:
            raise ResultInconsistent("an assessment rests on another BI-RADS category than the lesion's")
        if not any(image.state == LesionState.SCORED for image in lesion.images):
            raise ResultInconsistent("a scored lesion has an image that was scored")
    if any(len(lesion.images) not in (0, len(known[lesion.lesion_id].images)) for lesion in result.lesions):
        raise ResultInconsistent("a lesion has other images than the study's")
    state = StudyState.FAILED
    if scored:
        state = StudyState.DONE if len(scored) == len(known) else StudyState.PARTIAL
    if result.state != state:
        raise ResultInconsistent(f"the study is {result.state}, and its lesions say {state.value}")
    failed = LesionState.FAILED.value
    missing = (name for name in known if name not in given)
    return [
        *result.lesions,
        *(LesionResultRecord(name, failed, result.error_code, result.error_reason) for name in missing),
    ]


def _of_lesions(session: Session, lesions: Sequence[tuple[HeldLesion, LesionResultRecord]]) -> list[Write]:
    """Return what writes what became of lesions; advice that they had is no longer the current one at once."""
    if not lesions:
        return []
    advised = [known.key for known, _ in lesions if known.advised]
    if advised:
        former = _ADVICE.c.lesion_id.in_(advised) & _ADVICE.c.is_current
        session.execute(update(_ADVICE).where(former).values(is_current=False))
    models = _model_keys(session, {version for _, lesion in lesions for version in versions_of(lesion)})
    values = [_lesion_values(lesion, known.key) for known, lesion in lesions]
    return [(_END_LESIONS, {"lesions": as_json(values)}), end_images(lesions), *put_scores(lesions, models)]


def _model_keys(session: Session, versions: set[Version]) -> dict[Version, int]:
    if not versions:
        return {}
    rows = session.execute(_MODELS_OF, {"versions": sorted(versions)})
    keys = {(row.name, row.version): row.id for row in rows}
    for name, version in versions - keys.keys():
        raise ModelUnknown(f"{name} {version} was not registered")
    return keys


def _lesion_values(lesion: LesionResultRecord, key: int) -> dict[str, Any]:
    return {
        "id": key,
        "state": lesion.state,
        "error_code": lesion.error_code,
        "error_reason": _storable(lesion.error_reason),
        "age_years": lesion.age_years,
        "age_source": lesion.age_source,
        "scanner_model": _storable(lesion.scanner_model),
        "site": _storable(lesion.site),
        "laterality": lesion.laterality,
    }


def _storable(text: str | None) -> str | None:
    return None if text is None else storable_text(text)
