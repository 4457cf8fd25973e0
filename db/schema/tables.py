"""The tables of studies. Migrations make them; these classes are what the code reads and writes.

Times are timestamptz. A table's constraints say what a row may be, so that a defect of the software cannot store an
impossible result.
"""

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.schema.base import Base
from db.schema.images import MarkedImageRow
from db.schema.vocabulary import (
    AgeSource,
    Birads,
    Laterality,
    LesionState,
    Outcome,
    PathologyFinding,
    Priority,
    Recommendation,
    StudyState,
    WorklistClass,
)

_NUMBER = func.lower(literal_column("accession_number"))
_OPEN = "is_current AND state IN ('queued', 'running')"
_REFUSED = "study_instance_uid IS NULL AND purged_at IS NULL"
_TO_BE_LOOKED_AT = "is_current AND state IN ('partial', 'failed') AND discarded_at IS NULL AND purged_at IS NULL"


class StudyRow(Base):
    """One revision of a study, or one refused message: it has no Study Instance UID, and may name one."""

    __tablename__ = "study"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    study_instance_uid: Mapped[str | None]
    named_study_uid: Mapped[str | None]
    revision: Mapped[int] = mapped_column(server_default=text("1"))
    is_current: Mapped[bool] = mapped_column(server_default=text("true"))
    content_digest: Mapped[str] = mapped_column(String(64))
    accession_number: Mapped[str | None]
    priority: Mapped[Priority] = mapped_column(server_default=Priority.ROUTINE)
    job: Mapped[Any] = mapped_column(JSONB)
    source: Mapped[str]
    state: Mapped[StudyState] = mapped_column(server_default=StudyState.QUEUED)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    claims: Mapped[int] = mapped_column(server_default=text("0"))
    claimed_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    queued_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    error_code: Mapped[str | None]
    error_reason: Mapped[str | None]
    worklist_class: Mapped[WorklistClass | None]
    malignant_probability: Mapped[float | None]
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    discarded_at: Mapped[datetime | None]
    discard_reason: Mapped[str | None]
    purged_at: Mapped[datetime | None]
    traceparent: Mapped[str | None]
    site: Mapped[str | None]
    scanner_model: Mapped[str | None]
    laterality: Mapped[Laterality | None]
    study_date: Mapped[date | None]
    read_at: Mapped[datetime | None]
    read_by: Mapped[str | None]
    read_tier: Mapped[str | None]

    lesions: Mapped[list["LesionRow"]] = relationship(order_by="LesionRow.ordinal", back_populates="study")
    events: Mapped[list["StudyEventRow"]] = relationship(order_by="StudyEventRow.id")

    __table_args__ = (
        UniqueConstraint("study_instance_uid", "revision"),
        CheckConstraint("content_digest ~ '^[0-9a-f]{64}$'", "content_digest"),
        CheckConstraint("revision >= 1 AND attempts >= 0 AND claims >= attempts", "counts"),
        CheckConstraint("malignant_probability BETWEEN 0 AND 1", "malignant_probability"),
        CheckConstraint(
            "study_instance_uid IS NOT NULL OR state = 'failed' OR purged_at IS NOT NULL", "refused_is_failed"
        ),
        CheckConstraint(
            "purged_at IS NULL OR num_nonnulls(study_instance_uid, named_study_uid, accession_number, error_reason, "
            "discard_reason, site, study_date) = 0 AND job = '{}'",
            "purged_has_no_identifiers",
        ),
        CheckConstraint("named_study_uid IS NULL OR study_instance_uid IS NULL", "named_is_refused"),
        CheckConstraint("traceparent ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'", "traceparent"),
        CheckConstraint("state <> 'failed' OR error_code IS NOT NULL", "failed_says_why"),
        CheckConstraint(
            "(state IN ('done', 'partial', 'failed')) = (finished_at IS NOT NULL AND worklist_class IS NOT NULL)",
            "ended_has_a_class",
        ),
        Index("uq_study_current", "study_instance_uid", unique=True, postgresql_where=text("is_current")),
        Index("uq_study_refused", "content_digest", unique=True, postgresql_where=text(_REFUSED)),
        CheckConstraint(
            "num_nonnulls(read_at, read_tier) IN (0, 2) AND (read_by IS NULL OR read_at IS NOT NULL)", "read"
        ),
        Index("ix_study_failed", "worklist_class", "priority", "received_at", postgresql_where=text(_TO_BE_LOOKED_AT)),
        Index("ix_study_queue", "priority", "received_at", postgresql_where=text(_OPEN)),
        Index("ix_study_accession_number", "accession_number"),
        Index("ix_study_received_at", "received_at"),
        *(
            Index(name, number.label("number"), postgresql_ops={"number": "text_pattern_ops"})
            for name, number in (("ix_study_number_begins", _NUMBER), ("ix_study_number_ends", func.reverse(_NUMBER)))
        ),
        Index("ix_study_named_study_uid", "named_study_uid", postgresql_where=text("named_study_uid IS NOT NULL")),
        {"comment": "One revision of a study, or one refused message (study_instance_uid is null)"},
    )


class LesionRow(Base):
    """One lesion of one revision of a study."""

    __tablename__ = "lesion"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("study.id"))
    lesion_id: Mapped[str]
    ordinal: Mapped[int]
    birads: Mapped[Birads]
    descriptors: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    state: Mapped[LesionState] = mapped_column(server_default=LesionState.WAITING)
    error_code: Mapped[str | None]
    error_reason: Mapped[str | None]
    age_years: Mapped[float | None]
    age_source: Mapped[AgeSource | None]
    scanner_model: Mapped[str | None]
    site: Mapped[str | None]
    laterality: Mapped[Laterality | None]
    clock_position: Mapped[int | None]
    distance_to_nipple_mm: Mapped[float | None]
    depth_mm: Mapped[float | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())

    images: Mapped[list[MarkedImageRow]] = relationship(order_by=MarkedImageRow.ordinal)
    study: Mapped[StudyRow] = relationship(back_populates="lesions")
    predictions: Mapped[list["PredictionRow"]] = relationship(order_by="PredictionRow.id")
    restratifications: Mapped[list["RestratificationRow"]] = relationship(order_by="RestratificationRow.id")

    __table_args__ = (
        UniqueConstraint("study_id", "lesion_id"),
        UniqueConstraint("study_id", "ordinal"),
        Index("ix_lesion_lesion_id", "lesion_id"),
        CheckConstraint("ordinal >= 1", "counts_from_one"),
        CheckConstraint("clock_position BETWEEN 1 AND 12", "clock_position"),
        CheckConstraint("distance_to_nipple_mm BETWEEN 0 AND 300 AND depth_mm BETWEEN 0 AND 300", "place"),
        CheckConstraint("age_years BETWEEN 0 AND 120 AND (age_years IS NULL) = (age_source IS NULL)", "age"),
        CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", "failed_says_why"),
        {"comment": "One lesion of one revision of a study, as the sender marked it, and how far it came"},
    )


class ModelRow(Base):
    """One version of a model that this database has seen."""

    __tablename__ = "model"

    id: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    name: Mapped[str]
    version: Mapped[str]
    weights_sha256: Mapped[str] = mapped_column(String(64))
    notice: Mapped[str | None]
    card: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        UniqueConstraint("name", "version"),
        CheckConstraint("weights_sha256 ~ '^[0-9a-f]{64}$'", "weights_sha256"),
        {"comment": "One version of a model; its notice goes with each of its results"},
    )


class PredictionRow(Base):
    """What one version of a model said about one lesion."""

    __tablename__ = "prediction"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    lesion_id: Mapped[int] = mapped_column(ForeignKey("lesion.id"))
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), index=True)
    probabilities: Mapped[dict[str, Any]]
    positive_probability: Mapped[float]
    predicted_class: Mapped[str]
    positive: Mapped[bool]
    threshold: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    conformal_set: Mapped[tuple[str, ...] | None] = mapped_column(ARRAY(Text, as_tuple=True))

    model: Mapped[ModelRow] = relationship()

    __table_args__ = (
        UniqueConstraint("lesion_id", "model_id"),
        UniqueConstraint("id", "lesion_id"),
        CheckConstraint("positive_probability BETWEEN 0 AND 1 AND threshold BETWEEN 0 AND 1", "probability"),
        {"comment": "What one version of a model said about one lesion; a newer version adds rows and erases none"},
    )


class PredictionRefusalRow(Base):
    """A stored lesion that a version of a model could not score, and why."""

    __tablename__ = "prediction_refusal"

    lesion_id: Mapped[int] = mapped_column(ForeignKey("lesion.id"), primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True, index=True)
    error_code: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = ({"comment": "A stored lesion that a shadow or a backfill could not score, and why it could not"},)


class RestratificationRow(Base):
    """The recommendation that followed from one pair of predictions of one lesion."""

    __tablename__ = "restratification"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    lesion_id: Mapped[int] = mapped_column(ForeignKey("lesion.id"))
    lh_prediction_id: Mapped[int] = mapped_column(BigInteger)
    bm_prediction_id: Mapped[int] = mapped_column(BigInteger)
    rule_version: Mapped[str]
    outcome: Mapped[Outcome]
    original: Mapped[Birads]
    recommended: Mapped[Recommendation]
    is_current: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    uncertain: Mapped[bool] = mapped_column(server_default=text("false"))

    __table_args__ = (
        UniqueConstraint(
            "lesion_id", "lh_prediction_id", "bm_prediction_id", "rule_version", name="uq_restratification_natural"
        ),
        # Over two columns: a recommendation cannot rest on another lesion's scores.
        ForeignKeyConstraint(["lh_prediction_id", "lesion_id"], ["prediction.id", "prediction.lesion_id"]),
        ForeignKeyConstraint(["bm_prediction_id", "lesion_id"], ["prediction.id", "prediction.lesion_id"]),
        CheckConstraint("lh_prediction_id <> bm_prediction_id", "two_models"),
        CheckConstraint("NOT uncertain OR outcome = 'maintained'", "uncertain_is_kept"),
        Index("uq_restratification_current", "lesion_id", unique=True, postgresql_where=text("is_current")),
        {"comment": "The recommendation for one lesion from one pair of predictions; the latest is current"},
    )


class PathologyRow(Base):
    """What pathology reported of one lesion. A correction is a row more; no row is changed or deleted."""

    __tablename__ = "pathology"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    lesion_id: Mapped[int] = mapped_column(ForeignKey("lesion.id"), index=True)
    result: Mapped[PathologyFinding]
    histology: Mapped[str | None]
    reported_on: Mapped[date | None]
    is_current: Mapped[bool] = mapped_column(server_default=text("true"))
    recorded_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("uq_pathology_current", "lesion_id", unique=True, postgresql_where=text("is_current")),
        {"comment": "What pathology reported of each lesion; a correction is a row more, and the latest is current"},
    )


class StudyEventRow(Base):
    """One thing that happened to a study. Rows are added and never changed."""

    __tablename__ = "study_event"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("study.id"))
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    actor: Mapped[str] = mapped_column(server_default=text("SESSION_USER"))
    event: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))

    __table_args__ = (
        Index("ix_study_event_study_id", "study_id", "id"),
        {"comment": "Append-only history of each study; a trigger refuses UPDATE, DELETE and TRUNCATE"},
    )
