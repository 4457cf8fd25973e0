"""The tables of the worklist: policies of reading order, and each listed study's place under them."""

import uuid
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.schema.base import Base
from db.schema.vocabulary import PolicyState

_PLACE = ("place_order", "arrived_at", "study_id")
"""The order of reading: each index of a filter ends in it, so that a page of what is filtered is read in order."""


class ReadingOrderPolicyRow(Base):
    """A policy of reading order, each time that it was applied."""

    __tablename__ = "reading_order_policy"

    id: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    label: Mapped[str]
    document: Mapped[str]
    digest: Mapped[str] = mapped_column(String(64))
    before_all: Mapped[list[str]] = mapped_column(ARRAY(Text))
    state: Mapped[PolicyState]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    filled_at: Mapped[datetime | None]
    placed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("digest ~ '^[0-9a-f]{64}$'", "digest"),
        Index("uq_reading_order_policy_active", "state", unique=True, postgresql_where=text("state = 'active'")),
        Index("uq_reading_order_policy_building", "state", unique=True, postgresql_where=text("state = 'building'")),
        {"comment": "Policies of reading order, each time one was applied; the active one says where a study stands"},
    )


class ReadingOrderRuleRow(Base):
    """One rule of a policy, as the worklist says it in words."""

    __tablename__ = "reading_order_rule"

    policy_id: Mapped[int] = mapped_column(ForeignKey("reading_order_policy.id"), primary_key=True)
    rule: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    tier: Mapped[int] = mapped_column(SmallInteger)
    tier_name: Mapped[str]
    tier_title: Mapped[str]
    reason: Mapped[str]
    step_priority: Mapped[str]

    __table_args__ = (
        CheckConstraint("step_priority IN ('HIGH', 'MEDIUM', 'LOW')", "step_priority"),
        CheckConstraint("rule >= 1 AND tier >= 1", "counts_from_one"),
        {"comment": "Each policy's rules, from 1 in the order of its document, and the tier that each leads to"},
    )


class ReadingOrderRangeRow(Base):
    """Where a policy's studies of one tier and one priority stand: `WorklistEntryRow.place_order` lies within."""

    __tablename__ = "reading_order_range"

    policy_id: Mapped[int] = mapped_column(ForeignKey("reading_order_policy.id"), primary_key=True)
    tier: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    priority: Mapped[str] = mapped_column(primary_key=True)
    first_place: Mapped[int] = mapped_column(BigInteger)
    next_place: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("first_place < next_place", "is_not_empty"),
        {"comment": "Where the studies of each tier and priority stand: the order of reading is an index of both"},
    )


class ReadingOrderSwitchRow(Base):
    """One change of the policy that is active. Rows are added and never changed."""

    __tablename__ = "reading_order_switch"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    actor: Mapped[str] = mapped_column(server_default=text("SESSION_USER"))
    by: Mapped[str]
    before: Mapped[str]
    after: Mapped[str]

    __table_args__ = ({"comment": "Append-only history of the active policy of reading order"},)


class ReadingOrderChangedRow(Base):
    """A study that changed while the places of a policy are being filled."""

    __tablename__ = "reading_order_changed"

    policy_id: Mapped[int] = mapped_column(ForeignKey("reading_order_policy.id"), primary_key=True)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("study.id"), primary_key=True)

    __table_args__ = (
        {
            "comment": "Studies that changed while a policy's partition is being filled; they are placed under it when "
            "that is done"
        },
    )


class WorklistEntryRow(Base):
    """A listed study's place under one policy; each policy has its partition, ``worklist_entry_KEY``."""

    __tablename__ = "worklist_entry"

    study_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    policy_id: Mapped[int] = mapped_column(primary_key=True)
    tier: Mapped[int] = mapped_column(SmallInteger)
    rule: Mapped[int] = mapped_column(SmallInteger)
    lesion: Mapped[int | None] = mapped_column(SmallInteger)
    category: Mapped[str | None]
    probability: Mapped[float | None]
    place_order: Mapped[int] = mapped_column(BigInteger)
    arrived_at: Mapped[datetime]
    is_read: Mapped[bool]
    marks: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'::text[]"))
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # What the list is filtered by, copied from the study.
    state: Mapped[str]
    priority: Mapped[str]
    worklist_class: Mapped[str | None]
    site: Mapped[str | None]
    scanner_model: Mapped[str | None]
    laterality: Mapped[str | None]
    received_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("probability BETWEEN 0 AND 1", "probability"),
        Index("ix_worklist_entry_place", "policy_id", "is_read", *_PLACE),
        Index("ix_worklist_entry_class", "policy_id", "is_read", "worklist_class", *_PLACE),
        Index(
            "ix_worklist_entry_state",
            *("policy_id", "is_read", "state", *_PLACE),
            postgresql_where=text("state <> 'done'"),
        ),
        Index("ix_worklist_entry_priority", "policy_id", "is_read", "priority", *_PLACE),
        Index("ix_worklist_entry_site", "policy_id", "is_read", "site", *_PLACE),
        Index(
            "ix_worklist_entry_scanner",
            *("policy_id", "is_read", "scanner_model", *_PLACE),
            postgresql_include=["site"],
        ),
        Index("ix_worklist_entry_laterality", "policy_id", "is_read", "laterality"),
        Index("ix_worklist_entry_received_at", "policy_id", "received_at"),
        Index("ix_worklist_entry_changed_at", "policy_id", "changed_at"),
        {
            "comment": "Where each listed study stands, one row a policy that is active or being built; each policy "
            "has its partition",
            "postgresql_partition_by": "LIST (policy_id)",
        },
    )
