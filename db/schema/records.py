"""The plain values that go into the ledger, and those that a worker needs back.

Enumerations are words of `db.schema.vocabulary`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

Box = tuple[int, int, int, int]
"""(x, y, width, height) in pixels of the stored frame; (x, y) is the top left pixel, counted from 0."""


@dataclass(frozen=True, slots=True)
class LesionImageRecord:
    """One image of a lesion as the sender marked it. Frames count from 1; ``None`` means the file's only frame."""

    sop_instance_uid: str
    frame: int | None
    roi: Box | None
    plane: str | None = None


@dataclass(frozen=True, slots=True)
class LesionRecord:
    """One lesion as the sender marked it, on one image at least.

    Attributes:
        laterality: ``left`` or ``right``; ``None``: the sender does not say.
        clock_position: 1 to 12.
        distance_to_nipple_mm: 0 to 300 mm.
        depth_mm: from the skin, 0 to 300 mm.
    """

    lesion_id: str
    images: tuple[LesionImageRecord, ...]
    birads: str
    descriptors: Mapping[str, str | float] = field(default_factory=dict)
    laterality: str | None = None
    clock_position: int | None = None
    distance_to_nipple_mm: float | None = None
    depth_mm: float | None = None


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A valid study to record.

    Attributes:
        content_digest: SHA-256 of the study's content in lower-case hexadecimal, the priority left out of it.
        job: the job in its canonical form, JSON.
        source: the way in, such as ``queue`` or ``submit``.
        lesions: in the job's order.
        traceparent: W3C Trace Context's, of the span that the study's further spans belong under.
    """

    study_instance_uid: str
    content_digest: str
    accession_number: str | None
    priority: str
    job: Mapping[str, Any]
    source: str
    lesions: tuple[LesionRecord, ...]
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a pushed study; all but ``change`` describe the revision that is current now.

    Attributes:
        change: ``new``, ``unchanged``, ``priority_raised``, ``revised``, or ``earlier_revision``: the content is that
            of a revision which another has replaced, so nothing changed.
        uncounted: as in `Queued`.
    """

    study_id: UUID
    revision: int
    change: str
    state: str
    priority: str
    uncounted: int = 0


class Queued(NamedTuple):
    """A study to put on the queue.

    Attributes:
        study_id: the ledger's.
        priority: the ledger's.
        uncounted: starts of the study that do not count as attempts: what was before a person queued it again, and what
            was given back. With the id it names the message.
    """

    study_id: UUID
    priority: str
    uncounted: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A study to work on. ``attempt`` counts every start of the study, ever; a result is accepted under the last one.

    ``priority`` is the ledger's and may be more urgent than the job's. How long ago the study was received and queued
    is by the database's clock, at the claim. ``traceparent`` is as in `StudyRecord`. ``starts`` are those that count
    towards the most that are allowed.
    """

    study_id: UUID
    attempt: int
    job: Mapping[str, Any]
    priority: str
    study_instance_uid: str
    since_received: timedelta = field(default=timedelta(0), compare=False)
    since_queued: timedelta = field(default=timedelta(0), compare=False)
    traceparent: str | None = None
    starts: int = 1


class Ended(NamedTuple):
    """How a study ended.

    Attributes:
        state: ``done``, ``partial`` or ``failed``; ``superseded`` when another revision took its place before.
        code: why not all of its lesions have scores.
        starts: as in `Claim`.
    """

    state: str
    code: str | None
    starts: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What came of claiming several studies; one that is in neither has nothing to be done.

    Attributes:
        claims: the studies to work on.
        suspects: studies that were started before and did not end, where those were not to be claimed.
        exhausted: studies that were started as often as is allowed, and have failed now.
    """

    claims: Mapping[UUID, Claim]
    suspects: frozenset[UUID] = frozenset()
    exhausted: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class HeldLesion:
    """A lesion of a study that is held still: the ledger's key, its category, and whether it has advice already.

    Attributes:
        images: the keys of its images, in their order.
    """

    key: int
    birads: str
    advised: bool
    images: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """A study that is held still for its result: its priority now, and its lesions by name."""

    priority: str
    lesions: Mapping[str, HeldLesion]


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One version of a model. ``weights_sha256`` is lower-case hexadecimal; ``card`` is JSON."""

    name: str
    version: str
    weights_sha256: str
    notice: str | None
    card: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """What one version of a model said about one lesion; probabilities are 0 to 1.

    Attributes:
        conformal_set: the classes that it cannot rule out; ``None`` where its card does not ask.
    """

    model_name: str
    model_version: str
    probabilities: tuple[tuple[str, float], ...]
    positive_probability: float
    predicted_class: str
    positive: bool
    threshold: float
    conformal_set: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AssessmentRecord:
    """The advice on one lesion, under one version of the rule.

    Attributes:
        uncertain: it is kept in 4A because a model is not certain.
    """

    outcome: str
    original: str
    recommended: str
    rule_version: str
    uncertain: bool = False


class ImagePrediction(NamedTuple):
    """What one version of a model said about one image of a lesion, 0 to 1."""

    model_name: str
    model_version: str
    positive_probability: float


@dataclass(frozen=True, slots=True)
class ImageResultRecord:
    """What became of one image of a lesion.

    Attributes:
        state: ``scored``, or ``failed``, with a code.
        region: the region that was used, with its source; both or neither.
        gate: what speaks against the region, words of ``db.schema.vocabulary.QualityFinding``.
        size_mm: (width, height) of the lesion's ROI in millimetres; ``None`` where the spacing is not known.
        laterality: ``left``, ``right`` or ``both``: the breast that it shows.
        predictions: of each model, where it was scored.
    """

    state: str
    error_code: str | None = None
    error_reason: str | None = None
    region: Box | None = None
    region_source: str | None = None
    gate: tuple[str, ...] = ()
    size_mm: tuple[float, float] | None = None
    laterality: str | None = None
    predictions: tuple[ImagePrediction, ...] = ()


@dataclass(frozen=True, slots=True)
class LesionResultRecord:
    """What became of one lesion.

    Attributes:
        state: ``scored``, with both models' predictions and an assessment; or ``failed``, with a code.
        age_years: the age that was used, 0 to 120 years, with its source; both or neither.
        scanner_model: manufacturer and model of the scanner.
        site: institution or station of the scanner.
        laterality: ``left``, ``right`` or ``both``: the breast that its images show; what the sender said stays.
        images: of all its images, in their order; none: each failed as the lesion did.
    """

    lesion_id: str
    state: str
    error_code: str | None = None
    error_reason: str | None = None
    age_years: float | None = None
    age_source: str | None = None
    scanner_model: str | None = None
    site: str | None = None
    laterality: str | None = None
    images: tuple[ImageResultRecord, ...] = ()
    predictions: tuple[PredictionRecord, ...] = ()
    assessment: AssessmentRecord | None = None


@dataclass(frozen=True, slots=True)
class StudyResultRecord:
    """The result of one attempt at a study.

    Attributes:
        attempt: the claim's.
        state: ``done``, ``partial`` or ``failed``.
        malignant_probability: the highest of its lesions, 0 to 1; ``None`` when none was scored.
        detail: for the study's history: a lesion's ordinal, and the places of a traceback. No identifiers.
    """

    study_id: UUID
    attempt: int
    state: str
    error_code: str | None
    error_reason: str | None
    worklist_class: str
    malignant_probability: float | None
    lesions: tuple[LesionResultRecord, ...]
    study_date: date | None = None
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that is to be tried now.

    Attributes:
        event_id: the line of the history with which the result came that is to be delivered.
        attempts: this one included.
        deferrals: how often the destination has asked for it to be sent later.
    """

    delivery_id: int
    study_id: UUID
    event_id: int
    attempts: int
    deferrals: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """One delivery, as it stands. ``next_at`` is ``None`` for one that is not waiting."""

    delivery_id: int
    study_id: UUID
    destination: str
    state: str
    attempts: int
    error_code: str | None
    error_reason: str | None
    created_at: datetime
    next_at: datetime | None
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How one destination is served.

    Attributes:
        waiting: deliveries that wait, and ``failed`` those that were refused for good.
        oldest: when the first of those that wait was put there.
        looked_at: when a sender last looked.
    """

    destination: str
    waiting: int
    failed: int
    oldest: datetime | None
    looked_at: datetime
