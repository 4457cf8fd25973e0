"""The base of the tables: how constraints are named, and which PostgreSQL type stands for which Python type."""

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import Date, DateTime, Double, Enum, MetaData, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

from db.schema.vocabulary import (
    AgeSource,
    Birads,
    DeliveryState,
    Destination,
    Laterality,
    LesionState,
    Outcome,
    PathologyFinding,
    Plane,
    PolicyState,
    Priority,
    Recommendation,
    RegionSource,
    StudyState,
    WorklistClass,
)

TYPE_NAMES: dict[type[StrEnum], str] = {
    Priority: "priority",
    StudyState: "study_state",
    WorklistClass: "worklist_class",
    LesionState: "lesion_state",
    Birads: "birads",
    Recommendation: "recommendation",
    Outcome: "outcome",
    AgeSource: "age_source",
    RegionSource: "region_source",
    Laterality: "laterality",
    Plane: "plane",
    PolicyState: "policy_state",
    PathologyFinding: "pathology_finding",
    Destination: "destination",
    DeliveryState: "delivery_state",
}
"""Each enumeration and the name of its PostgreSQL type."""


def _enum(words: type[StrEnum]) -> Enum:
    return Enum(words, name=TYPE_NAMES[words], values_callable=lambda members: [word.value for word in members])


class Base(DeclarativeBase):
    """The base of the tables; holds their metadata."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        date: Date(),
        uuid.UUID: Uuid(),
        str: Text(),
        float: Double(),
        dict[str, Any]: JSONB(none_as_null=True),
        **{words: _enum(words) for words in TYPE_NAMES},
    }
