"""Writes of scores: of images, of the lesions that they show, and the advice that rests on them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Table, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import ResultInconsistent
from db.schema.images import ImagePredictionRow
from db.schema.records import HeldLesion, ImagePrediction, ImageResultRecord, LesionResultRecord, PredictionRecord
from db.schema.tables import PredictionRow, RestratificationRow
from db.schema.vocabulary import BM_MODEL, LH_MODEL, LesionState
from db.storable import storable_text

Version = tuple[str, str]
"""The name and the version of a model."""

# Tables and not their classes: a batch of rows passes SQLAlchemy's ORM by.
_PREDICTIONS, _OF_IMAGES, _ADVICE = (
    cast("Table", row.__table__) for row in (PredictionRow, ImagePredictionRow, RestratificationRow)
)

_END_IMAGES = text("""
    UPDATE marked_image AS image
    SET state = new.state, error_code = new.error_code, error_reason = new.error_reason,
        region_x = new.region_x, region_y = new.region_y,
        region_width = new.region_width, region_height = new.region_height, region_source = new.region_source,
        gate = new.gate, width_mm = new.width_mm, height_mm = new.height_mm, laterality = new.laterality
    FROM json_populate_recordset(NULL::marked_image, CAST(:images AS json)) AS new
    WHERE image.id = new.id
""")

_new_prediction = insert(_PREDICTIONS)
_UPSERT_PREDICTION = _new_prediction.on_conflict_do_update(
    index_elements=[_PREDICTIONS.c.lesion_id, _PREDICTIONS.c.model_id],
    set_={
        "probabilities": _new_prediction.excluded.probabilities,
        "positive_probability": _new_prediction.excluded.positive_probability,
        "predicted_class": _new_prediction.excluded.predicted_class,
        "positive": _new_prediction.excluded.positive,
        "threshold": _new_prediction.excluded.threshold,
        "conformal_set": _new_prediction.excluded.conformal_set,
        "created_at": func.now(),
    },
).returning(_PREDICTIONS.c.id, _PREDICTIONS.c.lesion_id, _PREDICTIONS.c.model_id)

_new_of_image = insert(_OF_IMAGES)
_UPSERT_OF_IMAGE = _new_of_image.on_conflict_do_update(
    index_elements=[_OF_IMAGES.c.image_id, _OF_IMAGES.c.model_id],
    set_={"positive_probability": _new_of_image.excluded.positive_probability},
)

_new_advice = insert(_ADVICE)
_UPSERT_ADVICE = _new_advice.on_conflict_do_update(
    constraint="uq_restratification_natural",
    set_={
        "outcome": _new_advice.excluded.outcome,
        "original": _new_advice.excluded.original,
        "recommended": _new_advice.excluded.recommended,
        "uncertain": _new_advice.excluded.uncertain,
        "is_current": True,
        "created_at": func.now(),
    },
)


def end_images(session: Session, lesions: Sequence[tuple[HeldLesion, LesionResultRecord]]) -> None:
    """Write what became of each image; one of a lesion that names none failed as the lesion did."""
    values = [
        _image_values(key, image)
        for known, lesion in lesions
        for key, image in zip(known.images, lesion.images or [_failed_with(lesion)] * len(known.images), strict=True)
    ]
    session.execute(_END_IMAGES, {"images": json.dumps(values)})


def put_scores(
    session: Session, lesions: Sequence[tuple[HeldLesion, LesionResultRecord]], models: Mapping[Version, int]
) -> None:
    """Bring the scores of lesions and of their images up to date, and give the scored lesions their advice.

    Args:
        session: the caller commits.
        lesions: as they are held, and what became of them.
        models: the keys of the versions that scored.
    """
    of_images = [
        image_prediction_values(said, key, models[version_of(said)])
        for known, lesion in lesions
        for key, image in zip(known.images, lesion.images, strict=False)
        for said in image.predictions
    ]
    if of_images:
        session.execute(_UPSERT_OF_IMAGE, of_images)
    scored = [(known.key, lesion) for known, lesion in lesions if lesion.state == LesionState.SCORED]
    if not scored:
        return
    rows = [
        prediction_values(part, key, models[version_of(part)]) for key, lesion in scored for part in lesion.predictions
    ]
    predictions = {(row.lesion_id, row.model_id): row.id for row in session.execute(_UPSERT_PREDICTION, rows)}
    session.execute(_UPSERT_ADVICE, [_advice_values(lesion, key, models, predictions) for key, lesion in scored])


def versions_of(lesion: LesionResultRecord) -> Iterator[Version]:
    """Yield the versions that scored a lesion or one of its images."""
    yield from map(version_of, lesion.predictions)
    yield from (version_of(said) for image in lesion.images for said in image.predictions)


def version_of(prediction: PredictionRecord | ImagePrediction) -> Version:
    """Return the (name, version) of a prediction's model."""
    return prediction.model_name, prediction.model_version


def prediction_values(prediction: PredictionRecord, lesion_key: int, model_key: int) -> dict[str, Any]:
    """Return a prediction as a row of its table."""
    return {
        "lesion_id": lesion_key,
        "model_id": model_key,
        "probabilities": dict(prediction.probabilities),
        "positive_probability": prediction.positive_probability,
        "predicted_class": prediction.predicted_class,
        "positive": prediction.positive,
        "threshold": prediction.threshold,
        "conformal_set": prediction.conformal_set,
    }


def image_prediction_values(said: ImagePrediction, image_key: int, model_key: int) -> dict[str, Any]:
    """Return a prediction of an image as a row of its table."""
    return {"image_id": image_key, "model_id": model_key, "positive_probability": said.positive_probability}


def _failed_with(lesion: LesionResultRecord) -> ImageResultRecord:
    return ImageResultRecord(LesionState.FAILED.value, lesion.error_code, lesion.error_reason)


def _image_values(key: int, image: ImageResultRecord) -> dict[str, Any]:
    x, y, width, height = image.region or (None, None, None, None)
    width_mm, height_mm = image.size_mm or (None, None)
    return {
        "id": key,
        "state": image.state,
        "error_code": image.error_code,
        "error_reason": None if image.error_reason is None else storable_text(image.error_reason),
        "region_x": x,
        "region_y": y,
        "region_width": width,
        "region_height": height,
        "region_source": image.region_source,
        "gate": list(image.gate),
        "width_mm": width_mm,
        "height_mm": height_mm,
        "laterality": image.laterality,
    }


def _advice_values(
    lesion: LesionResultRecord, key: int, models: Mapping[Version, int], predictions: Mapping[tuple[int, int], int]
) -> dict[str, Any]:
    assessment = lesion.assessment
    if assessment is None:
        raise ResultInconsistent("a scored lesion has an assessment")
    by_name = {part.model_name: predictions[key, models[version_of(part)]] for part in lesion.predictions}
    return {
        "lesion_id": key,
        "lh_prediction_id": by_name[LH_MODEL],
        "bm_prediction_id": by_name[BM_MODEL],
        "rule_version": assessment.rule_version,
        "outcome": assessment.outcome,
        "original": assessment.original,
        "recommended": assessment.recommended,
        "uncertain": assessment.uncertain,
        "is_current": True,
    }
