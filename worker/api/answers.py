"""What programs are answered, as the OpenAPI has it. Probabilities are 0 to 1, sizes in millimetres, ages in years."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field


class Accepted(BaseModel):
    """A study that is on record."""

    study_id: UUID = Field(description="The ledger's opaque id: of this revision of the study")
    status_url: str = Field(description="Where its state and its result are")
    change: str = Field(
        description="new; revised (other content under a known Study Instance UID); priority_raised; unchanged (it was "
        "on record); earlier_revision (a later one has replaced this content, so nothing changed)"
    )
    state: str = Field(description="queued, running, done, partial or failed")
    revision: int
    priority: str = Field(description="stat, urgent or routine: the ledger's, which is never lowered")


class Requested(BaseModel):
    """A study that is fetched from its server before it is on record."""

    request_id: UUID = Field(description="Opaque; known for 7 days")
    status_url: str = Field(description="Where the study's id is, once it is on record")
    change: Literal["requested"]
    priority: str = Field(description="stat, urgent or routine: the job's")


class RequestAnswer(BaseModel):
    """How far a request is."""

    request_id: UUID
    study_id: UUID | None = Field(
        description="null while the study is being fetched. A study that could not be had is on record as failed, with "
        "its code"
    )
    status_url: str | None = Field(description="Where the study's state and its result are")


class Score(BaseModel):
    """What a model says of a lesion, or of one image of it."""

    probability: float = Field(description="Of high risk (DLR_LH) or of malignancy (DLR_BM)")
    predicted_class: str | None = None
    threshold: float | None = None
    version: str | None = None


class Advice(BaseModel):
    """A recommendation, never a diagnosis."""

    outcome: str = Field(description="upgraded, maintained, not_applicable or downgraded")
    recommended: str | None = Field(description="A BI-RADS category, or >4A")
    rule_version: str | None
    uncertain: bool | None = Field(description="It stays in 4A because a model is not certain")


class Image(BaseModel):
    """An image of a lesion."""

    number: int
    frame: int | None
    plane: str | None
    state: str
    error_code: str | None
    quality: list[str] = Field(description="Problems of the region")
    dlr_lh: float | None = Field(description="Probability of high risk by this image alone")
    dlr_bm: float | None = Field(description="Probability of malignancy by this image alone")


class LesionAnswer(BaseModel):
    """A lesion, in the order of the job."""

    lesion_id: str
    state: str = Field(description="waiting, scored or failed")
    birads: str = Field(description="The radiologist's category")
    dlr_lh: Score | None
    dlr_bm: Score | None
    advice: Advice | None
    age_years: float | None
    age_source: str | None
    region_source: str | None
    quality: list[str] = Field(description="Problems of the region")
    width_mm: float | None
    height_mm: float | None
    views_disagree: bool | None
    error_code: str | None
    error_reason: str | None
    images: list[Image]


class Place(BaseModel):
    """Where a study stands on the worklist."""

    position: int | None = Field(description="From 1; null beyond the first 10,000 places")
    tier: str
    tier_title: str
    reason: str
    worklist_class: str | None
    marks: list[str]
    policy: str


class StudyAnswer(BaseModel):
    """A study: its state and, once it has ended, its result."""

    study_id: UUID
    state: str = Field(description="queued, running, done, partial or failed")
    revision: int | None
    priority: str
    study_instance_uid: str | None
    accession_number: str | None
    received_at: datetime
    finished_at: datetime | None
    error_code: str | None
    error_reason: str | None
    notice: str | None = Field(description="The models', such as: demo, synthetic, not for clinical use")
    place: Place | None = Field(description="null for a study that is not on the worklist")
    read_at: datetime | None
    read_by: str | None
    lesions: list[LesionAnswer]


class WorklistEntry(BaseModel):
    """A study of the worklist, in its order."""

    position: int | None
    study_id: UUID
    study_url: str
    study_instance_uid: str | None
    accession_number: str | None
    revision: int
    priority: str
    state: str
    worklist_class: str | None
    tier: str
    tier_title: str
    reason: str
    marks: list[str]
    lesions: int
    lesions_scored: int
    highest_birads: str | None
    upgraded: int
    maintained: int
    not_applicable: int
    downgraded: int
    dlr_lh: float | None = Field(description="Highest probability of high risk of its lesions")
    dlr_bm: float | None = Field(description="Highest probability of malignancy of its lesions")
    error_code: str | None
    site: str | None
    scanner_model: str | None
    laterality: str | None
    study_date: date | None
    received_at: datetime
    finished_at: datetime | None
    read_at: datetime | None
    read_by: str | None
    notice: str | None


class WorklistAnswer(BaseModel):
    """A page of the worklist."""

    entries: list[WorklistEntry]
    next_cursor: UUID | None = Field(description="What gives the next page as `cursor`; null: there is none")
    begins_anew: bool = Field(
        description="The study of the cursor has left the list meanwhile, so these are from its beginning"
    )


class ImportedAnswer(BaseModel):
    """How many rows changed what; a row that comes again is unchanged."""

    rows: int
    new: int
    corrected: int
    unchanged: int
    outdated: int


class Ready(BaseModel):
    """Whether studies can be taken and asked for."""

    postgresql: bool
    redis: bool = Field(description="Without it studies are taken, and queued once it is back")
