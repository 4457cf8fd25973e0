"""What every document says of a lesion, whatever its format: numbers, choices and notes, in one order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from db.schema.vocabulary import AgeSource, QualityFinding, RegionSource
from worker.clinical.categories import Outcome, Recommendation
from worker.clinical.restratify import UNCERTAIN
from worker.reporting import concepts
from worker.reporting.concepts import Concept
from worker.reporting.result import LesionResult, ModelScore, StudyResult

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

    Probabilities and thresholds are 0 to 1, the age is in years, and the region's size in millimetres.
    """
    return tuple(_findings(lesion))


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
    if lesion.region_source is not None:
        yield Choice(concepts.REGION_SOURCE, concepts.REGION_SOURCES[RegionSource(lesion.region_source)])
    for reason in lesion.gate:
        yield Choice(concepts.QUALITY_FINDING, concepts.QUALITY_FINDINGS[QualityFinding(reason)])
    yield from _size(lesion)
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


def _size(lesion: LesionResult) -> Iterator[ContentItem]:
    if lesion.width_mm is not None and lesion.height_mm is not None and lesion.aspect_ratio is not None:
        yield Number(concepts.WIDTH, lesion.width_mm, concepts.MILLIMETRE)
        yield Number(concepts.HEIGHT, lesion.height_mm, concepts.MILLIMETRE)
        yield Number(concepts.ASPECT_RATIO, lesion.aspect_ratio, concepts.RATIO)


def _positive(score: ModelScore) -> bool:
    return score.predicted_class == score.positive_class


def parameters_of(score: ModelScore) -> tuple[str, ...]:
    """Return what tells a version of a model from any other, as ``name=value``."""
    return (f"weights_sha256={score.weights_sha256}", f"card_sha256={score.card_sha256}")


def summary_of(result: StudyResult) -> str:
    """Return a sentence on the whole study."""
    scored = sum(lesion.error_code is None for lesion in result.lesions)
    said = f"DLR scored {scored} of {len(result.lesions)} lesions."
    uncertain = sum(lesion.uncertain for lesion in result.lesions)
    kept = [f"Kept in 4A because the models are not certain: {uncertain}."] if uncertain else []
    return " ".join([said, *kept, ADVICE, *(f"Notice: {notice}." for notice in result.notices)])
