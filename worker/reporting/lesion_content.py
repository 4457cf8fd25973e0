"""What every document says of a lesion and its images, whatever its format: numbers, choices and notes, in one order.

Of a lesion with one image all is said at once. Of one with several, what the models say of all of them together is said
once, and of each image only what is its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from db.schema.vocabulary import AgeSource, Laterality, Plane, QualityFinding, RegionSource
from worker.clinical import aggregation
from worker.clinical.categories import Outcome, Recommendation
from worker.clinical.restratify import UNCERTAIN
from worker.reporting import concepts
from worker.reporting.concepts import Concept
from worker.reporting.result import ImageResult, LesionResult, ModelScore, StudyResult

ADVICE = "A recommendation of software, to be weighed by a radiologist. It is not a diagnosis."
"""On every document."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number, its unit, and whose score it is."""

    name: Concept
    value: float
    unit: Concept
    score: ModelScore | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A coded answer."""

    name: Concept
    value: Concept


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence."""

    name: Concept
    text: str


ContentItem = Number | Choice | Note


def content_of(lesion: LesionResult) -> tuple[ContentItem, ...]:
    """Return what is to be said of a lesion: the radiologist's category first, then ours or why there is none.

    Probabilities and thresholds are 0 to 1, the age is in years, distances and the region's size in millimetres.
    """
    return tuple(_findings(lesion))


def image_content_of(lesion: LesionResult, image: ImageResult) -> tuple[ContentItem, ...]:
    """Return what is to be said of one of several images of a lesion; units as of `content_of`."""
    return tuple(_of_image(lesion, image))


def has_several_images(lesion: LesionResult) -> bool:
    """Whether a lesion's scores are of several images."""
    return len(lesion.images) > 1


def views_disagree(lesion: LesionResult) -> bool:
    """Whether images of a lesion lie on both sides of either model's threshold."""
    return any(
        aggregation.views_disagree(of_images, score.threshold) for score, of_images, _ in _scores_of_images(lesion)
    )


def spreads(lesion: LesionResult) -> tuple[Number, ...]:
    """Return how far the images of a lesion lie apart, by each model; none unless two of them have scores."""
    return tuple(
        Number(name, aggregation.spread(of_images), concepts.RATIO, score)
        for score, of_images, name in _scores_of_images(lesion)
        if len(of_images) > 1
    )


def _scores_of_images(lesion: LesionResult) -> Iterator[tuple[ModelScore, list[float], Concept]]:
    """Give each model's score of a lesion, its probabilities of the images, and what their spread is called."""
    lh = [image.high_risk_probability for image in lesion.images if image.high_risk_probability is not None]
    bm = [image.malignant_probability for image in lesion.images if image.malignant_probability is not None]
    for score, of_images, name in ((lesion.lh, lh, concepts.LH_SPREAD), (lesion.bm, bm, concepts.BM_SPREAD)):
        if score is not None:
            yield score, of_images, name


def _findings(lesion: LesionResult) -> Iterator[ContentItem]:
    yield Choice(concepts.ASSESSMENT, concepts.original(lesion.birads))
    if lesion.error_code is not None:
        yield Choice(concepts.NOT_SCORED, concepts.failure(lesion.error_code))
        if lesion.error_reason:
            yield Note(concepts.COMMENT, lesion.error_reason)
    yield from _advice(lesion)
    if lesion.lh is not None:
        yield from _score(lesion.lh, concepts.LOW_RISK, concepts.HIGH_RISK, concepts.LH_THRESHOLD)
    if lesion.bm is not None:
        yield from _score(lesion.bm, concepts.BENIGN, concepts.MALIGNANT, concepts.BM_THRESHOLD)
    if lesion.age_years is not None and lesion.age_source is not None:
        yield Number(concepts.SUBJECT_AGE, lesion.age_years, concepts.YEAR)
        yield Choice(concepts.AGE_SOURCE, concepts.AGE_SOURCES[AgeSource(lesion.age_source)])
    yield from _place(lesion)
    if has_several_images(lesion):
        yield from _counts(lesion)
    else:
        yield from _region(lesion)
    for notice in sorted({score.notice for score in lesion.scores if score.notice}):
        yield Note(concepts.NOTICE, notice)
    yield Note(concepts.NOTICE, ADVICE)


def _advice(lesion: LesionResult) -> Iterator[ContentItem]:
    if lesion.recommended is None or lesion.outcome is None:
        return
    # Of any other lesion than one of 4A nothing is recommended: its category is the radiologist's alone.
    if Outcome(lesion.outcome) is not Outcome.NOT_APPLICABLE:
        yield Choice(concepts.RECOMMENDED, concepts.RECOMMENDATIONS[Recommendation(lesion.recommended)])
    yield Choice(concepts.OUTCOME, concepts.OUTCOMES[Outcome(lesion.outcome)])
    if lesion.lh is not None:
        yield Choice(concepts.LH_CLASS, concepts.LH_CLASSES[_positive(lesion.lh)])
    if lesion.bm is not None:
        yield Choice(concepts.BM_CLASS, concepts.BM_CLASSES[_positive(lesion.bm)])
    if lesion.rule_version is not None:
        yield Note(concepts.RULE, lesion.rule_version)
    if lesion.uncertain:
        yield Note(concepts.UNCERTAIN, UNCERTAIN)
    for name, score in ((concepts.LH_SET, lesion.lh), (concepts.BM_SET, lesion.bm)):
        if score is not None and score.conformal_set is not None:
            yield Note(name, classes_of(score.conformal_set))


def classes_of(conformal_set: Sequence[str]) -> str:
    """Say which classes a model cannot rule out; none is said too."""
    return " or ".join(name.replace("_", " ") for name in conformal_set) or "none"


def _score(score: ModelScore, negative: Concept, positive: Concept, threshold: Concept) -> Iterator[ContentItem]:
    yield Number(negative, score.negative_probability, concepts.RATIO, score)
    yield Number(positive, score.positive_probability, concepts.RATIO, score)
    yield Number(threshold, score.threshold, concepts.RATIO, score)


def _place(lesion: LesionResult) -> Iterator[ContentItem]:
    laterality = concepts.LATERALITIES.get(Laterality(lesion.laterality)) if lesion.laterality else None
    if laterality is not None:
        yield Choice(concepts.LATERALITY, laterality)
    if lesion.clock_position is not None:
        yield Choice(concepts.CLOCKFACE, concepts.CLOCK_POSITIONS[lesion.clock_position])
    if lesion.distance_to_nipple_mm is not None:
        yield Number(concepts.FROM_NIPPLE, lesion.distance_to_nipple_mm, concepts.MILLIMETRE)
    if lesion.depth_mm is not None:
        yield Number(concepts.FROM_SKIN, lesion.depth_mm, concepts.MILLIMETRE)


def _counts(lesion: LesionResult) -> Iterator[ContentItem]:
    yield Number(concepts.IMAGES, len(lesion.images), concepts.RATIO)
    if lesion.images_refused:
        yield Number(concepts.IMAGES_REFUSED, lesion.images_refused, concepts.RATIO)
    yield from spreads(lesion)
    if views_disagree(lesion):
        yield Choice(concepts.VIEWS_DISAGREE, concepts.YES)


def _of_image(lesion: LesionResult, image: ImageResult) -> Iterator[ContentItem]:
    yield Number(concepts.IMAGE, image.ordinal, concepts.RATIO)
    if image.error_code is not None:
        yield Choice(concepts.NOT_SCORED, concepts.failure(image.error_code))
        if image.error_reason:
            yield Note(concepts.COMMENT, image.error_reason)
    if image.high_risk_probability is not None:
        yield Number(concepts.IMAGE_HIGH_RISK, image.high_risk_probability, concepts.RATIO, lesion.lh)
    if image.malignant_probability is not None:
        yield Number(concepts.IMAGE_MALIGNANT, image.malignant_probability, concepts.RATIO, lesion.bm)
    yield from _region(image)


def _region(marked: LesionResult | ImageResult) -> Iterator[ContentItem]:
    plane = marked.plane if isinstance(marked, ImageResult) else next((one.plane for one in marked.images), None)
    if plane is not None:
        yield Choice(concepts.VIEW, concepts.PLANES[Plane(plane)])
    if marked.region_source is not None:
        yield Choice(concepts.REGION_SOURCE, concepts.REGION_SOURCES[RegionSource(marked.region_source)])
    for reason in marked.gate:
        yield Choice(concepts.QUALITY_FINDING, concepts.QUALITY_FINDINGS[QualityFinding(reason)])
    if marked.width_mm is not None and marked.height_mm is not None:
        yield Number(concepts.WIDTH, marked.width_mm, concepts.MILLIMETRE)
        yield Number(concepts.HEIGHT, marked.height_mm, concepts.MILLIMETRE)
        yield Number(concepts.ASPECT_RATIO, marked.height_mm / marked.width_mm, concepts.RATIO)


def _positive(score: ModelScore) -> bool:
    return score.predicted_class == score.positive_class


def parameters_of(score: ModelScore) -> tuple[str, ...]:
    """Return what tells a version of a model from any other, as ``name=value``."""
    return (f"weights_sha256={score.weights_sha256}", f"card_sha256={score.card_sha256}")


def count_images(result: StudyResult) -> tuple[int, int]:
    """Return how many images the lesions of a study have, and how many of them could not be scored."""
    lesions = result.lesions
    return sum(len(lesion.images) or 1 for lesion in lesions), sum(lesion.images_refused for lesion in lesions)


def summary_of(result: StudyResult) -> str:
    """Return a sentence on the whole study."""
    scored = sum(lesion.error_code is None for lesion in result.lesions)
    said = f"DLR scored {scored} of {len(result.lesions)} lesions."
    uncertain = sum(lesion.uncertain for lesion in result.lesions)
    kept = [f"Kept in 4A because the models are not certain: {uncertain}."] if uncertain else []
    notices = [f"Notice: {notice}." for notice in result.notices]
    return " ".join([said, *_on_images(result), *kept, ADVICE, *notices])


def _on_images(result: StudyResult) -> Iterator[str]:
    if not any(has_several_images(lesion) for lesion in result.lesions):
        return
    images, refused = count_images(result)
    yield f"Images of these lesions: {images}{f', of which could not be scored: {refused}' if refused else ''}."
    disagreeing = sum(views_disagree(lesion) for lesion in result.lesions)
    if disagreeing:
        yield f"Lesions whose images lie on both sides of a threshold: {disagreeing}."
