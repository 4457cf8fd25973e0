"""What became of a study's lesions, and the record of it that the ledger keeps."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from db.schema.records import (
    AssessmentRecord,
    Claim,
    ImagePrediction,
    ImageResultRecord,
    LesionResultRecord,
    PredictionRecord,
    StudyResultRecord,
)
from worker.clinical.categories import Priority
from worker.clinical.reading_order.outcome_class import worklist_class
from worker.clinical.restratify import Assessment
from worker.errors import Code, DlrError, LesionRefused
from worker.logs import story_of
from worker.scoring.lesion_images import ImageOutcome
from worker.study import Lesion, LesionImage, Score, Scores, site_of
from worker.telemetry.measures import Measures

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LesionOutcome:
    """What became of one lesion: scores and an assessment, or the refusal that says why not.

    Attributes:
        images: of each of its images, in their order; none: nobody looked at them.
    """

    lesion: Lesion
    images: tuple[ImageOutcome, ...] = ()
    scores: Scores | None = None
    assessment: Assessment | None = None
    refused: DlrError | None = None

    @property
    def read(self) -> list[LesionImage]:
        """The images that were read, whether or not they were scored."""
        return [one.image for one in self.images if one.image is not None]


def result_record(claim: Claim, outcomes: Sequence[LesionOutcome]) -> StudyResultRecord:
    """Sum a study up: its state, its class, and one record a lesion."""
    refused = [(outcome.lesion, outcome.refused) for outcome in outcomes if outcome.refused is not None]
    assessed = [outcome.assessment.outcome for outcome in outcomes if outcome.assessment is not None]
    malignant = [outcome.scores.bm.positive_probability for outcome in outcomes if outcome.scores is not None]
    dates = [
        image.examination.study_date for outcome in outcomes for image in outcome.read if image.examination.study_date
    ]
    return StudyResultRecord(
        study_id=claim.study_id,
        attempt=claim.attempt,
        state="done" if not refused else "partial" if assessed else "failed",
        error_code=refused[0][1].code.value if refused else None,
        error_reason="; ".join(f"{lesion.lesion_id}: {error.reason}" for lesion, error in refused) or None,
        worklist_class=worklist_class(assessed, complete=not refused).name.lower(),
        malignant_probability=max(malignant, default=None),
        lesions=tuple(_lesion_record(outcome) for outcome in outcomes),
        study_date=min(dates, default=None),
        detail=_details(outcomes),
    )


def _lesion_record(outcome: LesionOutcome) -> LesionResultRecord:
    lesion, scores, assessment, refused = outcome.lesion, outcome.scores, outcome.assessment, outcome.refused
    read = outcome.read
    scanners = [image.scanner for image in read]
    sides = {image.examination.laterality for image in read} - {None}
    return LesionResultRecord(
        lesion_id=lesion.lesion_id,
        state="scored" if refused is None else "failed",
        error_code=None if refused is None else refused.code.value,
        error_reason=None if refused is None else refused.reason,
        age_years=read[0].age.years if read else None,
        age_source=read[0].age.source.value if read else None,
        scanner_model=next((scanner.model for scanner in scanners if scanner.model), None),
        site=site_of(read),
        laterality=lesion.laterality or (sides.pop() if len(sides) == 1 else None),
        images=tuple(_image_record(image, scores, refused) for image in outcome.images),
        predictions=() if scores is None else (prediction_record(scores.lh), prediction_record(scores.bm)),
        assessment=None if assessment is None else _assessment(assessment),
    )


def _image_record(outcome: ImageOutcome, scores: Scores | None, of_lesion: DlrError | None) -> ImageResultRecord:
    """Keep what became of an image; one that was read and has no score failed as its lesion did."""
    image, score = outcome.image, outcome.score
    refused = outcome.refused or (of_lesion if score is None else None)
    region, size = (None, None) if image is None else (image.region, image.size)
    return ImageResultRecord(
        state="scored" if refused is None else "failed",
        error_code=None if refused is None else refused.code.value,
        error_reason=None if refused is None else refused.reason,
        region=None if region is None else (region.x, region.y, region.width, region.height),
        region_source=None if image is None else image.region_source.value,
        gate=() if image is None else tuple(reason.value for reason in image.quality_warnings),
        size_mm=None if size is None else (size.width_mm, size.height_mm),
        laterality=None if image is None else image.examination.laterality,
        predictions=()
        if score is None or scores is None
        else (
            ImagePrediction(scores.lh.model, scores.lh.version, score.lh),
            ImagePrediction(scores.bm.model, scores.bm.version, score.bm),
        ),
    )


def prediction_record(score: Score) -> PredictionRecord:
    """Return a score as the ledger keeps it."""
    return PredictionRecord(
        model_name=score.model,
        model_version=score.version,
        probabilities=score.probabilities,
        positive_probability=score.positive_probability,
        predicted_class=score.predicted_class,
        positive=score.positive,
        threshold=score.threshold,
        conformal_set=score.conformal_set,
    )


def _assessment(assessment: Assessment) -> AssessmentRecord:
    return AssessmentRecord(
        outcome=assessment.outcome.value,
        original=assessment.original.value,
        recommended=assessment.recommended.value,
        rule_version=assessment.rule_version,
        uncertain=assessment.uncertain,
    )


def tell(
    measures: Measures, outcomes: Sequence[LesionOutcome], state: str, priority: Priority, waited_s: float
) -> None:
    """Count a study whose result is committed, and its lesions.

    Args:
        measures: count.
        outcomes: of its lesions.
        state: ``done``, ``partial`` or ``failed``.
        priority: as it was claimed.
        waited_s: how long ago it arrived, in seconds.
    """
    measures.ended(state, priority, waited_s)
    for outcome in outcomes:
        if outcome.refused is not None:
            measures.failed(outcome.refused.code)
        elif outcome.assessment is not None:
            measures.scored(outcome.assessment.outcome)


class Defect(LesionRefused):
    """An unforeseen exception; its traceback goes into the ledger and nowhere else."""

    story = ""


def defect_of(error: Exception) -> Defect:
    """Make a lesion's refusal of an unforeseen exception, and say so in the log, without its words."""
    logger.error("a lesion failed because of a defect of this software: %s", type(error).__qualname__)
    defect = Defect(Code.INTERNAL_ERROR, f"unexpected {type(error).__qualname__}; its place is in study_event")
    defect.story = story_of(error)
    return defect


def _details(outcomes: Sequence[LesionOutcome]) -> dict[str, str]:
    """Return the places of defects, by the lesion's number in the study: ``2``, or ``2.3`` for its third image."""
    return {
        where: refused.story
        for ordinal, outcome in enumerate(outcomes, start=1)
        for where, refused in (
            (str(ordinal), outcome.refused),
            *((f"{ordinal}.{number}", one.refused) for number, one in enumerate(outcome.images, start=1)),
        )
        if isinstance(refused, Defect) and (refused is not outcome.refused or where == str(ordinal))
    }
