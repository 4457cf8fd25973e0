"""The plain values of the worklist: policies, what a study is placed by, and its place.

Enumerations are words of `db.schema.vocabulary`. The rule is the caller's (`worker.clinical.reading_order`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ServedPolicy:
    """A policy under which each listed study has a place: the active one, or one whose places are being computed.

    Attributes:
        key: the database's.
        label: name and version, such as ``suspicion/2``.
        document: the policy's TOML.
        filled: every study that changes is placed under it at once; until then it is noted, to be placed later.
        placed: every listed study has its place.
    """

    key: int
    label: str
    document: str
    active: bool
    filled: bool
    placed: bool


class RuleRecord(NamedTuple):
    """A rule of a policy in words: its place in the document, from 1, and the tier that it leads to.

    ``step_priority`` is HIGH, MEDIUM or LOW: Scheduled Procedure Step Priority (0074,1200) of routine studies in it.
    """

    rule: int
    tier: int
    tier_name: str
    tier_title: str
    reason: str
    step_priority: str


class PlaceRangeRecord(NamedTuple):
    """The ``place_order`` of the studies of a tier and a priority: from ``first_place`` to before ``next_place``."""

    tier: int
    priority: str
    first_place: int
    next_place: int


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """A policy to put on record.

    Attributes:
        document: its TOML.
        before_all: the sender's priorities that go before all tiers.
        ranges: one for each tier and each of the sender's priorities.
    """

    label: str
    document: str
    before_all: tuple[str, ...]
    rules: tuple[RuleRecord, ...]
    ranges: tuple[PlaceRangeRecord, ...]


class LesionStanding(NamedTuple):
    """What a lesion counts for. Without scores ``outcome`` and all that follows is ``None``; probabilities are 0 to 1.

    Attributes:
        category: the radiologist's.
        high_risk: DLR_LH reached its threshold; ``malignant``: DLR_BM did.
    """

    lesion_id: str
    category: str
    state: str
    outcome: str | None
    high_risk: bool | None
    malignant: bool | None
    high_risk_probability: float | None
    malignant_probability: float | None


class StudyStanding(NamedTuple):
    """What a study is placed by.

    Attributes:
        listed: it belongs on the worklist.
        read_tier: policy and tier (``suspicion/2 low``) under which it was read; ``None``: it is to be read.
        lesions: in the job's order.
    """

    study_id: UUID
    priority: str
    state: str
    revision: int
    listed: bool
    received_at: datetime
    read_tier: str | None
    lesions: tuple[LesionStanding, ...]


class ListedStanding(NamedTuple):
    """What a listed study is placed by, and what its place repeats of it, where all are placed at once; as text.

    Attributes:
        state: ``waiting``, or how it ended; it and those that follow are `db.reads.standings.COPIED`.
        lesions: in the job's order.
    """

    study_id: str
    is_read: bool
    state: str
    priority: str
    worklist_class: str | None
    laterality: str | None
    site: str | None
    scanner_model: str | None
    received_at: str
    lesions: tuple[LesionStanding, ...]


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """A study's place under one policy.

    Attributes:
        tier: from 1; ``rule`` likewise, over the whole policy.
        lesion: the ordinal of the lesion that decided; ``None``: the study as a whole did.
        category: the highest that it is sorted by; ``probability`` likewise.
        place_order: the lowest is read first; of equals the earlier ``arrived_at``.
    """

    study_id: UUID
    policy_key: int
    tier: int
    rule: int
    lesion: int | None
    category: str | None
    probability: float | None
    place_order: int
    arrived_at: datetime
    is_read: bool
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StudyPlace:
    """Where a listed study stands, in words; the comments of the view ``worklist`` say what each means.

    Attributes:
        step_priority: as in `RuleRecord`.
    """

    policy: str
    tier: str
    tier_title: str
    place_reason: str
    marks: list[str]
    read_at: datetime | None
    read_by: str | None
    step_priority: str
