"""Writes of scores: of images, of the lesions that they show, and the advice that rests on them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from db.errors import ResultInconsistent
from db.schema.records import HeldLesion, ImagePrediction, ImageResultRecord, LesionResultRecord, PredictionRecord
from db.schema.vocabulary import BM_MODEL, LH_MODEL, LesionState
from db.storable import storable_text
from db.writes.rows import Write, as_json

Version = tuple[str, str]
"""The name and the version of a model."""

_END_IMAGES = """
    UPDATE marked_image AS image
    SET state = new.state, error_code = new.error_code, error_reason = new.error_reason,
        region_x = new.region_x, region_y = new.region_y,
        region_width = new.region_width, region_height = new.region_height, region_source = new.region_source,
        gate = new.gate, width_mm = new.width_mm, height_mm = new.height_mm, laterality = new.laterality
    FROM json_populate_recordset(NULL::marked_image, CAST(:images AS json)) AS new
    WHERE image.id = new.id
"""

_PUT_OF_IMAGES = """
    INSERT INTO image_prediction (image_id, model_id, positive_probability)
    SELECT image_id, model_id, positive_probability
    FROM json_populate_recordset(NULL::image_prediction, CAST(:of_images AS json))
    ON CONFLICT (image_id, model_id) DO UPDATE SET positive_probability = excluded.positive_probability
"""

# What the advice rests on has its identity from the same statement.
_PUT_SCORES = """
    WITH scored AS (
        INSERT INTO prediction (lesion_id, model_id, probabilities, positive_probability, predicted_class, positive,
                                threshold, conformal_set)
        SELECT lesion_id, model_id, probabilities, positive_probability, predicted_class, positive, threshold,
               conformal_set
        FROM json_populate_recordset(NULL::prediction, CAST(:predictions AS json))
        ON CONFLICT (lesion_id, model_id) DO UPDATE
        SET probabilities = excluded.probabilities, positive_probability = excluded.positive_probability,
            predicted_class = excluded.predicted_class, positive = excluded.positive, threshold = excluded.threshold,
            conformal_set = excluded.conformal_set, created_at = now()
        RETURNING id, lesion_id, model_id
    )
    INSERT INTO restratification (lesion_id, lh_prediction_id, bm_prediction_id, rule_version, outcome, original,
                                  recommended, uncertain, is_current)
    SELECT advice.lesion_id, lh.id, bm.id, advice.rule_version, advice.outcome, advice.original, advice.recommended,
           advice.uncertain, true
    FROM json_to_recordset(CAST(:advice AS json)) AS advice (
             lesion_id bigint, lh_model integer, bm_model integer, rule_version text, outcome outcome, original birads,
             recommended recommendation, uncertain boolean)
    JOIN scored AS lh ON lh.lesion_id = advice.lesion_id AND lh.model_id = advice.lh_model
    JOIN scored AS bm ON bm.lesion_id = advice.lesion_id AND bm.model_id = advice.bm_model
    ON CONFLICT ON CONSTRAINT uq_restratification_natural DO UPDATE
    SET outcome = excluded.outcome, original = excluded.original, recommended = excluded.recommended,
        uncertain = excluded.uncertain, is_current = true, created_at = now()
"""


def end_images(lesions: Sequence[tuple[HeldLesion, LesionResultRecord]]) -> Write:
    """Return what writes what became of each image; one of a lesion that names none failed as the lesion did."""
    values = [
        _image_values(key, image)
        for known, lesion in lesions
        for key, image in zip(known.images, lesion.images or [_failed_with(lesion)] * len(known.images), strict=True)
    ]
    return _END_IMAGES, {"images": as_json(values)}


def put_scores(
    lesions: Sequence[tuple[HeldLesion, LesionResultRecord]], models: Mapping[Version, int]
) -> Iterator[Write]:
    """Yield what brings the scores of lesions and of their images up to date, and gives scored lesions their advice.

    Args:
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
        yield _PUT_OF_IMAGES, {"of_images": as_json(of_images)}
    scored = [(known.key, lesion) for known, lesion in lesions if lesion.state == LesionState.SCORED]
    if not scored:
        return
    rows = [
        prediction_values(part, key, models[version_of(part)]) for key, lesion in scored for part in lesion.predictions
    ]
    advice = [_advice_values(lesion, key, models) for key, lesion in scored]
    yield _PUT_SCORES, {"predictions": as_json(rows), "advice": as_json(advice)}


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


def _advice_values(lesion: LesionResultRecord, key: int, models: Mapping[Version, int]) -> dict[str, Any]:
    assessment = lesion.assessment
    if assessment is None:
        raise ResultInconsistent("a scored lesion has an assessment")
    by_name = {part.model_name: models[version_of(part)] for part in lesion.predictions}
    return {
        "lesion_id": key,
        "lh_model": by_name[LH_MODEL],
        "bm_model": by_name[BM_MODEL],
        "rule_version": assessment.rule_version,
        "outcome": assessment.outcome,
        "original": assessment.original,
        "recommended": assessment.recommended,
        "uncertain": assessment.uncertain,
    }
