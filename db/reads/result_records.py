"""The plain values of a study's result, as documents need it: whole, with the models that it rests on."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from db.schema.records import Box
from db.schema.worklist_records import StudyPlace


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
class ImageResult:
    """One image of a lesion: its own scores, or why it has none.

    Attributes:
        ordinal: its number among the lesion's, from 1.
        frame: from 1; ``None``: the file's only frame.
        plane: how the transducer was held, as the sender said it.
        roi: the sender's rectangle.
        region: the rectangle that was scored; its source is ``job``, ``ultrasound_region`` or ``whole_image``.
        gate: what speaks against the region, and was let pass as a warning: words of ``marked_image.gate``.
        width_mm: of the ROI, with ``height_mm``; ``None`` where the file does not say how large its pixels are.
        laterality: ``left``, ``right`` or ``both``, by the image's header.
        high_risk_probability: DLR_LH's of this image alone, of the version that advises; ``None`` without a score.
        malignant_probability: DLR_BM's, likewise.
        error_code: why there are no scores; ``None`` where there are.
    """

    ordinal: int
    sop_instance_uid: str
    frame: int | None
    plane: str | None
    roi: Box | None
    region: Box | None
    region_source: str | None
    gate: tuple[str, ...]
    width_mm: float | None
    height_mm: float | None
    laterality: str | None
    high_risk_probability: float | None
    malignant_probability: float | None
    error_code: str | None
    error_reason: str | None


@dataclass(frozen=True, slots=True)
class LesionResult:
    """One lesion: what the radiologist said, and the scores and advice on it, or why there are none.

    What is said of an image here is said of the first one that was scored, or of the first where none was.

    Attributes:
        ordinal: its place in the job, from 1.
        frame: from 1; ``None``: the file's only frame.
        birads: the radiologist's category.
        roi: the sender's rectangle.
        gate: what speaks against the region, and was let pass as a warning: words of ``marked_image.gate``.
        width_mm: of the region, with ``height_mm`` and their ratio; ``None`` where the file does not say how large its
            pixels are.
        region: the rectangle that was scored; its source is ``job``, ``ultrasound_region`` or ``whole_image``.
        age_years: that the models were given, 0 to 120 years; its source is ``job``, ``patient_age`` or ``birth_date``.
        outcome: ``upgraded``, ``maintained``, ``downgraded`` or ``not_applicable``; ``None`` without scores.
        recommended: the category that is recommended, or ``>4A``; ``None`` without scores.
        restratification_id: of the row that the outcome is from.
        error_code: why there are no scores; ``None`` where there are.
        uncertain: it is kept in 4A because a model is not certain.
        images: all of them, in the job's order.
        laterality: ``left``, ``right`` or ``both``: the sender's, else the images' where they agree.
        clock_position: the sender's, 1 to 12.
        distance_to_nipple_mm: the sender's, 0 to 300 mm.
        depth_mm: the sender's: from the skin, 0 to 300 mm.
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
    images: tuple[ImageResult, ...] = ()
    laterality: str | None = None
    clock_position: int | None = None
    distance_to_nipple_mm: float | None = None
    depth_mm: float | None = None

    @property
    def images_refused(self) -> int:
        """Of its images, those that could not be scored."""
        return sum(image.error_code is not None for image in self.images)

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
        is_on_pacs: it speaks DICOM, and not DICOMweb.
        lesions: in the job's order.
        endings: of this revision and those before it, oldest first; the last one is this result.
        site: institution or station of the scanner, as the first image has it that says so.
        scanner_model: its manufacturer and model.
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
    is_on_pacs: bool = False
    site: str | None = None
    scanner_model: str | None = None

    @property
    def notices(self) -> tuple[str, ...]:
        """What the models of its scores say that they are not for, each once."""
        said = {score.notice for lesion in self.lesions for score in lesion.scores if score.notice}
        return tuple(sorted(said))
