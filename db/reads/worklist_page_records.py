"""The plain values that the worklist page reads from its views."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from db.reads.study_records import WorklistRow


@dataclass(frozen=True, slots=True)
class WorklistFilter:
    """Which studies of the worklist are wanted; ``None`` is any, and every condition has to hold.

    Attributes:
        tier: its number in the policy, from 1.
        laterality: ``left`` or ``right``; a study of both breasts is of either.
        received_from: received then or later; ``received_before``: earlier.
        read: whether it was read.
        accession_number: a part of it, in any case; its beginning or end in a list of more than 100,000 studies.
    """

    worklist_class: str | None = None
    state: str | None = None
    priority: str | None = None
    accession_number: str | None = None
    tier: int | None = None
    site: str | None = None
    scanner_model: str | None = None
    laterality: str | None = None
    received_from: datetime | None = None
    received_before: datetime | None = None
    read: bool | None = False


@dataclass(frozen=True, slots=True)
class WorklistChoices:
    """What a filter may suggest."""

    sites: tuple[str, ...]
    scanners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TierCount:
    """A tier of the active policy, and how many studies in it are to be read; 10,001 stands for more than 10,000."""

    tier_number: int
    tier: str
    tier_title: str
    studies: int


@dataclass(frozen=True, slots=True)
class ListedRow(WorklistRow):
    """One row of the view ``listed_study``: a row of the worklist, and the parts of its ``place_reason``.

    Attributes:
        position: ``None`` beyond the first 10,000 places.
    """

    reason: str
    deciding_lesion: int | None
    deciding_birads: str | None
    is_before_all: bool


@dataclass(frozen=True, slots=True)
class ListedState:
    """How far a listed study is: it changes when the study's result does."""

    state: str
    revision: int
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorklistPart:
    """Some rows of the worklist in its order, and whether there are more behind them.

    Attributes:
        begins_anew: the study behind which rows were wanted is not on the list, so these are from its beginning.
        ends_only: the list was too long to search for a part of an accession number, so only its beginning and its end
            were compared.
    """

    rows: tuple[ListedRow, ...]
    more: bool
    begins_anew: bool = False
    ends_only: bool = False


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """One row of the view ``waiting_study``."""

    study_id: UUID
    accession_number: str | None
    priority: str
    state: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class WorklistState:
    """The row of the view ``worklist_state``; two that are equal are of the same worklist."""

    listed: int
    queued: int
    running: int
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class LesionResultRow:
    """One row of the view ``lesion_result``; the view's comments say what each column means."""

    ordinal: int
    lesion_id: str
    frame: int | None
    state: str
    original: str
    outcome: str | None
    recommended: str | None
    rule_version: str | None
    high_risk_probability: float | None
    lh_class: str | None
    lh_threshold: float | None
    malignant_probability: float | None
    bm_class: str | None
    bm_threshold: float | None
    age_years: float | None
    age_source: str | None
    region_x: int | None
    region_source: str | None
    error_code: str | None
    error_reason: str | None
    lh_version: str | None
    lh_sha256: str | None
    bm_version: str | None
    bm_sha256: str | None
    notice: str | None
    gate: list[str]
    width_mm: float | None
    height_mm: float | None
    aspect_ratio: float | None
    uncertain: bool | None
    lh_conformal_set: list[str] | None
    bm_conformal_set: list[str] | None
    images_refused: int
    views_disagree: bool | None
    laterality: str | None
    clock_position: int | None
    distance_to_nipple_mm: float | None
    depth_mm: float | None
    lh_aggregation: str | None
    bm_aggregation: str | None


@dataclass(frozen=True, slots=True)
class ImageResultRow:
    """One row of the view ``image_result``; the view's comments say what each column means."""

    ordinal: int
    image: int
    frame: int | None
    plane: str | None
    state: str
    error_code: str | None
    error_reason: str | None
    region_x: int | None
    region_source: str | None
    gate: list[str]
    width_mm: float | None
    height_mm: float | None
    aspect_ratio: float | None
    high_risk_probability: float | None
    malignant_probability: float | None


@dataclass(frozen=True, slots=True)
class LesionImageRow:
    """One row of the view ``lesion_image``."""

    study_instance_uid: str
    sop_instance_uid: str
    frame: int | None
    region_x: int
    region_y: int
    region_width: int
    region_height: int
    age_years: float | None
    paths: list[str]


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One row of the view ``study_history``."""

    at: datetime
    actor: str
    event: str
    detail: Mapping[str, Any]
