"""The plain values that commands read of studies."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from db.schema.records import Box, ImagePrediction
from db.schema.worklist_records import StudyPlace


@dataclass(frozen=True, slots=True)
class ScoredUnread:
    """A study that is to be read and has scores.

    Attributes:
        finished_at: when its result was written.
        images: of each scored lesion, by its place in the job, the numbers of the images that were scored; all from 1.
    """

    study_id: UUID
    finished_at: datetime
    images: Mapping[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class WorklistRow:
    """One row of the view ``worklist``; the view's comments say what each column means."""

    position: int | None
    study_id: UUID
    study_instance_uid: str | None
    accession_number: str | None
    revision: int
    priority: str
    worklist_class: str | None
    state: str
    lesions: int
    lesions_scored: int
    highest_birads: str | None
    upgraded: int
    maintained: int
    not_applicable: int
    downgraded: int
    malignant_probability: float | None
    high_risk_probability: float | None
    error_code: str | None
    error_reason: str | None
    received_at: datetime
    finished_at: datetime | None
    notice: str | None
    uncertain: int
    tier: str
    tier_title: str
    place_reason: str
    marks: list[str]
    source: str
    site: str | None
    scanner_model: str | None
    laterality: str | None
    study_date: date | None
    age_years: float | None
    images: int
    read_at: datetime | None
    read_by: str | None
    policy: str


@dataclass(frozen=True, slots=True)
class FailedRow:
    """One row of the view ``failed_study``; ``refused``: a message that could not be a study."""

    study_id: UUID
    study_instance_uid: str | None
    accession_number: str | None
    priority: str
    state: str
    error_code: str | None
    error_reason: str | None
    source: str
    attempts: int
    lesions: int
    lesions_failed: int
    lesion_errors: str | None
    received_at: datetime
    finished_at: datetime
    refused: bool


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One row of the view ``restratification_summary``."""

    outcome: str
    lesions: int
    percent_of_4a: Decimal | None
    mean_malignant_probability: float | None
    mean_high_risk_probability: float | None
    mean_age_years: float | None
    lh_version: str
    bm_version: str
    rule_version: str
    notice: str | None


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A prediction on record, with its model's notice; ``in_service``: the current advice rests on it."""

    model_name: str
    model_version: str
    weights_sha256: str
    notice: str | None
    probabilities: Mapping[str, float]
    positive_probability: float
    predicted_class: str
    positive: bool
    threshold: float
    conformal_set: tuple[str, ...] | None
    created_at: datetime
    in_service: bool


@dataclass(frozen=True, slots=True)
class ImageDetail:
    """An image of a lesion on record; ``predictions`` are those of every model that ever scored it: model, version, and
    the positive probability, 0 to 1.
    """

    ordinal: int
    frame: int | None
    roi: Box | None
    plane: str | None
    state: str
    error_code: str | None
    error_reason: str | None
    region: Box | None
    region_source: str | None
    gate: tuple[str, ...]
    width_mm: float | None
    height_mm: float | None
    aspect_ratio: float | None
    laterality: str | None
    predictions: tuple[ImagePrediction, ...]


@dataclass(frozen=True, slots=True)
class LesionDetail:
    """A lesion on record; ``predictions`` are those of every model that ever scored it, oldest model first."""

    lesion_id: str
    state: str
    birads: str
    laterality: str | None
    clock_position: int | None
    distance_to_nipple_mm: float | None
    depth_mm: float | None
    images: tuple[ImageDetail, ...]
    error_code: str | None
    error_reason: str | None
    age_years: float | None
    age_source: str | None
    scanner_model: str | None
    site: str | None
    outcome: str | None
    recommended: str | None
    rule_version: str | None
    uncertain: bool | None
    predictions: tuple[StoredPrediction, ...]


@dataclass(frozen=True, slots=True)
class StudyEvent:
    """One line of a study's history."""

    at: datetime
    actor: str
    event: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StudyDetail:
    """A revision of a study on record, with its lesions in the job's order and its history; or a refused message.

    Attributes:
        refused: a message that could not be a study; its identifiers are those of it that are valid.
    """

    study_id: UUID
    study_instance_uid: str | None
    accession_number: str | None
    refused: bool
    revision: int
    is_current: bool
    priority: str
    state: str
    source: str
    attempts: int
    error_code: str | None
    error_reason: str | None
    worklist_class: str | None
    place: StudyPlace | None
    malignant_probability: float | None
    received_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    lesions: tuple[LesionDetail, ...]
    events: tuple[StudyEvent, ...]
