"""A lesion of several images by one of them, for what looks at one frame."""

from dataclasses import replace

from worker.reporting.result import ImageResult, LesionResult, ModelScore


def with_one_image(lesion: LesionResult, image: ImageResult) -> LesionResult:
    """Return a lesion as if an image were its only one, with the scores of that image."""
    of_image = image.high_risk_probability, image.malignant_probability
    lh, bm = (_of_image(score, said) for score, said in zip((lesion.lh, lesion.bm), of_image, strict=True))
    return replace(
        lesion,
        sop_instance_uid=image.sop_instance_uid,
        frame=image.frame,
        roi=image.roi,
        region=image.region,
        region_source=image.region_source,
        gate=image.gate,
        width_mm=image.width_mm,
        height_mm=image.height_mm,
        lh=lh,
        bm=bm,
        error_code=image.error_code,
        error_reason=image.error_reason,
        images=(image,),
    )


def _of_image(score: ModelScore | None, probability: float | None) -> ModelScore | None:
    if score is None or probability is None:
        return None
    return replace(
        score,
        negative_probability=1 - probability,
        positive_probability=probability,
        predicted_class=score.positive_class if probability >= score.threshold else score.negative_class,
    )
